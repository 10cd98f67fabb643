package annalstest

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
)

// Scenario is a test of an aggregate: given events, when a command is called, then
// events. It reports what is wrong to the test, and goes on.
type Scenario[A any] struct{ story[A] }

// Given begins a scenario with an aggregate that has the events behind it; with
// none, it is a new one at version 0.
func Given[A any](tb testing.TB, t *annals.Type[A], events ...annals.Applier[A]) *Scenario[A] {
	tb.Helper()
	s := &Scenario[A]{story[A]{tb: tb, typ: t}}
	s.given(list(events))
	return s
}

// New begins a scenario with a constructor: the events of the aggregate that it
// returns are those that [Scenario.Then] expects.
//
//	annalstest.New(t, Dogs, func() *Dog { return RegisterDog("Fido") }).Then(Registered{"Fido"})
func New[A any](tb testing.TB, t *annals.Type[A], create func() *A) *Scenario[A] {
	tb.Helper()
	s := &Scenario[A]{story[A]{tb: tb, typ: t}}
	s.when(func() error {
		s.a = create()
		s.id = t.AggregateOf(s.a).ID()
		return nil
	})
	return s
}

// When calls a command. Several calls of When before a Then add up.
func (s *Scenario[A]) When(command func(a *A) error) *Scenario[A] {
	s.tb.Helper()
	s.when(func() error { return command(s.a) })
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

// ThenError expects that the last command returned an error that is the target,
// and that nothing was triggered.
func (s *Scenario[A]) ThenError(target error) *Scenario[A] {
	s.tb.Helper()
	s.thenError(target)
	return s
}

// ThenState passes the aggregate to a function that checks it.
func (s *Scenario[A]) ThenState(check func(a *A)) *Scenario[A] {
	s.tb.Helper()
	check(s.a)
	return s
}

// StateScenario is a test of a decider: given events, when a command, then events.
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
	s := &StateScenario[C, S, E]{story[annals.State[S]]{tb: tb, typ: t}, decide}
	s.given(events)
	return s
}

// When lets the function decide on a command.
func (s *StateScenario[C, S, E]) When(command C) *StateScenario[C, S, E] {
	s.tb.Helper()
	s.when(func() error {
		events, err := s.decide(command, s.a.Value())
		for _, e := range events {
			s.a.Trigger(e)
		}
		return err
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

// ThenState expects the state.
func (s *StateScenario[C, S, E]) ThenState(want S) *StateScenario[C, S, E] {
	s.tb.Helper()
	if d := cmp.Diff(want, s.a.Value(), everything()...); d != "" {
		s.tb.Errorf("the state is another one (-want +got):\n%s", d)
	}
	return s
}

func list[E any](events []E) []any {
	all := make([]any, len(events))
	for i, e := range events {
		all[i] = e
	}
	return all
}

// story is what the scenarios of both styles have in common.
type story[A any] struct {
	tb   testing.TB
	typ  *annals.Type[A]
	id   string
	a    *A
	past []annals.Event // given, and triggered and checked
	news []annals.Event // triggered since
	err  error          // of the last command, not checked yet
}

func (s *story[A]) given(events []any) {
	s.tb.Helper()
	s.id = "given"
	for i, e := range events {
		v := reflect.ValueOf(e)
		if v.Kind() == reflect.Pointer && !v.IsNil() {
			v = v.Elem()
		}
		topic := ""
		for _, t := range s.typ.EventTypes() {
			if v.IsValid() && t.GoType() == v.Type() {
				topic = t.Topic()
			}
		}
		if topic == "" {
			s.tb.Fatalf("given event %d is a %T, which %s does not have", i+1, e, s.typ.Name())
		}
		s.past = append(s.past, annals.Event{
			ID: fmt.Sprintf("given-%d", i+1), StreamID: s.id, Version: int64(i + 1), Topic: topic,
			Time: time.Date(2000, time.January, 1, 0, 0, i, 0, time.UTC), Data: v.Interface(),
		})
	}
	s.a = s.typ.Begin(s.id)
	if err := s.typ.Advance(s.a, sequence(s.past)); err != nil {
		s.tb.Fatalf("given: %v", err)
	}
}

func sequence(events []annals.Event) iter.Seq2[annals.Event, error] {
	return func(yield func(annals.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (s *story[A]) when(command func() error) {
	s.tb.Helper()
	if s.err != nil {
		s.tb.Fatalf("the command before failed, and nothing expected that: %v", s.err)
	}
	defer func() {
		if p := recover(); p != nil {
			s.tb.Fatalf("the command panicked: %v", p)
		}
	}()
	s.err = command()
	s.news = append(s.news, s.typ.AggregateOf(s.a).CollectEvents()...)
}

func (s *story[A]) then(want []any) {
	s.tb.Helper()
	if s.err != nil {
		s.tb.Errorf("the command failed: %v", s.err)
		s.err = nil
	}
	got := make([]any, len(s.news))
	for i, e := range s.news {
		got[i] = e.Data
	}
	for i, e := range want {
		if v := reflect.ValueOf(e); v.Kind() == reflect.Pointer && !v.IsNil() {
			want[i] = v.Elem().Interface()
		}
	}
	if len(want) == 0 {
		want = []any{}
	}
	if d := cmp.Diff(want, got, everything()...); d != "" {
		s.tb.Errorf("triggered were %s, which is not what was expected (-want +got):\n%s", s.topics(), d)
	}
	s.past = append(s.past, s.news...)
	s.news = nil
	s.replay()
}

// topics lists what was triggered.
func (s *story[A]) topics() string {
	if len(s.news) == 0 {
		return "no events"
	}
	topics := make([]string, len(s.news))
	for i, e := range s.news {
		topics[i] = e.Topic
	}
	return strings.Join(topics, ", ")
}

// replay compares the aggregate with one that is made of its events alone.
func (s *story[A]) replay() {
	s.tb.Helper()
	again := s.typ.Begin(s.id)
	if err := s.typ.Advance(again, sequence(s.past)); err != nil {
		s.tb.Errorf("the events cannot be replayed: %v", err)
		return
	}
	if d := cmp.Diff(again, s.a, everything()...); d != "" {
		s.tb.Errorf("replaying the events gives another %s: something is changed outside of Apply, or Apply depends on more "+
			"than its event (-replayed +commanded):\n%s", s.typ.Name(), d)
	}
}

func (s *story[A]) thenError(target error) {
	s.tb.Helper()
	if !errors.Is(s.err, target) || target == nil {
		s.tb.Errorf("the command returned the error %v, want %v", s.err, target)
	}
	if len(s.news) > 0 {
		s.tb.Errorf("the command failed, and triggered %s", s.topics())
	}
	s.err, s.news = nil, nil
}

// everything makes cmp look into unexported fields, but for the identity of
// aggregates and for functions, which cannot be compared.
func everything() []cmp.Option {
	return []cmp.Option{
		cmp.Exporter(func(reflect.Type) bool { return true }),
		cmp.FilterPath(func(p cmp.Path) bool {
			t := p.Last().Type()
			return t == reflect.TypeFor[annals.Aggregate]() || t != nil && t.Kind() == reflect.Func
		}, cmp.Ignore()),
	}
}
