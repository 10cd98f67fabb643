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
}
