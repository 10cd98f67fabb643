package projection_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/projection"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Account is the aggregate of these tests.
type Account struct {
	annals.Aggregate

	balance int
}

type (
	Opened    struct{ Owner string }
	Deposited struct{ Amount int }
	Renamed   struct{ Owner string }
)

func (Opened) Apply(*Account)        {}
func (e Deposited) Apply(a *Account) { a.balance += e.Amount }
func (Renamed) Apply(*Account)       {}

var Accounts = annals.Define("Account", annals.On[Opened]("Opened"), annals.On[Deposited]("Deposited"), annals.On[Renamed]("Renamed"))

// line is a row of the view: what is known of an account.
type line struct {
	Version int64
	Balance int
}

type (
	view   = memory.View[string, line]
	viewTx = memory.ViewTx[string, line]
)

func newView() *view { return memory.NewView[string, line]() }

// bank is an application with accounts.
type bank struct {
	*application.Application
	accounts *application.Repository[Account]
}

func openBank(tb testing.TB, opts ...application.Option) *bank {
	tb.Helper()
	app, err := application.Open(tb.Context(), "bank", opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := app.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &bank{app, application.NewRepository(app, Accounts)}
}

// open saves an account with deposits, and returns the position of the last event.
func (b *bank) open(tb testing.TB, id string, amounts ...int) int64 {
	tb.Helper()
	a := Accounts.New(id, Opened{Owner: "Ada"})
	for _, amount := range amounts {
		annals.Trigger(a, Deposited{Amount: amount})
	}
	recordings, err := b.Save(tb.Context(), a)
	if err != nil {
		tb.Fatal(err)
	}
	return recordings.Position()
}

func (b *bank) deposit(tb testing.TB, id string, amount int) int64 {
	tb.Helper()
	a, err := b.accounts.Get(tb.Context(), id)
	if err != nil {
		tb.Fatal(err)
	}
	annals.Trigger(a, Deposited{Amount: amount})
	recordings, err := b.Save(tb.Context(), a)
	if err != nil {
		tb.Fatal(err)
	}
	return recordings.Position()
}

// add is the handler of these tests. It fails if an event comes twice, or too early.
func add(_ context.Context, tx *viewTx, e Deposited, env annals.Event) error {
	l, _ := tx.Get(env.StreamID)
	if env.Version <= l.Version {
		return fmt.Errorf("version %d of %s comes behind %d", env.Version, env.StreamID, l.Version)
	}
	tx.Put(env.StreamID, line{env.Version, l.Balance + e.Amount})
	return nil
}

func define(parts ...projection.Part[*viewTx]) *projection.Projection[*viewTx] {
	return projection.Define("balances", append([]projection.Part[*viewTx]{projection.On(add)}, parts...)...)
}

func start[Tx any](
	tb testing.TB, up projection.Upstream, p *projection.Projection[Tx], v persistence.View[Tx], opts ...projection.Option,
) *projection.Runner[Tx] {
	tb.Helper()
	r, err := projection.Start(context.WithoutCancel(tb.Context()), up, p, v, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Stop() })
	return r
}

func wait[Tx any](tb testing.TB, r *projection.Runner[Tx], position int64) {
	tb.Helper()
	if err := r.Wait(tb.Context(), position); err != nil {
		tb.Fatal(err)
	}
}

func balance(v *view, id string) int {
	l, _ := v.Get(id)
	return l.Balance
}

