package hashchain

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
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

// LogHead is the end of a log at some time. The digest covers the position and the
// hash of each event up to there, in order, also of those that are stored without
// one: who notes it elsewhere sees later that nothing was changed, removed, inserted
// or moved up to there. Its text is "position:events:digest".
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
	sum, ok2 := hashOf(parts[1])
	if !ok || !ok2 || annals.CheckID("stream id", parts[2]) != nil {
		return badHead("version:hash:stream")
	}
	*h = Head{StreamID: parts[2], Version: version, Hash: sum}
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
	sum, ok3 := hashOf(parts[2])
	if !ok || !ok2 || !ok3 {
		return badHead("position:events:digest")
	}
	*h = LogHead{Position: position, Events: events, Digest: sum}
	return nil
}

func badHead(form string) error {
	return fmt.Errorf("hashchain: this is no head of the form %s: %w", form, annals.ErrConfiguration)
}

func number(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == text
}

func hashOf(text string) (sum [Size]byte, ok bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != Size || strings.ToLower(text) != text {
		return sum, false
	}
	return [Size]byte(b), true
}

// digest follows the whole log.
type digest struct {
	noted *LogHead // to be met; nil if there is none
	met   bool
	at    LogHead // but for its digest
	sum   hash.Hash
	buf   []byte // is not in sum yet
}

func newDigest(noted *LogHead) digest {
	return digest{noted: noted, sum: sha256.New(), buf: []byte{formatVersion}}
}

// add adds an event that is hashed.
func (d *digest) add(position int64, sum *[Size]byte) {
	d.buf = binary.BigEndian.AppendUint64(d.buf, uint64(position)) //nolint:gosec // its bits
	d.buf = append(d.buf, sum[:]...)
	d.at.Position = position
	d.at.Events++
	if d.noted != nil && d.noted.Position == position {
		d.met = d.met || *d.noted == d.head()
	}
}

func (d *digest) flush() {
	_, _ = d.sum.Write(d.buf) // which never fails
	d.buf = d.buf[:0]
}

// head returns the head of the log as far as it was followed.
func (d *digest) head() LogHead {
	if d.at.Events == 0 {
		return LogHead{}
	}
	d.flush()
	h := d.at
	d.sum.Sum(h.Digest[:0])
	return h
}
