package annalstest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/annalstest"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/recordertest"
)

// The wrapper changes nothing: the suite of recorders passes over it.
func TestFaultyConforms(t *testing.T) {
	t.Parallel()
	var stores sync.Map
	recordertest.Run(t, recordertest.Backend{
		Name: "faulty",
		Create: func(tb testing.TB) string {
			tb.Helper()
			r, _ := annalstest.NewFaulty(tb, memory.New())
			address := annals.NewID()
			stores.Store(address, r)
			return address
		},
		Open: func(_ context.Context, address string) (recordertest.Recorder, error) {
			r, _ := stores.Load(address)
			return r.(recordertest.Recorder), nil
		},
		Features: recordertest.Features{Snapshots: true, Ledger: true},
	})
}

// joining is what a recorder has that joins transactions.
type joining struct{ *memory.Recorder }

func (j joining) RecordTx(ctx context.Context, _ any, b persistence.Batch) ([]int64, error) {
	return j.Record(ctx, b)
}

func (j joining) ReadStreamTx(
	ctx context.Context, _ any, id string, q persistence.StreamQuery,
) iter.Seq2[persistence.StoredEvent, error] {
	return j.ReadStream(ctx, id, q)
}

// migrating is what a recorder has that makes its tables.
type migrating struct{ migrated *bool }

func (m migrating) Migrate(context.Context) error { *m.migrated = true; return nil }

func TestFaultyHasTheAbilitiesOfTheInnerRecorder(t *testing.T) {
	t.Parallel()
	type (
		plain     struct{ persistence.Recorder }
		snapshots struct {
			plain
			persistence.SnapshotRecorder
		}
		joins struct {
			plain
			persistence.TxRecorder
		}
		both struct {
			snapshots
			persistence.TxRecorder
		}
	)
	m := memory.New()
	p, migrated := plain{m}, false
	for name, c := range map[string]struct {
		inner                     persistence.Recorder
		keeps, joined, migratable bool
	}{
		"none":                {p, false, false, false},
		"snapshots":           {snapshots{p, m}, true, false, false},
		"joins":               {joins{p, joining{m}}, false, true, false},
		"snapshots and joins": {both{snapshots{p, m}, joining{m}}, true, true, false},
		"tables":              {withTables{p, migrating{&migrated}}, false, false, true},
		"snapshots and tables": {struct {
			snapshots
			migrating
		}{snapshots{p, m}, migrating{&migrated}}, true, false, true},
		"joins and tables": {struct {
			joins
			migrating
		}{joins{p, joining{m}}, migrating{&migrated}}, false, true, true},
		"snapshots, joins, tables": {struct {
			both
			migrating
		}{both{snapshots{p, m}, joining{m}}, migrating{&migrated}}, true, true, true},
	} {
		r, _ := annalstest.NewFaulty(t, c.inner)
		_, keeps := r.(persistence.SnapshotRecorder)
		_, joined := r.(persistence.TxRecorder)
		tables, migratable := r.(persistence.Migrator)
		if keeps != c.keeps || joined != c.joined || migratable != c.migratable {
			t.Errorf("%s: snapshots %t, joins %t, tables %t", name, keeps, joined, migratable)
		}
		if migrated = false; migratable && (tables.Migrate(t.Context()) != nil || !migrated) {
			t.Errorf("%s: Migrate did not reach it", name)
		}
	}
}

type withTables struct {
	persistence.Recorder
	migrating
}

// school is an application on a faulty recorder.
func school(t *testing.T) (*application.Application, *application.Repository[Dog], *annalstest.Faults) {
	t.Helper()
	r, faults := annalstest.NewFaulty(t, memory.New())
	app, dogs := schoolOn(t, r)
	return app, dogs, faults
}

func schoolOn(t *testing.T, r persistence.Recorder, opts ...application.Option) (*application.Application, *application.Repository[Dog]) {
	t.Helper()
	app, err := application.Open(t.Context(), "school", append(opts, application.WithRecorder(r), application.WithSnapshots(dogsOnly, 0))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeApplication(t, app) })
	return app, application.NewRepository(app, dogsOnly)
}

