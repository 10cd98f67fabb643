package projection_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/projection"
)

// fold is what the view must be: the balances of the log.
func fold(tb testing.TB, b *bank) map[string]line {
	tb.Helper()
	all := make(map[string]line)
	for n, err := range b.Notifications(tb.Context()) {
		if err != nil {
			tb.Fatal(err)
		}
		if e, ok := n.Event.Data.(Deposited); ok {
			all[n.Event.StreamID] = line{n.Event.Version, all[n.Event.StreamID].Balance + e.Amount}
		}
	}
	return all
}

func same(tb testing.TB, b *bank, v *view) {
	tb.Helper()
	want := fold(tb, b)
	for id, l := range want {
		if have, _ := v.Get(id); have != l {
			tb.Errorf("%s is %+v, want %+v", id, have, l)
		}
	}
	if v.Len() != len(want) {
		tb.Errorf("%d rows, want %d", v.Len(), len(want))
	}
}

// B23: runners of one name, each of which thinks that it is the only one.
func TestTwoRunnersHaveEachEffectOnce(t *testing.T) {
	b, v := openBank(t), newView()
	runners := []*projection.Runner[*viewTx]{
		start(t, b, define(), v, projection.WithLease(0), projection.WithBatch(3, time.Second)),
		start(t, b, define(), v, projection.WithLease(0), projection.WithBatch(5, time.Second)),
		start(t, b, define(), v, projection.WithLease(0)),
	}
	var at int64
	for i := range 200 {
		at = b.open(t, fmt.Sprint("a", i), 1, 2, 3)
	}
	for _, r := range runners {
		wait(t, r, at)
		if err := r.Err(); err != nil {
			t.Error(err)
		}
	}
	same(t, b, v)
}

// The one that has the lease works; the other takes over when it is silent.
func TestALeaseIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, v := openBank(t), newView()
		silent := &silentView{view: v}
		first := start(t, b, define(), persistence.View[*viewTx](silent))
		synctest.Wait()
		second := start(t, b, define(), v)
		advance(time.Minute)
		if !first.Status().Active || second.Status().Active {
			t.Fatalf("active: %v, %v", first.Status().Active, second.Status().Active)
		}
		if err := second.Status().Health(time.Second); err != nil {
			t.Error(err)
		}
		silent.silence(true)
		began := time.Now()
		at := b.open(t, "a", 1)
		wait(t, second, at)
		if took := time.Since(began); took > 5*time.Second || took < 2*time.Second {
			t.Errorf("taken over after %v", took)
		}
		if err := first.Status().Health(time.Second); !errors.Is(err, persistence.ErrUnavailable) {
			t.Errorf("Health: %v", err)
		}
		silent.silence(false)
		advance(10 * time.Second)
		if first.Status().Active || !second.Status().Active {
			t.Fatalf("active: %v, %v", first.Status().Active, second.Status().Active)
		}
		if err := second.Stop(); err != nil { // it gives the lease back
			t.Fatal(err)
		}
		began = time.Now()
		wait(t, first, b.deposit(t, "a", 2))
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("taken over after %v", took)
		}
		same(t, b, v)
	})
}

// advance lets the time of a bubble pass, and waits for what happens until then.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// silentView is a view that cannot be reached at times.
type silentView struct {
	view persistence.View[*viewTx]
	mu   sync.Mutex
	off  bool
}

func (s *silentView) silence(off bool) { s.mu.Lock(); s.off = off; s.mu.Unlock() }

func (s *silentView) Update(ctx context.Context, f func(context.Context, *viewTx, persistence.Ledger) error) error {
	s.mu.Lock()
	off := s.off
	s.mu.Unlock()
	if off {
		return persistence.ErrUnavailable
	}
	return s.view.Update(ctx, f)
}

