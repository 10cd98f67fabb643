package hashchain

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/annals-es/annals"
)

// Head is the end of a stream at some time: who notes it elsewhere sees later that
// the stream was not cut or replaced. Its text is "version:hash:stream".
type Head struct {
	StreamID string
	Version  int64
	Hash     [Size]byte
}

// LogHead is the end of a log at some time: the digest covers the position and the
// hash of each event up to the position, in order. Its text is
// "position:events:digest". It is the noted value that tells of any cut, removal or
// change up to there.
type LogHead struct {
	Position int64
	Events   int64
	Digest   [Size]byte
}

// MarshalText returns the text of the head.
func (h Head) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d:%x:%s", h.Version, h.Hash, h.StreamID), nil
}

// String returns the text of the head.
func (h Head) String() string { return fmt.Sprintf("%d:%x:%s", h.Version, h.Hash, h.StreamID) }

// UnmarshalText reads the text of a head. It returns an error that is
// [annals.ErrConfiguration] if it is none.
func (h *Head) UnmarshalText(text []byte) error {
	parts := strings.SplitN(string(text), ":", 3)
	if len(parts) != 3 {
		return badHead("version:hash:stream")
	}
	version, ok := number(parts[0])
	hash, ok2 := hashOf(parts[1])
	if !ok || !ok2 || annals.CheckID("stream id", parts[2]) != nil {
		return badHead("version:hash:stream")
	}
	*h = Head{StreamID: parts[2], Version: version, Hash: hash}
	return nil
}

// MarshalText returns the text of the head.
func (h LogHead) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// String returns the text of the head.
func (h LogHead) String() string { return fmt.Sprintf("%d:%d:%x", h.Position, h.Events, h.Digest) }

// UnmarshalText reads the text of a head. It returns an error that is
// [annals.ErrConfiguration] if it is none.
func (h *LogHead) UnmarshalText(text []byte) error {
	parts := strings.Split(string(text), ":")
	if len(parts) != 3 {
		return badHead("position:events:digest")
	}
	position, ok := number(parts[0])
	events, ok2 := number(parts[1])
	hash, ok3 := hashOf(parts[2])
	if !ok || !ok2 || !ok3 {
		return badHead("position:events:digest")
	}
	*h = LogHead{Position: position, Events: events, Digest: hash}
	return nil
}

func badHead(form string) error {
	return fmt.Errorf("hashchain: this is no head of the form %s: %w", form, annals.ErrConfiguration)
}

func number(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == text
}

func hashOf(text string) (hash [Size]byte, ok bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != Size || strings.ToLower(text) != text {
		return hash, false
	}
	return [Size]byte(b), true
}

// digest follows the whole log.
type digest struct {
	want *LogHead // to be met; nil if there is none
	met  bool
	at   LogHead
	buf  []byte
}

// follow adds the events of a round, whose hashes it waits for.
func (d *digest) follow(events []place) {
	for _, p := range events {
		<-p.job.done
		d.buf = append(d.buf[:0], formatVersion)
		d.buf = append(d.buf, d.at.Digest[:]...)
		d.buf = binary.AppendVarint(d.buf, p.position)
		d.buf = append(d.buf, p.job.hashes[p.i][:]...)
		d.at = LogHead{Position: p.position, Events: d.at.Events + 1, Digest: sha256.Sum256(d.buf)}
		if d.want != nil && *d.want == d.at {
			d.met = true
		}
	}
}