func closeApplication(t *testing.T, app *application.Application) {
	t.Helper()
	if err := app.Close(); err != nil {
		t.Error(err)
	}
}

// dogsOnly has a form for snapshots.
var dogsOnly = annals.Define("Dog", annals.On[Registered]("Registered"), annals.On[TrickAdded]("TrickAdded"),
	annals.SnapshotAs(func(d *Dog) []string { return append([]string{d.Name}, d.Tricks...) }, func(d *Dog, s []string) { d.Name, d.Tricks = s[0], s[1:] }))

var errDisk = errors.New("the disk is gone")

func last[E any](seq iter.Seq2[E, error]) (n int, err error) {
	for _, e := range seq {
		if err = e; err == nil {
			n++
		}
	}
	return n, err
}

// B29.
func TestFaultsOfASave(t *testing.T) {
	t.Parallel()
	app, dogs, faults := school(t)
	fido := dogsOnly.New("fido", Registered{"Fido"})
	for _, c := range []struct {
		name   string
		fault  annalstest.Fault
		want   error
		stored bool
	}{
		{"before", annalstest.Before(errDisk), errDisk, false},
		{"instead", annalstest.Instead(), annals.ErrOutcomeUnknown, false},
		{"a lost answer", annalstest.LostAnswer(), annals.ErrOutcomeUnknown, true},
		{"after", annalstest.After(errDisk), errDisk, true},
		{"none", annalstest.Pass(), nil, true},
	} {
		faults.OnRecord(c.fault)
		if _, err := app.Save(t.Context(), fido); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := dogs.Get(t.Context(), "fido"); (err == nil) != c.stored {
			t.Errorf("%s: it is stored: %v", c.name, err)
		}
	}
	faults.OnRecord(annalstest.LostAnswer(), annalstest.Instead(), annalstest.LostAnswer()) // Update repeats by itself
	if err := dogs.Update(t.Context(), "fido", sit); err != nil {
		t.Error(err)
	}
	if dog, err := dogs.Get(t.Context(), "fido"); err != nil || dog.Version() != 2 {
		t.Errorf("%+v, %v", dog, err)
	}
	faults.OnRecord(annalstest.LostAnswer())
	_, err := app.Save(t.Context(), dogsOnly.New("fido", Registered{"Rex"}))
	if !errors.Is(err, annals.ErrVersionConflict) {
		t.Errorf("what the recorder refuses has no answer to lose: %v", err)
	}
	if got := faults.Calls().Record; got != 10 {
		t.Errorf("%d calls of Record", got)
	}
}

