package recordertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

func retryChecks() []check {
	return []check{
		{"a repeated batch gets the same positions, and is not stored again", "B29", Features{}, checkRepeat},
		{"a repeat with a tracking is a success", "B29, B23", Features{}, checkRepeatTracking},
		{"Do is not called for a repeat", "B29, B25", Features{}, checkRepeatDo},
		{"a batch is told to be fresh by the call that stored it, and by no other", "B29, B38", Features{}, checkFresh},
		{"the same versions with other ids conflict", "B29", Features{}, checkOtherIDs},
		{"a batch that is stored in part conflicts", "B29", Features{}, checkPartlyStored},
		{"64 repeats at one moment are stored once", "B29", Features{}, checkConcurrentRepeats},
		{"a repeat by another handle is recognised", "B29", Features{Processes: true}, checkRepeatByOther},
	}
}

func checkRepeat(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	batches := []persistence.Batch{
		batch(event("a", 1)),
		batch(event("a", 2), event("b", 1), event("a", 3)),
		batch(events("c", 1, 700)...),
		batch(event("b", 2), event("c", 701)),
	}
	for range 2 { // the second time all of them are repeats, also those that others followed
		for _, b := range batches {
			m.add(ctx, t, r, b)
			m.add(ctx, t, r, b)
			m.check(ctx, t, r)
		}
	}
	if len(m.log) != 706 {
		t.Fatalf("the model has %d events", len(m.log))
	}
	alone := batch(batches[1].Events[2]) // of a batch that was stored whole, one event
	positions, err := r.Record(ctx, alone)
	if want := []int64{m.log[3].Position}; err != nil || !slices.Equal(positions, want) {
		t.Errorf("one event of a batch, repeated: got positions %v and error %v, want %v", positions, err, want)
	}
	m.check(ctx, t, r)
}

func checkRepeatTracking(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	one := tracked(batch(event("a", 1), event("b", 1)), "upstream", 5)
	two := tracked(batch(event("a", 2)), "upstream", 6)
	for _, b := range []persistence.Batch{one, one, two, one, two} {
		m.add(ctx, t, r, b)
		m.check(ctx, t, r)
	}
}

func checkRepeatDo(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	b := tracked(batch(event("a", 1), event("b", 1)), "upstream", 1)
	calls := 0
	b.Do = func(context.Context, any) error { calls++; return nil }
	for range 3 {
		m.add(ctx, t, r, b)
	}
	if calls != 1 {
		t.Errorf("Do was called %d times", calls)
	}
	m.check(ctx, t, r)
}

func checkFresh(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	want := func(what string, r Recorder, b persistence.Batch, want, stored bool) {
		t.Helper()
		var fresh bool
		b.Fresh = &fresh
		if _, err := r.Record(ctx, b); fresh != want || (err == nil) != stored {
			t.Errorf("%s: fresh: %t, want %t; error: %v", what, fresh, want, err)
		}
	}
	do := func(b persistence.Batch, err error) persistence.Batch {
		b.Do = func(context.Context, any) error { return err }
		return b
	}
	other := s.handles(ctx, t, r, 2)[1]
	for _, c := range []struct {
		what  string
		batch persistence.Batch
	}{
		{"an event", batch(event("a", 1))},
		{"the next", batch(event("a", 2))},
		{"several streams", batch(event("b", 1), event("c", 1), event("b", 2))},
		{"events and a tracking", tracked(batch(event("a", 3)), "upstream", 1)},
		{"an event and a Do", do(batch(event("c", 2)), nil)},
	} {
		want(c.what, r, c.batch, true, true)
		want(c.what+", repeated", r, c.batch, false, true)
		want(c.what+", repeated by another", other, c.batch, false, true)
	}
	want("a tracking", r, tracked(persistence.Batch{}, "upstream", 2), true, true)
	want("a conflict", r, batch(event("a", 1)), false, false)
	want("a Do that fails", r, do(batch(event("a", 4)), &failure{}), false, false)

	b := batch(event("d", 1), event("a", 4))
	var fresh [16]bool
	together(len(fresh), func(i int) {
		b := b
		b.Fresh = &fresh[i]
		if _, err := r.Record(ctx, b); err != nil {
			t.Errorf("got error %v, want a success", err)
		}
	})
	if n := slices.Index(fresh[:], true); n < 0 || slices.Contains(fresh[n+1:], true) {
		t.Errorf("of repeats at one moment one was stored, and these were told to be fresh: %v", fresh)
	}
}

func checkOtherIDs(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	stored := batch(event("a", 1), event("b", 1), event("a", 2))
	m.add(ctx, t, r, stored)
	for k := range stored.Events {
		other := batch(slices.Clone(stored.Events)...)
		other.Events[k].ID = annals.NewID()
		_, err := r.Record(ctx, other)
		if _, ok := errors.AsType[*annals.VersionConflictError](err); !ok {
			t.Errorf("event %d has another id: got error %v, want a version conflict", k+1, err)
		}
		m.check(ctx, t, r)
	}
	_, err := r.Record(ctx, batch(event("b", 1)))
	wantConflict(t, err, conflict("b", 0, 1))
	m.check(ctx, t, r)
}

func checkPartlyStored(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	a, b := event("a", 1), event("b", 1)
	m.add(ctx, t, r, batch(a, b))
	for name, c := range map[string]struct {
		batch persistence.Batch
		want  annals.VersionConflictError
	}{
		"the stream goes on":             {batch(a, event("a", 2)), conflict("a", 0, 1)},
		"another stream goes on":         {batch(a, event("b", 2)), conflict("a", 0, 1)},
		"a new stream after it":          {batch(b, event("c", 1)), conflict("b", 0, 1)},
		"a new stream before it":         {batch(event("c", 1), a), conflict("a", 0, 1)},
		"of two streams one is repeated": {batch(a, event("b", 2), event("c", 1)), conflict("a", 0, 1)},
	} {
		_, err := r.Record(ctx, tracked(c.batch, "upstream", 1))
		t.Logf("%s: %v", name, err)
		wantConflict(t, err, c.want)
		m.check(ctx, t, r)
	}
	if position, ok := maxTracking(ctx, t, r, "upstream"); ok {
		t.Errorf("a tracking was stored: %d", position)
	}
}

// checkConcurrentRepeats is the client that gives up on an answer and sends the
// batch again while the first is still on its way.
func checkConcurrentRepeats(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	handles := s.handles(ctx, t, r, 64)
	var m model
	for round := range int64(rounds(10)) {
		b := batch(event("a", 2*round+1), event(fmt.Sprintf("b%d", round), 1), event("a", 2*round+2))
		positions := make([][]int64, 64)
		together(64, func(i int) {
			var err error
			if positions[i], err = handles[i].Record(ctx, b); err != nil {
				t.Errorf("got error %v, want a success", err)
			}
		})
		for _, got := range positions {
			if !slices.Equal(got, positions[0]) {
				t.Errorf("got positions %v and %v for one batch", positions[0], got)
			}
		}
		if problem := m.record(b, positions[0], nil); problem != "" {
			t.Error(problem)
		}
		m.check(ctx, t, r)
	}
}

func checkRepeatByOther(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	other := s.open(ctx, t)
	var m model
	for round := range int64(5) {
		b := tracked(batch(event("a", 2*round+1), event("a", 2*round+2)), "upstream", round+1)
		m.add(ctx, t, r, b)
		m.add(ctx, t, other, b)
		m.check(ctx, t, other)
		m.add(ctx, t, r, b)
		m.check(ctx, t, r)
	}
	m.check(ctx, t, s.open(ctx, t))
}