func TestPartitionsKeepTheOrderOfStreams(t *testing.T) {
	b, v := openBank(t), newView()
	var at int64
	for round := range 10 {
		for i := range 30 {
			if id := fmt.Sprint("a", i); round == 0 {
				at = b.open(t, id, 1)
			} else {
				at = b.deposit(t, id, round)
			}
		}
	}
	for _, partitions := range []int{4, 1, 7, 3} {
		r := start(t, b, define(), v, projection.WithPartitions(partitions), projection.WithBatch(2, time.Second))
		wait(t, r, at)
		for i := range 30 {
			at = b.deposit(t, fmt.Sprint("a", i), 1)
		}
		wait(t, r, at)
		same(t, b, v)
		at = b.deposit(t, "a1", 5)
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// The partitions are left at different positions, each somewhere: another number of
// them starts where each stream is.
func TestPartitionsChangeWhereverTheyAre(t *testing.T) {
	b, v := openBank(t), newView()
	var at int64
	for range 20 {
		for i := range 10 {
			id := fmt.Sprint("a", i)
			if _, err := b.accounts.Get(t.Context(), id); err != nil {
				at = b.open(t, id, 1)
			} else {
				at = b.deposit(t, id, 1)
			}
		}
	}
	for n := 0; ; n++ {
		limit := 15 // transactions of the view come one after another
		ctx, stop := context.WithCancel(t.Context())
		p := projection.Define("balances", projection.On(func(ctx context.Context, tx *viewTx, e Deposited, env annals.Event) error {
			if limit--; limit == 0 {
				stop()
			}
			return add(ctx, tx, e, env)
		}))
		if n > 30 {
			limit = 1 << 30
		}
		r, err := projection.Start(ctx, b, p, v, projection.WithPartitions(1+n%5), projection.WithBatch(1+n%3, time.Second))
		if err != nil {
			t.Fatal(err)
		}
		err = r.Wait(t.Context(), at)
		stop()
		if stopped := r.Stop(); stopped != nil {
			t.Fatal(stopped)
		}
		if err == nil {
			break
		}
	}
	same(t, b, v)
}

// A poison event of a partition does not hold up the others.
func TestAStreamThatIsParkedHoldsUpNoOther(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b, v := openBank(t), newView()
		partitions := rapid.IntRange(1, 3).Draw(rt, "partitions")
		batch := rapid.IntRange(1, 6).Draw(rt, "batch")
		poisoned := make(map[string]bool)
		f := &failing{amount: 99}
		p := define(f.part())
		r := start(t, b, p, v, projection.WithFailures(1, 0, 0, projection.Park), projection.WithPartitions(partitions),
			projection.WithBatch(batch, time.Second))
		want := make(map[string]int)
		ids := []string{"a", "b", "c", "d"}
		var at int64
		for _, id := range ids {
			at = b.open(t, id)
		}
		for range rapid.IntRange(0, 30).Draw(rt, "deposits") {
			id := rapid.SampledFrom(ids).Draw(rt, "id")
			amount := rapid.SampledFrom([]int{1, 2, 99}).Draw(rt, "amount")
			at = b.deposit(t, id, amount)
			if poisoned[id] = poisoned[id] || amount == 99; !poisoned[id] {
				want[id] += amount
			}
		}
		wait(t, r, at)
		for _, id := range ids {
			if balance(v, id) != want[id] {
				rt.Errorf("%s has %d, want %d", id, balance(v, id), want[id])
			}
		}
		f.heal()
		for _, id := range ids {
			if _, err := projection.Retry(t.Context(), b, p, v, id); err != nil {
				rt.Fatal(err)
			}
		}
		if parked, err := projection.Parked(t.Context(), p, v); len(parked) > 0 || err != nil {
			rt.Errorf("parked %v, %v", parked, err)
		}
		all := fold(t, b)
		for id, l := range all {
			if have, _ := v.Get(id); have != l {
				rt.Errorf("%s is %+v, want %+v", id, have, l)
			}
		}
		if err := r.Stop(); err != nil {
			rt.Error(err)
		}
	})
}

