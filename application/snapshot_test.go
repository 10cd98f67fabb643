package application_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/annalstest"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

// hook keeps what is told of snapshots.
type hook struct {
	mu   sync.Mutex
	errs []*application.SnapshotError
}

func (h *hook) option() application.Option {
	return application.WithSnapshotErrors(func(e *application.SnapshotError) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.errs = append(h.errs, e)
	})
}

func (h *hook) told() []*application.SnapshotError {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.errs)
}

// gate is a recorder that stores a snapshot when it is told to, or gives up when
// the context is done.
type gate struct {
	*memory.Recorder

	open  chan struct{}
	calls atomic.Int64
}

func newGate() *gate { return &gate{Recorder: memory.New(), open: make(chan struct{})} }

func (g *gate) RecordSnapshot(ctx context.Context, s persistence.StoredSnapshot) error {
	g.calls.Add(1)
	select {
	case <-g.open:
		return g.Recorder.RecordSnapshot(ctx, s)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func wantSnapshot(t *testing.T, r persistence.SnapshotRecorder, id string, version int64) {
	t.Helper()
	s, ok, err := r.ReadSnapshot(t.Context(), id)
	if err != nil || ok != (version > 0) || s.Version != version {
		t.Errorf("the snapshot of %q is of version %d, want %d: %v", id, s.Version, version, err)
	}
}

// B33, B39.
func TestASaveDoesNotWaitForItsSnapshotAndCloseDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := open(t, application.WithRecorder(g), application.WithSnapshots(Dogs, 2))
		s.register(t, "fido", "sit") // and the snapshot waits
		s.register(t, "rex", "sit")
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		synctest.Wait()
		select {
		case err := <-closed:
			t.Errorf("Close did not wait for the snapshots: %v", err)
		default:
		}
		_, err := s.Save(t.Context(), Dogs.New("max", Registered{Name: "Max"}))
		wantError(t, err, annals.ErrClosed)
		close(g.open)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		wantSnapshot(t, g, "fido", 2)
		wantSnapshot(t, g, "rex", 2)
	})
}

// B33.
func TestASnapshotWaitsOnceAndCanWaitAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := open(t, application.WithRecorder(g), application.WithSnapshots(Dogs, 1))
		fido := Dogs.New("fido", Registered{Name: "Fido"})
		save := func() {
			if _, err := s.Save(t.Context(), fido); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // until the snapshot is stored, or waits
			annals.Trigger(fido, TrickAdded{Trick: "sit"})
		}
		for range 5 {
			save()
		}
		close(g.open)
		synctest.Wait()
		if n := g.calls.Load(); n != 2 {
			t.Errorf("%d snapshots were taken, want that of the first save, and one for the others", n)
		}
		wantSnapshot(t, g, "fido", 5)
		save()
		wantSnapshot(t, g, "fido", 6)
	})
}

// B33, B39. The clock is that of the bubble.
func TestCloseGivesUpTheSnapshotsOfARecorderThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h hook
		g := newGate()
		s := open(t, application.WithRecorder(g), application.WithSnapshots(Dogs, 1), h.option())
		s.register(t, "fido")
		s.register(t, "rex")
		start := time.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("Close took %v", took)
		}
		told := h.told()
		if len(told) != 2 {
			t.Fatalf("the hook was told %v", told)
		}
		for i, id := range []string{"fido", "rex"} {
			wantError(t, told[i], annals.ErrClosed, "take", "Dog", id, "10s")
		}
		wantSnapshot(t, g, "fido", 0)
	})
}

// B39.
func TestASaveThatMeetsCloseIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := keepsNone{&slow{Recorder: memory.New(), started: make(chan struct{}), finish: make(chan struct{})}}
		var s *school
		s = open(t, application.WithRecorder(r), application.WithSnapshots(Dogs, 1), application.WithSnapshotErrors(
			func(*application.SnapshotError) { // called while Close waits: it must not wait for Close
				_, err := s.Save(t.Context(), Dogs.New("from the hook", Registered{}))
				wantError(t, err, annals.ErrClosed)
			}))
		go func() {
			_, err := s.Save(t.Context(), Dogs.New("fido", Registered{Name: "Fido"}))
			if err != nil {
				t.Error(err)
			}
		}()
		<-r.started
		closed := make(chan error, 2)
		for range cap(closed) {
			go func() { closed <- s.Close() }()
		}
		synctest.Wait()
		_, err := s.Save(t.Context(), Dogs.New("rex", Registered{Name: "Rex"})) // while the other one runs
		wantError(t, err, annals.ErrClosed)
		if len(closed) > 0 {
			t.Error("Close did not wait for the save")
		}
		close(r.finish)
		for range cap(closed) {
			if err := <-closed; err != nil {
				t.Error(err)
			}
		}
	})
}

// keepsNone fails to keep snapshots.
type keepsNone struct{ *slow }

