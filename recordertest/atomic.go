package recordertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

func atomicChecks() []check {
	transactions := Features{Transactions: true}
	return []check{
		{"a batch of several streams is stored in its order", "B16, B30", Features{}, checkBatchOrder},
		{"a batch of 5,000 events is stored whole, or refused whole", "B16", Features{}, checkLargeBatch},
		{"a batch is refused whole for its last event", "B16", Features{}, checkRefusedWhole},
		{"an empty batch stores nothing", "B30", Features{}, checkEmptyBatch},
		{"Do is called once, in the step", "B25", Features{}, checkDo},
		{"Do is not called for a batch that is refused", "B25", Features{}, checkDoNotCalled},
		{"an error of Do undoes the batch, and is returned as it is", "B25", Features{}, checkDoError},
		{"a panic of Do stores nothing, and breaks nothing", "B25", Features{}, checkDoPanic},
		{"what Do writes is committed with the batch, or undone with it", "B25", transactions, checkDoStatements},
		{"a context that is done stores nothing", "B16", Features{}, checkDoneContext},
		{"a context that is cancelled in Do stores all or nothing", "B16, B25", Features{}, checkCancelInDo},
		{"a context that ends at any look at it stores all or nothing", "B16", Features{}, checkCancelAtLook},
		{"a save that is cancelled at any moment is stored as it says", "B16", Features{}, checkCancelAnytime},
		{"saves at the same moment do not harm each other", "B16, B25", Features{}, checkNeighbours},
	}
}

func checkBatchOrder(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, batch(event("a", 1), event("b", 1), event("a", 2), event("c", 1), event("b", 2), event("a", 3)))
	m.add(ctx, t, r, batch(event("c", 2), event("a", 4), event("d", 1), event("a", 5)))
	m.check(ctx, t, r)
	q := persistence.StreamQuery{}
	for _, stream := range []string{"a", "b", "c", "d"} {
		equal(t, "stream "+stream, readStream(ctx, t, r, stream, q), m.readStream(stream, q))
	}
}

// checkLargeBatch has more values in a batch than databases take in a statement.
func checkLargeBatch(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, batch(event("last", 1)))
	var large []persistence.StoredEvent
	for v := range int64(1000) {
		for _, stream := range []string{"a", "b", "c", "d", "e"} {
			large = append(large, event(stream, v+1))
		}
	}
	conflicting := append(slices.Clone(large[:4999]), event("last", 1))
	_, err := r.Record(ctx, tracked(batch(conflicting...), "upstream", 1))
	wantConflict(t, err, conflict("last", 0, 1))
	m.check(ctx, t, r)
	m.add(ctx, t, r, tracked(batch(large...), "upstream", 1))
	m.check(ctx, t, r)
}

func checkRefusedWhole(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, batch(event("a", 1), event("b", 1), event("b", 2)))
	for name, c := range map[string]struct {
		batch persistence.Batch
		want  annals.VersionConflictError
	}{
		"stored already":            {batch(event("c", 1), event("a", 2), event("b", 2)), conflict("b", 1, 2)},
		"a gap to what is stored":   {batch(event("c", 1), event("a", 2), event("b", 4)), conflict("b", 3, 2)},
		"a gap in a new stream":     {batch(event("a", 2), event("c", 2)), conflict("c", 1, 0)},
		"twice in the batch":        {batch(event("c", 1), event("a", 2), event("a", 2)), conflict("a", 1, 2)},
		"twice, with other streams": {batch(event("a", 2), event("c", 1), event("b", 3), event("c", 1)), conflict("c", 0, 1)},
		"a gap in the batch":        {batch(event("c", 1), event("a", 2), event("a", 4)), conflict("a", 3, 2)},
		"backwards in the batch":    {batch(event("c", 2), event("c", 1)), conflict("c", 0, 2)},
	} {
		_, err := r.Record(ctx, tracked(c.batch, "upstream", 1))
		t.Logf("%s: %v", name, err)
		wantConflict(t, err, c.want)
		m.check(ctx, t, r)
		if position, ok := maxTracking(ctx, t, r, "upstream"); ok {
			t.Errorf("%s: the tracking was stored: %d", name, position)
		}
	}
}