// Retries beside the runner, while the stream gets new events all the time.
func TestRetryBesideTheRunner(t *testing.T) {
	b, v := openBank(t), newView()
	f := &failing{amount: 99}
	p := define(f.part())
	r := start(t, b, p, v, projection.WithFailures(1, 0, 0, projection.Park), projection.WithBatch(2, time.Second))
	at := b.open(t, "a", 1, 99)
	wait(t, r, at)
	f.heal()
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 200 {
			at = b.deposit(t, "a", 1)
		}
	})
	for range 2 {
		wg.Go(func() {
			for range 50 {
				if _, err := projection.Retry(t.Context(), b, p, v, "a"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	wait(t, r, at)
	if _, err := projection.Retry(t.Context(), b, p, v, "a"); err != nil {
		t.Fatal(err)
	}
	same(t, b, v)
}

// B41: a consumer is called before its position is kept: again after a crash, with the
// same key.
func TestAConsumerDeliversAtLeastOnce(t *testing.T) {
	b := openBank(t)
	b.open(t, "a", 1, 2)
	at := b.open(t, "b", 3)
	silent := &silentView{view: newView()}
	var keys []string
	p := projection.Define("mails", projection.On(func(_ context.Context, d projection.Delivery, _ Deposited, _ annals.Event) error {
		if keys = append(keys, d.Key); len(keys) == 2 {
			silent.silence(true) // the position of the second is not kept
		}
		if len(keys) == 3 {
			silent.silence(false)
		}
		return nil
	}))
	views := map[string]persistence.View[projection.Delivery]{
		"a view":                      projection.Consumer[*viewTx](silent),
		"tracking":                    projection.Consumer(projection.Tracking(memory.New())),
		"a tracking without a ledger": projection.Consumer(projection.Tracking(bare{memory.New()})),
	}
	for name, v := range views {
		keys = nil
		changes := make(chan projection.Status, 1000)
		r := start(t, b, p, v, projection.WithHook(func(s projection.Status) { changes <- s }))
		if name == "a view" {
			for s := range changes {
				if s.Trouble != nil {
					break
				}
			}
			silent.silence(false)
		}
		wait(t, r, at)
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		distinct := slices.Compact(slices.Clone(keys))
		if len(distinct) != 3 || keys[0][:6] != "mails/" {
			t.Errorf("%s: keys %v", name, keys)
		}
		if name == "a view" && len(keys) != 4 || name != "a view" && len(keys) != 3 {
			t.Errorf("%s: keys %v", name, keys)
		}
		r = start(t, b, p, v)
		wait(t, r, at)
		if r.Status().Handled != 0 {
			t.Errorf("%s: delivered again", name)
		}
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// bare is a recorder without a ledger.
type bare struct{ persistence.Recorder }

func (r bare) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	if b.Ledger != nil {
		return nil, annals.ErrUnsupported
	}
	return r.Recorder.Record(ctx, b)
}

func TestATrackingWithoutALedgerKeepsPositionsOnly(t *testing.T) {
	b := openBank(t)
	p := projection.Define("mails", projection.On(func(context.Context, projection.Delivery, Deposited, annals.Event) error { return nil }))
	v := projection.Consumer(projection.Tracking(bare{memory.New()}))
	for _, o := range []projection.Option{projection.WithPartitions(2), projection.WithFailures(1, 0, 0, projection.Park)} {
		if _, err := projection.Start(t.Context(), b, p, v, o); !errors.Is(err, annals.ErrConfiguration) {
			t.Errorf("Start: %v", err)
		}
	}
	switched := projection.OnSwitch(func(context.Context, projection.Delivery) error { return nil })
	p = projection.Define("mails", switched, projection.OnAll(func(context.Context, projection.Delivery, application.Notification) error { return nil }))
	if _, err := projection.Start(t.Context(), b, p, v); !errors.Is(err, annals.ErrConfiguration) {
		t.Errorf("Start: %v", err)
	}
}

// The view and the log are not to be had at random moments.
func TestTroubleIsOvercome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBank(t)
		v := newView()
		flaky := &flakyView{view: v, random: rand.New(rand.NewPCG(1, 2))}
		r := start(t, b, define(), persistence.View[*viewTx](flaky), projection.WithBatch(3, time.Second))
		var at int64
		for i := range 100 {
			at = b.open(t, fmt.Sprint("a", i), 1, 2, 3)
		}
		wait(t, r, at)
		same(t, b, v)
		if err := r.Err(); err != nil {
			t.Error(err)
		}
	})
}

// flakyView fails before or after a commit.
type flakyView struct {
	view   persistence.View[*viewTx]
	mu     sync.Mutex
	random *rand.Rand
}

func (s *flakyView) Update(ctx context.Context, f func(context.Context, *viewTx, persistence.Ledger) error) error {
	s.mu.Lock()
	n := s.random.IntN(6)
	s.mu.Unlock()
	switch n {
	case 0:
		return persistence.ErrUnavailable
	case 1:
		return errors.Join(annals.ErrOutcomeUnknown, s.view.Update(ctx, f))
	case 2:
		return s.view.Update(ctx, func(ctx context.Context, tx *viewTx, l persistence.Ledger) error {
			return errors.Join(persistence.ErrBusy, f(ctx, tx, l))
		})
	default:
		return s.view.Update(ctx, f)
	}
}

// What cannot be read is a failure of its event.
func TestAnEventThatCannotBeReadIsParked(t *testing.T) {
	recorder := memory.New()
	b, v := openBank(t, application.WithRecorder(recorder)), newView()
	b.open(t, "a", 1)
	if _, err := recorder.Record(t.Context(), persistence.Batch{Events: []persistence.StoredEvent{{
		ID: annals.NewID(), StreamID: "a", Version: 3, Topic: "Account.Deposited", Time: time.Now().UTC().Truncate(time.Microsecond), Shape: 1, Encoding: "1+json",
		State: []byte("no JSON"),
	}}}); err != nil {
		t.Fatal(err)
	}
	at := b.open(t, "b", 2)
	p := define()
	r := start(t, b, p, v, projection.WithFailures(5, time.Hour, time.Hour, projection.Park))
	wait(t, r, at)
	if balance(v, "a") != 1 || balance(v, "b") != 2 {
		t.Errorf("a has %d, b has %d", balance(v, "a"), balance(v, "b"))
	}
	parked, err := projection.Parked(t.Context(), p, v)
	if err != nil || len(parked) != 1 || parked[0].StreamID != "a" || parked[0].Topic != "Account.Deposited" || parked[0].Attempts != 1 {
		t.Errorf("parked %+v, %v", parked, err)
	}
}

// B45: the hook sees what happens, and the lag is a figure.
func TestTheHookSeesTheLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, v := openBank(t), newView()
		b.open(t, "a", 1)
		at := b.open(t, "b", 2)
		goOn := make(chan struct{})
		p := projection.Define("balances", projection.On(func(context.Context, *viewTx, Deposited, annals.Event) error { <-goOn; return nil }))
		var seen []projection.Status
		r := start(t, b, p, v, projection.WithHook(func(s projection.Status) { seen = append(seen, s) }))
		synctest.Wait()
		advance(2500 * time.Millisecond)
		s := r.Status()
		if s.Lag != 2500*time.Millisecond || s.Behind() != at || s.Progress() != 0 {
			t.Errorf("lag %v, %d positions, progress %v", s.Lag, s.Behind(), s.Progress())
		}
		if err := s.Health(2 * time.Second); !errors.Is(err, projection.ErrLag) {
			t.Errorf("Health: %v", err)
		}
		if err := s.Health(3 * time.Second); err != nil {
			t.Errorf("Health: %v", err)
		}
		close(goOn)
		wait(t, r, at)
		if s = r.Status(); s.Lag != 0 || s.Behind() != 0 || s.Progress() != 1 || s.Handled != 2 {
			t.Errorf("status %+v", s)
		}
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		if last := seen[len(seen)-1]; last.Handled != 2 || last.Active || last.Projection != "balances" {
			t.Errorf("last seen %+v", last)
		}
	})
}

