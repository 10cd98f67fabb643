package annals

import "time"

// Event is the envelope of an event: what happened, to which aggregate, when,
// and why. Events are facts: once saved they do not change.
type Event struct {
	// ID is unique to the event. A save that is repeated because its answer was
	// lost is recognised by it. Unless it is given, by [WithEventID] or the WithIDs of
	// the type, it is a UUID of version 7, with the time of the type's clock, whatever
	// [At] says (1970, for a clock before that). Events are in the order of their
	// versions and positions, not in that of their ids.
	ID string

	// StreamID is the id of the aggregate.
	StreamID string

	// Version is the event's place in its stream: 1, 2, 3, without gaps.
	Version int64

	// Topic is the stored name of the type of event: "Dog.Registered".
	Topic string

	// Time is when it happened, in UTC and in whole microseconds, so that every
	// database gives back the time that was put in.
	Time time.Time

	// Metadata says what the event belongs to and what caused it.
	Metadata Metadata

	// Data is the event itself, a value of the type given to [On], never a
	// pointer to it. It is an [Unknown] if no type has the topic, and the
	// application was told to keep such events.
	Data any
}

// Unknown is the data of an event whose topic no type of the application has. An
// aggregate that has such an event goes on as if nothing had happened, but for its
// version and times, and no snapshot is taken of it.
type Unknown struct {
	// Shape is the version of the shape of the data.
	Shape int
	// Transcoder is the name of the transcoder that made State: "json". State is
	// decrypted and decompressed. Both are empty if the application skips such
	// events.
	Transcoder string
	State      []byte
}

// Metadata is what is known about an event beside what happened.
type Metadata struct {
	// CorrelationID names the story that the event belongs to.
	CorrelationID string

	// CausationID is the id of the event, or of the command, that caused it.
	CausationID string

	// Headers are free: a user, a trace, a tenant. They are stored as they are,
	// outside of the encrypted state.
	Headers map[string]string
}

// TriggerOption sets a part of the envelope of one event.
type TriggerOption interface{ applyTrigger(e *Event) }

type triggerOption func(*Event)

func (o triggerOption) applyTrigger(e *Event) { o(e) }

// At gives the time at which the event happened, for imports. It is kept in UTC
// and cut to whole microseconds. Default: the clock of the aggregate's [Type].
func At(t time.Time) TriggerOption {
	return triggerOption(func(e *Event) { e.Time = storedTime(t) })
}

// WithEventID gives the event's unique id, so that a save which is repeated by another
// process, or after a restart, is recognised: at the same version of the same stream,
// and nowhere else. It is recognised by the ids alone: what is stored stays, also if the
// repeated save has other data. Who loads the stream anew and decides again saves at the
// next version, and stores a second event, with the same id. So that a command has its
// effect once, however often it comes, put the command's id into the event's data, and
// let the aggregate look for it before it decides. Default: a new one, see [Event].
func WithEventID(id string) TriggerOption {
	return triggerOption(func(e *Event) { e.ID = id })
}

// WithMetadata gives the event's metadata.
func WithMetadata(m Metadata) TriggerOption {
	return triggerOption(func(e *Event) { e.Metadata = m })
}

// storedTime returns the time as every recorder stores it.
func storedTime(t time.Time) time.Time {
	return t.UTC().Truncate(time.Microsecond)
}
