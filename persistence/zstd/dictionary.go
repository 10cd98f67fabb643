package zstd

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/annals-es/annals"
)

// Dictionary is what compressor and decompressor know beforehand of the data.
// Keep it, in a file or embedded in the program, as long as there are events that it
// compressed: without it they cannot be read. It contains data of the events that it
// was trained on; fmt and slog do not print it. It is immutable. Its zero value is
// none.
type Dictionary struct {
	id   uint32
	data []byte
}

// ParseDictionary returns the dictionary that [Dictionary.Bytes] returned, or that
// another implementation of Zstandard trained ("zstd --train"). It returns
// [annals.ErrConfiguration] if the bytes are no dictionary.
func ParseDictionary(b []byte) (Dictionary, error) {
	inspected, err := zstd.InspectDictionary(b)
	if err != nil {
		return Dictionary{}, fmt.Errorf("zstd: these bytes are no dictionary: %w", annals.ErrConfiguration)
	}
	d := Dictionary{id: inspected.ID(), data: slices.Clone(b)}
	if err := d.try(); err != nil {
		return Dictionary{}, fmt.Errorf("zstd: the dictionary %d cannot be used: %w: %w", d.id, err, annals.ErrConfiguration)
	}
	return d, nil
}

// try compresses and decompresses the dictionary's own end, and every byte. It does
// so at the level that takes least memory: all of them use the dictionary's tables in
// the same way.
func (d Dictionary) try() error {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	encoder, err := newEncoder(minLevel, d, 1)
	if err != nil {
		return err
	}
	decoders, err := newDecoders([]Dictionary{d})
	if err != nil {
		return err
	}
	for _, text := range [][]byte{d.data[max(0, len(d.data)-200):], every} {
		got, err := decoders[d.id][0].DecodeAll(encoder.EncodeAll(text, nil), make([]byte, 0, len(text)))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, text) {
			return errors.New("what it compresses does not come back")
		}
	}
	return nil
}

func (d Dictionary) equal(other Dictionary) bool { return bytes.Equal(d.data, other.data) }

// ID returns the id, which is stored with every event that the dictionary
// compresses; 0 for the zero value.
func (d Dictionary) ID() uint32 { return d.id }

// Bytes returns the dictionary in the format of Zstandard, to be kept. The caller
// may change them.
func (d Dictionary) Bytes() []byte { return slices.Clone(d.data) }

// String returns the id and the size.
func (d Dictionary) String() string {
	return fmt.Sprintf("zstd dictionary %d of %d bytes", d.id, len(d.data))
}

// GoString returns the id and the size.
func (d Dictionary) GoString() string { return d.String() }

// LogValue returns the id and the size.
func (d Dictionary) LogValue() slog.Value { return slog.StringValue(d.String()) }