func checkEmptyBatch(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	for range 2 {
		if positions, err := r.Record(ctx, persistence.Batch{}); len(positions) != 0 || err != nil {
			t.Errorf("got positions %v and error %v, want none", positions, err)
		}
	}
	new(model).check(ctx, t, r)
}

func checkDo(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	for name, b := range map[string]persistence.Batch{
		"with events":              batch(event("a", 1), event("b", 1)),
		"with events and tracking": tracked(batch(event("c", 1)), "upstream", 1),
		"with a tracking":          tracked(batch(), "other", 1),
		"alone":                    batch(),
	} {
		calls := 0
		b.Do = func(_ context.Context, tx any) error {
			calls++
			if (tx != nil) != s.backend.Features.Transactions {
				t.Errorf("%s: Do was given the transaction %v (%T)", name, tx, tx)
			}
			return nil
		}
		m.add(ctx, t, r, b)
		if calls != 1 {
			t.Errorf("%s: Do was called %d times", name, calls)
		}
	}
	m.check(ctx, t, r)
}

func checkDoNotCalled(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, tracked(batch(event("a", 1)), "upstream", 3))
	bad := event("b", 1)
	bad.Topic = ""
	for name, b := range map[string]persistence.Batch{
		"version conflict":  batch(event("b", 1), event("a", 1)),
		"gap":               batch(event("b", 1), event("a", 3)),
		"tracking conflict": tracked(batch(event("b", 1)), "upstream", 3),
		"invalid":           batch(bad),
	} {
		b.Do = func(context.Context, any) error {
			t.Errorf("%s: Do was called", name)
			return nil
		}
		if _, err := r.Record(ctx, b); err == nil {
			t.Errorf("%s: the batch was stored", name)
		}
	}
	m.check(ctx, t, r)
}

// failure is an error of a caller, which a recorder must not take for its own.
type failure struct{ like error }

func (*failure) Error() string   { return "the caller's own failure" }
func (f *failure) Unwrap() error { return f.like }

func checkDoError(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, tracked(batch(event("a", 1)), "upstream", 1))
	for _, like := range []error{
		errors.ErrUnsupported, context.Canceled, annals.ErrVersionConflict, annals.ErrTrackingConflict,
		annals.ErrClosed, annals.ErrOutcomeUnknown,
	} {
		want := &failure{like}
		b := tracked(batch(event("a", 2), event("b", 1)), "upstream", 2)
		b.Do = func(context.Context, any) error { return want }
		if _, err := r.Record(ctx, b); err != error(want) { //nolint:errorlint // it must be the same error, not wrap it
			t.Errorf("got error %#v, want the one that Do returned, %#v", err, want)
		}
		m.check(ctx, t, r)
	}
	m.add(ctx, t, r, tracked(batch(event("a", 2), event("b", 1)), "upstream", 2))
	m.check(ctx, t, r)
}

func checkDoPanic(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	for round := range int64(20) {
		b := tracked(batch(event("a", 2*round+1), event("b", 1)), "upstream", 2*round+1)
		b.Do = func(context.Context, any) error { panic("the caller's own mistake") }
		if err := recordPanics(ctx, r, b); err == nil {
			t.Error("Record returned no error, and did not panic, though Do did")
		}
		m.check(ctx, t, r)
		m.add(ctx, t, r, tracked(batch(event("a", 2*round+1), event("a", 2*round+2)), "upstream", 2*round+1))
	}
	m.check(ctx, t, r)
	if got := readStream(ctx, t, r, "b", persistence.StreamQuery{}); len(got) != 0 {
		t.Errorf("stream b has %d events, want none", len(got))
	}
}

