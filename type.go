package annals

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Type is a type of aggregate: its stored name and those of its events. It is
// made by [Define] or [DefineState], usually once, in a package variable. A Type
// is safe for concurrent use.
type Type[A any] struct {
	model *model
	root  func(*A) *Aggregate
	make  func() *A
}

// model is the part of a [Type] that needs no type parameter.
type model struct {
	name       string
	events     []*EventType
	byTopic    map[string]*EventType
	snapshot   SnapshotType
	snapshotAs bool // the snapshot's form is the user's own
	now        func() time.Time
	newID      func(now time.Time) string // of an event
}

func newModel(name string) *model {
	return &model{
		name:    name,
		byTopic: make(map[string]*EventType),
		now:     time.Now,
		newID:   func(now time.Time) string { return idAt(ticks(now)) },
	}
}

// Definition is what [Define] makes, as a mapper sees it.
type Definition interface {
	// Name returns the stored name of the aggregate type.
	Name() string
	// EventTypes returns the types of its events.
	EventTypes() []*EventType
}

// Part is what a definition consists of: events, made by [On] or [Evolve], and
// what is said about snapshots, by [SnapshotAs] and [Revision].
type Part[A any] interface {
	define(m *model) error
	of(a *A) // binds A for type inference
}

// part is a part that is no event.
type part[A any] func(m *model) error

func (p part[A]) define(m *model) error { return p(m) }
func (part[A]) of(*A)                   {}

// EventDef is the definition of one type of event of A, made by [On] or [Evolve].
type EventDef[A any] struct{ def *EventType }

func (d EventDef[A]) define(m *model) error {
	if d.def == nil {
		return fmt.Errorf("an EventDef that was not made by On")
	}
	def := *d.def // an EventDef may be used in two Defines
	return m.add(&def)
}

func (EventDef[A]) of(*A) {}

// EventType describes one type of event to a mapper: how it is named, and how
// it is decoded, whatever the transcoder.
type EventType struct {
	shapes

	name         string
	topic        string
	former       []string
	formerTopics []string
	discards     bool
	apply        func(a, data any) // a is a *A, data a value of GoType
}

// Topic returns the stored name: "Dog.Registered".
func (t *EventType) Topic() string { return t.topic }

// FormerTopics returns the topics under which events of this type were stored in
// the past, see [FormerName].
func (t *EventType) FormerTopics() []string { return t.formerTopics }

// GoType returns the type of the event's data.
func (t *EventType) GoType() reflect.Type { return t.present }

// EventOption sets a property of a type of event.
type EventOption interface{ applyEvent(t *EventType) }

type eventOption func(*EventType)

func (o eventOption) applyEvent(t *EventType) { o(t) }

// FormerName gives a name that events of this type were stored under in the
// past; they still load, and new events get the present name. A name with a dot
// is a whole topic, for events of an aggregate type that was itself renamed:
//
//	annals.On[TrickAdded]("TrickAdded", annals.FormerName("TrickLearned"), annals.FormerName("Hound.TrickAdded"))
func FormerName(name string) EventOption {
	return eventOption(func(t *EventType) { t.former = append(t.former, name) })
}

// Discards marks the event as the last of its aggregate: afterwards the
// aggregate is not found, and its id cannot be created again. Its history stays.
func Discards() EventOption {
	return eventOption(func(t *EventType) { t.discards = true })
}

// On names a type of event. The name is what is stored: letters, digits,
// underscores and hyphens. E is a value type with a method Apply(*A); A is
// inferred.
func On[E Applier[A], A any](name string, opts ...EventOption) EventDef[A] {
	return newEventDef[A, E](name, func(a, data any) {
		data.(E).Apply(a.(*A)) //nolint:forcetypeassert // the event's type was looked up, and the aggregate is the type's own
	}, opts)
}

func newEventDef[A, E any](name string, apply func(a, data any), opts []EventOption) EventDef[A] {
	def := &EventType{name: name, apply: apply, shapes: shapes{present: reflect.TypeFor[E](), decode: decoderOf[E]()}}
	for _, o := range opts {
		o.applyEvent(def)
	}
	return EventDef[A]{def}
}

