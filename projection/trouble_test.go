package projection_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/projection"
)

// hookedView is a view that a test meddles with.
type hookedView struct {
	*view

	mu     sync.Mutex
	before func() error           // instead of a transaction, if it returns an error
	commit func(tx *viewTx) error // at the end of one
}

func (h *hookedView) set(before func() error, commit func(tx *viewTx) error) {
	h.mu.Lock()
	h.before, h.commit = before, commit
	h.mu.Unlock()
}

func (h *hookedView) Update(ctx context.Context, f func(context.Context, *viewTx, persistence.Ledger) error) error {
	h.mu.Lock()
	before, commit := h.before, h.commit
	h.mu.Unlock()
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	return h.view.Update(ctx, func(ctx context.Context, tx *viewTx, l persistence.Ledger) error {
		if err := f(ctx, tx, l); err != nil || commit == nil {
			return err
		}
		return commit(tx)
	})
}

// times returns a function that fails so many times.
func times(n int, err error) func() error {
	return func() error {
		if n--; n >= 0 {
			return err
		}
		return nil
	}
}

func TestTheStatusIsReadAtAnyTime(t *testing.T) {
	b, v := openBank(t), newView()
	runners := []*projection.Runner[*viewTx]{
		start(t, b, define(), v, projection.WithLease(0), projection.WithPartitions(8)),
		start(t, b, define(), v, projection.WithLease(0), projection.WithPartitions(8)),
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_, _ = runners[0].Status(), runners[1].Status()
			}
		}
	})
	var at int64
	for i := range 100 {
		at = b.open(t, fmt.Sprint("a", i), 1)
	}
	for _, r := range runners {
		wait(t, r, at)
	}
	close(done)
	wg.Wait()
	same(t, b, v)
}

// A full disk is no failure of the events that are handled meanwhile.
func TestAFullDiskSkipsNothing(t *testing.T) {
	b, v := openBank(t), &hookedView{view: newView()}
	at := b.open(t, "a", 1, 2, 3)
	n := 0
	p := projection.Define("balances", projection.On(func(ctx context.Context, tx *viewTx, e Deposited, env annals.Event) error {
		if n++; n < 5 {
			return persistence.ErrFull
		}
		return add(ctx, tx, e, env)
	}))
	r := start(t, b, p, persistence.View[*viewTx](v), projection.WithFailures(1, 0, 0, projection.Skip))
	wait(t, r, at)
	same(t, b, v.view)
	if s := r.Status(); s.Skipped != 0 {
		t.Errorf("status %+v", s)
	}
}

