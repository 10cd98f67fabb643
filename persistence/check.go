package persistence

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/annals-es/annals"
)

// maxNameLength is the greatest length of a topic, an encoding, a tracking name,
// a correlation or causation id, in bytes.
const maxNameLength = annals.MaxIDLength

// maxHashLength is the greatest length of a hash, in bytes.
const maxHashLength = 64

// The years that every transcoder and database can hold.
var (
	minTime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	maxTime = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
)

// InvalidEventError says which event cannot be stored, and why. It is
// [annals.ErrUnencodable].
type InvalidEventError struct {
	Topic    string
	StreamID string
	Version  int64
	Reason   string
}

// Error names the event and the reason.
func (e *InvalidEventError) Error() string {
	return fmt.Sprintf("persistence: %s, version %d of stream %q: %s", e.Topic, e.Version, e.StreamID, e.Reason)
}

// Is reports whether target is [annals.ErrUnencodable].
func (e *InvalidEventError) Is(target error) bool { return target == annals.ErrUnencodable }

// Check returns the typed error of the first part of the batch that no recorder
// may store: an id that is empty, too long, not UTF-8 or there twice
// ([annals.ErrInvalidID]); an event without a topic, or with a time outside of the years 1 to 9999
// ([annals.ErrUnencodable]); versions of one stream that are not consecutive
// ([annals.ErrVersionConflict]); a tracked position below 1, or not behind the one
// that it is to follow. Every recorder calls it first.
func (b *Batch) Check() error {
	for i := range b.Events {
		if err := b.Events[i].check(); err != nil {
			return err
		}
	}
	if len(b.Events) > 1 {
		if err := checkTogether(b.Events); err != nil {
			return err
		}
	}
	if t := b.Tracking; t != nil {
		if err := annals.CheckID("tracking name", t.Name); err != nil {
			return err
		}
		if t.Position < 1 {
			return fmt.Errorf("persistence: tracking %q: position %d: positions start at 1: %w",
				t.Name, t.Position, annals.ErrConfiguration)
		}
		if t.After != nil && (*t.After < 0 || *t.After >= t.Position) {
			return fmt.Errorf("persistence: tracking %q: position %d after %d: positions grow: %w",
				t.Name, t.Position, *t.After, annals.ErrConfiguration)
		}
	}
	return nil
}

// checkTogether checks what events of a batch have to do with each other.
func checkTogether(events []StoredEvent) error {
	ids := make(map[string]bool, len(events))
	versions := make(map[string]int64)
	for i := range events {
		e := &events[i]
		if ids[e.ID] {
			return &annals.InvalidIDError{What: "event id", ID: e.ID, Reason: fmt.Sprintf(
				"is there twice, again in version %d of stream %q", e.Version, e.StreamID)}
		}
		ids[e.ID] = true
		if last, ok := versions[e.StreamID]; ok && e.Version != last+1 {
			return &annals.VersionConflictError{StreamID: e.StreamID, Expected: e.Version - 1, Actual: last}
		}
		versions[e.StreamID] = e.Version
	}
	return nil
}

func (e *StoredEvent) check() error {
	if err := annals.CheckID("stream id", e.StreamID); err != nil {
		return err
	}
	if err := annals.CheckID("event id", e.ID); err != nil {
		return err
	}
	if reason := e.wrong(); reason != "" {
		return &InvalidEventError{e.Topic, e.StreamID, e.Version, reason}
	}
	return nil
}

// wrong returns what is wrong with the event, apart from its ids.
func (e *StoredEvent) wrong() (reason string) {
	if reason := checkEnvelope(e.Version, e.Shape, e.Topic, e.Encoding); reason != "" {
		return reason
	}
	if reason := checkTime(e.Time); reason != "" {
		return reason
	}
	switch {
	case len(e.Hash) > maxHashLength:
		return fmt.Sprintf("its hash is longer than %d bytes", maxHashLength)
	case !isName(e.CorrelationID):
		return badName("correlation id")
	case !isName(e.CausationID):
		return badName("causation id")
	default:
		return ""
	}
}

// Check returns the typed error of the first part of the snapshot that no
// recorder may store: a stream id that is no id ([annals.ErrInvalidID]), and what
// is not allowed in events either ([annals.ErrUnencodable]). Every recorder calls
// it first.
func (s *StoredSnapshot) Check() error {
	if err := annals.CheckID("stream id", s.StreamID); err != nil {
		return err
	}
	if reason := s.wrong(); reason != "" {
		return &InvalidEventError{s.Topic, s.StreamID, s.Version, "snapshot: " + reason}
	}
	return nil
}

// wrong returns what is wrong with the snapshot, apart from its stream's id.
func (s *StoredSnapshot) wrong() (reason string) {
	if reason := checkEnvelope(s.Version, s.Shape, s.Topic, s.Encoding); reason != "" {
		return reason
	}
	for _, t := range []time.Time{s.CreatedAt, s.ModifiedAt} {
		if reason := checkTime(t); reason != "" {
			return reason
		}
	}
	if !isName(s.Mark) {
		return badName("mark")
	}
	return ""
}

// checkEnvelope checks what events and snapshots have in common. It returns what is wrong.
func checkEnvelope(version int64, shape int, topic, encoding string) (reason string) {
	switch {
	case version < 1:
		return "versions start at 1"
	case shape < 1:
		return "shapes start at 1"
	case topic == "" || encoding == "":
		return "topic and encoding must not be empty"
	case !isName(topic):
		return badName("topic")
	case !isName(encoding):
		return badName("encoding")
	default:
		return ""
	}
}

// checkTime returns what is wrong with a time that is to be stored.
func checkTime(t time.Time) (reason string) {
	switch {
	case t.Before(minTime) || t.After(maxTime):
		return fmt.Sprintf("time %v is not within the years 1 to 9999", t)
	case t.Location() != time.UTC || t.Nanosecond()%1000 != 0:
		return "its time is not in UTC and whole microseconds"
	default:
		return ""
	}
}

// isName reports whether every recorder can store the text as a name.
func isName(text string) bool {
	if len(text) > maxNameLength {
		return false
	}
	for text != "" && text[0] != 0 && text[0] < utf8.RuneSelf { // most names are ASCII, and short
		text = text[1:]
	}
	return text == "" || utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}

func badName(what string) (reason string) {
	return fmt.Sprintf("%s is longer than %d bytes, not UTF-8, or holds a NUL byte", what, maxNameLength)
}