func TestFaultsOfASaveThatJoins(t *testing.T) {
	t.Parallel()
	r, faults := annalstest.NewFaulty(t, joining{memory.New()})
	app, err := application.Open(t.Context(), "school", application.WithRecorder(r), application.WithTypes(dogsOnly))
	if err != nil {
		t.Fatal(err)
	}
	defer closeApplication(t, app)
	faults.OnRecord(annalstest.Instead(), annalstest.LostAnswer())
	fido := dogsOnly.New("fido", Registered{"Fido"})
	for _, want := range []error{annals.ErrOutcomeUnknown, annals.ErrOutcomeUnknown, nil} {
		if _, err := app.Save(t.Context(), fido, application.Join("a transaction")); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// B40.
func TestFaultsOfReads(t *testing.T) {
	t.Parallel()
	app, dogs, faults := school(t)
	fido := dogsOnly.New("fido", Registered{"Fido"})
	annals.Trigger(fido, TrickAdded{"sit"})
	annals.Trigger(fido, TrickAdded{"roll"})
	if _, err := app.Save(t.Context(), fido); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fault annalstest.Fault
		n     int
		want  error
	}{
		{annalstest.Before(errDisk), 0, errDisk},
		{annalstest.BreakAfter(0, errDisk), 0, errDisk},
		{annalstest.BreakAfter(2, errDisk), 2, errDisk},
		{annalstest.BreakAfter(3, errDisk), 3, errDisk},
		{annalstest.BreakAfter(99, errDisk), 3, errDisk},
		{annalstest.Pass(), 3, nil},
	} {
		faults.OnReadStream(c.fault)
		if n, err := last(dogs.Events(t.Context(), "fido")); n != c.n || !errors.Is(err, c.want) {
			t.Errorf("a stream: %d, %v", n, err)
		}
		faults.OnReadLog(c.fault)
		if n, err := last(app.Notifications(t.Context())); n != c.n || !errors.Is(err, c.want) {
			t.Errorf("the log: %d, %v", n, err)
		}
	}
	faults.OnReadStream(annalstest.BreakAfter(1, errDisk))
	if _, err := dogs.Get(t.Context(), "fido"); !errors.Is(err, errDisk) {
		t.Errorf("half an aggregate: %v", err)
	}
}

// B40.
func TestFaultsOfASubscription(t *testing.T) {
	t.Parallel()
	app, _, faults := school(t)
	if _, err := app.Save(t.Context(), dogsOnly.New("fido", Registered{"Fido"})); err != nil {
		t.Fatal(err)
	}
	subscribe := func() (int, error) { return last(app.Subscribe(t.Context())) }
	faults.OnMaxPosition(annalstest.Before(errDisk))
	if n, err := subscribe(); n != 0 || !errors.Is(err, errDisk) {
		t.Errorf("before it catches up: %d, %v", n, err)
	}
	faults.OnWait(annalstest.Before(errDisk))
	if n, err := subscribe(); n != 1 || !errors.Is(err, errDisk) {
		t.Errorf("before it waits: %d, %v", n, err)
	}
}

// B33.
func TestFaultsOfSnapshots(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  annalstest.Fault
		want   error
		stored bool
	}{
		"before":        {annalstest.Before(errDisk), errDisk, false},
		"instead":       {annalstest.Instead(), annals.ErrOutcomeUnknown, false},
		"after":         {annalstest.After(errDisk), errDisk, true},
		"a lost answer": {annalstest.LostAnswer(), annals.ErrOutcomeUnknown, true},
		"none":          {annalstest.Pass(), nil, true},
	} {
		var told []string
		inner := memory.New()
		r, faults := annalstest.NewFaulty(t, inner)
		app, dogs := schoolOn(t, r, application.WithSnapshotErrors(func(e *application.SnapshotError) { told = append(told, e.Op) }))
		if _, err := app.Save(t.Context(), dogsOnly.New("fido", Registered{"Fido"})); err != nil {
			t.Fatal(err)
		}
		faults.OnRecordSnapshot(c.fault)
		if err := dogs.Snapshot(t.Context(), "fido"); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, stored, err := inner.ReadSnapshot(t.Context(), "fido"); stored != c.stored || err != nil {
			t.Errorf("%s: it is stored: %t, %v", name, stored, err)
		}
		faults.OnReadSnapshot(annalstest.Before(errDisk))
		if dog, err := dogs.Get(t.Context(), "fido"); err != nil || dog.Name != "Fido" || !slices.Equal(told, []string{"use"}) {
			t.Errorf("%s: %+v, %v; told %q", name, dog, err, told)
		}
	}
}

func TestFaultsOfPositionsAndTrackings(t *testing.T) {
	t.Parallel()
	r, faults := annalstest.NewFaulty(t, memory.New())
	faults.OnMaxTracking(annalstest.Before(errDisk))
	faults.OnMaxPosition(annalstest.Pass(), annalstest.Before(errDisk))
	for i, want := range []error{errDisk, nil} {
		if _, ok, err := r.MaxTracking(t.Context(), "x"); ok || !errors.Is(err, want) {
			t.Errorf("tracking, call %d: %t, %v", i+1, ok, err)
		}
	}
	for i, want := range []error{nil, errDisk, nil} {
		if _, ok, err := r.MaxPosition(t.Context()); ok || !errors.Is(err, want) {
			t.Errorf("position, call %d: %t, %v", i+1, ok, err)
		}
	}
	if d := cmp.Diff(annalstest.Calls{MaxTracking: 2, MaxPosition: 3}, faults.Calls()); d != "" {
		t.Error(d)
	}
}

