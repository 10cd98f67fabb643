package projectiontest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/projection"
)

// Run runs the suite: a subtest for each sentence, each on a log and a view of its own.
func Run[Tx any](t *testing.T, b Backend[Tx]) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s *store[Tx])
		does bool
	}{
		{"a view catches up, follows, and goes on after a restart", checkFollows[Tx], true},
		{"a transaction that fails leaves nothing in the view", checkUndone[Tx], true},
		{"a parked event holds back its stream alone, and is retried in order", checkParked[Tx], true},
		{"partitions keep the order of each stream, whatever their number", checkPartitions[Tx], true},
		{"a new version is built beside the old one, which then stops", checkRebuilt[Tx], true},
		{"runners of one name have each effect once", checkRunners[Tx], true},
		{"a process that is killed at any moment has each effect once", checkKilled[Tx], b.Processes},
		{"connections that are cut lose nothing", checkCut[Tx], b.Cut != nil},
	} {
		if !c.does {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, b.create(t))
		})
	}
}

func account(i int) string { return fmt.Sprintf("account %d", i) }

// deposits saves n events to some accounts, in turn, and returns the last position.
func (s *store[Tx]) deposits(t *testing.T, accounts, n int) (at int64) {
	t.Helper()
	for i := range n {
		var err error
		if at, err = s.deposit(t.Context(), account(i%accounts), int64(1+i)); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

// B41, B42.
func checkFollows[Tx any](t *testing.T, s *store[Tx]) {
	at := s.deposits(t, 3, 30)
	r := s.start(t)
	wait(t, r, at)
	s.same(t)
	wait(t, r, s.deposits(t, 5, 20))
	s.same(t)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	at = s.deposits(t, 3, 10)
	r = s.start(t)
	wait(t, r, at)
	s.same(t)
	if n := r.Status().Handled; n != 10 {
		t.Errorf("handled %d after the restart, want 10", n)
	}
}

var errPoison = errors.New("poison")

// poisoned is a projection whose handler writes, and then fails for an amount.
func (s *store[Tx]) poisoned(cents *int64) *projection.Projection[Tx] {
	return s.define(projection.On(func(ctx context.Context, tx Tx, e Deposited, _ annals.Event) error {
		if e.Cents == *cents {
			return errors.Join(s.Put(ctx, tx, "nobody", Row{1, 1}), errPoison)
		}
		return nil
	}))
}

func checkUndone[Tx any](t *testing.T, s *store[Tx]) {
	s.deposits(t, 3, 30)
	cents := int64(17)
	p := s.poisoned(&cents)
	r := s.startOf(t, p, projection.WithFailures(2, 0, 0, projection.Stop))
	<-r.Done()
	e, ok := errors.AsType[*projection.EventError](r.Err())
	if !ok || !errors.Is(e, errPoison) {
		t.Fatalf("Err: %v", r.Err())
	}
	rows, err := s.Rows(t.Context(), s.v)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := rows["nobody"]; ok || len(rows) != 3 {
		t.Errorf("rows %v", rows)
	}
	cents = 0
	at := s.deposits(t, 3, 1)
	r = s.startOf(t, p)
	wait(t, r, at)
	s.same(t)
}

// B43.
func checkParked[Tx any](t *testing.T, s *store[Tx]) {
	cents := int64(5)
	p := s.poisoned(&cents)
	at := s.deposits(t, 3, 30)
	r := s.startOf(t, p, projection.WithFailures(2, 0, time.Millisecond, projection.Park))
	wait(t, r, at)
	parked, err := projection.Parked(t.Context(), p, s.v)
	if err != nil || len(parked) != 9 || parked[0].Attempts != 2 || parked[0].StreamID != account(1) {
		t.Fatalf("parked %+v, %v", parked, err)
	}
	rows, err := s.Rows(t.Context(), s.v)
	if err != nil || rows[account(1)].Version != 2 || rows[account(0)].Version != 11 || rows[account(2)].Version != 11 {
		t.Errorf("rows %v, %v", rows, err)
	}
	if n, err := projection.Retry(t.Context(), s.app, p, s.v, account(1)); n != 0 || !errors.Is(err, errPoison) {
		t.Errorf("Retry: %d, %v", n, err)
	}
	cents = 0
	if n, err := projection.Retry(t.Context(), s.app, p, s.v, account(1)); n != 9 || err != nil {
		t.Errorf("Retry: %d, %v", n, err)
	}
	wait(t, r, s.deposits(t, 3, 6))
	s.same(t)
}

func checkPartitions[Tx any](t *testing.T, s *store[Tx]) {
	for _, n := range []int{3, 1, 4} {
		at := s.deposits(t, 10, 40)
		r := s.start(t, projection.WithPartitions(n), projection.WithBatch(3, time.Second),
			projection.WithFailures(1, 0, 0, projection.Stop))
		wait(t, r, at)
		wait(t, r, s.deposits(t, 10, 20))
		s.same(t)
		s.deposits(t, 10, 5)
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// B44.
func checkRebuilt[Tx any](t *testing.T, s *store[Tx]) {
	at := s.deposits(t, 3, 30)
	old := s.start(t)
	wait(t, old, at)
	var live []int64
	second := projection.Define("balances", projection.Version[Tx](2),
		projection.On(func(ctx context.Context, tx Tx, e Deposited, env annals.Event) error {
			r, err := s.Get(ctx, tx, "2 "+env.StreamID)
			return errors.Join(err, s.Put(ctx, tx, "2 "+env.StreamID, Row{env.Version, r.Balance + e.Cents}))
		}),
		projection.OnLive(func(_ context.Context, _ Tx, _ Deposited, env annals.Event) error {
			live = append(live, env.Version)
			return nil
		}),
		projection.OnSwitch(func(ctx context.Context, tx Tx) error { return s.Put(ctx, tx, "switched", Row{2, 0}) }))
	r := s.startOf(t, second, projection.WithBatch(7, time.Second))
	<-old.Done()
	if err := old.Err(); !errors.Is(err, projection.ErrReplaced) {
		t.Fatalf("the old one: %v", err)
	}
	wait(t, r, s.deposits(t, 3, 3))
	rows, err := s.Rows(t.Context(), s.v)
	if err != nil {
		t.Fatal(err)
	}
	want, err := s.fold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for id, row := range want {
		if rows["2 "+id] != row {
			t.Errorf("%s is %+v, and should be %+v", id, rows["2 "+id], row)
		}
	}
	if rows["switched"].Version != 2 || rows[account(0)].Version != 11 || fmt.Sprint(live) != "[12 12 12]" {
		t.Errorf("switched %+v, the old view %+v, live %v", rows["switched"], rows[account(0)], live)
	}
}

// B23.
func checkRunners[Tx any](t *testing.T, s *store[Tx]) {
	other := &store[Tx]{Backend: s.Backend, log: s.log, view: s.view}
	if s.Processes {
		if err := other.open(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(other.close)
	} else {
		other = s
	}
	opts := []projection.Option{
		projection.WithLease(0), projection.WithBatch(5, time.Second), projection.WithFailures(1, 0, 0, projection.Stop),
	}
	runners := []*projection.Runner[Tx]{s.start(t, opts...), other.start(t, opts...), other.start(t, opts...)}
	at := s.deposits(t, 4, 100)
	for _, r := range runners {
		wait(t, r, at)
	}
	s.same(t)
}

// rounds returns n, or twenty times n when soaking.
func rounds(n int) int {
	if os.Getenv("ANNALS_SOAK") == "1" {
		return 20 * n
	}
	return n
}

// checkKilled kills a process that projects, while writers save, after a random number of
// transactions, and a little more.
func checkKilled[Tx any](t *testing.T, s *store[Tx]) {
	writing, stop := context.WithCancel(t.Context())
	defer stop()
	var writers sync.WaitGroup
	for i := range 2 {
		writers.Go(func() {
			for n := 0; writing.Err() == nil; n++ {
				if _, err := s.deposit(context.WithoutCancel(writing), account(n/20*2+i), int64(n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range rounds(50) {
		p := s.spawn(t, 1+n/10%3)
		p.Lines(t, 1+rand.IntN(12))
		for range rand.IntN(50_000) * rand.IntN(50) { // a moment of no certain length
		}
		p.Kill(t)
	}
	stop()
	writers.Wait()
	at, err := s.app.Position(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := s.start(t, projection.WithLease(lease), projection.WithFailures(1, 0, 0, projection.Stop))
	wait(t, r, at)
	s.same(t)
	t.Logf("%d events", at)
}

// checkCut cuts the connections again and again, while events are saved.
func checkCut[Tx any](t *testing.T, s *store[Tx]) {
	r := s.start(t, projection.WithBatch(5, time.Second), projection.WithLease(lease))
	var at int64
	for range rounds(10) {
		for range 10 {
			var err error
			if at, err = s.deposit(t.Context(), account(int(at)%4), 1); err != nil {
				t.Fatal(err)
			}
		}
		s.Cut(t, s.log)
		s.Cut(t, s.view)
	}
	wait(t, r, at)
	s.same(t)
}
