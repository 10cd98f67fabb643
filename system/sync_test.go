package system_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence/aesgcm"
	"github.com/annals-es/annals/persistence/zlib"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/system"
)

// listener is an application whose policy is a function.
type listener struct {
	*application.Application

	counters *application.Repository[counter]
	notes    *application.Log[string]
	policy   func(ctx context.Context, l *listener, n application.Notification, p *application.Processing) error
}

var notes = annals.DefineLog[string]("Notes", "Noted")

func (l *listener) Policy(ctx context.Context, n application.Notification, p *application.Processing) error {
	return l.policy(ctx, l, n, p)
}

type policy = func(ctx context.Context, l *listener, n application.Notification, p *application.Processing) error

func listen(name string, f policy) *system.Node[*listener] {
	return system.App(name, func(ctx context.Context, opts ...application.Option) (*listener, error) {
		app, err := application.Open(ctx, name, append(opts, application.WithTypes(dogs))...)
		if err != nil {
			return nil, err
		}
		return &listener{app, application.NewRepository(app, counters), application.NewLog(app, notes, "notes"), f}, nil
	})
}

// note adds to the log of the application.
func (l *listener) note(ctx context.Context, p *application.Processing, text string) error {
	next, err := l.notes.Next(ctx, text)
	if err == nil {
		p.Collect(next)
	}
	return err
}

func texts(t *testing.T, l *listener) (all []string) {
	t.Helper()
	for e, err := range l.notes.Entries(t.Context(), application.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Data)
	}
	return all
}

func start(t *testing.T, r run, s *system.System, opts ...system.Option) *system.Runner {
	t.Helper()
	runner, err := r(t.Context(), s, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ended := runner.Err() != nil
		if err := runner.Stop(); err != nil && !ended {
			t.Error(err)
		}
	})
	return runner
}

// B47.
func TestThePipesAreGoneThroughInTheirOrder(t *testing.T) {
	t.Parallel()
	var order []string
	called := func(_ context.Context, l *listener, _ application.Notification, _ *application.Processing) error {
		order = append(order, l.Name())
		return nil
	}
	var nodes []system.Member
	var parts []system.Part
	for i := range 20 {
		nodes = append(nodes, listen(fmt.Sprint("l", i), called))
		parts = append(parts, system.Pipe(schoolApp, nodes[i]))
	}
	r := start(t, system.RunSync, system.Define("all", parts...))
	if _, err := schoolApp.In(r).register(t.Context(), "Fido"); err != nil {
		t.Fatal(err)
	}
	for i, name := range order {
		if want := fmt.Sprint("l", i); name != want {
			t.Fatalf("the order is %v", order)
		}
	}
}

// B22: what was collected before in the same step is seen, as if it were stored.
func TestAStepSeesWhatItHasCollected(t *testing.T) {
	t.Parallel()
	const many = 50
	for name, opts := range map[string][]application.Option{
		"plain": nil, "cached": {application.WithCache(10)}, "snapshots": {application.WithSnapshots(counters, 7)},
	} {
		l := listen("listener", func(ctx context.Context, l *listener, n application.Notification, p *application.Processing) error {
			first, err := l.notes.First(ctx)
			if err != nil && !errors.Is(err, annals.ErrNotFound) {
				return err
			}
			last, err := l.notes.Last(ctx)
			if err != nil && !errors.Is(err, annals.ErrNotFound) {
				return err
			}
			versions := ""
			for e, err := range l.notes.Entries(ctx, application.Range{After: 2, UpTo: 5, Limit: 2}) {
				if err != nil {
					return err
				}
				versions += fmt.Sprint(" ", e.Event.Version)
			}
			c, err := l.counters.GetOrNew(ctx, "c", func() *counter { return counters.New("c", began{}) })
			if err != nil {
				return err
			}
			annals.Trigger(c, incremented{})
			if c.Count%20 == 0 { // and begin anew with another
				annals.Trigger(c, incremented{})
			}
			count := c.Count
			p.Collect(c)
			if old, err := l.counters.GetVersion(ctx, "c", 2); err == nil && old.Count != 1 || err != nil && n.Position > 1 {
				return fmt.Errorf("version 2: %v, %w", old, err)
			}
			return l.note(ctx, p, fmt.Sprint(n.Position, " ", count, " ", first.Data, " < ", last.Event.Version, versions))
		})
		s := system.Define("s", system.Pipe(schoolApp, l))
		var want []string
		for _, batch := range []int{1, many} {
			recorder := memory.New()
			school, err := openSchool(t.Context(), application.WithRecorder(recorder))
			if err != nil {
				t.Fatal(err)
			}
			for range many {
				if _, err := school.register(t.Context(), "Fido"); err != nil {
					t.Fatal(err)
				}
			}
			r := start(t, system.RunAsync, s, system.WithApplication(schoolApp, application.WithRecorder(recorder)),
				system.WithApplication(l, opts...), system.WithFollowers(projection.WithBatch(batch, 1e9)))
			if err := r.Wait(t.Context()); err != nil {
				t.Fatal(name, err)
			}
			got := texts(t, l.In(r))
			if batch == 1 {
				want = got
				if len(want) != many {
					t.Errorf("%s: %d notes", name, len(want))
				}
			}
			if !slices.Equal(want, got) {
				t.Errorf("%s, %d in a step:\n%v\nwant\n%v", name, batch, got, want)
			}
		}
	}
}

