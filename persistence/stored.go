package persistence

import "time"

// StoredEvent is an event as databases hold it: names, numbers and opaque bytes.
type StoredEvent struct {
	// ID is the event's unique id.
	ID string
	// StreamID is the id of the stream, Version the place in it, from 1 on.
	StreamID string
	Version  int64
	// Topic is the stored name of the type of event.
	Topic string
	// Time is when it happened, in UTC and whole microseconds.
	Time time.Time
	// Shape is the version of the shape of the event's data, from 1 on.
	Shape int
	// Encoding says how to read the rest: the version of the stored format, a
	// colon, and what State went through, in order, joined by "+": the transcoder,
	// the compressor, the cipher. "1:json", "1:json+zstd+aesgcm".
	Encoding string
	// State is the event's data, encoded. Recorders never look into it.
	State []byte
	// CorrelationID and CausationID are empty if unknown.
	CorrelationID string
	CausationID   string
	// Headers is a JSON object of strings; empty if there are none. Nil and empty
	// are the same.
	Headers []byte
	// Hash binds the event to what was stored before it in its stream, see package
	// hashchain. Nil if there is none, and if the query did not ask for it.
	Hash []byte
}

// StoredSnapshot is the state of an aggregate at a version, as databases hold
// it. It stands for events that are stored, and can be made again from them.
type StoredSnapshot struct {
	// StreamID is the id of the stream, Version that of the last event whose
	// effect is in the state.
	StreamID string
	Version  int64
	// Topic is the stored name of the type of aggregate.
	Topic string
	// CreatedAt and ModifiedAt are the times of the first and the last event, in
	// UTC and whole microseconds.
	CreatedAt  time.Time
	ModifiedAt time.Time
	// Shape is the version of the shape of the state, from 1 on. Mark tells apart
	// what has the same number, and is different all the same: see
	// annals.SnapshotType.
	Shape int
	Mark  string
	// Encoding and State are as those of a [StoredEvent].
	Encoding string
	State    []byte
}

// Notification is a stored event with its position in the log, for consumers.
type Notification struct {
	// Position is the place in the log, in commit order. Positions grow; a
	// position that is visible means that no lower one will ever appear.
	Position int64
	StoredEvent
}

// Tracking says how far a consumer has got in an upstream log.
type Tracking struct {
	// Name names the consumer's tracking: usually the upstream application.
	// Names are independent of each other.
	Name string
	// Position is the position, in the upstream log, that is processed.
	Position int64
	// After, if not nil, is the position that must be tracked so far, 0 for none: what
	// lies between the two was processed by whoever read it there, and by nobody else.
	// Defaults to nil: any that is lower than Position.
	After *int64
}

// Follows reports whether the tracking may be stored where a position is tracked, 0 for
// none.
func (t *Tracking) Follows(tracked int64) bool {
	return tracked < t.Position && (t.After == nil || *t.After == tracked)
}
