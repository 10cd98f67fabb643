package system_test

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"slices"
	"strings"
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

// B22: a policy that only looks sees, behind a snapshot, what was collected before.
func TestAStepSeesWhatItHasCollectedBehindASnapshot(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := listen("listener", func(ctx context.Context, l *listener, n application.Notification, p *application.Processing) error {
		c, err := l.counters.GetOrNew(ctx, "c", func() *counter { return counters.New("c", began{}) })
		if err != nil {
			return err
		}
		if _, increments := n.Event.Data.(registered); increments {
			annals.Trigger(c, incremented{})
			p.Collect(c)
			return l.counters.Snapshot(ctx, "c") // of what is stored, and of nothing else
		}
		return l.note(ctx, p, strings.Repeat("x", c.Count))
	})
	log, own := memory.New(), memory.New()
	school, err := openSchool(ctx, application.WithRecorder(log))
	if err != nil {
		t.Fatal(err)
	}
	own2 := system.WithApplication(l, application.WithRecorder(own), application.WithSnapshots(counters, 2))
	var notes []string
	for round := range 3 {
		r := start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, l)), system.WithApplication(schoolApp, application.WithRecorder(log)), own2)
		if round == 0 {
			if _, err := l.In(r).Save(ctx, counters.New("c", began{})); err != nil {
				t.Fatal(err)
			}
		}
		notes = texts(t, l.In(r))
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // a backlog for the next
			id, err := school.register(ctx, "Fido")
			if err == nil {
				err = school.addTrick(ctx, id, "sit")
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := []string{"x", "xx", "xxx", "xxxx"}; !slices.Equal(notes, want) {
		t.Errorf("got %v, want %v", notes, want)
	}
}

type located struct {
	Addr netip.Addr
	Tags []string
}