func (keepsNone) RecordSnapshot(context.Context, persistence.StoredSnapshot) error { return errKnown }

// bomb is a state whose evolve function panics when it is armed.
type bomb struct{ Fuses int }

type fuseLit struct{ Secret string }

func defineBombs(armed func() bool) *annals.Type[annals.State[bomb]] {
	return annals.DefineState("Bomb", bomb{}, annals.Evolve("FuseLit", func(b bomb, e fuseLit) bomb {
		if armed() {
			panic("boom: " + e.Secret)
		}
		return bomb{b.Fuses + 1}
	}))
}

// B33: a failure goes to the hook, and never to the saver; no data is in it.
func TestAPanicWhileASnapshotIsTakenIsToldToTheHook(t *testing.T) {
	t.Parallel()
	var h hook
	triggered := false
	bombs := defineBombs(func() bool { return triggered })
	app, err := application.Open(t.Context(), "bombs", application.WithSnapshots(bombs, 1), h.option())
	if err != nil {
		t.Fatal(err)
	}
	application.NewRepository(app, bombs)
	b := bombs.Begin("b1")
	b.Trigger(fuseLit{Secret: "1234"})
	triggered = true // from here on by the replay
	if _, err := app.Save(t.Context(), b); err != nil {
		t.Errorf("the save: %v", err)
	}
	if err := app.Close(); err != nil {
		t.Error(err)
	}
	told := h.told()
	if len(told) != 1 {
		t.Fatalf("the hook was told %v", told)
	}
	text := told[0].Error()
	for _, part := range []string{`take the snapshot of Bomb "b1"`, "panic of type string", "defineBombs", "snapshot_test.go:"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
	if strings.Contains(text, "1234") {
		t.Errorf("%q quotes data", text)
	}
}

// B29, B33.
func TestARepeatedSaveAsksForItsSnapshot(t *testing.T) {
	t.Parallel()
	inner := memory.New()
	r, faults := annalstest.NewFaulty(t, inner)
	faults.OnRecord(annalstest.LostAnswer())
	s := open(t, application.WithRecorder(r), application.WithSnapshots(Dogs, 2))
	fido := Dogs.New("fido", Registered{Name: "Fido"})
	annals.Trigger(fido, TrickAdded{Trick: "sit"})
	_, err := s.Save(t.Context(), fido)
	wantError(t, err, annals.ErrOutcomeUnknown)
	wantSnapshot(t, inner, "fido", 0)
	if _, err := s.Save(t.Context(), fido); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantSnapshot(t, inner, "fido", 2)
}

// B33.
func TestSnapshotsThatDoNotFitIntoTheQueueAreTold(t *testing.T) {
	t.Parallel()
	var h hook
	g := newGate()
	s := open(t, application.WithRecorder(g), application.WithSnapshots(Dogs, 1), h.option())
	const more = 10_002 // than there is room for, and one that is being taken
	sources := make([]application.Source, more)
	for i := range sources {
		sources[i] = Dogs.New(fmt.Sprint("dog ", i), Registered{})
	}
	if _, err := s.Save(t.Context(), sources...); err != nil {
		t.Fatal(err)
	}
	told := h.told()
	if n := len(told); n < 1 || n > 2 || told[0].Op != "take" || told[0].ID == "" {
		t.Errorf("the hook was told %v", told)
	}
	close(g.open)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantSnapshot(t, g, "dog 0", 1)
	if n := len(h.told()); n > 2 {
		t.Errorf("%d errors", n)
	}
}

// Hidden has state that no transcoder sees.
type Hidden struct {
	annals.Aggregate

	names map[string]bool
}

// Left has state that a tag leaves out.
type Left struct {
	annals.Aggregate

	Known map[string]bool `json:"-"`
}

type (
	hiddenNamed struct{ Name string }
	leftNamed   struct{ Name string }
)

func (e hiddenNamed) Apply(h *Hidden) { h.names = map[string]bool{e.Name: true} }
func (e leftNamed) Apply(l *Left)     { l.Known = map[string]bool{e.Name: true} }

// B33.
func TestTypesWhoseStateWouldNotSurviveAreRefused(t *testing.T) {
	t.Parallel()
	hidden := annals.Define("Hidden", annals.On[hiddenNamed]("Named"))
	left := annals.Define("Left", annals.On[leftNamed]("Named"))
	for field, typ := range map[string]application.SnapshotDefinition{"Hidden.names": hidden, "Left.Known": left} {
		_, err := application.Open(t.Context(), "school", application.WithSnapshots(typ, 10))
		wantError(t, err, annals.ErrConfiguration, "school", field, "SnapshotAs")
		_, err = application.Open(t.Context(), "school", application.WithSnapshots(typ, 0))
		wantError(t, err, annals.ErrConfiguration, field)
	}
	for _, environ := range []string{"SNAPSHOTS=10", "SNAPSHOTS=0", "SNAPSHOTS=Hidden:10,Left:0"} {
		s := open(t, application.FromEnviron([]string{environ}))
		wantPanic(t, func() { application.NewRepository(s.Application, hidden) }, "NewRepository", "Hidden.names", "SnapshotAs")
		wantPanic(t, func() { application.NewRepository(s.Application, left) }, "NewRepository", "Left.Known", "SnapshotAs")
	}
	application.NewRepository(open(t, application.FromEnviron([]string{"SNAPSHOTS=Dog:10"})).Application, hidden)
	named := annals.Define("Hidden", annals.On[hiddenNamed]("Named"), annals.SnapshotAs(
		func(*Hidden) []string { return nil }, func(*Hidden, []string) {}))
	application.NewRepository(open(t, application.WithSnapshots(named, 10)).Application, named)
}

func wantPanic(t *testing.T, f func(), parts ...string) {
	t.Helper()
	defer func() {
		t.Helper()
		text := fmt.Sprint(recover())
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("panic %q does not say %q", text, part)
			}
		}
	}()
	f()
}