// B41: it catches up, follows, and goes on where it was.
func TestAProjectionGoesOnWhereTheViewIs(t *testing.T) {
	b, v := openBank(t), newView()
	b.open(t, "a", 1, 2)
	at := b.open(t, "b", 10)
	r := start(t, b, define(), v)
	wait(t, r, at)
	if balance(v, "a") != 3 || balance(v, "b") != 10 {
		t.Fatalf("a has %d, b has %d", balance(v, "a"), balance(v, "b"))
	}
	wait(t, r, b.deposit(t, "a", 4))
	if balance(v, "a") != 7 {
		t.Fatalf("a has %d", balance(v, "a"))
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	at = b.deposit(t, "a", 5)
	r = start(t, b, define(), v)
	wait(t, r, at)
	if balance(v, "a") != 12 {
		t.Fatalf("a has %d", balance(v, "a"))
	}
	if s := r.Status(); s.Handled != 1 || s.Position != at || s.Head != at || !s.Active || s.Building {
		t.Errorf("status %+v", s)
	}
}

// B42: what no handler wants still moves the position, on the view as well.
func TestAnEventThatNoHandlerWantsMovesThePosition(t *testing.T) {
	b, v := openBank(t), newView()
	at := b.open(t, "a") // Opened has no handler
	r := start(t, b, define(), v)
	wait(t, r, at)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, b, define(), v)
	wait(t, r, at)
	if s := r.Status(); s.Handled != 0 {
		t.Errorf("handled %d", s.Handled)
	}
}

// B24: who waits in vain learns who lags, and by how much.
func TestWaitSaysWhoLags(t *testing.T) {
	b, v := openBank(t), newView()
	at := b.open(t, "a", 1)
	r := start(t, b, define(), v)
	wait(t, r, at)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := r.Wait(ctx, at+5)
	lag, ok := errors.AsType[*projection.LagError](err)
	if !ok || !errors.Is(err, context.DeadlineExceeded) || lag.Want != at+5 || lag.Position != at || lag.Projection != "balances" {
		t.Fatalf("Wait: %v", err)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context(), at+5); !errors.Is(err, annals.ErrClosed) {
		t.Errorf("Wait of a stopped runner: %v", err)
	}
}

