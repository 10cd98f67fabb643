package recordertest

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

func ledgerChecks() []check {
	needs := Features{Ledger: true}
	return []check{
		{"entries of the ledger are stored with their batch", "B42, B43", needs, checkLedgerStores},
		{"an error of the ledger's function undoes the batch, and is returned as it is", "B42, B43", needs, checkLedgerError},
		{"the ledger is left alone by a batch that is refused or stored already", "B23, B43", needs, checkLedgerRefused},
		{"of batches that swap one entry at one moment one is stored", "B42", needs, checkLedgerRace},
		{"Do sees what the ledger's function did", "B25", Features{Ledger: true, Transactions: true}, checkLedgerAndDo},
		{"the ledger is there when the store is opened again", "B42", Features{Ledger: true, Durable: true}, checkLedgerReopened},
		{"a recorder without a ledger refuses a batch with entries", "B42", Features{}, checkNoLedger},
		{"the ledger ends with its context and with the recorder", "B39, B42", needs, checkLedgerClosed},
	}
}

// withLedger adds the function to the batch.
func withLedger(b persistence.Batch, f func(ctx context.Context, l persistence.Ledger) error) persistence.Batch {
	b.Ledger = f
	return b
}

// swaps adds swaps to the batch, which must succeed.
func swaps(t *testing.T, b persistence.Batch, all ...swap) persistence.Batch {
	t.Helper()
	return withLedger(b, func(ctx context.Context, l persistence.Ledger) error {
		for _, s := range all {
			wantSwap(ctx, t, l, s, true)
		}
		return nil
	})
}

// wantLedger fails unless the recorder's ledger has just these entries.
func wantLedger(ctx context.Context, t *testing.T, r Recorder, want map[string]string) {
	t.Helper()
	positions, err := r.Record(ctx, withLedger(batch(), func(ctx context.Context, l persistence.Ledger) error {
		wantEntries(ctx, t, l, want)
		return nil
	}))
	if err != nil || len(positions) > 0 {
		t.Fatalf("reading the ledger: positions %v, %v", positions, err)
	}
}

func checkLedgerStores(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	wantLedger(ctx, t, r, map[string]string{})
	m.add(ctx, t, r, swaps(t, tracked(batch(event("a", 1)), "upstream", 1), swap{"x", "", "1"}, swap{"y", "", "2"}))
	m.add(ctx, t, r, swaps(t, batch(event("a", 2)), swap{"x", "1", "3"}, swap{"y", "2", ""}))
	m.check(ctx, t, r)
	wantLedger(ctx, t, r, map[string]string{"x": "3"})
	m.add(ctx, t, r, withLedger(batch(event("a", 3)), func(ctx context.Context, l persistence.Ledger) error {
		wantSwap(ctx, t, l, swap{"x", "1", "4"}, false)
		wantSwap(ctx, t, l, swap{"x", "3", "4"}, true)
		wantEntries(ctx, t, l, map[string]string{"x": "4"}) // what it did itself
		return nil
	}))
	wantLedger(ctx, t, s.open(ctx, t), map[string]string{"x": "4"})
	if position, ok := maxPosition(ctx, t, r); position != 3 || !ok {
		t.Errorf("the log ends at %d, %t", position, ok)
	}
}

func checkLedgerError(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, swaps(t, batch(event("a", 1)), swap{"x", "", "1"}))
	failed := &failure{}
	done := false
	b := withLedger(tracked(batch(event("a", 2)), "upstream", 1), func(ctx context.Context, l persistence.Ledger) error {
		wantSwap(ctx, t, l, swap{"x", "1", "2"}, true)
		wantSwap(ctx, t, l, swap{"y", "", "2"}, true)
		return failed
	})
	b.Do = func(context.Context, any) error { done = true; return nil }
	if _, err := r.Record(ctx, b); !errors.Is(err, failed) {
		t.Errorf("the error is %v", err)
	}
	if done {
		t.Error("Do was called after the ledger's function had failed")
	}
	b = swaps(t, tracked(batch(event("a", 2)), "upstream", 1), swap{"x", "1", "2"})
	b.Do = func(context.Context, any) error { return failed }
	if _, err := r.Record(ctx, b); !errors.Is(err, failed) {
		t.Errorf("the error is %v", err)
	}
	m.check(ctx, t, r)
	wantLedger(ctx, t, r, map[string]string{"x": "1"})
}

