package annalstest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/annalstest"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/recordertest"
)

type Dog struct {
	annals.Aggregate

	Name   string
	Tricks []string
	calls  int `json:"-"`
}

type (
	Registered struct{ Name string }
	TrickAdded struct{ Trick string }
	Foreign    struct{}
)

func (e Registered) Apply(d *Dog) { d.Name = e.Name }
func (e TrickAdded) Apply(d *Dog) { d.Tricks = append(d.Tricks, e.Trick) }
func (Foreign) Apply(*Dog)        {}

var Dogs = annals.Define("Dog", annals.On[Registered]("Registered"), annals.On[TrickAdded]("TrickAdded"))

var errKnown = errors.New("trick known")

func (d *Dog) AddTrick(trick string) error {
	if slices.Contains(d.Tricks, trick) {
		return errKnown
	}
	annals.Trigger(d, TrickAdded{Trick: trick})
	return nil
}

// report is a testing.TB that keeps what is reported.
type report struct {
	testing.TB

	failed []string
}

type stopped struct{}

func (r *report) Helper() {}
func (r *report) Errorf(format string, args ...any) {
	r.failed = append(r.failed, fmt.Sprintf(format, args...))
}
func (r *report) Error(args ...any)                 { r.failed = append(r.failed, fmt.Sprint(args...)) }
func (r *report) Fatalf(format string, args ...any) { r.Errorf(format, args...); panic(stopped{}) }
func (r *report) Fatal(args ...any)                 { r.Error(args...); panic(stopped{}) }

// reported returns what a test would report.
func reported(t *testing.T, test func(tb testing.TB)) string {
	t.Helper()
	r := &report{TB: t}
	func() {
		defer func() {
			if p := recover(); p != nil && p != (stopped{}) {
				panic(p)
			}
		}()
		test(r)
	}()
	return strings.Join(r.failed, "\n")
}

func TestScenariosThatHold(t *testing.T) {
	t.Parallel()
	annalstest.Given(t, Dogs, Registered{"Fido"}).
		When(func(d *Dog) error { return d.AddTrick("sit") }).
		Then(TrickAdded{"sit"}).
		When(func(d *Dog) error { return d.AddTrick("sit") }).
		ThenError(errKnown).
		When(func(d *Dog) error { return d.AddTrick("roll") }).
		When(func(d *Dog) error { return d.AddTrick("jump") }).
		Then(TrickAdded{"roll"}, &TrickAdded{"jump"}).
		When(func(*Dog) error { return nil }).
		ThenNothing().
		ThenState(func(d *Dog) {
			if d.Version() != 4 || len(d.Tricks) != 3 {
				t.Errorf("%+v", d)
			}
		})
	annalstest.New(t, Dogs, func() *Dog { return Dogs.New("fido", Registered{"Fido"}) }).Then(Registered{"Fido"})
	annalstest.Given(t, Dogs).When(func(d *Dog) error { return d.AddTrick("sit") }).Then(TrickAdded{"sit"})
}

func TestScenariosThatDoNotHoldSayWhy(t *testing.T) {
	t.Parallel()
	sit := func(d *Dog) error { return d.AddTrick("sit") }
	for name, c := range map[string]struct {
		test func(tb testing.TB)
		says []string
	}{
		"another event": {func(tb testing.TB) { annalstest.Given(tb, Dogs).When(sit).Then(TrickAdded{"roll"}) }, []string{"Dog.TrickAdded", `"sit"`, `"roll"`}},
		"one too many":  {func(tb testing.TB) { annalstest.Given(tb, Dogs).When(sit).ThenNothing() }, []string{"Dog.TrickAdded", "sit"}},
		"nothing": {
			func(tb testing.TB) {
				annalstest.Given(tb, Dogs).When(func(*Dog) error { return nil }).Then(TrickAdded{"sit"})
			},
			[]string{"no events", "sit"},
		},
		"an error": {
			func(tb testing.TB) { annalstest.Given(tb, Dogs, TrickAdded{"sit"}).When(sit).Then(TrickAdded{"sit"}) },
			[]string{"trick known"},
		},
		"no error":      {func(tb testing.TB) { annalstest.Given(tb, Dogs).When(sit).ThenError(errKnown) }, []string{"<nil>", "trick known", "Dog.TrickAdded"}},
		"another error": {func(tb testing.TB) { annalstest.Given(tb, Dogs, TrickAdded{"sit"}).When(sit).ThenError(os.ErrExist) }, []string{"trick known"}},
		"an error that nobody expected": {
			func(tb testing.TB) { annalstest.Given(tb, Dogs, TrickAdded{"sit"}).When(sit).When(sit) }, []string{"trick known"},
		},
		"state outside of Apply": {
			func(tb testing.TB) {
				annalstest.Given(tb, Dogs).When(func(d *Dog) error { d.calls++; return d.AddTrick("sit") }).Then(TrickAdded{"sit"})
			},
			[]string{"outside of Apply", "calls"},
		},
		"a foreign event given": {func(tb testing.TB) { annalstest.Given(tb, Dogs, Foreign{}) }, []string{"Foreign", "Dog"}},
		"a foreign event": {
			func(tb testing.TB) {
				annalstest.Given(tb, Dogs).When(func(d *Dog) error { annals.Trigger(d, Foreign{}); return nil })
			},
			[]string{"panicked", "Foreign"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := reported(t, c.test)
			for _, part := range c.says {
				if !strings.Contains(got, part) {
					t.Errorf("it does not say %q:\n%s", part, got)
				}
			}
		})
	}
}