// Define names a type of aggregate and its events. A is inferred from the
// events. These names, not Go's, are what is stored: a renamed Go type or a
// moved package changes nothing.
//
// It panics where the program is wrong: on a name that is empty, too long or holds
// other characters than letters, digits, underscores and hyphens, on two events
// with one name (former names included), on one Go type given twice, on an event
// type that is a pointer or an interface, and on upcasts that do not follow each
// other.
func Define[A any, P Root[A]](name string, parts ...Part[A]) *Type[A] {
	t := &Type[A]{
		model: newModel(name),
		root:  func(a *A) *Aggregate { return P(a).root() },
		make:  func() *A { return new(A) },
	}
	t.model.snapshot = SnapshotType{
		shapes:  shapes{present: reflect.TypeFor[A](), decode: decoderOf[A]()},
		take:    func(a any) any { return *a.(*A) },         //nolint:forcetypeassert // see TakeSnapshot
		restore: func(a, state any) { *a.(*A) = state.(A) }, //nolint:forcetypeassert // see FromSnapshot
		verify:  func(a any) error { return checkShared(reflect.ValueOf(a)) },
	}
	err := define(t, parts)
	if err == nil && P(new(A)).root() == nil {
		err = fmt.Errorf("%v embeds a *annals.Aggregate; embed the value", reflect.TypeFor[A]())
	}
	if err != nil {
		panic(fmt.Sprintf("annals: Define(%q): %v", name, err))
	}
	return t
}

func define[A any](t *Type[A], parts []Part[A]) error {
	m := t.model
	if err := checkName(m.name); err != nil {
		return err
	}
	for _, p := range parts {
		if err := p.define(m); err != nil {
			return err
		}
	}
	if len(m.events) == 0 {
		return fmt.Errorf("no events; add annals.On[…](…)")
	}
	m.snapshot.complete(m.name)
	return nil
}

func (m *model) add(def *EventType) error {
	if err := checkName(def.name); err != nil {
		return err
	}
	if isNilable(def.present) {
		return fmt.Errorf("event %q: %v is a %v; an event is a value", def.name, def.present, def.present.Kind())
	}
	if other := m.ofGoType(def.present); other != nil {
		return fmt.Errorf("%v is both %q and %q", def.present, other.name, def.name)
	}
	if err := def.check(); err != nil {
		return fmt.Errorf("event %q: %w", def.name, err)
	}
	def.topic = m.name + "." + def.name
	def.formerTopics = nil
	if len(def.topic) > MaxIDLength {
		return fmt.Errorf("the topic %s is longer than %d bytes", def.topic, MaxIDLength)
	}
	for _, former := range def.former {
		if !strings.Contains(former, ".") {
			former = m.name + "." + former
		}
		if typeName, name, _ := strings.Cut(former, "."); checkName(typeName) != nil || checkName(name) != nil {
			return fmt.Errorf("event %q: bad former name %q", def.name, former)
		}
		def.formerTopics = append(def.formerTopics, former)
	}
	for _, topic := range slices.Concat([]string{def.topic}, def.formerTopics) {
		if other, ok := m.byTopic[topic]; ok {
			return fmt.Errorf("two events are named %s: %v and %v", topic, other.present, def.present)
		}
		m.byTopic[topic] = def
	}
	m.events = append(m.events, def)
	return nil
}

func checkName(name string) error {
	bad := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-' }
	if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("bad name %q; a name has letters, digits, '_' and '-'", name)
	}
	return nil
}

// Name returns the stored name of the aggregate type.
func (t *Type[A]) Name() string { return t.model.name }

// EventTypes returns the types of the aggregate's events, in the order in which
// they were defined.
func (t *Type[A]) EventTypes() []*EventType { return slices.Clone(t.model.events) }

// AggregateOf returns the [Aggregate] that is embedded in a.
func (t *Type[A]) AggregateOf(a *A) *Aggregate { return t.root(a) }

// WithClock returns a copy of the type whose aggregates, made and loaded, take
// the time of their events, and that in the ids of these, from now. Default:
// [time.Now].
func (t *Type[A]) WithClock(now func() time.Time) *Type[A] {
	m := *t.model
	m.now = now
	return &Type[A]{model: &m, root: t.root, make: t.make}
}

