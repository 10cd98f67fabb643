package system_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/system"
)

// between calls a function before it reads a tracking for the n-th time.
type between struct {
	persistence.Recorder

	reads int
	call  func(n int)
}

func (b *between) MaxTracking(ctx context.Context, name string) (int64, bool, error) {
	b.reads++
	b.call(b.reads)
	return b.Recorder.MaxTracking(ctx, name)
}

var errBad = errors.New("bad")

func failsOn(trick string) func(application.Notification) error {
	return func(n application.Notification) error {
		if e, ok := n.Event.Data.(trickAdded); ok && e.Trick == trick {
			return errBad
		}
		return nil
	}
}

func parking() system.Option {
	return system.WithFollowers(projection.WithFailures(1, 0, 0, projection.Park))
}

// B43: what another runner parks while this one begins is behind what is parked.
func TestWhatIsParkedAtTheStartHoldsUpItsStream(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 2; at++ {
		ctx := t.Context()
		log, own := memory.New(), memory.New()
		one := start(t, system.RunSync, dogSchools, system.WithApplication(schoolApp, application.WithRecorder(log)),
			system.WithApplication(countersApp, application.WithRecorder(own)), parking())
		countersApp.In(one).fail = failsOn("bad")
		d := dogs.New(annals.NewID(), registered{"Fido"})
		if _, err := schoolApp.In(one).Save(ctx, d); err != nil {
			t.Fatal(err)
		}
		annals.Trigger(d, trickAdded{"bad"})
		slow := &between{Recorder: own}
		slow.call = func(n int) {
			if n == at {
				if _, err := schoolApp.In(one).Save(ctx, d); err != nil { // it is parked now
					t.Error(err)
				}
			}
		}
		two := start(t, system.RunSync, dogSchools, system.WithApplication(schoolApp, application.WithRecorder(log)),
			system.WithApplication(countersApp, application.WithRecorder(slow)), parking())
		if slow.reads < at {
			if _, err := schoolApp.In(one).Save(ctx, d); err != nil {
				t.Fatal(err)
			}
		}
		annals.Trigger(d, trickAdded{"after"})
		if _, err := schoolApp.In(two).Save(ctx, d); err != nil {
			t.Fatal(err)
		}
		if n, err := countersApp.In(two).count(ctx, "after"); n != 0 || err != nil {
			t.Errorf("at %d: an event was processed before one of its stream that is parked: %d, %v", at, n, err)
		}
		if parked, err := two.Parked(ctx); len(parked) != 2 || err != nil {
			t.Errorf("at %d: %d are parked: %v", at, len(parked), err)
		}
		countersApp.In(one).fail = nil
		if n, err := two.Retry(ctx, "counters", "dogschool", d.ID()); n != 2 || err != nil {
			t.Errorf("at %d: retry: %d, %v", at, n, err)
		}
		if n, err := countersApp.In(one).count(ctx, "after"); n != 1 || err != nil {
			t.Errorf("at %d: %d, %v", at, n, err)
		}
	}
}

