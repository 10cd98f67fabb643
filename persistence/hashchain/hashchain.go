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
	hash := sha256.Sum256(buf)
	if cap(buf) > keptBytes {
		buf = nil
	}
	return hash, buf
}

// appendForm appends what is hashed of an event: everything that is stored of it
// but its position, which only the commit gives, each part with its length.
func appendForm(b, before []byte, e *persistence.StoredEvent) []byte {
	b = appendBytes(append(b, formatVersion), before)
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

// chain is the chain of one stream, as far as it was followed.
type chain struct {
	head

	hashed bool // there was an event with a hash
}

// next follows the chain to the next event. It returns the hash of the event, what
// is wrong with it, and the buffer. Must says that it must have a hash.
func (c *chain) next(buf []byte, e *persistence.StoredEvent, must bool) (hash [Size]byte, wrong Kind, _ []byte) {
	hash, buf = sum(buf, c.bytes(), e)
	switch {
	case e.Version > c.version+1:
		wrong = Missing
	case e.Version <= c.version:
		wrong = Inserted
	case len(e.Hash) == 0 && must:
		wrong = Unhashed
	case len(e.Hash) > 0 && !bytes.Equal(e.Hash, hash[:]):
		wrong = Changed
	}
	c.head = head{e.Version, hash}
	if len(e.Hash) > 0 {
		c.hashed = true
		if wrong != "" && len(e.Hash) == Size {
			c.hash = [Size]byte(e.Hash) // what follows is told apart from what went before
		}
	}
	return hash, wrong, buf
}