func TestAPolicyMustNotSave(t *testing.T) {
	t.Parallel()
	l := listen("listener", func(ctx context.Context, l *listener, _ application.Notification, _ *application.Processing) error {
		_, err := l.Save(ctx, counters.New("c", began{}))
		return err
	})
	r := start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, l)))
	id, err := schoolApp.In(r).register(t.Context(), "Fido")
	after, ok := errors.AsType[*application.AfterSaveError](err)
	if !ok || !errors.Is(after.Err, annals.ErrConfiguration) || !strings.Contains(err.Error(), "a policy must not save") {
		t.Errorf("save: %v", err)
	}
	if _, err := schoolApp.In(r).dogs.Get(t.Context(), id); err != nil {
		t.Errorf("the dog is not there: %v", err)
	}
}

// A policy that calls another application has the effects of that as well; it may be
// called again, so that this is for calls that may be repeated.
func TestAPolicyMayCallAnotherApplication(t *testing.T) {
	t.Parallel()
	var other *system.Node[*listener]
	var running *system.Runner
	ready := make(chan struct{})
	l := listen("listener", func(ctx context.Context, _ *listener, n application.Notification, _ *application.Processing) error {
		<-ready
		id := annals.NamedID("/calls", n.Event.ID)
		_, err := other.In(running).Save(ctx, counters.New(id, began{}))
		return err
	})
	other = listen("other", func(context.Context, *listener, application.Notification, *application.Processing) error { return nil })
	last := listen("last", func(ctx context.Context, l *listener, n application.Notification, p *application.Processing) error {
		return l.note(ctx, p, n.Event.Topic)
	})
	s := system.Define("s", system.Pipe(other, last), system.Pipe(schoolApp, l))
	for mode, run := range runs() {
		ready = make(chan struct{})
		running = start(t, run, s)
		close(ready)
		if _, err := schoolApp.In(running).register(t.Context(), "Fido"); err != nil {
			t.Fatal(mode, err)
		}
		if mode == "RunAsync" {
			if err := running.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := texts(t, last.In(running)); !slices.Equal(got, []string{"Counter.Began"}) {
			t.Errorf("%s: %v", mode, got)
		}
		if err := running.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// A function of a save that saves by another application does not wait for effects that
// wait for it.
func TestASaveWithinADoHasItsEffectsWithTheOuterSave(t *testing.T) {
	t.Parallel()
	l := listen("listener", func(ctx context.Context, l *listener, n application.Notification, p *application.Processing) error {
		return l.note(ctx, p, n.Event.Topic)
	})
	r := start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, l), system.Pipe(l, countersApp)))
	_, err := l.In(r).Save(t.Context(), counters.New("c", began{}), application.Do(func(ctx context.Context, _ any) error {
		_, err := schoolApp.In(r).register(ctx, "Fido")
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got := texts(t, l.In(r)); !slices.Equal(got, []string{"Dog.Registered"}) {
		t.Errorf("notes: %v", got)
	}
}

// An update is not decided again because what follows it has met a conflict.
func TestAConflictOfAPolicyIsNoneOfTheSave(t *testing.T) {
	t.Parallel()
	l := listen("listener", func(context.Context, *listener, application.Notification, *application.Processing) error {
		return &annals.VersionConflictError{StreamID: "x", Expected: 1, Actual: 2}
	})
	r := start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, l)))
	id, err := schoolApp.In(r).register(t.Context(), "Fido")
	if _, ok := errors.AsType[*application.AfterSaveError](err); !ok || errors.Is(err, annals.ErrVersionConflict) {
		t.Errorf("save: %v", err)
	}
	decided := 0
	err = schoolApp.In(r).dogs.Update(t.Context(), id, func(d *dog) error {
		decided++
		annals.Trigger(d, trickAdded{"sit"})
		return nil
	})
	if _, ok := errors.AsType[*application.AfterSaveError](err); !ok || decided != 1 {
		t.Errorf("decided %d times: %v", decided, err)
	}
	if d, err := schoolApp.In(r).dogs.Get(t.Context(), id); err != nil || len(d.Tricks) != 1 {
		t.Errorf("the dog: %+v, %v", d, err)
	}
}

