package annals

import (
	"errors"
	"fmt"
)

// The errors that callers branch on, with [errors.Is], through every layer.
var (
	// ErrNotFound: there is no such aggregate, or it is discarded. See [*NotFoundError].
	ErrNotFound = errors.New("not found")

	// ErrVersionConflict: somebody else saved the stream first. Load again and
	// decide again. See [*VersionConflictError].
	ErrVersionConflict = errors.New("version conflict")

	// ErrSequence: events on replay are not those of one stream in order. See
	// [*SequenceError].
	ErrSequence = errors.New("out of sequence")

	// ErrInvalidID: an id is empty, too long, not text, or that of two events of one save.
	// See [*InvalidIDError].
	ErrInvalidID = errors.New("invalid id")

	// ErrUnknownTopic: no type of event has this name. See [*UnknownTopicError].
	ErrUnknownTopic = errors.New("unknown topic")

	// ErrUnencodable: an event holds a value that would not come back as it was.
	ErrUnencodable = errors.New("cannot be encoded")

	// ErrUndecodable: a stored event cannot be read.
	ErrUndecodable = errors.New("cannot be decoded")

	// ErrTrackingConflict: the position was already tracked. Its effects are
	// stored; there is nothing left to do. See [*TrackingConflictError].
	ErrTrackingConflict = errors.New("tracking conflict")

	// ErrOutcomeUnknown: the database did not say whether it stored a save.
	// Repeat the same save: what was stored is not stored twice.
	ErrOutcomeUnknown = errors.New("outcome unknown")

	// ErrClosed: the application or recorder was closed.
	ErrClosed = errors.New("closed")

	// ErrUnsupported: the recorder cannot do this.
	ErrUnsupported = errors.New("not supported")

	// ErrConfiguration: a setting is missing or wrong.
	ErrConfiguration = errors.New("bad configuration")
)

// NotFoundError says which aggregate was not found. It is [ErrNotFound].
type NotFoundError struct {
	// Type is the name of the aggregate type, and ID the id that was asked for.
	Type, ID string
	// Discarded reports that the aggregate existed and was discarded.
	Discarded bool
	// At says which state was asked for, if not the latest: "at version 3".
	At string
}

// Error names the aggregate.
func (e *NotFoundError) Error() string {
	s := fmt.Sprintf("annals: %s %q", e.Type, e.ID)
	if e.At != "" {
		s += " " + e.At
	}
	if e.Discarded {
		return s + ": not found: it was discarded"
	}
	return s + ": not found"
}

// Is reports whether target is [ErrNotFound].
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// VersionConflictError says which stream was not at the expected version.
// Nothing of the save was stored. It is [ErrVersionConflict].
type VersionConflictError struct {
	// StreamID is the id of the stream.
	StreamID string
	// Expected is the version that the save expected the stream to have: its
	// first new event has the version after it. Actual is the version that the
	// stream has; 0 if it does not exist.
	Expected, Actual int64
}

// Error names the stream and both versions.
func (e *VersionConflictError) Error() string {
	if e.Expected == 0 {
		return fmt.Sprintf("annals: version conflict: stream %q was expected not to exist, and is at version %d", e.StreamID, e.Actual)
	}
	return fmt.Sprintf("annals: version conflict: stream %q is at version %d, not %d: load it and decide again",
		e.StreamID, e.Actual, e.Expected)
}

// Is reports whether target is [ErrVersionConflict].
func (e *VersionConflictError) Is(target error) bool { return target == ErrVersionConflict }

// SequenceError says which event was expected on replay, and which came. It is
// [ErrSequence].
type SequenceError struct {
	// Type is the name of the aggregate type.
	Type string
	// StreamID and Version are those of the event that was expected.
	StreamID string
	Version  int64
	// GotStreamID and GotVersion are those of the event that came.
	GotStreamID string
	GotVersion  int64
}

// Error names both events, and says what to do.
func (e *SequenceError) Error() string {
	wrong := "they are not those of one stream in order"
	if e.GotStreamID == e.StreamID && e.GotVersion > e.Version {
		wrong = "events are missing"
	}
	return fmt.Sprintf("annals: replay of %s: out of sequence: expected version %d of stream %q, got version %d of stream %q: "+
		"%s: if they were stored so, verify the log, and compare it with a backup",
		e.Type, e.Version, e.StreamID, e.GotVersion, e.GotStreamID, wrong)
}

// Is reports whether target is [ErrSequence].
func (e *SequenceError) Is(target error) bool { return target == ErrSequence }

// InvalidIDError says which id cannot be stored, and why. It is [ErrInvalidID].
type InvalidIDError struct {
	// What says which id it is: "stream id".
	What string
	// ID is the id, cut if it is too long.
	ID string
	// Reason says what is wrong: "is empty".
	Reason string
}

// Error names the id and the reason.
func (e *InvalidIDError) Error() string {
	return fmt.Sprintf("annals: invalid id: %s %q %s", e.What, e.ID, e.Reason)
}

// Is reports whether target is [ErrInvalidID].
func (e *InvalidIDError) Is(target error) bool { return target == ErrInvalidID }

// UnknownTopicError says which event has a topic that nothing defines. It is
// [ErrUnknownTopic].
type UnknownTopicError struct {
	// Topic is the name that is not known.
	Topic string
	// StreamID and Version say which event it is.
	StreamID string
	Version  int64
	// Where says where the topic was looked for.
	Where string
}

// Error names the topic and the event.
func (e *UnknownTopicError) Error() string {
	return fmt.Sprintf("annals: unknown topic %q of version %d of stream %q: not in %s; define it, give its new name a FormerName, "+
		"or update this program if newer code wrote it",
		e.Topic, e.Version, e.StreamID, e.Where)
}

// Is reports whether target is [ErrUnknownTopic].
func (e *UnknownTopicError) Is(target error) bool { return target == ErrUnknownTopic }

// TrackingConflictError says which upstream position was already tracked, or does not
// follow what is. Nothing of the save was stored. It is [ErrTrackingConflict].
type TrackingConflictError struct {
	// Name is the name of the tracking: usually that of the upstream application.
	Name string
	// Position is the position that was to be tracked, Actual the one that is.
	Position, Actual int64
}

// Error names the tracking and both positions.
func (e *TrackingConflictError) Error() string {
	if e.Actual < e.Position {
		return fmt.Sprintf("annals: tracking conflict: position %d of %q does not follow: it is tracked up to %d, which was not expected",
			e.Position, e.Name, e.Actual)
	}
	return fmt.Sprintf("annals: tracking conflict: position %d of %q was already processed: it is tracked up to %d",
		e.Position, e.Name, e.Actual)
}

// Is reports whether target is [ErrTrackingConflict].
func (e *TrackingConflictError) Is(target error) bool { return target == ErrTrackingConflict }
