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

// appendForm appends what is hashed: everything that is stored of an event but its
// position, which only the commit gives, each part with its length.
func appendForm(b, before []byte, e *persistence.StoredEvent) []byte {
	b = append(b, formatVersion)
	b = appendBytes(b, before)
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