// The functional model of these tests. B9.
type (
	Account struct{ Balance int }
	Deposit int
	Event   interface{ isEvent() }
	Opened  struct{}
	Paid    struct{ Cents int }
)

func (Opened) isEvent() {}
func (Paid) isEvent()   {}

var Accounts = annals.DefineState("Account", Account{},
	annals.Evolve("Opened", func(a Account, _ Opened) Account { return a }),
	annals.Evolve("Paid", func(a Account, e Paid) Account { a.Balance += e.Cents; return a }))

var errNothing = errors.New("nothing to deposit")

func Decide(d Deposit, _ Account) ([]Event, error) {
	if d <= 0 {
		return nil, errNothing
	}
	return []Event{Paid{int(d)}}, nil
}

func TestScenariosOfStates(t *testing.T) {
	t.Parallel()
	annalstest.GivenState(t, Accounts, Decide, Opened{}, Paid{5}).
		When(7).Then(Paid{7}).ThenState(Account{Balance: 12}).
		When(0).ThenError(errNothing)
	got := reported(t, func(tb testing.TB) {
		annalstest.GivenState(tb, Accounts, Decide).When(7).Then(Paid{8}).ThenState(Account{Balance: 8}).ThenNothing()
	})
	for _, part := range []string{"Account.Paid", "Balance", "8", "7"} {
		if !strings.Contains(got, part) {
			t.Errorf("it does not say %q:\n%s", part, got)
		}
	}
}

