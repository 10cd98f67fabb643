package application_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/annalstest"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

// B32.
func TestUpdateDecidesAgainOnAConflict(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "fido")
	decided := 0
	err := s.dogs.Update(t.Context(), "fido", func(d *Dog) error {
		if decided++; decided < 3 { // somebody else is faster, twice
			if err := s.dogs.Update(t.Context(), "fido", func(d *Dog) error { return d.AddTrick(fmt.Sprint(decided)) }); err != nil {
				return err
			}
		}
		return d.AddTrick("sit")
	})
	if err != nil || decided != 3 {
		t.Errorf("decided %d times, error %v", decided, err)
	}
	d, err := s.dogs.Get(t.Context(), "fido")
	if err != nil || !slices.Equal(d.Tricks, []string{"1", "2", "sit"}) {
		t.Errorf("tricks %v, %v", d.Tricks, err)
	}
}

// B32.
func TestUpdateReturnsTheErrorOfDecideAsItIs(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "fido", "sit")
	for _, own := range []error{errKnown, &annals.VersionConflictError{StreamID: "of the user"}} {
		decided := 0
		err := s.dogs.Update(t.Context(), "fido", func(d *Dog) error {
			decided++
			annals.Trigger(d, TrickAdded{Trick: "roll"})
			return own
		})
		if err != own || decided != 1 { //nolint:errorlint // as it is
			t.Errorf("decided %d times, got %v, want %v as it is", decided, err, own)
		}
	}
	if d, err := s.dogs.Get(t.Context(), "fido"); err != nil || d.Version() != 2 {
		t.Errorf("something was saved: %+v, %v", d, err)
	}
	err := s.dogs.Update(t.Context(), "nobody", func(*Dog) error { t.Error("decided about nobody"); return nil })
	wantError(t, err, annals.ErrNotFound, `"nobody"`)
	if err := s.dogs.Update(t.Context(), "fido", func(*Dog) error { return nil }); err != nil {
		t.Errorf("deciding for nothing: %v", err)
	}
}

// conflicting conflicts on every save of events behind version 1.
type conflicting struct{ *memory.Recorder }

func (r conflicting) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	if e := b.Events[0]; e.Version > 1 {
		return nil, &annals.VersionConflictError{StreamID: e.StreamID, Expected: e.Version - 1, Actual: e.Version}
	}
	return r.Recorder.Record(ctx, b)
}

// B32. The clock is that of the bubble: pauses take no time.
func TestUpdateGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, application.WithRecorder(conflicting{memory.New()}), application.WithRetries(30))
		s.register(t, "fido")
		decided := 0
		start := time.Now()
		err := s.dogs.Update(t.Context(), "fido", func(d *Dog) error { decided++; return d.AddTrick("sit") })
		wantError(t, err, annals.ErrVersionConflict, "school", "31 tries", `"fido"`)
		if took := time.Since(start); decided != 31 || took == 0 || took > 4*time.Second {
			t.Errorf("decided %d times in %v", decided, took)
		}

		patient := open(t, application.WithRecorder(conflicting{memory.New()}), application.WithRetries(1_000_000))
		patient.register(t, "fido")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = patient.dogs.Update(ctx, "fido", func(d *Dog) error { return d.AddTrick("sit") })
		wantError(t, err, context.DeadlineExceeded, "school")
		wantError(t, err, annals.ErrVersionConflict)
	})
}

