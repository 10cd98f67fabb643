package recordertest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

func trackingChecks() []check {
	return []check{
		{"a tracking only grows, and may leave gaps", "B22, B23", Features{}, checkTrackingGrows},
		{"trackings of different names are independent", "B22", Features{}, checkTrackingNames},
		{"events and tracking are stored together or not at all", "B22, B23", Features{}, checkTrackingAtomic},
		{"of 64 saves of one tracked position one has its effect", "B22, B23", Features{}, checkOneEffect},
		{"a tracking follows the position that it says", "B22, B23", Features{}, checkTrackingFollows},
		{"of 64 saves that follow one tracked position one has its effect", "B22, B23", Features{}, checkOneFollows},
	}
}

// follows is a batch whose tracking says which position it follows.
func follows(b persistence.Batch, name string, after, position int64) persistence.Batch {
	b = tracked(b, name, position)
	b.Tracking.After = &after
	return b
}

func checkTrackingFollows(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	refused := func(b persistence.Batch, actual int64) {
		t.Helper()
		_, err := r.Record(ctx, b)
		wantTrackingConflict(t, err, annals.TrackingConflictError{Name: "upstream", Position: b.Tracking.Position, Actual: actual})
		m.check(ctx, t, r)
	}
	refused(follows(batch(), "upstream", 1, 5), 0)
	first := follows(batch(event("a", 1)), "upstream", 0, 5)
	m.add(ctx, t, r, first)
	refused(follows(batch(event("a", 2)), "upstream", 0, 6), 5)
	refused(follows(batch(event("a", 2)), "upstream", 4, 9), 5)
	refused(follows(batch(), "upstream", 6, 9), 5)
	refused(follows(batch(event("b", 1)), "upstream", 4, 5), 5)
	m.add(ctx, t, r, follows(batch(event("a", 2), event("b", 1)), "upstream", 5, 9))
	m.add(ctx, t, r, follows(batch(), "upstream", 9, 1<<62))
	m.add(ctx, t, r, follows(batch(), "another", 0, 1))

	positions, err := r.Record(ctx, first) // its answer may have been lost
	if err != nil || len(positions) != 1 || positions[0] != 1 {
		t.Errorf("the first batch again: %v, %v", positions, err)
	}
	for _, wrong := range [][2]int64{{5, 5}, {6, 5}, {-1, 5}} {
		_, err := r.Record(ctx, follows(batch(), "wrong", wrong[0], wrong[1]))
		wantIs(t, fmt.Sprintf("position %d after %d", wrong[1], wrong[0]), err, annals.ErrConfiguration)
	}
	m.check(ctx, t, r)
}