// recordPanics returns the error of a Record that may panic instead.
func recordPanics(ctx context.Context, r Recorder, b persistence.Batch) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	_, err = r.Record(ctx, b)
	return err
}

func checkDoStatements(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	statements := s.backend.Statements
	insert := func(key string, result error) func(context.Context, any) error {
		return func(ctx context.Context, tx any) error {
			if err := statements.Insert(ctx, tx, key); err != nil {
				return err
			}
			return result
		}
	}
	count := func(key string, want int) {
		t.Helper()
		if got, err := statements.Count(ctx, s.address, key); got != want || err != nil {
			t.Errorf("the table has %d rows %q (error %v), want %d", got, key, err, want)
		}
	}
	with := func(b persistence.Batch, do func(context.Context, any) error) persistence.Batch { b.Do = do; return b }

	m.add(ctx, t, r, with(tracked(batch(event("a", 1)), "upstream", 1), insert("committed", nil)))
	count("committed", 1)
	m.add(ctx, t, r, with(batch(), insert("alone", nil)))
	count("alone", 1)

	failed := &failure{}
	_, err := r.Record(ctx, with(tracked(batch(event("a", 2)), "upstream", 2), insert("undone", failed)))
	wantIs(t, "a Do that wrote and failed", err, failed)
	count("undone", 0)

	panics := with(batch(event("a", 2)), func(ctx context.Context, tx any) error {
		if err := statements.Insert(ctx, tx, "panicked"); err != nil {
			return err
		}
		panic("after the insert")
	})
	if err := recordPanics(ctx, r, panics); err == nil {
		t.Error("Record returned no error, and did not panic, though Do did")
	}
	count("panicked", 0)

	_, err = r.Record(ctx, with(batch(event("a", 1)), insert("conflict", nil)))
	wantIs(t, "a batch that conflicts", err, annals.ErrVersionConflict)
	count("conflict", 0)
	m.check(ctx, t, r)
}

func checkDoneContext(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, tracked(batch(event("a", 1)), "upstream", 1))
	for target, done := range doneContexts(ctx) {
		for range 20 {
			b := tracked(batch(event("a", 2)), "upstream", 2)
			b.Do = func(context.Context, any) error { t.Error("Do was called"); return nil }
			_, err := r.Record(done, b)
			wantIs(t, "record", err, target)
		}
	}
	m.check(ctx, t, r)
}

func checkCancelInDo(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	for round := range int64(20) {
		cancelled, cancel := context.WithCancel(ctx)
		b := tracked(batch(event(fmt.Sprintf("a%d", round), 1), event(fmt.Sprintf("b%d", round), 1)), "upstream", round+1)
		b.Do = func(context.Context, any) error { cancel(); return nil }
		positions, err := r.Record(cancelled, b)
		cancel()
		if err == nil {
			if problem := m.take(b, positions); problem != "" {
				t.Error(problem)
			}
		} else {
			wantIs(t, "record", err, context.Canceled)
		}
		m.check(ctx, t, r)
	}
}

// expiring is a context that ends when it is looked at once too often.
type expiring struct {
	context.Context //nolint:containedctx // it is one

	cancel context.CancelFunc
	looks  atomic.Int64 // that are left
}

func (e *expiring) Done() <-chan struct{} {
	e.look()
	return e.Context.Done()
}

func (e *expiring) Err() error {
	e.look()
	return e.Context.Err()
}

func (e *expiring) look() {
	if e.looks.Add(-1) < 0 {
		e.cancel()
	}
}

// checkCancelAtLook has the context end at the first look of the recorder, at the
// second, and so on, until it is looked at no more.
func checkCancelAtLook(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	for looks, ended := int64(0), true; ended && looks < 100; looks++ {
		cancelled, cancel := context.WithCancel(ctx)
		e := &expiring{Context: cancelled, cancel: cancel}
		e.looks.Store(looks)
		b := tracked(batch(event(fmt.Sprintf("a%d", looks), 1), event(fmt.Sprintf("b%d", looks), 1)), "upstream", looks+1)
		b.Events = append(b.Events, events("long", m.version("long")+1, 500)...)
		positions, err := r.Record(e, b)
		ended = cancelled.Err() != nil
		cancel()
		if err == nil {
			if problem := m.take(b, positions); problem != "" {
				t.Error(problem)
			}
		} else {
			wantIs(t, "record", err, context.Canceled)
		}
		m.check(ctx, t, r)
	}
}