// The events of an upstream are read by its own keys.
func TestUpstreamEventsAreDecodedByTheirOwnMapper(t *testing.T) {
	t.Parallel()
	key := func(id string) application.Option {
		key, err := aesgcm.NewKey(id, []byte(strings.Repeat(id, 32)))
		if err != nil {
			t.Fatal(err)
		}
		keys, err := aesgcm.NewRing(key)
		if err != nil {
			t.Fatal(err)
		}
		return application.WithCipher(aesgcm.New(keys))
	}
	for mode, run := range runs() {
		r := start(t, run, dogSchools,
			system.WithApplication(schoolApp, key("a"), application.WithCompressor(zlib.New())), system.WithApplication(countersApp, key("b")))
		use(t, r, func(int) {})
		_ = mode
	}
}

// B22: what a pipe leaves out does not reach the policy, and is noted as processed.
func TestAPipeMayBeLimitedToTypesOfEvents(t *testing.T) {
	t.Parallel()
	l := listen("listener", func(ctx context.Context, l *listener, n application.Notification, p *application.Processing) error {
		return l.note(ctx, p, n.Event.Topic)
	})
	s := system.Define("s", system.Pipe(schoolApp, l).Only(system.Event[trickAdded]()))
	for mode, run := range runs() {
		recorder := memory.New()
		r := start(t, run, s, system.WithApplication(l, application.WithRecorder(recorder)))
		id, err := schoolApp.In(r).register(t.Context(), "Fido")
		if err == nil {
			err = schoolApp.In(r).addTrick(t.Context(), id, "sit")
		}
		if err == nil {
			_, err = schoolApp.In(r).register(t.Context(), "Rex")
		}
		if err == nil {
			err = r.Wait(t.Context())
		}
		if err != nil {
			t.Fatal(mode, err)
		}
		if got := texts(t, l.In(r)); !slices.Equal(got, []string{"Dog.TrickAdded"}) {
			t.Errorf("%s: %v", mode, got)
		}
		if at, _, err := recorder.MaxTracking(t.Context(), "dogschool"); at != 3 || err != nil {
			t.Errorf("%s: the tracking is at %d, %v", mode, at, err)
		}
	}
}

// B22: also where others of the step have none.
func TestStatementsAreThoseOfTheWholeStep(t *testing.T) {
	t.Parallel()
	log := memory.New()
	school, err := openSchool(t.Context(), application.WithRecorder(log))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := school.register(t.Context(), "Fido"); err != nil {
			t.Fatal(err)
		}
	}
	var done []int64
	l := listen("listener", func(ctx context.Context, l *listener, n application.Notification, p *application.Processing) error {
		if n.Position%2 == 0 {
			p.Collect(application.Do(func(context.Context, any) error { done = append(done, n.Position); return nil }))
		}
		return l.note(ctx, p, n.Event.Topic)
	})
	r := start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, l)), system.WithApplication(schoolApp, application.WithRecorder(log)))
	if got := texts(t, l.In(r)); len(got) != 5 || !slices.Equal(done, []int64{2, 4}) {
		t.Errorf("done %v, notes %v", done, got)
	}
	if err := school.Close(); err != nil {
		t.Error(err)
	}
}