// B32.
func TestConcurrentUpdatesAllHappen(t *testing.T) {
	t.Parallel()
	s := open(t, application.WithRetries(1000))
	s.register(t, "fido")
	var wg sync.WaitGroup
	for n := range 64 {
		wg.Go(func() {
			if err := s.dogs.Update(t.Context(), "fido", func(d *Dog) error { return d.AddTrick(fmt.Sprint(n)) }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if d, err := s.dogs.Get(t.Context(), "fido"); err != nil || len(d.Tricks) != 64 {
		t.Errorf("%d tricks, error %v; want 64", len(d.Tricks), err)
	}
}

// B32.
func TestRetryRepeatsWorkOnSeveralAggregates(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "fido")
	s.register(t, "rex")
	tries := 0
	err := s.Retry(t.Context(), func(ctx context.Context) error {
		tries++
		fido, err := s.dogs.Get(ctx, "fido")
		if err != nil {
			return err
		}
		rex, err := s.dogs.Get(ctx, "rex")
		if err != nil {
			return err
		}
		if tries == 1 {
			if err := s.dogs.Update(ctx, "rex", func(d *Dog) error { return d.AddTrick("bark") }); err != nil {
				return err
			}
		}
		annals.Trigger(fido, TrickAdded{Trick: "sit"})
		annals.Trigger(rex, TrickAdded{Trick: "sit"})
		_, err = s.Save(ctx, fido, rex)
		return err
	})
	if err != nil || tries != 2 {
		t.Errorf("%d tries, error %v", tries, err)
	}
	if got, err := topics(s.Notifications(t.Context())); err != nil || len(got) != 5 {
		t.Errorf("events %v, error %v; want 5", got, err)
	}
	if err := s.Retry(t.Context(), func(context.Context) error { return errKnown }); err != errKnown { //nolint:errorlint // as it is
		t.Errorf("error %v, want %v as it is", err, errKnown)
	}
}

// B29.
func TestSaveRepeatedAfterALostAnswerSucceeds(t *testing.T) {
	t.Parallel()
	r, faults := annalstest.NewFaulty(t, memory.New())
	faults.OnRecord(annalstest.LostAnswer())
	s := open(t, application.WithRecorder(r))
	fido := Dogs.New("fido", Registered{Name: "Fido"})
	_, err := s.Save(t.Context(), fido)
	wantError(t, err, annals.ErrOutcomeUnknown)
	recordings, err := s.Save(t.Context(), fido)
	if err != nil || recordings.Position() != 1 {
		t.Errorf("repeated: position %d, error %v", recordings.Position(), err)
	}
	if got, err := topics(s.Notifications(t.Context())); err != nil || len(got) != 1 {
		t.Errorf("events %v, error %v; want 1", got, err)
	}
}

// B29, B32.
func TestUpdateRepeatsASaveWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	r, faults := annalstest.NewFaulty(t, memory.New())
	s := open(t, application.WithRecorder(r))
	s.register(t, "fido")
	faults.OnRecord(annalstest.LostAnswer())
	if err := s.dogs.Update(t.Context(), "fido", func(d *Dog) error { return d.AddTrick("sit") }); err != nil {
		t.Fatal(err)
	}
	if d, err := s.dogs.Get(t.Context(), "fido"); err != nil || !slices.Equal(d.Tricks, []string{"sit"}) {
		t.Errorf("tricks %v, error %v; want one", d.Tricks, err)
	}
}

func TestNotificationsAreSelected(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "fido", "sit", "roll")
	s.register(t, "rex")
	const r, k = "Dog.Registered", "Dog.TrickAdded"
	for name, c := range map[string]struct {
		opts []application.ReadOption
		want []string
	}{
		"all":             {nil, []string{r, k, k, r}},
		"after":           {[]application.ReadOption{application.After(2)}, []string{k, r}},
		"up to":           {[]application.ReadOption{application.UpTo(2)}, []string{r, k}},
		"limit":           {[]application.ReadOption{application.Limit(3)}, []string{r, k, k}},
		"topics":          {[]application.ReadOption{application.Topics(r)}, []string{r, r}},
		"all of these":    {[]application.ReadOption{application.After(1), application.Topics(r, k), application.Limit(2)}, []string{k, k}},
		"unknown topic":   {[]application.ReadOption{application.Topics("Cat.Born")}, nil},
		"after the last":  {[]application.ReadOption{application.After(4)}, nil},
		"topic, but late": {[]application.ReadOption{application.After(4), application.Topics(r)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := topics(s.Notifications(t.Context(), c.opts...))
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

// B7: events that were stored under a former name are found by the present one.
func TestTopicsFindFormerNames(t *testing.T) {
	t.Parallel()
	recorder := memory.New()
	e := persistence.StoredEvent{
		ID: annals.NewID(), StreamID: "fido", Version: 1, Topic: "Dog.TrickLearned", Time: time.Unix(1, 0).UTC(),
		Shape: 1, Encoding: "1:json", State: []byte(`{"Trick":"sit"}`),
	}
	if _, err := recorder.Record(t.Context(), persistence.Batch{Events: []persistence.StoredEvent{e}}); err != nil {
		t.Fatal(err)
	}
	s := open(t, application.WithRecorder(recorder))
	got, err := topics(s.Notifications(t.Context(), application.Topics("Dog.TrickAdded")))
	if err != nil || !slices.Equal(got, []string{"Dog.TrickAdded"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

// B40.
func TestSubscribeCatchesUpThenFollows(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "fido", "sit")
	ctx, cancel := context.WithCancel(t.Context())
	next, stop := iter.Pull2(s.Subscribe(ctx, application.After(1)))
	defer stop()
	for want := int64(2); want < 100; want++ {
		n, err, ok := next()
		if !ok || err != nil || n.Position != want {
			t.Fatalf("got position %d, %v, %v; want %d", n.Position, err, ok, want)
		}
		s.register(t, fmt.Sprint("dog ", want))
	}
	n, err, _ := next()
	if err != nil || n.Position != 100 {
		t.Errorf("got position %d, %v; want 100", n.Position, err)
	}
	cancel()
	_, err, ok := next()
	if !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v, %v", err, ok)
	}
	if _, _, ok := next(); ok {
		t.Error("it went on after an error")
	}
}

// B40.
func TestSubscribeStopsWhereverItIs(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "fido", "sit", "roll")
	done, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := topics(s.Subscribe(done))
	if len(got) != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("before: %v, %v", got, err)
	}
	for n, err := range s.Subscribe(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n.Position == 2 {
			break // during
		}
	}
	got, err = topics(s.Subscribe(t.Context(), application.Limit(3)))
	if len(got) != 3 || err != nil {
		t.Errorf("at its limit: %v, %v", got, err)
	}
	got, err = topics(s.Subscribe(t.Context(), application.UpTo(2), application.Topics("Dog.Registered")))
	if len(got) != 1 || err != nil {
		t.Errorf("at its upper bound: %v, %v", got, err)
	}
}

// B39.
func TestCloseEndsSubscriptionsAndEveryCallIsErrClosed(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "fido")
	ended := make(chan error)
	reached := make(chan struct{})
	go func() {
		var last error
		for _, err := range s.Subscribe(context.WithoutCancel(t.Context())) {
			if last = err; err == nil {
				close(reached)
			}
		}
		ended <- last
	}()
	<-reached
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-ended, annals.ErrClosed, "school")

	rex := Dogs.New("rex", Registered{Name: "Rex"})
	_, err := s.Save(t.Context(), rex)
	wantError(t, err, annals.ErrClosed, "school")
	_, err = s.Save(t.Context())
	wantError(t, err, annals.ErrClosed)
	_, err = s.dogs.Get(t.Context(), "fido")
	wantError(t, err, annals.ErrClosed)
	_, err = s.dogs.GetVersion(t.Context(), "fido", 1)
	wantError(t, err, annals.ErrClosed)
	_, err = s.dogs.GetAt(t.Context(), "fido", time.Now())
	wantError(t, err, annals.ErrClosed)
	wantError(t, s.dogs.Update(t.Context(), "fido", func(*Dog) error { return nil }), annals.ErrClosed)
	_, err = topics(s.Notifications(t.Context()))
	wantError(t, err, annals.ErrClosed)
	_, err = topics(s.Subscribe(t.Context()))
	wantError(t, err, annals.ErrClosed)
	if err := s.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	if len(rex.PendingEvents()) != 1 {
		t.Error("a save of a closed application took the pending events")
	}
}

// B39.
func TestCloseWaitsForRunningSaves(t *testing.T) {
	t.Parallel()
	r, faults := annalstest.NewFaulty(t, memory.New())
	gate := annalstest.NewGate()
	faults.OnRecord(annalstest.Held(gate))
	s := open(t, application.WithRecorder(r))
	saved, closed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.Save(context.WithoutCancel(t.Context()), Dogs.New("fido", Registered{Name: "Fido"}))
		saved <- err
	}()
	<-gate.Reached()
	go func() { closed <- s.Close() }()
	for _, err := range s.Subscribe(t.Context()) { // ends once Close has begun
		wantError(t, err, annals.ErrClosed)
	}
	select {
	case err := <-closed:
		t.Errorf("Close did not wait for the save: %v", err)
	default:
	}
	gate.Open()
	if err := <-saved; err != nil {
		t.Errorf("the running save: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, ok, err := r.MaxPosition(t.Context()); !ok || err != nil {
		t.Errorf("the recorder, which the application did not open: %v, %v", ok, err)
	}
}

func TestErrorsAreNotWrappedTwice(t *testing.T) {
	t.Parallel()
	s := open(t)
	_, err := s.dogs.GetVersion(t.Context(), "nobody", 1)
	if strings.Count(err.Error(), "application school") != 1 {
		t.Errorf("error %q", err)
	}
}
