// Package hashchain makes a log tamper-evident: each event has a hash over what is
// stored of it and over the hash before it in its stream. Who changes, removes,
// inserts or moves an event breaks the chain; [Verify] finds where. It works on
// stored bytes, and needs no keys.
//
// Who can write to the database and knows this code can also compute a new chain.
// Against that, note heads elsewhere: [Report.Head], and give it to a later
// verification.
//
// The idea of linking time-stamped records by their hashes is that of Haber and
// Stornetta (1991).
package hashchain

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/annals-es/annals/persistence"
)

// Size is the length of a hash, in bytes.
const Size = sha256.Size

// formatVersion begins what is hashed: the meaning of what follows never changes
// with it.
const formatVersion = 1

// Sum returns the hash of an event after the hash before it, which is nil for the
// first event of a stream.
func Sum(before []byte, e *persistence.StoredEvent) [Size]byte {
	sum, _ := sum(nil, before, e)
	return sum
}

// sum is Sum with a buffer that is used again.
func sum(buf, before []byte, e *persistence.StoredEvent) ([Size]byte, []byte) {
	buf = appendForm(buf[:0], before, e)
	return sha256.Sum256(buf), buf
}

// appendForm appends what is hashed of an event: everything that is stored of it
// but its position, which only the commit gives, each part with its length.
func appendForm(b, before []byte, e *persistence.StoredEvent) []byte {
	return appendFields(appendBytes(append(b, formatVersion), before), e)
}

func appendFields(b []byte, e *persistence.StoredEvent) []byte {
	b = appendBytes(b, e.ID)
	b = appendBytes(b, e.StreamID)
	b = binary.AppendVarint(b, e.Version)
	b = appendBytes(b, e.Topic)
	b = binary.AppendVarint(b, e.Time.UnixMicro())
	b = binary.AppendVarint(b, int64(e.Shape))
	b = appendBytes(b, e.Encoding)
	b = appendBytes(b, e.State)
	b = appendBytes(b, e.CorrelationID)
	b = appendBytes(b, e.CausationID)
	return appendBytes(b, e.Headers)
}

func appendBytes[T string | []byte](b []byte, part T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(part))), part...)
}

// appendRoom is appendForm where the hash before is not known yet: it leaves room
// for it, which sumRoom fills.
func appendRoom(b []byte, e *persistence.StoredEvent) []byte {
	var room [2 + Size]byte
	return appendFields(append(b, room[:]...), e)
}

// sumRoom returns the hash of what appendRoom appended.
func sumRoom(form, before []byte) [Size]byte {
	form = form[Size-len(before):]
	form[0], form[1] = formatVersion, byte(len(before)) //nolint:gosec // it is 0 or Size
	copy(form[2:], before)
	return sha256.Sum256(form)
}

// chain is the chain of one stream, as far as it was followed.
type chain struct {
	head

	hashed bool // there was an event with a hash
}

// next follows the chain to the next event, whose form is that of appendRoom. It
// returns the hash of the event, and what is wrong with it. Must says that it must
// have a hash.
func (c *chain) next(version int64, stored, form []byte, must bool) (hash [Size]byte, wrong Kind) {
	hash = sumRoom(form, c.bytes())
	switch {
	case version > c.version+1:
		wrong = Missing
	case version <= c.version:
		wrong = Inserted
	case len(stored) == 0 && must:
		wrong = Unhashed
	case len(stored) > 0 && !bytes.Equal(stored, hash[:]):
		wrong = Changed
	}
	c.head = head{version, hash}
	if len(stored) > 0 {
		c.hashed = true
		if wrong != "" && len(stored) == Size {
			c.hash = [Size]byte(stored) // what follows is told apart from what went before
		}
	}
	return hash, wrong
}
