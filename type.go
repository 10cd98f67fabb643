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
// made by [Define], usually once, in a package variable. A Type is safe for
// concurrent use.
type Type[A any] struct {
	model *model
	root  func(*A) *Aggregate
}

// model is the part of a [Type] that needs no type parameter.
type model struct {
	name     string
	events   []*EventType
	byGoType map[reflect.Type]*EventType
	byTopic  map[string]*EventType
	now      func() time.Time
}

// Definition is what [Define] makes, as a mapper sees it.
type Definition interface {
	// Name returns the stored name of the aggregate type.
	Name() string
	// EventTypes returns the types of its events.
	EventTypes() []*EventType
}

// EventDef is the definition of one type of event of A, made by [On].
type EventDef[A any] struct{ def *EventType }

// EventType describes one type of event to a mapper: how it is named, and how
// it is decoded, whatever the transcoder.
type EventType struct {
	name         string
	topic        string
	former       []string
	formerTopics []string
	discards     bool
	goType       reflect.Type
	decode       func(unmarshal func(any) error) (any, error)
}

// Topic returns the stored name: "Dog.Registered".
func (t *EventType) Topic() string { return t.topic }

// FormerTopics returns the topics under which events of this type were stored in
// the past, see [FormerName].
func (t *EventType) FormerTopics() []string { return t.formerTopics }

// GoType returns the type of the event's data.
func (t *EventType) GoType() reflect.Type { return t.goType }

// Shape returns the version of the shape of the event's data that the code
// knows, from 1 on. A stored event of a newer shape is refused.
func (t *EventType) Shape() int { return 1 }

// Decode returns the data of an event, a value of [EventType.GoType]. It calls
// unmarshal once, with a pointer to what is to be filled.
func (t *EventType) Decode(unmarshal func(target any) error) (any, error) {
	return t.decode(unmarshal)
}

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
	def := &EventType{
		name:   name,
		goType: reflect.TypeFor[E](),
		decode: func(unmarshal func(any) error) (any, error) {
			var e E
			err := unmarshal(&e)
			return e, err
		},
	}
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
// with one name (former names included), on one Go type given twice, and on an event
// type that is a pointer or an interface.
func Define[A any, P Root[A]](name string, events ...EventDef[A]) *Type[A] {
	m := &model{
		name:     name,
		byGoType: make(map[reflect.Type]*EventType, len(events)),
		byTopic:  make(map[string]*EventType, len(events)),
		now:      time.Now,
	}
	err := m.build(definitions(events))
	if err == nil && P(new(A)).root() == nil {
		err = fmt.Errorf("%v embeds a *annals.Aggregate; embed the value", reflect.TypeFor[A]())
	}
	if err != nil {
		panic(fmt.Sprintf("annals: Define(%q): %v", name, err))
	}
	return &Type[A]{model: m, root: func(a *A) *Aggregate { return P(a).root() }}
}

func definitions[A any](events []EventDef[A]) []*EventType {
	defs := make([]*EventType, len(events))
	for i, e := range events {
		defs[i] = e.def
	}
	return defs
}

func (m *model) build(defs []*EventType) error {
	if err := checkName(m.name); err != nil {
		return err
	}
	if len(defs) == 0 {
		return fmt.Errorf("no events; add annals.On[…](…)")
	}
	for _, given := range defs {
		if given == nil {
			return fmt.Errorf("an EventDef that was not made by On")
		}
		def := *given // an EventDef may be used in two Defines
		if err := m.add(&def); err != nil {
			return err
		}
	}
	return nil
}

func (m *model) add(def *EventType) error {
	if err := checkName(def.name); err != nil {
		return err
	}
	if k := def.goType.Kind(); k == reflect.Pointer || k == reflect.Interface {
		return fmt.Errorf("event %q: %v is a %v; an event is a value", def.name, def.goType, k)
	}
	if other, ok := m.byGoType[def.goType]; ok {
		return fmt.Errorf("%v is both %q and %q", def.goType, other.name, def.name)
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
			return fmt.Errorf("two events are named %s: %v and %v", topic, other.goType, def.goType)
		}
		m.byTopic[topic] = def
	}
	m.byGoType[def.goType] = def
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
// the time of their events from now. Default: [time.Now].
func (t *Type[A]) WithClock(now func() time.Time) *Type[A] {
	m := *t.model
	m.now = now
	return &Type[A]{model: &m, root: t.root}
}

// New makes an aggregate. Its first event, of version 1, is e. Whether the id is
// valid and free is decided when the aggregate is saved.
//
// It panics if e's type is not in the [Define] of this type.
func (t *Type[A]) New(id string, e Applier[A], opts ...TriggerOption) *A {
	a := new(A)
	agg := t.root(a)
	agg.id = id
	agg.model = t.model
	trigger(a, agg, e, opts)
	return a
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
	a := new(A)
	agg := t.root(a)
	agg.id = id
	agg.model = t.model
	for e, err := range events {
		if err != nil {
			return nil, err
		}
		if err := t.evolve(a, agg, &e); err != nil {
			return nil, err
		}
	}
	if agg.version == 0 || agg.discarded {
		return nil, &NotFoundError{Type: t.model.name, ID: id, Discarded: agg.discarded}
	}
	return a, nil
}

func (t *Type[A]) evolve(a *A, agg *Aggregate, e *Event) error {
	if e.StreamID != agg.id || e.Version != agg.version+1 {
		return &SequenceError{
			Type: t.model.name, StreamID: agg.id, Version: agg.version + 1,
			GotStreamID: e.StreamID, GotVersion: e.Version,
		}
	}
	def := t.model.byTopic[e.Topic]
	applier, ok := e.Data.(Applier[A])
	if def == nil || !ok {
		return &UnknownTopicError{Topic: e.Topic, StreamID: e.StreamID, Version: e.Version, Where: "Define(\"" + t.model.name + "\")"}
	}
	agg.advance(e, def)
	agg.applying = true
	applier.Apply(a)
	agg.applying = false
	return nil
}