// What newer code has written is kept as it is, and can be gone on from.
func TestARowThatNewerCodeWrote(t *testing.T) {
	b, v := openBank(t), newView()
	r := start(t, b, define(), v)
	wait(t, r, b.open(t, "a", 1))
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	const key = "balances@1/position/00000"
	err := v.Update(t.Context(), func(ctx context.Context, _ *viewTx, l persistence.Ledger) error {
		text, _, err := l.Get(ctx, key)
		if err != nil {
			return err
		}
		_, err = l.Swap(ctx, key, text, strings.Replace(text, "{", `{"newer":true,`, 1))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	at := b.deposit(t, "a", 2)
	r = start(t, b, define(), v)
	wait(t, r, at)
	same(t, b, v)
}

// A transaction that fails at its commit says nothing about which event it was.
func TestAFailureAtTheCommitIsParked(t *testing.T) {
	b, v := openBank(t), &hookedView{view: newView()}
	v.set(nil, func(tx *viewTx) error { // a deferred constraint
		if l, _ := tx.Get("b"); l.Balance > 50 {
			return errPoison
		}
		return nil
	})
	b.open(t, "a", 1, 2)
	b.open(t, "b", 49, 99, 1)
	at := b.open(t, "c", 3)
	p := define()
	r := start(t, b, p, persistence.View[*viewTx](v), projection.WithFailures(2, 0, 0, projection.Park))
	wait(t, r, at)
	parked, err := projection.Parked(t.Context(), p, persistence.View[*viewTx](v))
	if err != nil || len(parked) != 2 || parked[0].Reason != "poison" || parked[1].Attempts != 0 {
		t.Errorf("parked %+v, %v", parked, err)
	}
	if balance(v.view, "a") != 3 || balance(v.view, "b") != 49 || balance(v.view, "c") != 3 {
		t.Errorf("a has %d, b has %d, c has %d", balance(v.view, "a"), balance(v.view, "b"), balance(v.view, "c"))
	}
}

// A switch that the database refuses is tried again, or answered.
func TestASwitchIsAnswered(t *testing.T) {
	b, v := openBank(t), &hookedView{view: newView()}
	at := b.open(t, "a", 1)
	old := start(t, b, define(), persistence.View[*viewTx](v))
	wait(t, old, at)
	if err := old.Stop(); err != nil {
		t.Fatal(err)
	}
	second := projection.Define("balances", projection.Version[*viewTx](2), projection.On(add2))
	r := start(t, b, second, persistence.View[*viewTx](v), projection.WithManualSwitch(), projection.WithLease(0))
	wait(t, r, at)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Switch(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Switch: %v", err)
	}
	v.set(times(3, persistence.ErrBusy), nil)
	for tries := 0; ; tries++ {
		err := r.Switch(t.Context())
		if err == nil {
			break
		}
		if !errors.Is(err, persistence.ErrBusy) || tries > 3 {
			t.Fatalf("Switch: %v", err)
		}
	}
	if active, err := projection.ActiveVersion(t.Context(), persistence.View[*viewTx](v), "balances"); active != 2 || err != nil {
		t.Errorf("active %d, %v", active, err)
	}
}

func add2(_ context.Context, tx *viewTx, e Deposited, env annals.Event) error {
	l, _ := tx.Get("2 " + env.StreamID)
	tx.Put("2 "+env.StreamID, line{env.Version, l.Balance + e.Amount})
	return nil
}

// The new version takes over although the old one never stands still, and each event is
// live in one of them.
func TestASwitchUnderLoad(t *testing.T) {
	b, v := openBank(t), newView()
	live := projection.OnLive(func(_ context.Context, tx *viewTx, _ Deposited, env annals.Event) error {
		l, _ := tx.Get("live " + env.StreamID)
		tx.Put("live "+env.StreamID, line{env.Version, l.Balance + 1})
		return nil
	})
	start(t, b, define(live), v, projection.WithBatch(1, time.Second))
	second := projection.Define("balances", projection.Version[*viewTx](2), projection.On(add2), live)
	at := b.open(t, "a0", 1)
	r := start(t, b, second, v, projection.WithBatch(50, time.Second))
	n := 1
	for ; n < 20 || r.Status().Building || r.Status().Position == 0; n++ {
		at = b.open(t, fmt.Sprint("a", n), 1)
	}
	wait(t, r, at)
	for i := range n {
		id := fmt.Sprint("a", i)
		if balance(v, "live "+id) != 1 || balance(v, "2 "+id) != 1 {
			t.Errorf("%s was live %d times, and handled %d times", id, balance(v, "live "+id), balance(v, "2 "+id))
		}
	}
}

// Who drops or retries a parked event has nothing delivered twice; and a handler that is
// called by Retry may use the database of the view.
func TestAConsumerBesideRetry(t *testing.T) {
	b, v := openBank(t), newView()
	poison := 99
	delivered := make(map[string]int)
	p := projection.Define("mails", projection.On(func(ctx context.Context, d projection.Delivery, e Deposited, _ annals.Event) error {
		if e.Amount == poison {
			return errPoison
		}
		delivered[d.Key]++
		return v.Update(ctx, func(_ context.Context, tx *viewTx, _ persistence.Ledger) error {
			tx.Put(d.Key, line{})
			return nil
		})
	}))
	c := projection.Consumer[*viewTx](v)
	at := b.open(t, "a", 1, 99)
	r := start(t, b, p, c, projection.WithFailures(1, 0, 0, projection.Park))
	wait(t, r, at)
	poison = 0
	if n, err := projection.Retry(t.Context(), b, p, c, "a"); n != 1 || err != nil {
		t.Fatalf("Retry: %d, %v", n, err)
	}
	wait(t, r, b.deposit(t, "a", 2))
	if len(delivered) != 3 {
		t.Errorf("delivered %v", delivered)
	}
	for key, n := range delivered {
		if n != 1 {
			t.Errorf("%s was delivered %d times", key, n)
		}
	}
}

// What is wrong for good ends the runner, also one that waits for the lease.
func TestAViewThatIsWrongEndsTheRunner(t *testing.T) {
	b, v := openBank(t), &hookedView{view: newView()}
	v.set(func() error { return annals.ErrConfiguration }, nil)
	r := start(t, b, define(), persistence.View[*viewTx](v))
	<-r.Done()
	if err := r.Err(); !errors.Is(err, annals.ErrConfiguration) {
		t.Errorf("Err: %v", err)
	}
}

func TestWhatACommandCouldNotDoIsSaidWithTheProjection(t *testing.T) {
	t.Parallel()
	b, v, p := openBank(t), &hookedView{view: newView()}, define()
	errDown := errors.New("the database is down")
	v.set(func() error { return errDown }, nil)
	for op, command := range map[string]func() error{
		"active version": func() error { _, err := projection.ActiveVersion(t.Context(), v, p.Name()); return err },
		"parked":         func() error { _, err := projection.Parked(t.Context(), p, v); return err },
		"retry":          func() error { _, err := projection.Retry(t.Context(), b, p, v, "a"); return err },
		"drop":           func() error { return projection.Drop(t.Context(), p, v, 1) },
		"forget":         func() error { return projection.Forget(t.Context(), p, v) },
	} {
		if err := command(); !errors.Is(err, errDown) || err.Error() != "projection balances: "+op+": the database is down" {
			t.Errorf("%s: %v", op, err)
		}
	}
}
