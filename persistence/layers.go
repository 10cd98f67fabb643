package persistence

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/annals-es/annals"
)

// format is how the encoding of every event begins that this code writes and
// reads: the version of the stored format, which says what fields a [StoredEvent]
// has, and what each means.
const format = "1:"

// place is what a ciphertext is bound to, together with its encoding: where it
// stands, so that one that is moved to another event does not open, and how it is to
// be read, so that it is not read as something else.
type place struct {
	streamID string
	version  int64
	topic    string // of an event; for a snapshot the name of its type, which no event has
	shape    int
	mark     string // of a snapshot
}

func placeOf(e *StoredEvent) *place {
	return &place{streamID: e.StreamID, version: e.Version, topic: e.Topic, shape: e.Shape}
}

func placeOfSnapshot(s *StoredSnapshot) *place {
	return &place{streamID: s.StreamID, version: s.Version, topic: s.Topic, shape: s.Shape, mark: s.Mark}
}

// append is a part of the stored format: what changes here makes all that is
// encrypted unreadable.
func (p *place) append(b []byte, encoding string) []byte {
	b = appendText(b, p.streamID)
	b = binary.AppendVarint(b, p.version)
	b = appendText(b, p.topic)
	b = binary.AppendVarint(b, int64(p.shape))
	b = appendText(b, p.mark)
	return appendText(b, encoding)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// scratch is memory for what lies between the layers of one event.
type scratch struct{ a, b, associated []byte }

// maxScratch is the size of the greatest buffer that is kept.
const maxScratch = 64 << 10

func (m *Mapper) getScratch() *scratch {
	if s, ok := m.scratch.Get().(*scratch); ok {
		return s
	}
	return new(scratch)
}

func (m *Mapper) putScratch(s *scratch) {
	if cap(s.a) <= maxScratch && cap(s.b) <= maxScratch {
		m.scratch.Put(s)
	}
}

// seal encodes, compresses and encrypts a value, and says what it did.
func (m *Mapper) seal(ctx context.Context, value any, at *place) (state []byte, encoding string, err error) {
	if m.compressor == nil && m.cipher == nil {
		state, err = m.transcoder.Encode(nil, value)
		return state, m.plain, err
	}
	buf := m.getScratch()
	defer m.putScratch(buf)
	if buf.a, err = m.transcoder.Encode(buf.a[:0], value); err != nil {
		return nil, "", err
	}
	state, encoding = buf.a, m.plain
	if m.compressor != nil {
		if buf.b, err = m.compressor.Compress(buf.b[:0], state); err != nil {
			return nil, "", fmt.Errorf("%s: %w", m.compressor.Name(), err)
		}
		if len(buf.b) < len(state) {
			state, encoding = buf.b, m.compressed
		}
	}
	if m.cipher == nil {
		return slices.Clone(state), encoding, nil
	}
	buf.associated = at.append(buf.associated[:0], encoding)
	const overhead = 128 // that of most ciphers
	if state, err = m.cipher.Encrypt(ctx, make([]byte, 0, len(state)+overhead), state, buf.associated); err != nil {
		return nil, "", fmt.Errorf("%s: %w", m.cipher.Name(), err)
	}
	return state, encoding, nil
}

// open undoes the layers that the encoding names after the transcoder, last
// first, and calls decode with what the transcoder made. Decode must not keep it.
func (m *Mapper) open(
	ctx context.Context, state []byte, encoding string, at *place, decode func(t decoding, state []byte) error,
) error {
	layers, err := layersOf(encoding)
	if err != nil {
		return err
	}
	name, rest, more := strings.Cut(layers, "+")
	transcoder, known := m.transcoders[name]
	if !known {
		return missing(encoding, name, "WithTranscoder")
	}
	if !more {
		return decode(transcoder, state)
	}
	buf := m.getScratch()
	defer m.putScratch(buf)
	for n := 0; more; n++ {
		layer := rest
		if i := strings.LastIndexByte(rest, '+'); i >= 0 {
			rest, layer = rest[:i], rest[i+1:]
		} else {
			more = false
		}
		into := &buf.a
		if n%2 == 1 {
			into = &buf.b
		}
		if cipher, compressor := m.ciphers[layer], m.compressors[layer]; cipher != nil {
			buf.associated = at.append(buf.associated[:0], encoding)
			*into, err = cipher.Decrypt(ctx, (*into)[:0], state, buf.associated)
		} else if compressor != nil {
			*into, err = compressor.Decompress((*into)[:0], state)
		} else {
			return missing(encoding, layer, "WithCompressor, WithCipher")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", layer, err)
		}
		state = *into
	}
	return decode(transcoder, state)
}

// layersOf returns what an encoding says behind the version of the stored format. It
// is an error if this code does not know that format.
func layersOf(encoding string) (string, error) {
	layers, ok := strings.CutPrefix(encoding, format)
	if !ok {
		return "", fmt.Errorf("its encoding is %q, and this code knows the stored format %q: a newer version of Annals wrote it: %w",
			encoding, format, annals.ErrUnsupported)
	}
	return layers, nil
}

// missing says that the mapper lacks what is needed to read something, and which
// options give it.
func missing(encoding, codec, options string) error {
	options += ", or a driver of FromEnviron"
	if codec == "aesgcm" {
		options = "WithCipher, or CIPHER_KEYS"
	}
	return fmt.Errorf("its encoding is %q, and the application has no %q: give it one, if only for reading (%s): %w",
		encoding, codec, options, annals.ErrConfiguration)
}