func TestACallIsHeldUntilItsGateOpens(t *testing.T) {
	t.Parallel()
	app, dogs, faults := school(t)
	gate := annalstest.NewGate()
	faults.OnRecord(annalstest.Held(gate), annalstest.Held(gate), annalstest.Held(annalstest.NewGate()))
	saved := make(chan error)
	go func() {
		_, err := app.Save(t.Context(), dogsOnly.New("fido", Registered{"Fido"}))
		saved <- err
	}()
	<-gate.Reached()
	if _, err := dogs.Get(t.Context(), "fido"); !errors.Is(err, annals.ErrNotFound) {
		t.Errorf("it is stored before the gate opens: %v", err)
	}
	gate.Open()
	gate.Open()
	if err := <-saved; err != nil {
		t.Error(err)
	}
	if _, err := app.Save(t.Context(), dogsOnly.New("rex", Registered{"Rex"})); err != nil {
		t.Errorf("behind an open gate: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := app.Save(ctx, dogsOnly.New("late", Registered{"Late"})); !errors.Is(err, context.Canceled) {
		t.Errorf("its context is done: %v", err)
	}
	if _, err := dogs.Get(t.Context(), "late"); !errors.Is(err, annals.ErrNotFound) {
		t.Errorf("it is stored: %v", err)
	}
}

func TestASlowCallTakesItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, faults := annalstest.NewFaulty(t, memory.New())
		faults.OnMaxPosition(annalstest.Slow(time.Hour), annalstest.Slow(time.Hour))
		start := time.Now()
		if _, _, err := r.MaxPosition(t.Context()); err != nil || time.Since(start) != time.Hour {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := r.MaxPosition(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Hour+time.Minute {
			t.Errorf("its context ends first, after %v: %v", time.Since(start), err)
		}
	})
}

// B40, B52.
func TestADatabaseThatIsDownFailsEveryCallUntilItIsUp(t *testing.T) {
	t.Parallel()
	app, dogs, faults := school(t)
	for _, id := range []string{"fido", "ada"} {
		if _, err := app.Save(t.Context(), dogsOnly.New(id, Registered{id})); err != nil {
			t.Fatal(err)
		}
	}
	next, stop := iter.Pull2(app.Subscribe(t.Context(), application.After(1)))
	defer stop()
	if n, err, _ := next(); err != nil || n.Position != 2 {
		t.Fatal(n, err)
	}
	ended := make(chan error)
	go func() { // it waits for the third event
		_, err, _ := next()
		ended <- err
	}()
	read := 0
	for _, err := range app.Notifications(t.Context()) {
		if read++; read == 1 && err == nil {
			faults.Down(errDisk) // while it is read
		} else if read > 2 || !errors.Is(err, errDisk) {
			t.Errorf("a read that is under way: its %d. step has the error %v", read, err)
		}
	}
	if read != 2 {
		t.Errorf("a read that is under way has %d steps", read)
	}
	if err := <-ended; !errors.Is(err, errDisk) {
		t.Errorf("a subscription that waits: %v", err)
	}
	rex := dogsOnly.New("rex", Registered{"Rex"})
	for range 2 {
		_, saved := app.Save(t.Context(), rex)
		_, got := dogs.Get(t.Context(), "fido")
		_, read := last(app.Notifications(t.Context()))
		_, subscribed := last(app.Subscribe(t.Context()))
		for what, err := range map[string]error{
			"Save": saved, "Get": got, "Notifications": read, "Subscribe": subscribed, "Snapshot": dogs.Snapshot(t.Context(), "fido"),
		} {
			if !errors.Is(err, errDisk) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	faults.Up()
	if _, err := app.Save(t.Context(), rex); err != nil {
		t.Errorf("up again: %v", err)
	}
	if n, err := last(app.Subscribe(t.Context(), application.UpTo(3))); n != 3 || err != nil {
		t.Errorf("up again: %d, %v", n, err)
	}
}

func TestAWaitEndsWhenTheDatabaseGoesDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, faults := annalstest.NewFaulty(t, memory.New())
		ended := make(chan error, 1)
		go func() { ended <- r.Wait(t.Context(), 0) }()
		synctest.Wait()
		faults.Down(errDisk)
		faults.Up() // at once, and all the same
		if err := <-ended; !errors.Is(err, errDisk) {
			t.Errorf("it ends with %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { ended <- r.Wait(ctx, 0) }()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("with its own context it ends with %v", err)
		}
	})
}