// B47: what nobody waited for comes with Wait.
func TestWaitFindsWhatOthersSaved(t *testing.T) {
	t.Parallel()
	log := memory.New()
	r := start(t, system.RunSync, dogSchools, system.WithApplication(schoolApp, application.WithRecorder(log)))
	other, err := openSchool(t.Context(), application.WithRecorder(log))
	if err != nil {
		t.Fatal(err)
	}
	outer, err := application.Open(t.Context(), "outer")
	if err != nil {
		t.Fatal(err)
	}
	save := func(s *school) func(context.Context, any) error {
		return func(ctx context.Context, _ any) error {
			_, err := s.Save(ctx, dogs.New(annals.NewID(), trickAdded{"sit"}))
			return err
		}
	}
	want := func(n int) {
		t.Helper()
		if got, err := countersApp.In(r).count(t.Context(), "sit"); got != n || err != nil {
			t.Errorf("%d, %v; want %d", got, err, n)
		}
	}
	if err := save(other)(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	want(0)
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(1)
	if _, err := outer.Save(t.Context(), application.Do(save(schoolApp.In(r)))); err != nil {
		t.Fatal(err)
	}
	want(1)
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(2)
	if _, err := countersApp.In(r).Save(t.Context(), application.Do(save(schoolApp.In(r)))); err != nil { // it has no events itself
		t.Fatal(err)
	}
	want(3)
	if err := errors.Join(other.Close(), outer.Close()); err != nil {
		t.Error(err)
	}
}

// B43: a retry goes on while others save, and where the application follows itself.
func TestARetryDoesNotWaitForItself(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var bad atomic.Bool
	retrying, saving := make(chan struct{}), make(chan struct{})
	var once sync.Once
	l := listen("listener", func(ctx context.Context, l *listener, n application.Notification, p *application.Processing) error {
		switch e := n.Event.Data.(type) {
		case trickAdded:
			if e.Trick == "bad" && bad.Load() {
				return errBad
			}
			if e.Trick == "bad" {
				once.Do(func() { close(retrying); <-saving })
			}
			return l.note(ctx, p, e.Trick)
		case string:
			if e != "echo" {
				return l.note(ctx, p, "echo")
			}
		}
		return nil
	})
	bad.Store(true)
	r := start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, l, l)), parking())
	id, err := schoolApp.In(r).register(ctx, "Fido")
	if err == nil {
		err = schoolApp.In(r).addTrick(ctx, id, "bad")
	}
	if err != nil {
		t.Fatal(err)
	}
	bad.Store(false)
	var wg sync.WaitGroup
	wg.Go(func() {
		<-retrying
		close(saving)
		if _, err := schoolApp.In(r).Save(ctx, dogs.New(annals.NewID(), trickAdded{"good"})); err != nil {
			t.Error(err)
		}
	})
	if n, err := r.Retry(ctx, "listener", "dogschool", id); n != 1 || err != nil {
		t.Errorf("retry: %d, %v", n, err)
	}
	got := texts(t, l.In(r))
	if !slices.Contains(got, "bad") || !slices.Contains(got, "echo") {
		t.Errorf("what follows the retried event is not there: %v", got)
	}
	wg.Wait()
	if got := texts(t, l.In(r)); len(got) != 4 {
		t.Errorf("notes: %v", got)
	}
}

// B23: a policy that takes longer than the lease keeps it.
func TestASlowPolicyKeepsTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		log, own := memory.New(), memory.New()
		l := listen("listener", func(context.Context, *listener, application.Notification, *application.Processing) error {
			calls.Add(1)
			<-time.After(400 * time.Millisecond)
			return nil
		})
		s := system.Define("s", system.Pipe(schoolApp, l))
		var runners []*system.Runner
		for range 2 {
			r, err := system.RunAsync(t.Context(), s, system.WithApplication(schoolApp, application.WithRecorder(log)),
				system.WithApplication(l, application.WithRecorder(own)),
				system.WithFollowers(projection.WithLease(150*time.Millisecond), projection.WithBatch(1, time.Second)))
			if err != nil {
				t.Fatal(err)
			}
			runners = append(runners, r)
		}
		for range 8 {
			if _, err := schoolApp.In(runners[0]).register(t.Context(), "Fido"); err != nil {
				t.Fatal(err)
			}
		}
		if err := runners[0].Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := calls.Load(); n != 8 {
			t.Errorf("the policy was called %d times for 8 events", n)
		}
		for _, r := range runners {
			if err := r.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A recorder without a ledger follows, and parks nothing.
func TestARecorderWithoutALedgerFollows(t *testing.T) {
	t.Parallel()
	for _, run := range runs() {
		opts := []system.Option{system.WithApplications(application.WithRecorder(bare{memory.New()}))}
		opts = append(opts, system.WithApplication(countersApp, application.WithRecorder(bare{memory.New()})))
		use(t, start(t, run, dogSchools, opts...), func(int) {})
		if _, err := run(t.Context(), dogSchools, append(opts, parking())...); !errors.Is(err, annals.ErrConfiguration) {
			t.Errorf("run: %v", err)
		}
	}
}

type bare struct{ persistence.Recorder }

func (r bare) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	if b.Ledger != nil {
		return nil, annals.ErrUnsupported
	}
	return r.Recorder.Record(ctx, b)
}