// checkOneFollows is many runners of one consumer, which process several upstream events
// at once, each another number of them.
func checkOneFollows(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	handles := s.handles(ctx, t, r, 64)
	last, effects := int64(0), 0
	for round := range rounds(20) {
		results := make([]error, 64)
		together(64, func(i int) {
			b := follows(batch(event(fmt.Sprintf("effect %d of %d", round, i), 1)), "upstream", last, last+1+int64(i%7))
			_, results[i] = handles[i].Record(ctx, b)
		})
		for i, err := range results {
			if err == nil {
				effects++
				last += 1 + int64(i%7)
			} else if !errors.Is(err, annals.ErrTrackingConflict) {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		log, trackings := everything(ctx, t, r, "upstream")
		if effects != round+1 || len(log) != effects || trackings["upstream"] != last {
			t.Fatalf("round %d: %d were acknowledged, up to %d; the log has %d effects, the tracking is at %d",
				round+1, effects, last, len(log), trackings["upstream"])
		}
	}
}

func checkTrackingGrows(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	last := int64(0)
	for _, position := range []int64{3, 4, 4, 3, 1, 1000, 999, 5, 1000, 1001, 1 << 53, 1<<53 + 1, 1 << 53, 1<<63 - 1, 1<<63 - 1, 1} {
		b := tracked(batch(), "upstream", position) // tracking alone
		if position > last {
			m.add(ctx, t, r, b)
			last = position
		} else {
			_, err := r.Record(ctx, b)
			wantTrackingConflict(t, err, annals.TrackingConflictError{Name: "upstream", Position: position, Actual: last})
		}
		m.check(ctx, t, r)
	}
	if _, ok := maxPosition(ctx, t, r); ok {
		t.Error("a tracking alone gave the log a position")
	}
}

func checkTrackingNames(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, tracked(batch(event("a", 1)), "one", 10))
	m.add(ctx, t, r, tracked(batch(event("a", 2)), "two", 1))
	m.add(ctx, t, r, tracked(batch(), "three", 5))
	m.add(ctx, t, r, tracked(batch(event("a", 3)), "two", 2))
	m.check(ctx, t, r)
	_, err := r.Record(ctx, tracked(batch(event("a", 4)), "one", 9))
	wantTrackingConflict(t, err, annals.TrackingConflictError{Name: "one", Position: 9, Actual: 10})
	if position, ok := maxTracking(ctx, t, r, "four"); ok {
		t.Errorf("a tracking that was never saved is at %d", position)
	}
	m.check(ctx, t, r)
}

func checkTrackingAtomic(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, tracked(batch(event("a", 1), event("b", 1)), "upstream", 5))

	_, err := r.Record(ctx, tracked(batch(event("a", 2), event("c", 1)), "upstream", 5))
	wantTrackingConflict(t, err, annals.TrackingConflictError{Name: "upstream", Position: 5, Actual: 5})
	m.check(ctx, t, r)
	_, err = r.Record(ctx, tracked(batch(event("a", 2), event("c", 1)), "upstream", 4))
	wantTrackingConflict(t, err, annals.TrackingConflictError{Name: "upstream", Position: 4, Actual: 5})
	m.check(ctx, t, r)

	_, err = r.Record(ctx, tracked(batch(event("c", 1), event("a", 1)), "upstream", 6))
	wantConflict(t, err, conflict("a", 0, 1))
	m.check(ctx, t, r)

	undone := tracked(batch(event("a", 2)), "upstream", 6)
	failed := &failure{}
	undone.Do = func(context.Context, any) error { return failed }
	_, err = r.Record(ctx, undone)
	wantIs(t, "a Do that fails", err, failed)
	m.check(ctx, t, r)

	if _, err = r.Record(ctx, tracked(batch(event("a", 1)), "upstream", 5)); err == nil {
		t.Error("a batch of which all conflicts was stored")
	} else if !errors.Is(err, annals.ErrVersionConflict) && !errors.Is(err, annals.ErrTrackingConflict) {
		t.Errorf("got error %v, want a conflict", err)
	}
	m.add(ctx, t, r, tracked(batch(event("a", 2)), "upstream", 6))
	m.check(ctx, t, r)
}

// checkOneEffect is many runners of one consumer, which all process one upstream
// event: each decides on events of its own.
func checkOneEffect(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	handles := s.handles(ctx, t, r, 64)
	for position := range int64(rounds(20)) {
		results := make([]error, 64)
		positions := make([][]int64, 64)
		together(64, func(i int) {
			b := tracked(batch(event(fmt.Sprintf("effect %d of %d", position, i), 1)), "upstream", position+1)
			positions[i], results[i] = handles[i].Record(ctx, b)
		})
		effects := 0
		for _, err := range results {
			if err == nil {
				effects++
				continue
			}
			wantTrackingConflict(t, err, annals.TrackingConflictError{Name: "upstream", Position: position + 1, Actual: position + 1})
		}
		log, trackings := everything(ctx, t, r, "upstream")
		if effects != 1 || len(log) != int(position+1) || trackings["upstream"] != position+1 {
			t.Fatalf("position %d: %d were acknowledged, the log has %d effects, the tracking is at %d",
				position+1, effects, len(log), trackings["upstream"])
		}
	}
}
