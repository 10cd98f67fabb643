package systemtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/system"
)

const (
	lease     = 60 * time.Millisecond
	batchTime = time.Second
)

// Run runs the suite. All of it runs in parallel, each part on stores of its own.
func Run(t *testing.T, b Backend) {
	t.Helper()
	for _, c := range []struct {
		name      string
		processes bool
		run       func(*testing.T, Backend)
	}{
		{"random systems have the same effects", false, CheckEquality},
		{"each event has its effect once, whatever is in one step", false, checkOnce},
		{"a backlog is processed at the start", false, checkBacklog},
		{"an event that fails ends the runner, and is processed by the next", false, checkStops},
		{"a parked event holds up its stream only, and is retried and dropped", false, checkParked},
		{"two runners of a system have each effect once", false, checkTwo},
		{"applications with one log are refused", false, checkOneLog},
		{"a process is killed again and again, and each event has its effect once", true, checkKilled},
		{"a second process takes over", true, checkTakeover},
		{"saves of other processes are followed", true, checkWoken},
	} {
		if c.processes && !b.Processes {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, b)
		})
	}
}

func (b *Backend) banking(tb testing.TB, run runner, opts ...system.Option) *system.Runner {
	tb.Helper()
	return b.bankingAt(tb, b.Create(tb, bankingNames...), run, opts...)
}

func (b *Backend) bankingAt(tb testing.TB, addresses []string, run runner, opts ...system.Option) *system.Runner {
	tb.Helper()
	return b.runAt(tb, bankingNames, addresses, bankingMembers, run, banking, append(following(), opts...)...)
}

