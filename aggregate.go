package annals

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Aggregate is embedded in the types of a domain model. It holds the identity
// of the aggregate, its version, and the events that wait to be saved.
//
// An aggregate is made by [Type.New] or loaded by a repository; its zero value
// cannot trigger events. It is not safe for concurrent use: each goroutine loads
// its own, and the version decides who wins.
type Aggregate struct {
	id         string
	version    int64
	createdAt  time.Time
	modifiedAt time.Time
	discarded  bool
	applying   bool  // an Apply runs
	unknown    int64 // the version of the first event that the code does not know; 0 if there is none
	pending    []Event
	model      *model
}

// Root is satisfied by pointers to types that embed [Aggregate], and by no
// others.
type Root[A any] interface {
	*A
	root() *Aggregate
}

// Applier is an event of the aggregate type A. Apply changes the aggregate as
// the event says. It decides nothing and cannot fail: it also runs on every
// replay.
type Applier[A any] interface {
	Apply(a *A)
}

// ID returns the aggregate's id, which is the id of its stream.
func (a *Aggregate) ID() string { return a.id }

// Version returns the version of the aggregate's last event, pending events
// included; 0 before the first.
func (a *Aggregate) Version() int64 { return a.version }

// CreatedAt returns the time of the first event.
func (a *Aggregate) CreatedAt() time.Time { return a.createdAt }

// ModifiedAt returns the time of the last event.
func (a *Aggregate) ModifiedAt() time.Time { return a.modifiedAt }

// Discarded reports whether the last event was a discarding one, see [Discards].
func (a *Aggregate) Discarded() bool { return a.discarded }

// PendingEvents returns the events that were triggered and not yet collected, in
// order. The slice belongs to the aggregate and must not be changed.
func (a *Aggregate) PendingEvents() []Event { return a.pending }

// CollectEvents returns the pending events, in order, and forgets them: a second
// call returns none. Saving an aggregate does this, once all is stored; when a
// save fails, the events stay pending, so that the save can be repeated.
func (a *Aggregate) CollectEvents() []Event {
	events := a.pending
	a.pending = nil
	return events
}

func (a *Aggregate) root() *Aggregate { return a }

// Trigger makes an event happen: it is applied to the aggregate at once, and
// waits there to be saved. What the event points to is not copied: do not change
// it afterwards. An event of another aggregate type does not compile ("does not
// satisfy annals.Root").
//
// It panics where the program is wrong: if the event's type is not in the
// aggregate's [Define], if the aggregate was neither made by [Type.New] nor
// loaded, if it is discarded, or if it is called by an Apply.
func Trigger[A any, P Root[A]](a P, e Applier[A], opts ...TriggerOption) {
	triggerRoot((*A)(a), a.root(), e, opts)
}

// triggerRoot makes an event happen to a, which is a *A, and whose embedded
// aggregate is agg.
func triggerRoot(a any, agg *Aggregate, e any, opts []TriggerOption) {
	if agg.model == nil {
		panic(fmt.Sprintf("annals: Trigger(%T) on a %T that was neither made by New nor loaded from a repository", e, a))
	}
	if agg.discarded {
		panic(fmt.Sprintf("annals: Trigger(%T) on %s %q, which is discarded", e, agg.model.name, agg.id))
	}
	if agg.applying {
		panic(fmt.Sprintf("annals: Trigger(%T) by an Apply of %s %q: Apply decides nothing, it also runs on every replay",
			e, agg.model.name, agg.id))
	}
	data, def := agg.model.find(e)
	if def == nil {
		panic(fmt.Sprintf("annals: Trigger(%T): no such event in Define(%q); add annals.On[%s](…), with an Apply that has a value receiver",
			e, agg.model.name, strings.TrimPrefix(fmt.Sprintf("%T", e), "*")))
	}
	event := agg.model.newEvent(agg.id, agg.version+1, def, data, opts)
	before := *agg
	defer func() {
		if agg.applying { // Apply panicked: the event did not happen
			*agg = before
		}
	}()
	agg.advance(&event)
	agg.discarded = def.discards
	agg.applying = true
	def.apply(a, data)
	agg.applying = false
	agg.pending = append(agg.pending, event)
}

func (m *model) newEvent(streamID string, version int64, def *EventType, data any, opts []TriggerOption) (event Event) {
	now := m.now()
	event = Event{StreamID: streamID, Version: version, Topic: def.topic, Time: storedTime(now), Data: data}
	if len(opts) > 0 {
		event = event.with(opts)
	}
	if event.ID == "" {
		event.ID = m.newID(now)
	}
	return event
}

// with returns the event with what the options say. It is not a part of newEvent: what they
// are given the address of is on the heap.
func (e Event) with(opts []TriggerOption) Event {
	for _, o := range opts {
		o.applyTrigger(&e)
	}
	return e
}

// find returns the event as a value, and its definition; nil if it has none.
func (m *model) find(e any) (any, *EventType) {
	t := reflect.TypeOf(e)
	if def := m.ofGoType(t); def != nil {
		return e, def
	}
	if t != nil && t.Kind() == reflect.Pointer {
		if def := m.ofGoType(t.Elem()); def != nil && !reflect.ValueOf(e).IsNil() {
			return reflect.ValueOf(e).Elem().Interface(), def
		}
	}
	return nil, nil
}

// ofGoType returns the event with the type; nil if there is none. They are so few that a map
// would take longer.
func (m *model) ofGoType(t reflect.Type) *EventType {
	for _, def := range m.events {
		if def.present == t {
			return def
		}
	}
	return nil
}

// advance takes over from an event what every aggregate knows of its last event.
func (a *Aggregate) advance(e *Event) {
	if a.version == 0 {
		a.createdAt = e.Time
	}
	a.version = e.Version
	a.modifiedAt = e.Time
}