func checkLedgerRefused(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	stored := tracked(batch(event("a", 1)), "upstream", 5)
	m.add(ctx, t, r, stored)
	never := func(context.Context, persistence.Ledger) error {
		t.Error("the ledger's function was called")
		return nil
	}
	for name, b := range map[string]persistence.Batch{
		"another version":   batch(event("a", 1)),
		"a tracking":        tracked(batch(), "upstream", 5),
		"what is there":     stored,
		"no batch at all":   batch(event("", 1)),
		"what must follow":  follows(batch(), "upstream", 4, 6),
		"a tracking before": tracked(batch(event("a", 2)), "upstream", 4),
	} {
		_, err := r.Record(ctx, withLedger(b, never))
		if (err == nil) != (name == "what is there") {
			t.Errorf("%s: %v", name, err)
		}
	}
	m.check(ctx, t, r)
	wantLedger(ctx, t, r, map[string]string{})
}

func checkLedgerRace(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	const rivals = 8
	handles := s.handles(ctx, t, r, rivals)
	lost := errors.New("another was first")
	for round := range rounds(10) {
		var won atomic.Int32
		old, value := "", strconv.Itoa(round+1)
		if round > 0 {
			old = strconv.Itoa(round)
		}
		together(rivals, func(i int) {
			b := withLedger(batch(event(annals.NewID(), 1)), func(ctx context.Context, l persistence.Ledger) error {
				ok, err := l.Swap(ctx, "key", old, value)
				if err == nil && !ok {
					err = lost
				}
				return err
			})
			_, err := handles[i].Record(ctx, b)
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, lost):
				t.Errorf("record: %v", err)
			}
		})
		log, _ := everything(ctx, t, r)
		if n := won.Load(); n != 1 || len(log) != round+1 {
			t.Fatalf("round %d: %d of %d batches were acknowledged, and the log has %d events", round+1, n, rivals, len(log))
		}
	}
}

func checkLedgerAndDo(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	b := swaps(t, batch(event("a", 1)), swap{"x", "", "1"})
	called := false
	b.Do = func(ctx context.Context, tx any) error {
		called = true
		return s.backend.Statements.Insert(ctx, tx, "row")
	}
	if _, err := r.Record(ctx, b); err != nil || !called {
		t.Fatalf("record: %v; Do was called: %t", err, called)
	}
	wantLedger(ctx, t, r, map[string]string{"x": "1"})
}

func checkLedgerReopened(t *testing.T, s *store) {
	ctx := s.context(t)
	first := s.open(ctx, t)
	want := map[string]string{"x": "1", "ü": "2"}
	if _, err := first.Record(ctx, swaps(t, batch(), swap{"x", "", "1"}, swap{"ü", "", "2"})); err != nil {
		t.Fatal(err)
	}
	closeRecorder(t, first)
	wantLedger(ctx, t, s.open(ctx, t), maps.Clone(want))
}

func checkNoLedger(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	called := false
	_, err := r.Record(ctx, withLedger(batch(event("a", 1)), func(context.Context, persistence.Ledger) error { called = true; return nil }))
	if s.backend.Features.Ledger {
		if err != nil || !called {
			t.Errorf("the ledger's function was called: %t; %v", called, err)
		}
		return
	}
	if !errors.Is(err, annals.ErrUnsupported) || called {
		t.Errorf("the ledger's function was called: %t; got error %v, want ErrUnsupported", called, err)
	}
	new(model).check(ctx, t, r)
}

func checkLedgerClosed(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	done, cancel := context.WithCancel(ctx)
	cancel()
	b := swaps(t, batch(), swap{"x", "", "1"})
	if _, err := r.Record(done, b); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
	wantLedger(ctx, t, r, map[string]string{})
	closeRecorder(t, r)
	if _, err := r.Record(ctx, b); !errors.Is(err, annals.ErrClosed) {
		t.Errorf("of a closed recorder: %v", err)
	}
}
