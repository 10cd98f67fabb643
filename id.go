package annals

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// MaxIDLength is the greatest length of an id of a stream or an event, in bytes.
// It fits into an index of every database that Annals has a recorder for.
const MaxIDLength = 255

// NewID returns a new unique id: a UUID of version 7, whose order is that of
// time, so that a database's indexes grow at one end. Each is greater than all that
// the process has made before; so their time runs ahead of the clock a little while
// more than four are made in a microsecond. It is safe for concurrent use.
func NewID() string {
	for {
		last := newest.Load()
		t := max(ticks(time.Now()), last+1)
		if newest.CompareAndSwap(last, t) {
			return idAt(t)
		}
	}
}

// newest is the time of the newest id of NewID: each has a time of its own. It runs ahead of
// the clock while ids are asked for faster than that.
var newest atomic.Int64

// ticks returns a time as it is in an id: the milliseconds, and in the last 12 bits the
// fraction of one, in steps of 256 nanoseconds (RFC 9562, section 6.2, after method 3). There
// are none before 1970.
func ticks(t time.Time) int64 { return max(0, t.UnixMilli()<<12|int64(t.Nanosecond()%1e6)>>8) }

// idAt returns a UUID of version 7 for a time, with 62 random bits of the system.
func idAt(t int64) string {
	var id uuid.UUID
	_, _ = rand.Read(id[8:]) // never fails
	random := binary.BigEndian.Uint64(id[8:]) >> 2
	binary.BigEndian.PutUint64(id[:8], uint64(t)>>12<<16|7<<12|uint64(t)&0xfff) //nolint:gosec // the same bits
	binary.BigEndian.PutUint64(id[8:], 0b10<<62|random)
	return id.String()
}

// NamedID returns the id of a thing that is found by its name: the same path and
// name always give the same id, a UUID of version 5 of the URL namespace. A
// second aggregate created with such an id conflicts when it is saved. Path and
// name are joined by a slash: a name that may hold one needs a path of its own.
//
//	annals.NamedID("/pages", name)
func NamedID(path, name string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(strings.TrimSuffix(path, "/")+"/"+name)).String()
}

// CheckID returns an [*InvalidIDError] if the id cannot be stored: if it is
// empty, longer than [MaxIDLength] bytes, not UTF-8, or holds a NUL byte. What
// says which id it is, for the error: "stream id", say.
func CheckID(what, id string) error {
	var reason string
	switch {
	case id == "":
		reason = "is empty"
	case len(id) > MaxIDLength:
		reason = fmt.Sprintf("has %d bytes; the limit is %d", len(id), MaxIDLength)
		id = id[:32] + "…"
	case !utf8.ValidString(id):
		reason = "is not UTF-8"
	case strings.IndexByte(id, 0) >= 0:
		reason = "holds a NUL byte"
	default:
		return nil
	}
	return &InvalidIDError{What: what, ID: id, Reason: reason}
}
