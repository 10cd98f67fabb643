package annals_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/annals-es/annals"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Dog is the aggregate of these tests.
type Dog struct {
	annals.Aggregate

	Name   string
	Tricks []string
}

type (
	Registered struct{ Name string }
	TrickAdded struct{ Trick string }
	Retired    struct{}
	Unlisted   struct{}
)

func (e Registered) Apply(d *Dog) { d.Name = e.Name }
func (Retired) Apply(*Dog)        {}
func (Unlisted) Apply(*Dog)       {}

func (e TrickAdded) Apply(d *Dog) {
	switch e.Trick {
	case "nested":
		annals.Trigger(d, Retired{})
	case "panic":
		panic("of the user")
	}
	d.Tricks = append(d.Tricks, e.Trick)
}

var Dogs = annals.Define("Dog",
	annals.On[Registered]("Registered"),
	annals.On[TrickAdded]("TrickAdded", annals.FormerName("TrickLearned"), annals.FormerName("Hound.TrickAdded")),
	annals.On[Retired]("Retired", annals.Discards()),
)

// wantPanic checks that f panics with a text that holds each of the parts.
func wantPanic(t *testing.T, f func(), parts ...string) {
	t.Helper()
	defer func() {
		t.Helper()
		text := fmt.Sprint(recover())
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("panic %q does not name %q", text, part)
			}
		}
	}()
	f()
	t.Error("no panic")
}

// sequence yields events, as a recorder would.
func sequence(events ...annals.Event) iter.Seq2[annals.Event, error] {
	return func(yield func(annals.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func wantError(t *testing.T, err, sentinel error, parts ...string) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Fatalf("got error %v, want one that is %q", err, sentinel)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not name %q", err, part)
		}
	}
}

func versions(events []annals.Event) []int64 {
	var v []int64
	for _, e := range events {
		v = append(v, e.Version)
	}
	return v
}

func topics(events []annals.Event) string {
	var s []string
	for _, e := range events {
		s = append(s, e.Topic)
	}
	return strings.Join(slices.Compact(s), " ")
}
