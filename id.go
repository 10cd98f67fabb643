package annals

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

// MaxIDLength is the greatest length of an id of a stream or an event, in bytes.
// It fits into an index of every database that Annals has a recorder for.
const MaxIDLength = 255

// NewID returns a new unique id: a UUID of version 7, whose order is that of
// time, so that a database's indexes grow at one end. It is safe for concurrent
// use.
func NewID() string {
	return uuid.Must(uuid.NewV7()).String()
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
