package recordertest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

func winnerChecks() []check {
	return []check{
		{"a save at another version is refused, and says which version the stream has", "B3, B16, B52", Features{}, checkConflicts},
		{"of 64 saves of one version one is stored", "B3, B16", Features{}, checkOneWinner},
		{"of saves of several streams, in different orders, one is stored", "B16", Features{}, checkOneWinnerOfSeveral},
		{"64 saves of different streams are all stored", "B16", Features{}, checkAllWinners},
	}
}

func checkConflicts(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, batch(events("a", 1, 3)...))
	m.add(ctx, t, r, batch(events("b", 1, 1)...))
	for _, c := range []struct {
		events []persistence.StoredEvent
		want   annals.VersionConflictError
	}{
		{events("a", 1, 1), conflict("a", 0, 3)},
		{events("a", 2, 5), conflict("a", 1, 3)},
		{events("a", 3, 1), conflict("a", 2, 3)},
		{events("a", 5, 1), conflict("a", 4, 3)},
		{events("a", 1_000_000_000_000, 2), conflict("a", 999_999_999_999, 3)},
		{events("nobody", 2, 1), conflict("nobody", 1, 0)},
		{append(events("a", 4, 2), events("b", 1, 3)...), conflict("b", 0, 1)},
		{append(events("b", 3, 1), events("a", 4, 2)...), conflict("b", 2, 1)},
		{append(events("new", 1, 2), events("a", 3, 1)...), conflict("a", 2, 3)},
	} {
		_, err := r.Record(ctx, batch(c.events...))
		wantConflict(t, err, c.want)
	}
	m.check(ctx, t, r)
	m.add(ctx, t, r, batch(events("a", 4, 2)...))
	m.check(ctx, t, r)
}

// checkOneWinner has 64 writers race for each version of one stream, through two
// handles if there can be two.
func checkOneWinner(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	handles := s.handles(ctx, t, r, 64)
	var winners []persistence.Notification
	for round := range int64(rounds(50)) {
		attempts := make([]persistence.StoredEvent, 64)
		positions := make([][]int64, 64)
		results := make([]error, 64)
		together(64, func(i int) {
			attempts[i] = event("one", round+1)
			positions[i], results[i] = handles[i].Record(ctx, batch(attempts[i]))
		})
		before := len(winners)
		for i, err := range results {
			if err == nil {
				winners = append(winners, notifications(positions[i], attempts[i:i+1])...)
			} else {
				wantConflict(t, err, conflict("one", round, round+1))
			}
		}
		if n := len(winners) - before; n != 1 {
			t.Fatalf("version %d has %d winners", round+1, n)
		}
	}
	equal(t, "log", readLog(ctx, t, r, persistence.LogQuery{}), winners)
}

// checkOneWinnerOfSeveral would end in a deadlock in a database that locks the
// streams in the order of the batch.
func checkOneWinnerOfSeveral(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	handles := s.handles(ctx, t, r, 32)
	var batches [][]persistence.StoredEvent
	winners := make(map[string]bool)
	for round := range int64(rounds(20)) {
		attempts := make([][]persistence.StoredEvent, 32)
		results := make([]error, 32)
		together(32, func(i int) {
			for k := range 3 {
				attempts[i] = append(attempts[i], event(fmt.Sprintf("stream %d", (i+k)%3), round+1))
			}
			_, results[i] = handles[i].Record(ctx, batch(attempts[i]...))
		})
		n := 0
		for i, err := range results {
			conflict, ok := errors.AsType[*annals.VersionConflictError](err)
			switch {
			case err == nil:
				n++
				winners[attempts[i][0].ID] = true
			case !ok || conflict.Expected != round || conflict.Actual != round+1:
				t.Errorf("got error %v, want the conflict of version %d and %d", err, round, round+1)
			}
		}
		if n != 1 {
			t.Fatalf("round %d has %d winners", round, n)
		}
		batches = append(batches, attempts...)
	}
	log := readLog(ctx, t, r, persistence.LogQuery{})
	checkLog(t, log)
	for id, there := range checkContiguous(t, log, batches) {
		if there != winners[id] {
			t.Errorf("the batch of event %s is there: %t; it was acknowledged: %t", id, there, winners[id])
		}
	}
}

func checkAllWinners(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	handles := s.handles(ctx, t, r, 64)
	const perWriter = 20
	together(64, func(i int) {
		for v := range int64(perWriter) {
			if _, err := handles[i].Record(ctx, batch(event(fmt.Sprintf("stream %d", i), v+1))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	log := readLog(ctx, t, r, persistence.LogQuery{})
	checkLog(t, log)
	if len(log) != 64*perWriter {
		t.Errorf("the log has %d events, want %d", len(log), 64*perWriter)
	}
}