// checkCancelAnytime cancels saves while they wait and while they run.
func checkCancelAnytime(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	handles := s.handles(ctx, t, r, 64)
	for round := range rounds(6) {
		longest := time.Millisecond << (2 * (round % 6)) // before the first is stored, up to after the last
		batches := make([][]persistence.StoredEvent, 64)
		results := make([]error, 64)
		together(64, func(i int) {
			stream := fmt.Sprintf("%d-%d", round, i)
			batches[i] = []persistence.StoredEvent{event(stream+"a", 1), event(stream+"b", 1), event(stream+"a", 2)}
			soon, cancel := context.WithTimeout(ctx, rand.N(longest))
			defer cancel()
			_, results[i] = handles[i].Record(soon, batch(batches[i]...))
		})
		there := checkContiguous(t, readLog(ctx, t, r, persistence.LogQuery{}), batches)
		stored := 0
		for i, err := range results {
			there := there[batches[i][0].ID]
			switch {
			case err == nil && !there:
				t.Error("an acknowledged batch is not there")
			case errors.Is(err, annals.ErrOutcomeUnknown): // it may be there or not
			case err != nil && there:
				t.Errorf("a batch is there though its error was %v", err)
			case err != nil:
				wantIs(t, "record", err, context.DeadlineExceeded)
			default:
				stored++
			}
		}
		t.Logf("round %d: %d of 64 stored", round, stored)
	}
	checkLog(t, readLog(ctx, t, r, persistence.LogQuery{}))
}

// checkNeighbours saves from 64 goroutines what is good, what conflicts, and what
// Do refuses, so that a recorder that commits several saves together has all of
// them in one commit.
func checkNeighbours(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	handles := s.handles(ctx, t, r, 64)
	recordBatch(ctx, t, r, tracked(batch(events("taken", 1, 3)...), "taken", 10))
	failed := &failure{}
	want := readLog(ctx, t, r, persistence.LogQuery{})
	got := make([][]persistence.Notification, 64)
	together(64, func(i int) {
		for round := range int64(rounds(10)) {
			mine := fmt.Sprintf("mine %d", i)
			b := tracked(batch(events(mine, 2*round+1, 2)...), mine, round+1)
			positions, err := handles[i].Record(ctx, b)
			if err != nil {
				t.Errorf("good: %v", err)
				return
			}
			got[i] = append(got[i], notifications(positions, b.Events)...)
			bad := batch(append(events(mine, 2*round+3, 2), events(mine+"'", 1, 2)...)...)
			var target error
			switch i % 4 {
			case 0:
				bad.Events, target = append(bad.Events, event("taken", 2)), annals.ErrVersionConflict
			case 1:
				bad, target = tracked(bad, "taken", 10), annals.ErrTrackingConflict
			case 2:
				bad.Do, target = func(context.Context, any) error { return failed }, failed
			default:
				continue
			}
			if _, err := handles[i].Record(ctx, bad); !errors.Is(err, target) {
				t.Errorf("bad: got error %v, want %v", err, target)
			}
		}
	})
	want = append(want, slices.Concat(got...)...)
	slices.SortFunc(want, func(a, b persistence.Notification) int { return int(a.Position - b.Position) })
	log, trackings := everything(ctx, t, r, "taken", "mine 1", "mine 63")
	equal(t, "log", log, want)
	checkLog(t, log)
	if n := int64(rounds(10)); trackings["taken"] != 10 || trackings["mine 1"] != n || trackings["mine 63"] != n {
		t.Errorf("trackings are %v", trackings)
	}
}
