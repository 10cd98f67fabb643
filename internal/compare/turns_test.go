package compare_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals/internal/compare"
)

// side takes a time for each of its events, and notes its name.
func side(name string, events int, each time.Duration, notes *strings.Builder) compare.Side {
	return compare.Side{
		Events:  events,
		Prepare: func() { wait(time.Hour) },
		Round: func() error {
			notes.WriteString(name)
			wait(time.Duration(events) * each)
			return nil
		},
	}
}

// wait waits in the time of a bubble.
func wait(d time.Duration) { <-time.After(d) }

func TestTurnsTakeTheMedianOfTimesPerEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var notes strings.Builder
		slow := side("s", 2, 0, &notes)
		n := 0
		slow.Round = func() error {
			n++
			wait(time.Duration(2*n*n) * time.Second) // 1, 4, 9, 16, 25 seconds an event
			return nil
		}
		turns := compare.NewTurns(side("f", 10, time.Second, &notes), slow)
		for range 5 {
			if err := turns.Next(); err != nil {
				t.Fatal(err)
			}
		}
		if fast, slow := turns.PerEvent(0), turns.PerEvent(1); fast != time.Second || slow != 9*time.Second {
			t.Errorf("the medians are %v and %v, want 1s and 9s", fast, slow)
		}
		if diff := cmp.Diff(compare.Ratio{Low: 4, Median: 9, High: 16}, turns.Ratio(0, 1)); diff != "" {
			t.Errorf("how many times as fast (-want +got):\n%s", diff)
		}
	})
}

func TestEachSideBeginsAndFollowsEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var notes strings.Builder
		turns := compare.NewTurns(
			side("a", 1, time.Second, &notes), side("b", 1, time.Second, &notes), side("c", 1, time.Second, &notes))
		for range 7 {
			if err := turns.Next(); err != nil {
				t.Fatal(err)
			}
			notes.WriteString(" ")
		}
		if got, want := notes.String(), "abc bca cab cba acb bac abc "; got != want {
			t.Errorf("the order is %q, want %q", got, want)
		}
	})
}

func TestATurnThatFailsDoesNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var notes strings.Builder
		var broken error
		last := side("b", 1, time.Second, &notes)
		last.Round = func() error {
			wait(time.Second)
			if broken != nil {
				wait(time.Hour)
			}
			return broken
		}
		turns := compare.NewTurns(side("a", 1, 2*time.Second, &notes), last)
		for _, broken = range []error{nil, errors.New("the disk is full"), nil} {
			if err := turns.Next(); !errors.Is(err, broken) {
				t.Errorf("the turn gives the error %v, want %v", err, broken)
			}
		}
		if diff := cmp.Diff(compare.Ratio{Low: 0.5, Median: 0.5, High: 0.5}, turns.Ratio(0, 1)); diff != "" {
			t.Errorf("how many times as fast (-want +got):\n%s", diff)
		}
	})
}