// B11.
func TestClockAndIDs(t *testing.T) {
	t.Parallel()
	start := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	clock := annalstest.NewClock(start)
	dogs := Dogs.WithClock(clock.Now).WithIDs(annalstest.NewIDs("event").Next)
	fido := dogs.New("fido", Registered{"Fido"})
	clock.Advance(time.Hour)
	annals.Trigger(fido, TrickAdded{"sit"})
	clock.Set(start)
	annals.Trigger(fido, TrickAdded{"roll"})
	var got []string
	for _, e := range fido.CollectEvents() {
		got = append(got, e.ID+" "+e.Time.Format(time.TimeOnly))
	}
	if want := []string{"event-1 12:00:00", "event-2 13:00:00", "event-3 12:00:00"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// The wrapper changes nothing: the suite of recorders passes over it.
func TestFaultyConforms(t *testing.T) {
	t.Parallel()
	var stores sync.Map
	recordertest.Run(t, recordertest.Backend{
		Name: "faulty",
		Create: func(testing.TB) string {
			r, _ := annalstest.NewFaulty(memory.New())
			address := annals.NewID()
			stores.Store(address, r)
			return address
		},
		Open: func(_ context.Context, address string) (recordertest.Recorder, error) {
			r, _ := stores.Load(address)
			return r.(recordertest.Recorder), nil
		},
		Features: recordertest.Features{Snapshots: true},
	})
	if r, _ := annalstest.NewFaulty(memory.New()); r != nil {
		if _, ok := r.(persistence.TxRecorder); ok {
			t.Error("it claims to join transactions")
		}
	}
	if r, _ := annalstest.NewFaulty(struct{ persistence.Recorder }{memory.New()}); r != nil {
		if _, ok := r.(persistence.SnapshotRecorder); ok {
			t.Error("it claims to keep snapshots")
		}
	}
}

// B29, B33.
func TestFaults(t *testing.T) {
	t.Parallel()
	r, faults := annalstest.NewFaulty(memory.New())
	app, err := application.Open(t.Context(), "school", application.WithRecorder(r), application.WithSnapshots(Dogs, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	dogs := application.NewRepository(app, Dogs)
	fido := Dogs.New("fido", Registered{"Fido"})
	failed := errors.New("the disk is gone")
	gate := make(chan struct{})
	close(gate)
	faults.OnRecord(annalstest.Before(failed), annalstest.Instead(), annalstest.LostAnswer(), annalstest.After(failed), annalstest.Delayed(gate))
	for i, want := range []error{failed, annals.ErrOutcomeUnknown, annals.ErrOutcomeUnknown, failed, nil, nil} {
		_, err := app.Save(t.Context(), fido)
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("save %d: %v, want %v", i+1, err, want)
		}
	}
	if dog, err := dogs.Get(t.Context(), "fido"); err != nil || dog.Version() != 1 {
		t.Errorf("%+v, %v", dog, err)
	}
	faults.OnRecord(annalstest.LostAnswer(), annalstest.Instead(), annalstest.LostAnswer()) // Update repeats by itself
	if err := dogs.Update(t.Context(), "fido", func(d *Dog) error { return d.AddTrick("sit") }); err != nil {
		t.Error(err)
	}
	if dog, err := dogs.Get(t.Context(), "fido"); err != nil || dog.Version() != 2 {
		t.Errorf("%+v, %v", dog, err)
	}
	faults.OnRead(annalstest.BreakAfter(1, failed))
	if _, err := dogs.Get(t.Context(), "fido"); !errors.Is(err, failed) {
		t.Errorf("a read that breaks: %v", err)
	}
	faults.OnSnapshot(annalstest.Before(failed), annalstest.Pass())
	if err := dogs.Snapshot(t.Context(), "fido"); err != nil {
		t.Error(err) // the first fault was that of reading the one before
	}
	blocked, cancel := context.WithCancel(t.Context())
	cancel()
	faults.OnRecord(annalstest.Delayed(nil), annalstest.Delayed(make(chan struct{})))
	for i, want := range []error{nil, context.Canceled} {
		if _, err := app.Save(blocked, Dogs.New(fmt.Sprint(i), Registered{"Rex"})); want != nil && !errors.Is(err, want) {
			t.Errorf("delayed: %v", err)
		}
	}
	if faults.Records() == 0 || faults.Reads() == 0 || faults.Snapshots() == 0 {
		t.Errorf("%d, %d, %d calls", faults.Records(), faults.Reads(), faults.Snapshots())
	}
}

// The shapes of a golden event.
type (
	GradedV1 struct{ Grade string }
	GradedV2 struct{ Grade int }
	Graded   struct{ Points int }
	Lossy    struct{ Note string }
)

func (Graded) Apply(*Dog) {}
func (Lossy) Apply(*Dog)  {}

func gradedOf(upcasts ...annals.EventOption) *annals.Type[Dog] {
	return annals.Define("Dog", annals.On[Graded]("Graded", upcasts...))
}

// B7, B8.
func TestGoldenFiles(t *testing.T) { //nolint:paralleltest // it sets the environment
	dir := t.TempDir()
	g := annalstest.Golden{Dir: dir}
	v1 := annals.Define("Dog", annals.On[Lossy]("Graded"))
	check := func(def annals.Definition, examples ...any) string {
		return reported(t, func(tb testing.TB) { g.Check(tb, def, examples...) })
	}
	if got := check(v1); !strings.Contains(got, "pass an example") {
		t.Errorf("without an example: %s", got)
	}
	if got := check(v1, Lossy{Note: "B"}); !strings.Contains(got, "ANNALS_UPDATE=1") {
		t.Errorf("without a file: %s", got)
	}
	t.Setenv("ANNALS_UPDATE", "1")
	if got := check(v1, Lossy{Note: "B"}); got != "" {
		t.Fatal(got)
	}
	t.Setenv("ANNALS_UPDATE", "")
	if got := check(v1); got != "" {
		t.Errorf("the file that was written: %s", got)
	}
	// A field is renamed without an upcast.
	if got := check(gradedOf()); !strings.Contains(got, "does not hold Note") {
		t.Errorf("a field that is lost: %s", got)
	}
	// An upcast, and the file of the present shape is not written yet.
	v2 := gradedOf(annals.Upcast(func(l Lossy) Graded { return Graded{Points: len(l.Note)} }))
	if got := check(v2, Graded{Points: 2}); !strings.Contains(got, "becomes something else") || !strings.Contains(got, "Dog.Graded.2.json is missing") {
		t.Errorf("a new shape: %s", got)
	}
	t.Setenv("ANNALS_UPDATE", "1")
	if got := check(v2, Graded{Points: 2}); got != "" {
		t.Fatal(got)
	}
	t.Setenv("ANNALS_UPDATE", "")
	if got := check(v2); got != "" {
		t.Errorf("after the update: %s", got)
	}
	other := gradedOf(annals.Upcast(func(Lossy) Graded { return Graded{Points: 100} }))
	if got := check(other); !strings.Contains(got, "100") {
		t.Errorf("another upcast: %s", got)
	}
	if err := os.Remove(filepath.Join(dir, "Dog.Graded.1.json")); err != nil {
		t.Fatal(err)
	}
	if got := check(v2); !strings.Contains(got, "Dog.Graded.1.json is missing") {
		t.Errorf("an old file that is gone: %s", got)
	}
	renamed := annals.Define("Dog", annals.On[Graded]("Marked"))
	if got := check(renamed, Graded{}); !strings.Contains(got, "FormerName") {
		t.Errorf("an event that is gone: %s", got)
	}
}