// B22: a policy's own statements are part of the step.
func TestAPolicyMayCollectStatements(t *testing.T) {
	t.Parallel()
	done := 0
	l := listen("listener", func(_ context.Context, _ *listener, n application.Notification, p *application.Processing) error {
		p.Collect(application.Do(func(context.Context, any) error { done++; return nil }))
		if n.Position == 2 {
			p.Collect(application.Join(nil))
		}
		return nil
	})
	r := start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, l)))
	if _, err := schoolApp.In(r).register(t.Context(), "Fido"); err != nil || done != 1 {
		t.Errorf("done %d times: %v", done, err)
	}
	_, err := schoolApp.In(r).register(t.Context(), "Rex")
	if err == nil || !strings.Contains(err.Error(), "cannot Join") || done != 1 {
		t.Errorf("done %d times: %v", done, err)
	}
}

func TestAPolicyThatPanicsFails(t *testing.T) {
	t.Parallel()
	l := listen("listener", func(context.Context, *listener, application.Notification, *application.Processing) error { panic("no") })
	r := start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, l)))
	if _, err := schoolApp.In(r).register(t.Context(), "Fido"); err == nil || !strings.Contains(err.Error(), "panicked: no") {
		t.Errorf("save: %v", err)
	}
}

// B47: a pipe that fails does not hold up the others.
func TestOtherPipesGoOn(t *testing.T) {
	t.Parallel()
	failed := errors.New("no")
	bad := listen("bad", func(context.Context, *listener, application.Notification, *application.Processing) error {
		return failed
	})
	r := start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, bad), system.Pipe(schoolApp, countersApp)))
	ctx := t.Context()
	id, _ := schoolApp.In(r).register(ctx, "Fido")
	if err := schoolApp.In(r).addTrick(ctx, id, "sit"); err == nil {
		t.Error("no error")
	}
	if n, err := countersApp.In(r).count(ctx, "sit"); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	s := r.Status()
	if s[0].Application != "bad" || !errors.Is(s[0].Health(1e9), failed) || s[1].Health(1e9) != nil {
		t.Errorf("status: %+v", s)
	}
}

// B47: of many who save at one moment, each finds its effects there.
func TestManySaveInTurn(t *testing.T) {
	t.Parallel()
	r := start(t, system.RunSync, dogSchools)
	ctx := t.Context()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			trick := fmt.Sprint("trick ", i)
			id, err := schoolApp.In(r).register(ctx, trick)
			for n := 1; n <= 20 && err == nil; n++ {
				if err = schoolApp.In(r).addTrick(ctx, id, trick); err != nil {
					break
				}
				var got int
				if got, err = countersApp.In(r).count(ctx, trick); got != n {
					t.Errorf("%s: %d, want %d", trick, got, n)
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// B47: what failed is tried again with the next save, of whatever application.
func TestWhatFailedIsTriedAgainWithTheNextSave(t *testing.T) {
	t.Parallel()
	bad := true
	l := listen("listener", func(ctx context.Context, l *listener, n application.Notification, p *application.Processing) error {
		if bad {
			return errBad
		}
		return l.note(ctx, p, n.Event.Topic)
	})
	other := listen("other", nil)
	r := start(t, system.RunSync, system.Define("s", system.Pipe(schoolApp, l), system.Pipe(other)))
	if _, err := schoolApp.In(r).register(t.Context(), "Fido"); err == nil {
		t.Error("no error")
	}
	bad = false
	if _, err := other.In(r).notes.Append(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	if got := texts(t, l.In(r)); !slices.Equal(got, []string{"Dog.Registered"}) {
		t.Errorf("notes: %v", got)
	}
}
