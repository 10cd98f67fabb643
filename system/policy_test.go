package system_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
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
