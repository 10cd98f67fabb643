package annalstest

import (
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
)

// story is what the scenarios of both styles have in common.
type story[A any] struct {
	tb    testing.TB
	typ   *annals.Type[A]
	place string // where the scenario begins, for what is reported at its end
	apply string // what evolves the aggregate: "Apply"
	pure  func(events []annals.Event, first int)

	id     string
	a      *A             // nil if its constructor failed
	past   []annals.Event // given, and triggered and expected
	news   []annals.Event // triggered since
	before int            // how many of news are of commands before the last
	called bool           // a command was called, and Then did not follow
	looked bool           // ThenState followed
	err    error          // of the last command, not expected yet
}

func begin[A any](tb testing.TB, t *annals.Type[A], apply string) story[A] {
	tb.Helper()
	s := story[A]{tb: tb, typ: t, apply: apply, id: GivenID, place: "a scenario"}
	if _, file, line, ok := runtime.Caller(2); ok {
		s.place = fmt.Sprintf("the scenario at %s:%d", filepath.Base(file), line)
	}
	return s
}

// watch reports at the end of the test what nobody expected.
func (s *story[A]) watch() {
	s.tb.Cleanup(func() {
		switch {
		case s.tb.Failed() || s.tb.Skipped():
		case s.err != nil:
			s.tb.Errorf("%s ends with a command that failed, and nothing expects that: %v", s.place, s.err)
		case s.called && !s.looked:
			s.tb.Errorf("%s ends with a command, and nothing says what it is to do: add a Then, a ThenNothing or a ThenError", s.place)
		}
	})
}

func (s *story[A]) given(events []any) {
	s.tb.Helper()
	for i, e := range events {
		v := reflect.ValueOf(e)
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		known := false
		for _, t := range s.typ.EventTypes() {
			known = known || v.IsValid() && t.GoType() == v.Type()
		}
		if !known {
			s.tb.Fatalf("given event %d is a %T, which %s does not have", i+1, e, s.typ.Name())
		}
		s.past = append(s.past, s.typ.Event(s.id, int64(i+1), v.Interface()))
	}
	s.a = s.replayed(s.past)
	if s.a == nil {
		s.tb.FailNow()
	}
	if s.pure != nil {
		s.pure(s.past, 0)
	}
}

func list[E any](events []E) []any {
	all := make([]any, len(events))
	for i, e := range events {
		all[i] = e
	}
	return all
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

// wantAggregate ends the test if there is none.
func (s *story[A]) wantAggregate() {
	s.tb.Helper()
	if s.a == nil {
		s.tb.Fatalf("there is no %s: its constructor failed", s.typ.Name())
	}
}

func (s *story[A]) when(what string, command func() error) {
	s.tb.Helper()
	if s.err != nil {
		s.tb.Fatalf("the command before failed, and nothing expects that: %v", s.err)
	}
	s.called, s.looked, s.before = true, false, len(s.news)
	var panicked string
	if panicked, s.err = protected(command); panicked != "" {
		s.tb.Fatalf("the %s panicked: %s", what, panicked)
	}
	if s.a != nil {
		s.news = append(s.news, s.typ.AggregateOf(s.a).CollectEvents()...)
	}
}

// protected calls a function of the user, and returns its error, or what it panicked
// with, and where.
func protected(call func() error) (panicked string, err error) {
	defer func() {
		if p := recover(); p != nil {
			panicked = fmt.Sprintf("%v\n\n%s", p, debug.Stack())
		}
	}()
	return "", call()
}

func (s *story[A]) then(want []any) {
	s.tb.Helper()
	s.wantCommand("Then")
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
	s.checkReplay()
	s.past = append(s.past, s.news...)
	s.news = nil
}

// wantCommand ends the test if there is nothing to expect anything of, and takes note
// that something is expected.
func (s *story[A]) wantCommand(what string) {
	s.tb.Helper()
	if !s.called {
		s.tb.Fatalf("%s without a command before it: add a When", what)
	}
	s.called = false
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

// replayed returns an aggregate that is made of events alone; nil, and reported, if
// there is none.
func (s *story[A]) replayed(events []annals.Event) *A {
	s.tb.Helper()
	a := s.typ.Begin(s.id)
	panicked, err := protected(func() error { return s.typ.Advance(a, sequence(events)) })
	switch {
	case panicked != "":
		s.tb.Errorf("%s panicked when the events were replayed: %s", s.apply, panicked)
		return nil
	case err != nil:
		s.tb.Errorf("the events cannot be replayed: %v", err)
		return nil
	}
	return a
}

// checkReplay compares the aggregate with one that is made of its events alone.
func (s *story[A]) checkReplay() {
	s.tb.Helper()
	if s.a == nil {
		return
	}
	events := slices.Concat(s.past, s.news)
	if s.pure != nil {
		s.pure(events, len(s.past))
	}
	again := s.replayed(events)
	if again == nil {
		return
	}
	if d := cmp.Diff(again, s.a, everything()...); d != "" {
		s.tb.Errorf("replaying the events gives another %[1]s: something is changed outside of %[2]s, or %[2]s depends on more "+
			"than its event (-replayed +commanded):\n%[3]s", s.typ.Name(), s.apply, d)
	}
}

func (s *story[A]) thenError(target error) {
	s.tb.Helper()
	if target == nil {
		s.tb.Fatalf("ThenError(nil) expects nothing: use ThenNothing")
	}
	s.wantCommand("ThenError")
	switch {
	case s.err == nil:
		s.tb.Errorf("the command did not fail, and triggered %s; expected was the error: %v", s.topics(), target)
	case !errors.Is(s.err, target):
		s.tb.Errorf("the command failed with another error:\n\twant: %v\n\tgot:  %v", target, s.err)
	}
	s.undo()
}

func (s *story[A]) thenFailed(check func(err error)) {
	s.tb.Helper()
	s.wantCommand("ThenFailed")
	if s.err == nil {
		s.tb.Errorf("the command did not fail, and triggered %s; expected was an error", s.topics())
	} else {
		check(s.err)
	}
	s.undo()
}

// undo checks that a command that failed did nothing, and goes on with an aggregate to
// which it did not happen: an application throws that of a failed command away.
func (s *story[A]) undo() {
	s.tb.Helper()
	failed := s.err
	s.err = nil
	if s.a == nil {
		return
	}
	again := s.replayed(s.past)
	switch {
	case failed == nil: // that is reported
	case s.before > 0:
		s.tb.Errorf("the commands before the one that failed triggered something: add a Then behind them")
	case len(s.news) > 0:
		s.tb.Errorf("the command failed, and triggered %s before: decide first, then trigger", s.topics())
	case again != nil:
		if d := cmp.Diff(again, s.a, everything()...); d != "" {
			s.tb.Errorf("the command failed, and changed the %s (-before +after):\n%s", s.typ.Name(), d)
		}
	}
	if again != nil {
		s.a = again
	}
	s.news = nil
}

func (s *story[A]) thenState() {
	s.tb.Helper()
	if s.err != nil {
		s.tb.Fatalf("the command failed, and nothing expects that: %v", s.err)
	}
	s.wantAggregate()
	s.looked = true
	s.checkReplay()
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