func TestAWrongDefinitionDoesNotStart(t *testing.T) {
	b := openBank(t)
	type other struct{}
	for name, p := range map[string]*projection.Projection[*viewTx]{
		"no name":     projection.Define("", projection.On(add)),
		"a slash":     projection.Define("a/b", projection.On(add)),
		"no handlers": projection.Define[*viewTx]("empty"),
		"nil":         projection.Define("nil", projection.On[*viewTx, Opened](nil)),
		"version 0":   define(projection.Version[*viewTx](0)),
		"unknown type": projection.Define("unknown", projection.On(
			func(context.Context, *viewTx, other, annals.Event) error { return nil })),
		"interface": projection.Define("any", projection.On(
			func(context.Context, *viewTx, any, annals.Event) error { return nil })),
	} {
		if _, err := projection.Start(t.Context(), b, p, newView()); !errors.Is(err, annals.ErrConfiguration) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, o := range map[string]projection.Option{
		"batch": projection.WithBatch(0, time.Second), "failures": projection.WithFailures(0, 0, 0, projection.Stop),
		"policy": projection.WithFailures(1, 0, 0, 7), "partitions": projection.WithPartitions(0),
		"lease": projection.WithLease(time.Millisecond), "hook": projection.WithHook(nil), "after": projection.StartAfter(-1),
	} {
		if _, err := projection.Start(t.Context(), b, define(), newView(), o); !errors.Is(err, annals.ErrConfiguration) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// failing is a handler that fails for an amount until it is told otherwise.
type failing struct {
	mu     sync.Mutex
	amount int
	calls  int
}

func (f *failing) heal() { f.mu.Lock(); f.amount = 0; f.mu.Unlock() }

var errPoison = errors.New("poison")

func (f *failing) part() projection.Part[*viewTx] {
	return projection.On(func(_ context.Context, _ *viewTx, e Deposited, _ annals.Event) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if e.Amount == f.amount {
			f.calls++
			return errPoison
		}
		return nil
	})
}

// B43: the runner ends with an error that says what, where and why; what comes before
// the event is in the view, and what comes behind it is not.
func TestAFailureStopsTheRunner(t *testing.T) {
	b, v := openBank(t), newView()
	b.open(t, "a", 1, 2)
	at := b.open(t, "b", 99)
	b.open(t, "c", 3)
	f := &failing{amount: 99}
	r := start(t, b, define(f.part()), v, projection.WithFailures(3, 0, 0, projection.Stop))
	<-r.Done()
	err := r.Err()
	e, ok := errors.AsType[*projection.EventError](err)
	if !ok || !errors.Is(err, errPoison) || e.Position != at || e.StreamID != "b" || e.Topic != "Account.Deposited" || e.Attempts != 3 {
		t.Fatalf("Err: %v", err)
	}
	if f.calls != 4 { // in the batch, and three times alone; the batch counts for the first only if nothing came before
		t.Errorf("%d calls", f.calls)
	}
	if balance(v, "a") != 3 || balance(v, "b") != 0 || balance(v, "c") != 0 {
		t.Errorf("a has %d, b has %d, c has %d", balance(v, "a"), balance(v, "b"), balance(v, "c"))
	}
	if err := r.Wait(t.Context(), at); !errors.Is(err, errPoison) {
		t.Errorf("Wait: %v", err)
	}
	f.heal()
	r = start(t, b, define(f.part()), v)
	wait(t, r, at+2)
	if balance(v, "a") != 3 || balance(v, "b") != 99 || balance(v, "c") != 3 {
		t.Errorf("a has %d, b has %d, c has %d", balance(v, "a"), balance(v, "b"), balance(v, "c"))
	}
}

func TestAFailureIsSkipped(t *testing.T) {
	b, v := openBank(t), newView()
	b.open(t, "a", 1, 99, 2)
	at := b.open(t, "b", 3)
	f := &failing{amount: 99}
	r := start(t, b, define(f.part()), v, projection.WithFailures(2, 0, 0, projection.Skip))
	wait(t, r, at)
	if balance(v, "a") != 3 || balance(v, "b") != 3 {
		t.Errorf("a has %d, b has %d", balance(v, "a"), balance(v, "b"))
	}
	if s := r.Status(); s.Skipped != 1 || s.Retried != 1 || s.Handled != 3 || s.Failure == nil || !errors.Is(s.Failure, errPoison) {
		t.Errorf("status %+v", s)
	}
}

// B43: a parked event holds back its stream, and no other; Retry handles them in order.
func TestAFailureIsParkedWithItsStream(t *testing.T) {
	b, v := openBank(t), newView()
	b.open(t, "a", 1, 99, 2)
	at := b.open(t, "b", 3)
	f := &failing{amount: 99}
	p := define(f.part())
	r := start(t, b, p, v, projection.WithFailures(2, 0, 0, projection.Park))
	wait(t, r, at)
	at = b.deposit(t, "a", 4)
	wait(t, r, at)
	if balance(v, "a") != 1 || balance(v, "b") != 3 {
		t.Errorf("a has %d, b has %d", balance(v, "a"), balance(v, "b"))
	}
	parked, err := projection.Parked(t.Context(), p, v)
	if err != nil {
		t.Fatal(err)
	}
	if len(parked) != 3 || parked[0].Position != 3 || parked[1].Position != 4 || parked[2].Position != at {
		t.Fatalf("parked %+v", parked)
	}
	if e := parked[0]; e.Reason != "poison" || e.Attempts != 2 || e.StreamID != "a" || e.Topic != "Account.Deposited" || e.EventID == "" {
		t.Errorf("parked %+v", e)
	}
	if e := parked[1]; e.Reason != "" || e.Attempts != 0 {
		t.Errorf("parked behind it %+v", e)
	}
	if s := r.Status(); s.Parked != 3 {
		t.Errorf("status %+v", s)
	}

	n, err := projection.Retry(t.Context(), b, p, v, "a")
	if _, ok := errors.AsType[*projection.EventError](err); !ok || n != 0 || !errors.Is(err, errPoison) {
		t.Fatalf("Retry: %d, %v", n, err)
	}
	if parked, _ = projection.Parked(t.Context(), p, v); len(parked) != 3 || parked[0].Attempts != 3 {
		t.Errorf("parked %+v", parked)
	}
	f.heal()
	if n, err = projection.Retry(t.Context(), b, p, v, "a"); n != 3 || err != nil {
		t.Fatalf("Retry: %d, %v", n, err)
	}
	if balance(v, "a") != 106 {
		t.Errorf("a has %d", balance(v, "a"))
	}
	wait(t, r, b.deposit(t, "a", 5)) // the stream goes on by itself
	if balance(v, "a") != 111 {
		t.Errorf("a has %d", balance(v, "a"))
	}
	if s := r.Status(); s.Parked != 0 || s.Err != nil {
		t.Errorf("status %+v", s)
	}
}

func TestAParkedEventIsDropped(t *testing.T) {
	b, v := openBank(t), newView()
	at := b.open(t, "a", 1, 99, 2)
	f := &failing{amount: 99}
	p := define(f.part())
	r := start(t, b, p, v, projection.WithFailures(1, 0, 0, projection.Park))
	wait(t, r, at)
	if err := projection.Drop(t.Context(), p, v, 1); !errors.Is(err, annals.ErrNotFound) {
		t.Errorf("Drop of one that is not parked: %v", err)
	}
	if err := projection.Drop(t.Context(), p, v, 3); err != nil {
		t.Fatal(err)
	}
	wait(t, r, b.deposit(t, "a", 3)) // behind the one that is parked still
	if balance(v, "a") != 1 {
		t.Errorf("a has %d", balance(v, "a"))
	}
	if n, err := projection.Retry(t.Context(), b, p, v, "a"); n != 2 || err != nil {
		t.Fatalf("Retry: %d, %v", n, err)
	}
	if balance(v, "a") != 6 {
		t.Errorf("a has %d", balance(v, "a"))
	}
}

// B43: the pauses between attempts grow from the first to the last.
func TestRetriesBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, v := openBank(t), newView()
		b.open(t, "a", 99)
		var at []time.Time
		p := projection.Define("balances", projection.On(func(context.Context, *viewTx, Deposited, annals.Event) error {
			at = append(at, time.Now())
			return errPoison
		}))
		r := start(t, b, p, v, projection.WithFailures(6, time.Second, 5*time.Second, projection.Stop))
		<-r.Done()
		if len(at) != 6 {
			t.Fatalf("%d attempts", len(at))
		}
		longest := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second}
		for i, most := range longest {
			if pause := at[i+1].Sub(at[i]); pause < most/2 || pause > most {
				t.Errorf("pause %d: %v, want half of %v to all of it", i, pause, most)
			}
		}
	})
}