// WithIDs returns a copy of the type whose aggregates, made and loaded, take the
// ids of their events from newID, which must never return one twice: an event with
// the id of a stored one may be taken for that, see [WithEventID]. Default:
// new UUIDs of version 7, see [Event].
func (t *Type[A]) WithIDs(newID func() string) *Type[A] {
	m := *t.model
	m.newID = func(time.Time) string { return newID() }
	return &Type[A]{model: &m, root: t.root, make: t.make}
}

// New makes an aggregate. Its first event, of version 1, is e. Whether the id is
// valid and free is decided when the aggregate is saved.
//
// It panics if e's type is not in the [Define] of this type.
func (t *Type[A]) New(id string, e Applier[A], opts ...TriggerOption) *A {
	a := t.Begin(id)
	triggerRoot(a, t.root(a), e, opts)
	return a
}

// Begin makes an aggregate that has no events yet: its version is 0, and it is not
// there for anybody before its first event is saved.
func (t *Type[A]) Begin(id string) *A {
	a := t.make()
	agg := t.root(a)
	agg.id = id
	agg.model = t.model
	return a
}

// Event returns an event that is to stand at a version of a stream, with an id and
// the time of the type's clock: what [Trigger] makes, without an aggregate. It is
// applied to nothing, and not stored.
//
// It panics if data is not of a type that is in the [Define] of this type.
func (t *Type[A]) Event(streamID string, version int64, data any, opts ...TriggerOption) Event {
	value, def := t.model.find(data)
	if def == nil {
		panic(fmt.Sprintf("annals: Event(%T): no such event in Define(%q)", data, t.model.name))
	}
	return t.model.newEvent(streamID, version, def, value, opts)
}

// Replay makes an aggregate from its stored events, which must be all of them
// from version 1 on. The aggregate equals the one that triggered them, times
// included.
//
// It returns a [*NotFoundError] if there are no events or if the last one
// discards the aggregate, a [*SequenceError] for an event of another stream or
// out of order, an [*UnknownTopicError] for an event that is not of this type,
// and the error of events if it yields one.
func (t *Type[A]) Replay(id string, events iter.Seq2[Event, error]) (*A, error) {
	a := t.Begin(id)
	if err := t.Advance(a, events); err != nil {
		return nil, err
	}
	if agg := t.root(a); agg.version == 0 || agg.discarded {
		return nil, &NotFoundError{Type: t.model.name, ID: id, Discarded: agg.discarded}
	}
	return a, nil
}

// Advance takes an aggregate on by stored events, which must be those that follow
// its version. It returns the errors of [Type.Replay], but for an aggregate that
// is not there. The aggregate is then as the last event left it that was applied.
//
// Events whose data is [Unknown] change nothing but the version and the times. It
// panics if the aggregate has pending events.
func (t *Type[A]) Advance(a *A, events iter.Seq2[Event, error]) error {
	agg := t.root(a)
	if len(agg.pending) > 0 {
		panic(fmt.Sprintf("annals: Advance of %s %q, which has pending events", t.model.name, agg.id))
	}
	for e, err := range events {
		if err != nil {
			return err
		}
		if err := t.evolve(a, agg, &e); err != nil {
			return err
		}
	}
	return nil
}

func (t *Type[A]) evolve(a *A, agg *Aggregate, e *Event) error {
	if e.StreamID != agg.id || e.Version != agg.version+1 {
		return &SequenceError{
			Type: t.model.name, StreamID: agg.id, Version: agg.version + 1,
			GotStreamID: e.StreamID, GotVersion: e.Version,
		}
	}
	if _, ok := e.Data.(Unknown); ok {
		agg.advance(e)
		if agg.unknown == 0 {
			agg.unknown = e.Version
		}
		return nil
	}
	def := t.model.byTopic[e.Topic]
	if def == nil || reflect.TypeOf(e.Data) != def.present {
		return &UnknownTopicError{Topic: e.Topic, StreamID: e.StreamID, Version: e.Version, Where: "Define(\"" + t.model.name + "\")"}
	}
	agg.advance(e)
	agg.discarded = def.discards
	agg.applying = true
	def.apply(a, e.Data)
	agg.applying = false
	return nil
}