// B33, B52.
func TestWithSnapshotsRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	_, err := application.Open(t.Context(), "school", application.WithSnapshots(nil, 10))
	wantError(t, err, annals.ErrConfiguration, "WithSnapshots", "nil")
	_, err = application.Open(t.Context(), "school", application.WithSnapshots(Dogs, -1))
	wantError(t, err, annals.ErrConfiguration, "WithSnapshots(Dog, -1)")
	for _, opt := range []application.Option{application.WithSnapshots(Dogs, 10), application.FromEnviron([]string{"SNAPSHOTS=1"})} {
		_, err = application.Open(t.Context(), "school", application.WithRecorder(struct{ persistence.Recorder }{memory.New()}), opt)
		wantError(t, err, annals.ErrUnsupported, "WithSnapshots", "SNAPSHOTS", "keeps no snapshots")
	}
	s := open(t)
	wantError(t, s.dogs.Snapshot(t.Context(), "fido"), annals.ErrUnsupported, "school", "WithSnapshots", "Dog")
	s = open(t, application.WithSnapshots(Dogs, 0))
	wantError(t, s.dogs.Snapshot(t.Context(), ""), annals.ErrInvalidID, "school")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.dogs.Snapshot(t.Context(), "fido"), annals.ErrClosed, "school")
}

// Pack keeps the same dogs in two ways.
type Pack struct {
	annals.Aggregate

	ByName map[string]*Member
	Order  []*Member
}

// Member is one of them.
type Member struct {
	Name string
	Fed  int
}

type (
	packJoined struct{ Name string }
	packFed    struct{ Name string }
)

func (e packJoined) Apply(p *Pack) {
	if p.ByName == nil {
		p.ByName = make(map[string]*Member)
	}
	m := &Member{Name: e.Name}
	p.ByName[e.Name] = m
	p.Order = append(p.Order, m)
}

func (e packFed) Apply(p *Pack) { p.ByName[e.Name].Fed++ }

// B33: never wrong. A copy of what two fields share would be two.
func TestNoSnapshotIsTakenOfAnAggregateThatSharesMemory(t *testing.T) {
	t.Parallel()
	var h hook
	r := memory.New()
	packs := annals.Define("Pack", annals.On[packJoined]("Joined"), annals.On[packFed]("Fed"))
	app, err := application.Open(t.Context(), "packs", application.WithRecorder(r), application.WithSnapshots(packs, 1), h.option())
	if err != nil {
		t.Fatal(err)
	}
	repository := application.NewRepository(app, packs)
	if _, err := app.Save(t.Context(), packs.New("p", packJoined{Name: "Fido"})); err != nil {
		t.Fatal(err)
	}
	err = repository.Snapshot(t.Context(), "p")
	wantError(t, err, annals.ErrUnsupported, "Pack.ByName[]", "Pack.Order[]", "SnapshotAs")
	if strings.Contains(err.Error(), "Fido") {
		t.Errorf("%q quotes data", err)
	}
	if err := repository.Update(t.Context(), "p", func(p *Pack) error { annals.Trigger(p, packFed{Name: "Fido"}); return nil }); err != nil {
		t.Fatal(err)
	}
	if p, err := repository.Get(t.Context(), "p"); err != nil || p.Order[0].Fed != 1 {
		t.Errorf("%+v, %v", p.Order[0], err)
	}
	if err := app.Close(); err != nil {
		t.Fatal(err)
	}
	told := h.told()
	if len(told) == 0 {
		t.Fatal("the hook was told nothing")
	}
	wantError(t, told[0], annals.ErrUnsupported, "take", `"p"`)
	wantSnapshot(t, r, "p", 0)
}

// slow says when a save has started, and finishes it when it is told to.
type slow struct {
	*memory.Recorder

	started, finish chan struct{}
}

func (r *slow) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	close(r.started)
	<-r.finish
	return r.Recorder.Record(ctx, b)
}