func TestAPanicIsAFailure(t *testing.T) {
	b, v := openBank(t), newView()
	b.open(t, "a", 1)
	p := projection.Define("balances", projection.On(func(context.Context, *viewTx, Deposited, annals.Event) error { panic("ouch") }))
	r := start(t, b, p, v, projection.WithFailures(1, 0, 0, projection.Stop))
	<-r.Done()
	panicked, ok := errors.AsType[*projection.PanicError](r.Err())
	if !ok || !strings.HasSuffix(r.Err().Error(), "failed once: the handler panicked: ouch") || !strings.Contains(string(panicked.Stack), "projection_test.go") {
		t.Errorf("Err: %v", r.Err())
	}
}

// B44: the new version catches up beside the old one, then takes its place.
func TestANewVersionIsBuiltBesideTheOldOne(t *testing.T) {
	b, v := openBank(t), newView()
	b.open(t, "a", 1, 2)
	var mails []string
	mail := func(_ context.Context, _ *viewTx, _ Deposited, env annals.Event) error {
		mails = append(mails, fmt.Sprint(env.StreamID, env.Version))
		return nil
	}
	first := define(projection.OnLive(mail))
	old := start(t, b, first, v)
	wait(t, old, 3)
	var replayed []bool
	second := projection.Define("balances", projection.Version[*viewTx](2), projection.OnLive(mail),
		projection.On(func(ctx context.Context, tx *viewTx, e Deposited, env annals.Event) error {
			replayed = append(replayed, projection.Replaying(ctx))
			l, _ := tx.Get("v2 " + env.StreamID)
			tx.Put("v2 "+env.StreamID, line{env.Version, l.Balance + 10*e.Amount})
			return nil
		}),
		projection.OnSwitch(func(_ context.Context, tx *viewTx) error { tx.Put("switched", line{Balance: 2}); return nil }))
	r := start(t, b, second, v, projection.WithManualSwitch())
	wait(t, r, 3)
	if s := r.Status(); !s.Building {
		t.Errorf("status %+v", s)
	}
	at := b.deposit(t, "a", 3)
	wait(t, old, at)
	wait(t, r, at)
	if active, err := projection.ActiveVersion(t.Context(), v, "balances"); active != 1 || err != nil {
		t.Fatalf("active %d, %v", active, err)
	}
	if balance(v, "switched") != 0 {
		t.Error("switched too early")
	}
	if err := r.Switch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if active, err := projection.ActiveVersion(t.Context(), v, "balances"); active != 2 || err != nil {
		t.Fatalf("active %d, %v", active, err)
	}
	if balance(v, "switched") != 2 {
		t.Error("OnSwitch was not called")
	}
	at = b.deposit(t, "a", 4)
	wait(t, r, at)
	<-old.Done()
	if err := old.Err(); !errors.Is(err, projection.ErrReplaced) {
		t.Errorf("the old one: %v", err)
	}
	if balance(v, "a") != 6 || balance(v, "v2 a") != 100 {
		t.Errorf("the old view has %d, the new one %d", balance(v, "a"), balance(v, "v2 a"))
	}
	if want := []string{"a2", "a3", "a4", "a5"}; !slices.Equal(mails, want) {
		t.Errorf("mails %v, want %v", mails, want)
	}
	if want := []bool{true, true, true, false}; !slices.Equal(replayed, want) {
		t.Errorf("replayed %v, want %v", replayed, want)
	}
	late := start(t, b, first, v)
	<-late.Done()
	if err := late.Err(); !errors.Is(err, projection.ErrReplaced) {
		t.Errorf("the old one, started again: %v", err)
	}
	err := projection.Forget(t.Context(), second, v)
	if !errors.Is(err, annals.ErrConfiguration) || !strings.Contains(err.Error(), "projection balances: forget: version 2 is the active one") {
		t.Errorf("Forget of the active version: %v", err)
	}
	if err := projection.Forget(t.Context(), first, v); err != nil {
		t.Error(err)
	}
}

