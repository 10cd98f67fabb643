package annals

import (
	"fmt"
	"reflect"
)

// State is an aggregate of the functional style: an immutable value S, and the
// identity and version that every aggregate has. It is used through a decider of
// package application, or with [State.Trigger].
type State[S any] struct {
	Aggregate

	value S
}

// Value returns the state as the last event left it. It must not be changed, nor
// what it points to.
func (s *State[S]) Value() S { return s.value }

// Trigger makes an event happen, as the function [Trigger] does for aggregates:
// the event must be a value of a type that [Evolve] names. It panics as that one
// does.
func (s *State[S]) Trigger(e any, opts ...TriggerOption) { triggerRoot(s, &s.Aggregate, e, opts) }

// DefineState names a type of immutable state and its events: the functional
// counterpart of [Define], with the same names, versions, snapshots and cache.
//
//	var Accounts = annals.DefineState("Account", Account{},
//		annals.Evolve("Opened", func(a Account, e Opened) Account { a.Owner = e.Owner; return a }),
//		annals.Evolve("Deposited", func(a Account, e Deposited) Account { a.Balance += e.Amount; return a }))
//
// Initial is the state before the first event, of every stream. S is inferred. It
// panics as [Define] does, and if initial has a slice with spare capacity, in which
// the states of two streams would append over each other.
func DefineState[S any](name string, initial S, parts ...Part[State[S]]) *Type[State[S]] {
	t, err := newState(name, initial, parts...)
	if err != nil {
		panic(fmt.Sprintf("annals: DefineState(%q): %v", name, err))
	}
	return t
}

func newState[S any](name string, initial S, parts ...Part[State[S]]) (*Type[State[S]], error) {
	if hasSpareCapacity(reflect.ValueOf(initial)) {
		return nil, fmt.Errorf("the initial state has a slice with spare capacity, which all streams would share; use slices.Clip")
	}
	t := &Type[State[S]]{
		model: newModel(name),
		root:  func(s *State[S]) *Aggregate { return &s.Aggregate },
		make:  func() *State[S] { return &State[S]{value: initial} },
	}
	t.model.snapshot = SnapshotType{
		shapes:  shapes{present: reflect.TypeFor[S](), decode: decoderOf[S]()},
		take:    func(a any) any { return a.(*State[S]).value },         //nolint:forcetypeassert // see TakeSnapshot
		restore: func(a, state any) { a.(*State[S]).value = state.(S) }, //nolint:forcetypeassert // see FromSnapshot
	}
	return t, define(t, parts)
}

// hasSpareCapacity reports whether a value has a slice with spare capacity, outside
// of maps and of what it points to.
func hasSpareCapacity(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		if v.Cap() > v.Len() {
			return true
		}
		for i := range v.Len() {
			if hasSpareCapacity(v.Index(i)) {
				return true
			}
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			if hasSpareCapacity(field) {
				return true
			}
		}
	default:
	}
	return false
}

// Evolve names a type of event of an immutable state, and says what the state is
// after it. The function decides nothing, cannot fail, and changes neither the
// state that it is given nor what that points to: it returns a new one. (To
// append to a slice of the state is fine.) It also runs on every replay. S and E
// are inferred; E is a value type.
func Evolve[S, E any](name string, evolve func(S, E) S, opts ...EventOption) EventDef[State[S]] {
	return newEventDef[State[S], E](name, func(a, data any) {
		s := a.(*State[S])                  //nolint:forcetypeassert // the type's own aggregate
		s.value = evolve(s.value, data.(E)) //nolint:forcetypeassert // the event's type was looked up
	}, opts)
}

// SnapshotStateAs gives the form in which an immutable state is kept in
// snapshots, as [SnapshotAs] does for aggregates. Without it, the exported fields
// of the state are kept.
func SnapshotStateAs[S, T any](take func(S) T, restore func(T) S, opts ...SnapshotOption) Part[State[S]] {
	return SnapshotAs(
		func(s *State[S]) T { return take(s.value) },
		func(s *State[S], t T) { s.value = restore(t) },
		opts...)
}