func TestFaultsThatNoCallMetFailTheTest(t *testing.T) {
	t.Parallel()
	faulty := func(tb *report) *annalstest.Faults {
		r, faults := annalstest.NewFaulty(tb, memory.New())
		if _, _, err := r.MaxPosition(t.Context()); err != nil {
			tb.Error(err)
		}
		return faults
	}
	wantReported(t, func(tb *report) { faulty(tb).OnRecord(annalstest.LostAnswer(), annalstest.Pass()) },
		"2 of Record", "calls: 0")
	wantReported(t, func(tb *report) { faulty(tb).OnMaxPosition(annalstest.Pass()) }, "1 of MaxPosition", "calls: 1")
	wantReported(t, func(tb *report) { faulty(tb).OnMaxPosition() })
	wantReported(t, func(tb *report) { faulty(tb).OnRecord(annalstest.Pass()); tb.Skip() })
	if got := reported(t, func(tb *report) { faulty(tb).OnRecord(annalstest.Pass()); tb.Fatal("another reason") }); got != "another reason" {
		t.Errorf("a test that failed for another reason: %s", got)
	}
	wantReported(t, func(tb *report) { annalstest.NewFaulty(tb, nil) }, "recorder is nil")
}

func TestFaultsThatACallCannotHaveAreRefused(t *testing.T) {
	t.Parallel()
	_, faults := annalstest.NewFaulty(t, memory.New())
	for want, queue := range map[string]func(){
		"OnReadStream(LostAnswer)":     func() { faults.OnReadStream(annalstest.LostAnswer()) },
		"OnReadLog(Instead)":           func() { faults.OnReadLog(annalstest.Instead()) },
		"OnRecord(BreakAfter)":         func() { faults.OnRecord(annalstest.BreakAfter(1, errDisk)) },
		"OnRecordSnapshot(BreakAfter)": func() { faults.OnRecordSnapshot(annalstest.BreakAfter(1, errDisk)) },
		"OnReadSnapshot(After)":        func() { faults.OnReadSnapshot(annalstest.After(errDisk)) },
		"OnWait(After)":                func() { faults.OnWait(annalstest.After(errDisk)) },
		"OnMaxPosition(LostAnswer)":    func() { faults.OnMaxPosition(annalstest.LostAnswer()) },
		"OnMaxTracking(BreakAfter)":    func() { faults.OnMaxTracking(annalstest.BreakAfter(1, errDisk)) },
		"Before: the error is nil":     func() { annalstest.Before(nil) },
		"After: the error is nil":      func() { annalstest.After(nil) },
		"BreakAfter: the error is nil": func() { annalstest.BreakAfter(1, nil) },
		"BreakAfter(-1): negative":     func() { annalstest.BreakAfter(-1, errDisk) },
		"Down: the error is nil":       func() { faults.Down(nil) },
		"Held: the gate is nil":        func() { annalstest.Held(nil) },
	} {
		func() {
			defer func() {
				if text := fmt.Sprint(recover()); !slices.Contains([]string{
					"annalstest: " + want, "annalstest: " + want + ": no such call ends so",
					"annalstest: " + want + "; a call without a fault is Pass",
				}, text) {
					t.Errorf("%s: the panic is %s", want, text)
				}
			}()
			queue()
		}()
	}
}