// A value that is more than its memory is read, and not copied.
func TestWhatCannotBeCopiedIsRead(t *testing.T) {
	t.Parallel()
	app, err := application.Open(t.Context(), "places")
	if err != nil {
		t.Fatal(err)
	}
	places := application.NewLog(app, annals.DefineLog[located]("Places", "Located"), "places")
	h := system.NewHandover(app)
	stop := app.AfterSave(h.Saved)
	defer stop()
	addr := netip.MustParseAddr("10.0.0.1")
	if _, err := places.Append(t.Context(), located{addr, []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	for n, err := range h.Feed().Notifications(t.Context(), application.UpTo(1)) {
		if got, ok := n.Event.Data.(located); err != nil || !ok || got.Addr != addr {
			t.Errorf("%v, %v", n.Event.Data, err)
		}
	}
	if n, _ := h.Kept(); n != 0 {
		t.Errorf("%d are kept", n)
	}
	if err := app.Close(); err != nil {
		t.Error(err)
	}
}

// B37: the headers of what was handed over are the reader's own.
func TestHeadersAreHandedOverAsACopy(t *testing.T) {
	t.Parallel()
	school, err := openSchool(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h := system.NewHandover(school.Application)
	stop := school.AfterSave(h.Saved)
	defer stop()
	ctx := annals.ContextWithMetadata(t.Context(), annals.Metadata{Headers: map[string]string{"user": "ada"}})
	recordings, err := school.Save(ctx, dogs.New(annals.NewID(), registered{"Fido"}))
	if err != nil {
		t.Fatal(err)
	}
	recordings[0].Event.Metadata.Headers["user"] = "eve"
	for n, err := range h.Feed().Notifications(t.Context(), application.UpTo(1)) {
		if got := n.Event.Metadata.Headers["user"]; got != "ada" || err != nil {
			t.Errorf("%s, %v", got, err)
		}
	}
	if err := school.Close(); err != nil {
		t.Error(err)
	}
}

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

// B47: an error of what follows another application's save is none of this step.
func TestAFailureBehindTheSaveOfAnotherUndoesTheStep(t *testing.T) {
	t.Parallel()
	other, err := openSchool(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other.AfterSave(func(context.Context, application.Saved) error { return errBad })
	l := listen("listener", func(ctx context.Context, l *listener, n application.Notification, p *application.Processing) error {
		p.Collect(application.Do(func(ctx context.Context, _ any) error {
			_, err := other.register(ctx, "Rex")
			return err
		}))
		return l.note(ctx, p, n.Event.Topic)
	})
	r := start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, l)))
	if _, err := schoolApp.In(r).register(t.Context(), "Fido"); err == nil {
		t.Error("the save says nothing of the effect that is not there")
	}
	if got := texts(t, l.In(r)); len(got) != 0 {
		t.Errorf("notes: %v", got)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
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

func TestAPolicyThatWaitsForItselfFails(t *testing.T) {
	t.Parallel()
	var r *system.Runner
	l := listen("listener", func(ctx context.Context, _ *listener, _ application.Notification, _ *application.Processing) error {
		_, err := r.Parked(ctx)
		return errors.Join(r.Wait(ctx), err)
	})
	r = start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, l)))
	_, err := schoolApp.In(r).register(t.Context(), "Fido")
	if err == nil || !strings.Contains(err.Error(), "waits for itself") {
		t.Errorf("save: %v", err)
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

// B39: an application that was closed is no failure of an event, which is not skipped for it.
func TestAClosedApplicationIsNoFailureOfAnEvent(t *testing.T) {
	t.Parallel()
	other, err := openSchool(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := listen("listener", func(ctx context.Context, _ *listener, _ application.Notification, _ *application.Processing) error {
		_, err := other.dogs.Get(ctx, "x")
		if errors.Is(err, annals.ErrNotFound) {
			return nil
		}
		return err
	})
	r := start(t, system.RunAsync, system.Define("s", system.Pipe(schoolApp, l)),
		system.WithFollowers(projection.WithFailures(2, 0, 0, projection.Skip)))
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := schoolApp.In(r).register(t.Context(), "Fido"); err != nil {
		t.Fatal(err)
	}
	<-r.Done()
	if _, ofEvent := errors.AsType[*projection.EventError](r.Err()); ofEvent || !errors.Is(r.Err(), annals.ErrClosed) || r.Status()[0].Skipped != 0 {
		t.Errorf("%v, %+v", r.Err(), r.Status())
	}
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

// B22: somebody else saves an aggregate after the policy has loaded it: it decides again, at
// once, and that is no failure.
func TestAPolicyDecidesAgainOnAConflict(t *testing.T) {
	t.Parallel()
	for mode, run := range runs() {
		own := memory.New()
		other, err := openCounting(t.Context(), application.WithRecorder(own))
		if err != nil {
			t.Fatal(err)
		}
		called := 0
		l := listen("listener", func(ctx context.Context, l *listener, _ application.Notification, p *application.Processing) error {
			c, err := l.counters.GetOrNew(ctx, "c", func() *counter { return counters.New("c", began{}) })
			if err != nil {
				return err
			}
			annals.Trigger(c, incremented{})
			p.Collect(c)
			if called++; called > 5 {
				return nil
			}
			return other.Retry(context.WithoutCancel(ctx), func(ctx context.Context) error {
				c, err := other.counters.GetOrNew(ctx, "c", func() *counter { return counters.New("c", began{}) })
				if err != nil {
					return err
				}
				annals.Trigger(c, incremented{})
				_, err = other.Save(ctx, c)
				return err
			})
		})
		r := start(t, run, system.Define("s", system.Pipe(schoolApp, l)), system.WithApplication(l, application.WithRecorder(own)),
			system.WithFollowers(projection.WithFailures(1, 0, 0, projection.Stop)))
		if _, err := schoolApp.In(r).register(t.Context(), "Fido"); err != nil {
			t.Fatal(mode, err)
		}
		if err := r.Wait(t.Context()); err != nil {
			t.Fatal(mode, err)
		}
		if c, err := other.counters.Get(t.Context(), "c"); err != nil || c.Count != 6 || called != 6 {
			t.Errorf("%s: called %d times: %+v, %v", mode, called, c, err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A policy that does not use its context misses what was collected before, and is called
// for each event alone then, not again and again.
func TestAPolicyWithAnotherContextIsCalledForEachEventAlone(t *testing.T) {
	t.Parallel()
	log := memory.New()
	school, err := openSchool(t.Context(), application.WithRecorder(log))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := school.register(t.Context(), "Fido"); err != nil {
			t.Fatal(err)
		}
	}
	called := 0
	l := listen("listener", func(_ context.Context, l *listener, n application.Notification, p *application.Processing) error {
		called++
		return l.note(t.Context(), p, n.Event.Topic) //nolint:contextcheck // that is the mistake
	})
	r := start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, l)), system.WithApplication(schoolApp, application.WithRecorder(log)))
	if got := texts(t, l.In(r)); len(got) != 3 || called > 12 {
		t.Errorf("called %d times: %v", called, got)
	}
	if err := school.Close(); err != nil {
		t.Error(err)
	}
}

// A log that ends before what was processed of it is another one, or an old backup.
func TestALogThatIsTooShortIsTrouble(t *testing.T) {
	t.Parallel()
	for mode, run := range runs() {
		own := memory.New()
		r := start(t, run, dogSchools, system.WithApplication(countersApp, application.WithRecorder(own)))
		use(t, r, func(int) {})
		troubled := make(chan system.Status, 1000)
		hook := system.WithHook(func(s system.Status) {
			if s.Trouble != nil {
				troubled <- s
			}
		})
		r, err := run(t.Context(), dogSchools, system.WithApplication(countersApp, application.WithRecorder(own)), hook)
		if mode == "RunSync" {
			if !errors.Is(err, projection.ErrShortLog) || !strings.Contains(err.Error(), "position 201 is handled, and the log ends at 0") {
				t.Errorf("run: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		s := <-troubled
		if err := s.Health(time.Hour); !errors.Is(err, projection.ErrShortLog) || s.Application != "counters" {
			t.Errorf("%+v, %v", s, err)
		}
		// What is saved to it now is not taken for processed, until it is longer.
		if _, err := schoolApp.In(r).register(t.Context(), "Fido"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := r.Wait(ctx); !errors.Is(err, projection.ErrShortLog) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait: %v", err)
		}
		cancel()
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	}
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

// A conflict that stays the same is none that is over by itself.
func TestAConflictThatStaysIsAFailure(t *testing.T) {
	t.Parallel()
	called := 0
	l := listen("listener", func(_ context.Context, _ *listener, _ application.Notification, p *application.Processing) error {
		called++
		p.Collect(counters.New("c", began{})) // for each event
		return nil
	})
	r := start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, l)))
	if _, err := schoolApp.In(r).register(t.Context(), "Fido"); err != nil {
		t.Fatal(err)
	}
	called = 0
	_, err := schoolApp.In(r).register(t.Context(), "Rex")
	after, ok := errors.AsType[*application.AfterSaveError](err)
	if !ok || !errors.Is(after.Err, annals.ErrVersionConflict) || called > 5 {
		t.Errorf("called %d times: %v", called, err)
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

// lagging is a recorder whose log is read from a replica that shows an event when it is
// waited for.
type lagging struct {
	*memory.Recorder

	mu    sync.Mutex
	shown int64
}

func (r *lagging) upTo() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shown
}

func (r *lagging) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	shown := r.upTo()
	if q.UpTo <= 0 || q.UpTo > shown {
		q.UpTo = shown
	}
	if shown == 0 {
		return func(func(persistence.Notification, error) bool) {}
	}
	return r.Recorder.ReadLog(ctx, q)
}

func (r *lagging) MaxPosition(context.Context) (int64, bool, error) {
	shown := r.upTo()
	return shown, shown > 0, nil
}

func (r *lagging) Wait(ctx context.Context, after int64) error {
	if err := r.Recorder.Wait(ctx, after); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shown = max(r.shown, after+1)
	return nil
}

// B47, B48: a log that is read from a replica loses nothing, whatever is known of it here.
func TestALogThatLagsLosesNothing(t *testing.T) {
	t.Parallel()
	for mode, run := range runs() {
		log := &lagging{Recorder: memory.New()}
		r := start(t, run, dogSchools, system.WithApplication(schoolApp, application.WithRecorder(log)))
		other, err := openSchool(t.Context(), application.WithRecorder(log.Recorder))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			for _, s := range []*school{other, schoolApp.In(r)} {
				if _, err := s.Save(t.Context(), dogs.New(annals.NewID(), trickAdded{"sit"})); err != nil {
					t.Fatal(mode, err)
				}
			}
			if mode == "RunSync" {
				if n, err := countersApp.In(r).count(t.Context(), "sit"); n != 2*(i+1) || err != nil {
					t.Fatalf("%d, %v; want %d", n, err, 2*(i+1))
				}
			}
		}
		if err := log.Recorder.Wait(t.Context(), 39); err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(t.Context()); err != nil { // for what was saved here last, whatever the replica shows
			t.Fatal(mode, err)
		}
		if n, err := countersApp.In(r).count(t.Context(), "sit"); n != 40 || err != nil {
			t.Errorf("%s: %d effects of 40 events, %v", mode, n, err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}

// B23: who takes over from another that was ahead sees no short log.
func TestATakeoverIsNoShortLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		log, own := memory.New(), memory.New()
		run := func(opts ...system.Option) *system.Runner {
			r, err := system.RunAsync(ctx, dogSchools, append(opts, system.WithApplication(schoolApp, application.WithRecorder(log)),
				system.WithApplication(countersApp, application.WithRecorder(own)))...)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return r
		}
		register := func(r *system.Runner, n int) {
			for range n {
				if _, err := schoolApp.In(r).register(ctx, "Fido"); err != nil {
					t.Fatal(err)
				}
			}
		}
		one := run()
		two := run(system.WithHook(func(s system.Status) {
			if errors.Is(s.Trouble, projection.ErrShortLog) || s.Remaining < 0 {
				t.Errorf("%+v", s)
			}
		}))
		register(two, 1)
		register(one, 10)
		if err := errors.Join(one.Wait(ctx), one.Stop()); err != nil {
			t.Error(err)
		}
		<-time.After(5 * time.Second) // the other takes over
		register(two, 1)
		if err := errors.Join(two.Wait(ctx), two.Stop()); err != nil {
			t.Error(err)
		}
	})
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