func TestTheRunnerEndsWithTheApplication(t *testing.T) {
	b, v := openBank(t), newView()
	r := start(t, b, define(), v)
	wait(t, r, b.open(t, "a", 1))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	<-r.Done()
	if err := r.Err(); !errors.Is(err, annals.ErrClosed) {
		t.Errorf("Err: %v", err)
	}
}

// B44: the partitions of the old version were at different positions when it was stopped.
func TestEachEventIsLiveInOneVersionWhateverThePartitions(t *testing.T) {
	b, v := openBank(t), newView()
	var at int64
	for i := range 60 {
		at = b.open(t, fmt.Sprint("a", i), 1)
	}
	limit := 0
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	live := projection.OnLive(func(_ context.Context, tx *viewTx, _ Deposited, env annals.Event) error {
		l, _ := tx.Get("live " + env.StreamID)
		tx.Put("live "+env.StreamID, line{env.Version, l.Balance + 1})
		if limit++; limit == 30 { // transactions of the view come one after another
			stop()
		}
		return nil
	})
	old, err := projection.Start(ctx, b, define(live), v, projection.WithPartitions(4), projection.WithBatch(1, time.Second))
	if err != nil {
		t.Fatal(err)
	}
	<-old.Done()
	if s := old.Status(); s.Position == 0 || s.Position > 60 {
		t.Fatalf("the old one stopped at %d", s.Position)
	}
	r := start(t, b, projection.Define("balances", projection.Version[*viewTx](2), live), v, projection.WithPartitions(3))
	wait(t, r, at)
	for i := range 60 {
		if n := balance(v, fmt.Sprint("live a", i)); n != 1 {
			t.Errorf("a%d was live %d times", i, n)
		}
	}
}
