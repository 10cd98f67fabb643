package annals

import (
	"fmt"
	"reflect"
	"time"
)

// LogType is a type of event that stands for itself, without an aggregate: the ids
// of all pages, say, in the order in which they were made. A stream of such events
// is read and appended to by a log of package application. It is made by
// [DefineLog], and is safe for concurrent use.
type LogType[E any] struct {
	model *model
	event *EventType
}

// DefineLog names a log and the type of its events; they are stored with the topic
// "name.event". E is a value type; a log of several types of events has an E with a
// field that tells them apart. It panics as [Define] does, and on [Discards].
//
//	var Pages = annals.DefineLog[PageCreated]("Pages", "Created")
func DefineLog[E any](name, event string, opts ...EventOption) *LogType[E] {
	t, err := newState(name, struct{}{}, Evolve(event, func(s struct{}, _ E) struct{} { return s }, opts...))
	if err == nil && t.model.events[0].discards {
		err = fmt.Errorf("event %q discards, and a log has no end", event)
	}
	if err != nil {
		panic(fmt.Sprintf("annals: DefineLog(%q, %q): %v", name, event, err))
	}
	return &LogType[E]{model: t.model, event: t.model.events[0]}
}

// Name returns the stored name of the log.
func (t *LogType[E]) Name() string { return t.model.name }

// EventTypes returns the type of the log's events.
func (t *LogType[E]) EventTypes() []*EventType { return []*EventType{t.event} }

// WithClock returns a copy of the type whose events take their time, and that in
// their ids, from now. Default: [time.Now].
func (t *LogType[E]) WithClock(now func() time.Time) *LogType[E] {
	m := *t.model
	m.now = now
	return &LogType[E]{model: &m, event: t.event}
}

// WithIDs returns a copy of the type whose events take their ids from newID, which
// must never return one twice, see [WithEventID]. Default: new UUIDs of version 7,
// see [Event].
func (t *LogType[E]) WithIDs(newID func() string) *LogType[E] {
	m := *t.model
	m.newID = func(time.Time) string { return newID() }
	return &LogType[E]{model: &m, event: t.event}
}

// Event returns the event that is to stand at a version of a stream. It is not
// stored yet.
func (t *LogType[E]) Event(streamID string, version int64, e E, opts ...TriggerOption) Event {
	return t.model.newEvent(streamID, version, t.event, e, opts)
}

// GoType returns the type of the events' data.
func (t *LogType[E]) GoType() reflect.Type { return t.event.present }