// pay pays n times, from several goroutines.
func pay(tb testing.TB, r *system.Runner, n int) {
	tb.Helper()
	const payers = 4
	var wg sync.WaitGroup
	for i := range payers {
		wg.Go(func() {
			for j := range n / payers {
				if _, err := bankNode.In(r).pay(tb.Context(), accountID(i), accountID(i+1+j%4), int64(j)); err != nil {
					tb.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func settle(tb testing.TB, r *system.Runner) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Duration(rounds(2))*time.Minute)
	defer cancel()
	if err := r.Wait(ctx); err != nil {
		tb.Fatalf("%v; %+v", err, r.Status())
	}
}

// B22, B37, B47, B48.
func checkOnce(t *testing.T, b Backend) {
	slow := func(application.Notification) error {
		for begin := time.Now(); time.Since(begin) < 300*time.Microsecond; {
			runtime.Gosched()
		}
		return nil
	}
	for _, run := range []runner{system.RunSync, system.RunAsync} {
		for name, c := range map[string]struct {
			batch projection.Option
			fail  func(application.Notification) error
		}{
			"many":            {projection.WithBatch(500, batchTime), nil},
			"one":             {projection.WithBatch(1, batchTime), nil},
			"cut off in time": {projection.WithBatch(500, time.Millisecond), slow},
		} {
			r := b.banking(t, run, system.WithFollowers(c.batch))
			bookNode.In(r).failWith(c.fail)
			auditNode.In(r).failWith(c.fail)
			pay(t, r, 100)
			settle(t, r)
			if n := checkBooks(t, r); n != 100 {
				t.Errorf("%s: %d payments", name, n)
			}
		}
	}
}

// B48.
func checkBacklog(t *testing.T, b Backend) {
	for _, run := range []runner{system.RunSync, system.RunAsync} {
		addresses := b.Create(t, bankingNames...)
		recorders, err := b.open(t.Context(), bankingNames[:1], addresses[:1])
		if err != nil {
			t.Fatal(err)
		}
		alone, err := openBank(t.Context(), application.WithRecorder(recorders.all[0]))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			if _, err := alone.pay(t.Context(), accountID(i), accountID(i+1), 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := alone.Close(); err != nil {
			t.Fatal(err)
		}
		recorders.close()
		r := b.bankingAt(t, addresses, run)
		settle(t, r)
		if n := checkBooks(t, r); n != 50 {
			t.Errorf("%d payments", n)
		}
	}
}

var errRefused = errors.New("the book is refused")

// refuse fails payments of so many cents.
func refuse(cents int64) func(application.Notification) error {
	return func(n application.Notification) error {
		if e, ok := n.Event.Data.(Paid); ok && e.Cents == cents {
			return errRefused
		}
		return nil
	}
}

// B47, B48.
func checkStops(t *testing.T, b Backend) {
	addresses := b.Create(t, bankingNames...)
	r := b.bankingAt(t, addresses, system.RunAsync)
	pay(t, r, 20)
	settle(t, r)
	bookNode.In(r).failWith(refuse(99))
	at, err := bankNode.In(r).pay(t.Context(), "a", "b", 99)
	if err != nil {
		t.Fatal(err)
	}
	<-r.Done()
	for what, err := range map[string]error{"Err": r.Err(), "Wait": r.Wait(t.Context()), "Stop": r.Stop()} {
		failed, ok := errors.AsType[*system.Error](err)
		if !ok || failed.Application != "book" || failed.Upstream != "bank" || !errors.Is(err, errRefused) {
			t.Errorf("%s: %v", what, err)
		}
		if event, ok := errors.AsType[*projection.EventError](err); !ok || event.Position != at {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The same in the goroutine of the save: what was not processed fails at the start.
	recorders, err := b.open(t.Context(), bankingNames, addresses)
	if err != nil {
		t.Fatal(err)
	}
	defer recorders.close()
	r = b.bankingAt(t, addresses, system.RunSync)
	bookNode.In(r).failWith(refuse(98))
	recordings, err := bankNode.In(r).Save(t.Context(), Payments.New("payment 98", Paid{"a", "b", 98}))
	after, ok := errors.AsType[*application.AfterSaveError](err)
	if !ok || len(recordings) != 1 || after.Position != recordings.Position() ||
		!errors.Is(after.Err, errRefused) || errors.Is(err, errRefused) {
		t.Errorf("save: %v, %v", recordings, err)
	}
	if err := r.Wait(t.Context()); !errors.Is(err, errRefused) {
		t.Errorf("wait: %v", err)
	}
	if n := entriesOf(t, auditNode.In(r)); n != 42 {
		t.Errorf("the audit has %d entries", n)
	}
	bookNode.In(r).failWith(nil)
	if _, err := bankNode.In(r).pay(t.Context(), "a", "b", 1); err != nil {
		t.Error(err)
	}
	if n := checkBooks(t, r); n != 23 {
		t.Errorf("%d payments", n)
	}
}

// entriesOf returns how many entries a book has.
func entriesOf(tb testing.TB, b *book) (n int) {
	tb.Helper()
	for _, err := range b.Notifications(tb.Context()) {
		if err != nil {
			tb.Fatal(err)
		}
		n++
	}
	return n
}

// B43.
func checkParked(t *testing.T, b Backend) {
	park := system.WithFollowers(projection.WithFailures(2, 0, 0, projection.Park))
	for _, run := range []runner{system.RunSync, system.RunAsync} {
		r := b.banking(t, run, park)
		fail := func(n application.Notification) error {
			if n.Event.StreamID == accountID(0) {
				return errRefused
			}
			return nil
		}
		auditNode.In(r).failWith(fail)
		pay(t, r, 40)
		settle(t, r)
		parked, err := r.Parked(t.Context())
		if err != nil || len(parked) < 3 {
			t.Fatalf("%d events are parked: %v", len(parked), err)
		}
		if p := parked[0]; p.Application != "audit" || p.Upstream != "book" || p.StreamID != accountID(0) || p.Attempts != 2 {
			t.Errorf("parked: %+v", p)
		}
		if n, err := r.Retry(t.Context(), "audit", "book", accountID(0)); n != 0 || !errors.Is(err, errRefused) {
			t.Errorf("retry: %d, %v", n, err)
		}
		auditNode.In(r).failWith(nil)
		if err := r.Drop(t.Context(), "audit", "book", parked[0].Position); err != nil {
			t.Error(err)
		}
		if n, err := r.Retry(t.Context(), "audit", "book", accountID(0)); n != len(parked)-1 || err != nil {
			t.Errorf("retry: %d, %v; want %d", n, err, len(parked)-1)
		}
		pay(t, r, 40)
		settle(t, r)
		if n := entriesOf(t, auditNode.In(r)); n != 2*80-1 {
			t.Errorf("the audit has %d entries", n)
		}
		for _, s := range r.Status() { // it has noticed that others changed what is parked
			if s.Parked != 0 {
				t.Errorf("%s says that %d are parked", s.Application, s.Parked)
			}
		}
		if parked, err := r.Parked(t.Context()); len(parked) != 0 || err != nil {
			t.Errorf("%d events are parked: %v", len(parked), err)
		}
		if _, err := r.Retry(t.Context(), "audit", "bank", accountID(0)); !errors.Is(err, annals.ErrConfiguration) {
			t.Errorf("retry of a pipe that is not there: %v", err)
		}
	}
}

// B23: without leases, both work on the same.
func checkTwo(t *testing.T, b Backend) {
	addresses := b.Create(t, bankingNames...)
	without := system.WithFollowers(projection.WithLease(0), projection.WithBatch(7, batchTime))
	one := b.bankingAt(t, addresses, system.RunAsync, without)
	two := b.bankingAt(t, addresses, system.RunAsync, without)
	var wg sync.WaitGroup
	for _, r := range []*system.Runner{one, two} {
		wg.Go(func() { pay(t, r, 100) })
	}
	wg.Wait()
	settle(t, one)
	settle(t, two)
	if n := checkBooks(t, one); n != 200 {
		t.Errorf("%d payments", n)
	}
}

func checkOneLog(t *testing.T, b Backend) {
	address := b.Create(t, "bank")[0]
	recorders, err := b.open(t.Context(), bankingNames, []string{address, address, address})
	if err != nil {
		t.Fatal(err)
	}
	defer recorders.close()
	for _, run := range []runner{system.RunSync, system.RunAsync} {
		if r, err := run(t.Context(), banking, recorders.options(bankingMembers)...); !errors.Is(err, annals.ErrConfiguration) {
			t.Errorf("run: %v, %v", r, err)
		}
	}
}

// B23.
func checkKilled(t *testing.T, b Backend) {
	addresses := b.Create(t, bankingNames...)
	for range rounds(50) {
		p := b.spawn(t, addresses, rolePay)
		p.Lines(t, 1+rand.IntN(12))
		for range rand.IntN(50_000) * rand.IntN(50) { // a moment of no certain length
		}
		p.Kill(t)
	}
	r := b.bankingAt(t, addresses, system.RunAsync, system.WithApplications(application.WithCache(100)))
	settle(t, r)
	t.Logf("%d payments", checkBooks(t, r))
}

// B23.
func checkTakeover(t *testing.T, b Backend) {
	addresses := b.Create(t, bankingNames...)
	p := b.spawn(t, addresses, roleStandBy)
	p.Lines(t, 5)
	r := b.bankingAt(t, addresses, system.RunAsync, defaultLease)
	pay(t, r, 4)
	p.Lines(t, 1)
	p.Kill(t)
	killed := time.Now()
	pay(t, r, 4)
	settle(t, r)
	t.Logf("the effects were there %v after the other process was killed", time.Since(killed))
	checkBooks(t, r)
}

// B48: this process saves nothing.
func checkWoken(t *testing.T, b Backend) {
	addresses := b.Create(t, bankingNames...)
	steps := make(chan struct{}, 1)
	b.bankingAt(t, addresses, system.RunAsync, system.WithHook(func(s system.Status) {
		if s.Application == "audit" && s.Handled > 10 {
			select {
			case steps <- struct{}{}:
			default:
			}
		}
	}), system.WithFollowers(projection.WithLease(0)))
	recorders, err := b.open(t.Context(), bankingNames[:1], addresses[:1])
	if err != nil {
		t.Fatal(err)
	}
	defer recorders.close()
	other, err := openBank(t.Context(), application.WithRecorder(recorders.all[0]))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := other.pay(t.Context(), accountID(i), accountID(i+1), 1); err != nil {
			t.Fatal(fmt.Errorf("payment %d: %w", i, err))
		}
	}
	<-steps
}