// B44: a build that was stopped goes on where it was, and switches by itself.
func TestABuildGoesOn(t *testing.T) {
	b, v := openBank(t), newView()
	for i := range 20 {
		b.open(t, fmt.Sprint("a", i), 1)
	}
	at := b.open(t, "z", 1)
	old := start(t, b, define(), v)
	wait(t, old, at)
	if err := old.Stop(); err != nil {
		t.Fatal(err)
	}
	handled := 0
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	second := projection.Define("balances", projection.Version[*viewTx](2), projection.On(
		func(context.Context, *viewTx, Deposited, annals.Event) error {
			if handled++; handled == 10 {
				stop()
			}
			return nil
		}))
	r, err := projection.Start(ctx, b, second, v, projection.WithBatch(1, time.Second))
	if err != nil {
		t.Fatal(err)
	}
	<-r.Done()
	before := r.Status()
	if before.Position == 0 || before.Position >= at {
		t.Fatalf("stopped at %d", before.Position)
	}
	changes := make(chan projection.Status, 1000)
	r = start(t, b, second, v, projection.WithHook(func(s projection.Status) { changes <- s }))
	wait(t, r, at)
	for changed := range changes {
		if !changed.Building {
			break
		}
	}
	if handled > 21+10 {
		t.Errorf("handled %d", handled)
	}
}

// B44: what the old version has not handled, the new one handles as live.
func TestEachEventIsLiveInOneVersion(t *testing.T) {
	b, v := openBank(t), newView()
	var mails []string
	mail := projection.OnLive(func(_ context.Context, _ *viewTx, _ Deposited, env annals.Event) error {
		mails = append(mails, fmt.Sprint(env.StreamID, env.Version))
		return nil
	})
	at := b.open(t, "a", 1, 2)
	old := start(t, b, define(mail), v)
	wait(t, old, at)
	if err := old.Stop(); err != nil {
		t.Fatal(err)
	}
	b.deposit(t, "a", 3)
	at = b.open(t, "b", 4)
	second := projection.Define("balances", projection.Version[*viewTx](2), mail)
	r := start(t, b, second, v)
	wait(t, r, at)
	if want := []string{"a2", "a3", "a4", "b2"}; !slices.Equal(mails, want) {
		t.Errorf("mails %v, want %v", mails, want)
	}
}