// B23: who stands by says how far the one is that works.
func TestWhoStandsByKnowsHowFarItIs(t *testing.T) {
	t.Parallel()
	log, own := memory.New(), memory.New()
	opts := []system.Option{
		system.WithApplication(schoolApp, application.WithRecorder(log)), system.WithApplication(countersApp, application.WithRecorder(own)),
		system.WithFollowers(projection.WithFailures(1, 0, 0, projection.Park), projection.WithLease(60*time.Millisecond)),
	}
	ctx := t.Context()
	parked, quiet := false, make(chan struct{}, 1000)
	one := start(t, system.RunAsync, dogSchools, append(opts, system.WithHook(func(s system.Status) {
		if parked = parked || s.Parked > 0; parked && s.Active && s.Parked == 0 {
			quiet <- struct{}{}
		}
	}))...)
	countersApp.In(one).fail = failsOn("bad")
	id, err := schoolApp.In(one).register(ctx, "Fido")
	for _, trick := range []string{"sit", "bad"} {
		if err == nil {
			err = schoolApp.In(one).addTrick(ctx, id, trick)
		}
	}
	if err == nil {
		err = one.Wait(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	known := make(chan system.Status, 1000)
	two := start(t, system.RunAsync, dogSchools, append(opts, system.WithHook(func(s system.Status) {
		if !s.Active && s.Position > 0 {
			known <- s
		}
	}))...)
	if s := <-known; s.Position != 3 || s.Head != 3 || s.Parked != 1 {
		t.Errorf("%+v", s)
	}
	if err := two.Wait(ctx); err != nil {
		t.Error(err)
	}
	// What others retry is noticed, also while nothing happens.
	countersApp.In(two).fail = nil
	if n, err := two.Retry(ctx, "counters", "dogschool", id); n != 1 || err != nil {
		t.Errorf("retry: %d, %v", n, err)
	}
	<-quiet
}

// B43: in one goroutine it is known at once.
func TestTheStatusKnowsOfARetry(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := start(t, system.RunSync, dogSchools, parking())
	countersApp.In(r).fail = failsOn("bad")
	for range 2 {
		id, err := schoolApp.In(r).register(ctx, "Fido")
		if err == nil {
			err = schoolApp.In(r).addTrick(ctx, id, "bad")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	parked, err := r.Parked(ctx)
	if err != nil || len(parked) != 2 || r.Status()[0].Parked != 2 {
		t.Fatalf("%v, %v, %+v", parked, err, r.Status())
	}
	countersApp.In(r).fail = nil
	if n, err := r.Retry(ctx, "counters", "dogschool", parked[0].StreamID); n != 1 || err != nil || r.Status()[0].Parked != 1 {
		t.Errorf("retry: %d, %v, %+v", n, err, r.Status())
	}
	if err := r.Drop(ctx, "counters", "dogschool", parked[1].Position); err != nil || r.Status()[0].Parked != 0 {
		t.Errorf("drop: %v, %+v", err, r.Status())
	}
	err = r.Drop(ctx, "counters", "dogschool", parked[1].Position)
	if want := "application counters, which follows dogschool: drop: no event is parked at position 4: not found"; err == nil || err.Error() != want {
		t.Errorf("drop: %v, want %s", err, want)
	}
}

// The hook of a runner is called by one goroutine at a time, whichever follower it is of.
func TestTheHookIsCalledOnceAtATime(t *testing.T) {
	t.Parallel()
	calls, running := 0, atomic.Int32{}
	r := start(t, system.RunAsync, system.Define("s", system.Pipe(schoolApp, countersApp), system.Pipe(schoolApp, listen("listener",
		func(context.Context, *listener, application.Notification, *application.Processing) error { return nil }))),
		system.WithHook(func(system.Status) {
			if running.Add(1) > 1 {
				t.Error("it is called twice at a time")
			}
			calls++ // the race detector looks at it as well
			running.Add(-1)
		}))
	use(t, r, func(int) {})
	if calls == 0 {
		t.Error("it was not called")
	}
}

// B48: followers of one application take turns, a step each, however long it lasts.
func TestFollowersOfOneApplicationTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		logs := []persistence.Recorder{memory.New(), memory.New()}
		other := listen("other", nil)
		l := listen("listener", func(ctx context.Context, l *listener, n application.Notification, p *application.Processing) error {
			<-time.After(10 * time.Millisecond)
			return l.note(ctx, p, n.Event.Topic)
		})
		upstreams := []system.Option{
			system.WithApplication(schoolApp, application.WithRecorder(logs[0])), system.WithApplication(other, application.WithRecorder(logs[1])),
		}
		first, err := system.RunSync(ctx, system.Define("s", system.Pipe(schoolApp), system.Pipe(other)), upstreams...)
		if err != nil {
			t.Fatal(err)
		}
		const many = 100
		for range many { // the backlogs
			_, err := schoolApp.In(first).register(ctx, "Fido")
			if err == nil {
				_, err = other.In(first).notes.Append(ctx, "x")
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := first.Stop(); err != nil {
			t.Fatal(err)
		}
		r, err := system.RunAsync(ctx, system.Define("s", system.Pipe(schoolApp, l), system.Pipe(other, l)), upstreams...)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		of := make(map[string]int)
		for _, topic := range texts(t, l.In(r))[:many] {
			of[topic]++
		}
		if of["Dog.Registered"] < many/3 || of["Notes.Noted"] < many/3 {
			t.Errorf("of the first %d events: %v", many, of)
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
}
