package annalstest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
)

// GivenID is the id of the aggregate that [Given] and [GivenState] begin with.
const GivenID = "given"

// Scenario is a test of an aggregate: given events, when a command is called, then
// events. It reports what is wrong to the test, and goes on. What a command did must
// be expected by one of the methods Then…: the test fails if the scenario ends before.
// A Scenario is not safe for concurrent use.
type Scenario[A any] struct{ story[A] }

// Given begins a scenario with an aggregate that has the events behind it; with
// none, it is a new one at version 0. The events happened at the time that the clock
// of the type has now, see [annals.Type.WithClock] and [Clock].
func Given[A any](tb testing.TB, t *annals.Type[A], events ...annals.Applier[A]) *Scenario[A] {
	tb.Helper()
	s := &Scenario[A]{begin(tb, t, "Apply")}
	s.watch()
	s.given(list(events))
	return s
}

// New begins a scenario with a constructor: the events of the aggregate that it
// returns are those that [Scenario.Then] expects.
//
//	annalstest.New(t, Dogs, func() (*Dog, error) { return RegisterDog("Fido") }).Then(Registered{"Fido"})
func New[A any](tb testing.TB, t *annals.Type[A], create func() (*A, error)) *Scenario[A] {
	tb.Helper()
	s := &Scenario[A]{begin(tb, t, "Apply")}
	s.watch()
	s.when("constructor", func() error {
		a, err := create()
		if err == nil && a != nil {
			s.a, s.id = a, t.AggregateOf(a).ID()
		}
		return err
	})
	if s.err == nil && s.a == nil {
		tb.Fatalf("the constructor returned nil, and no error")
	}
	return s
}

// When calls a command. Several calls of When before a Then add up.
func (s *Scenario[A]) When(command func(a *A) error) *Scenario[A] {
	s.tb.Helper()
	s.wantAggregate()
	s.when("command", func() error { return command(s.a) })
	return s
}

// Then expects that the commands triggered these events, in this order, and no
// others, and that replaying them gives the same aggregate: state that is changed
// outside of Apply is found.
func (s *Scenario[A]) Then(events ...annals.Applier[A]) *Scenario[A] {
	s.tb.Helper()
	s.then(list(events))
	return s
}

// ThenNothing expects that the commands triggered nothing, and did not fail.
func (s *Scenario[A]) ThenNothing() *Scenario[A] {
	s.tb.Helper()
	s.then(nil)
	return s
}

// ThenError expects that the last command returned an error that is the target (see
// [errors.Is]), and that nothing was triggered nor changed.
func (s *Scenario[A]) ThenError(target error) *Scenario[A] {
	s.tb.Helper()
	s.thenError(target)
	return s
}

// ThenFailed expects an error as [Scenario.ThenError] does, and passes it to a
// function that checks it: for errors that are types.
func (s *Scenario[A]) ThenFailed(check func(err error)) *Scenario[A] {
	s.tb.Helper()
	s.thenFailed(check)
	return s
}

// ThenState passes the aggregate to a function that checks it. Then may follow it.
func (s *Scenario[A]) ThenState(check func(a *A)) *Scenario[A] {
	s.tb.Helper()
	s.thenState()
	check(s.a)
	return s
}

// StateScenario is a test of a decider: given events, when a command, then events. It
// is as strict as [Scenario] is, and finds an evolve function that changes the state
// that it is given.
type StateScenario[C, S, E any] struct {
	story[annals.State[S]]

	decide func(C, S) ([]E, error)
}

// GivenState begins a scenario with the state after the events; with none, it is
// the initial one.
//
//	annalstest.GivenState(t, Accounts, Decide, Opened{"Ada"}).When(Deposit{100}).Then(Deposited{100})
func GivenState[C, S, E any](
	tb testing.TB, t *annals.Type[annals.State[S]], decide func(command C, state S) ([]E, error), events ...any,
) *StateScenario[C, S, E] {
	tb.Helper()
	s := &StateScenario[C, S, E]{begin(tb, t, "Evolve"), decide}
	s.pure = s.changesNothing
	s.watch()
	s.given(events)
	return s
}

// When lets the function decide on a command. As with application.Decider, events
// that it returns with an error do not happen.
func (s *StateScenario[C, S, E]) When(command C) *StateScenario[C, S, E] {
	s.tb.Helper()
	s.when("command", func() error {
		events, err := s.decide(command, s.a.Value())
		if err != nil {
			return err
		}
		for _, e := range events {
			s.a.Trigger(e)
		}
		return nil
	})
	return s
}

// Then expects these events, as [Scenario.Then] does.
func (s *StateScenario[C, S, E]) Then(events ...E) *StateScenario[C, S, E] {
	s.tb.Helper()
	s.then(list(events))
	return s
}

// ThenNothing expects no events, and no error.
func (s *StateScenario[C, S, E]) ThenNothing() *StateScenario[C, S, E] {
	s.tb.Helper()
	s.then(nil)
	return s
}

// ThenError expects an error, as [Scenario.ThenError] does.
func (s *StateScenario[C, S, E]) ThenError(target error) *StateScenario[C, S, E] {
	s.tb.Helper()
	s.thenError(target)
	return s
}

// ThenFailed expects an error, as [Scenario.ThenFailed] does.
func (s *StateScenario[C, S, E]) ThenFailed(check func(err error)) *StateScenario[C, S, E] {
	s.tb.Helper()
	s.thenFailed(check)
	return s
}

// ThenState expects the state. Then may follow it.
func (s *StateScenario[C, S, E]) ThenState(want S) *StateScenario[C, S, E] {
	s.tb.Helper()
	s.thenState()
	if d := cmp.Diff(want, s.a.Value(), everything()...); d != "" {
		s.tb.Errorf("the state is another one (-want +got):\n%s", d)
	}
	return s
}

// changesNothing evolves the events from the first-th on, and compares each state with
// what it was before the next event.
func (s *StateScenario[C, S, E]) changesNothing(events []annals.Event, first int) {
	s.tb.Helper()
	for i := first; i < len(events); i++ {
		used, before := s.replayed(events[:i]), s.replayed(events[:i])
		if used == nil || before == nil {
			return
		}
		given := used.Value()
		if err := s.typ.Advance(used, sequence(events[i:i+1])); err != nil {
			return // replay reports it
		}
		if d := cmp.Diff(before.Value(), given, everything()...); d != "" {
			s.tb.Errorf("evolving %s changes the state that it is given, which others may hold; copy what it changes, such as a map "+
				"(-before +after):\n%s", events[i].Topic, d)
			return
		}
	}
}
