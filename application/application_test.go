package application_test

import (
	"errors"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Dog is the aggregate of these tests.
type Dog struct {
	annals.Aggregate

	Name   string
	Tricks []string
}

type (
	Registered struct{ Name string }
	TrickAdded struct{ Trick string }
	Retired    struct{}
	Unstorable struct{ Then func() }
)

func (e Registered) Apply(d *Dog) { d.Name = e.Name }
func (e TrickAdded) Apply(d *Dog) { d.Tricks = append(d.Tricks, e.Trick) }
func (Retired) Apply(*Dog)        {}
func (Unstorable) Apply(*Dog)     {}

var Dogs = annals.Define("Dog",
	annals.On[Registered]("Registered"),
	annals.On[TrickAdded]("TrickAdded", annals.FormerName("TrickLearned")),
	annals.On[Retired]("Retired", annals.Discards()),
	annals.On[Unstorable]("Unstorable"),
)

func (d *Dog) AddTrick(trick string) error {
	if slices.Contains(d.Tricks, trick) {
		return errKnown
	}
	annals.Trigger(d, TrickAdded{Trick: trick})
	return nil
}

var errKnown = errors.New("trick known")

// school is the application of these tests.
type school struct {
	*application.Application
	dogs *application.Repository[Dog]
}

// open opens a school, and closes it at the end of the test.
func open(t *testing.T, opts ...application.Option) *school {
	t.Helper()
	app, err := application.Open(t.Context(), "school", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	})
	return &school{app, application.NewRepository(app, Dogs)}
}

func (s *school) register(t *testing.T, id string, tricks ...string) {
	t.Helper()
	dog := Dogs.New(id, Registered{Name: id})
	for _, trick := range tricks {
		annals.Trigger(dog, TrickAdded{Trick: trick})
	}
	if _, err := s.Save(t.Context(), dog); err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err, sentinel error, parts ...string) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Fatalf("got error %v, want one that is %q", err, sentinel)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not name %q", err, part)
		}
	}
}

// topics returns what a sequence yields until it ends, and its error.
func topics(events iter.Seq2[application.Notification, error]) (topics []string, err error) {
	for n, err := range events {
		if err != nil {
			return topics, err
		}
		topics = append(topics, n.Event.Topic)
	}
	return topics, nil
}

// B30.
func TestSaveOfSeveralAggregatesIsAtomic(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "taken")
	fido, rex := Dogs.New("fido", Registered{Name: "Fido"}), Dogs.New("taken", Registered{Name: "Rex"})
	_, err := s.Save(t.Context(), fido, rex)
	wantError(t, err, annals.ErrVersionConflict, "school", `"taken"`)
	_, err = s.dogs.Get(t.Context(), "fido")
	wantError(t, err, annals.ErrNotFound)
	if len(fido.PendingEvents()) != 1 || len(rex.PendingEvents()) != 1 {
		t.Error("a failed save took the pending events")
	}
	if _, err := s.Save(t.Context(), fido); err != nil {
		t.Errorf("saving again what did not conflict: %v", err)
	}
}

// B30.
func TestSaveReturnsRecordings(t *testing.T) {
	t.Parallel()
	s := open(t)
	fido, rex := Dogs.New("fido", Registered{Name: "Fido"}), Dogs.New("rex", Registered{Name: "Rex"})
	annals.Trigger(fido, TrickAdded{Trick: "sit"})
	pending := slices.Concat(fido.PendingEvents(), rex.PendingEvents())
	recordings, err := s.Save(t.Context(), fido, rex)
	if err != nil {
		t.Fatal(err)
	}
	if len(recordings) != 3 || recordings.Position() != 3 {
		t.Fatalf("%d recordings, last position %d", len(recordings), recordings.Position())
	}
	for i, r := range recordings {
		if r.Position != int64(i+1) || !reflect.DeepEqual(r.Event, pending[i]) {
			t.Errorf("recording %d: %+v, want position %d of %+v", i, r, i+1, pending[i])
		}
	}
	recordings, err = s.Save(t.Context(), fido)
	if recordings != nil || err != nil || recordings.Position() != 0 {
		t.Errorf("saving nothing: %v, %v", recordings, err)
	}
	if recordings, err := s.Save(t.Context()); recordings != nil || err != nil {
		t.Errorf("saving no aggregate: %v, %v", recordings, err)
	}
}

// B4, B31.
func TestGetGivesTheAggregateAsItWasSaved(t *testing.T) {
	t.Parallel()
	s := open(t)
	fido := Dogs.New("fido", Registered{Name: "Fido"})
	annals.Trigger(fido, TrickAdded{Trick: "sit"})
	if _, err := s.Save(t.Context(), fido); err != nil {
		t.Fatal(err)
	}
	got, err := s.dogs.Get(t.Context(), "fido")
	if err != nil || !reflect.DeepEqual(got, fido) {
		t.Errorf("got %+v, %v; want %+v", got, err, fido)
	}
}

// B31, B52.
func TestGetOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	s := open(t)
	_, err := s.dogs.Get(t.Context(), "nobody")
	wantError(t, err, annals.ErrNotFound, "school", "Dog", `"nobody"`)
	for _, id := range []string{"", strings.Repeat("x", 256), "\xff", "\x00"} {
		_, err := s.dogs.Get(t.Context(), id)
		wantError(t, err, annals.ErrInvalidID, "stream id")
		_, err = s.Save(t.Context(), Dogs.New(id, Registered{Name: "secret"}))
		wantError(t, err, annals.ErrInvalidID, "stream id")
	}
	if got, err := topics(s.Notifications(t.Context())); len(got) != 0 || err != nil {
		t.Errorf("something was stored: %v, %v", got, err)
	}
}

// B6.
func TestDiscardedAggregateIsGoneAndItsIDIsTaken(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "fido")
	if err := s.dogs.Update(t.Context(), "fido", func(d *Dog) error { annals.Trigger(d, Retired{}); return nil }); err != nil {
		t.Fatal(err)
	}
	_, err := s.dogs.Get(t.Context(), "fido")
	wantError(t, err, annals.ErrNotFound, "discarded")
	_, err = s.Save(t.Context(), Dogs.New("fido", Registered{}))
	wantError(t, err, annals.ErrVersionConflict, `"fido"`)
	before, err := s.dogs.GetVersion(t.Context(), "fido", 1)
	if err != nil || before.Name != "fido" {
		t.Errorf("at the version before: %+v, %v", before, err)
	}
}

// B31.
func TestGetVersionAndGetAt(t *testing.T) {
	t.Parallel()
	s := open(t)
	at := func(day int) time.Time { return time.Date(2024, 1, day, 0, 0, 0, 0, time.UTC) }
	fido := Dogs.New("fido", Registered{Name: "Fido"}, annals.At(at(2)))
	annals.Trigger(fido, TrickAdded{Trick: "sit"}, annals.At(at(4)))
	annals.Trigger(fido, TrickAdded{Trick: "roll"}, annals.At(at(6)))
	if _, err := s.Save(t.Context(), fido); err != nil {
		t.Fatal(err)
	}
	for v := range int64(3) {
		d, err := s.dogs.GetVersion(t.Context(), "fido", v+1)
		if err != nil || d.Version() != v+1 || len(d.Tricks) != int(v) {
			t.Errorf("version %d: %+v, %v", v+1, d, err)
		}
	}
	for _, v := range []int64{-1, 0, 4} {
		_, err := s.dogs.GetVersion(t.Context(), "fido", v)
		wantError(t, err, annals.ErrNotFound, `"fido"`, "at version")
	}
	_, err := s.dogs.GetVersion(t.Context(), "nobody", 1)
	wantError(t, err, annals.ErrNotFound, `"nobody"`, "at version 1")
	for day, tricks := range map[int]int{2: 0, 3: 0, 4: 1, 5: 1, 6: 2, 30: 2} {
		d, err := s.dogs.GetAt(t.Context(), "fido", at(day))
		if err != nil || len(d.Tricks) != tricks {
			t.Errorf("on day %d: %+v, %v; want %d tricks", day, d, err, tricks)
		}
	}
	_, err = s.dogs.GetAt(t.Context(), "fido", at(1))
	wantError(t, err, annals.ErrNotFound, `"fido"`, "at 2024-01-01")
}

func TestEventsAreTheLifeOfAnAggregate(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "fido", "sit")
	s.register(t, "rex")
	var got []string
	for e, err := range s.dogs.Events(t.Context(), "fido") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Topic)
	}
	if !slices.Equal(got, []string{"Dog.Registered", "Dog.TrickAdded"}) {
		t.Errorf("events %v", got)
	}
	for e, err := range s.dogs.Events(t.Context(), "nobody") {
		t.Errorf("an unknown id yields %v, %v", e, err)
	}
	for _, err := range s.dogs.Events(t.Context(), "") {
		wantError(t, err, annals.ErrInvalidID)
	}
}

func TestSaveRefusesWhatIsNoAggregateOrThereTwice(t *testing.T) {
	t.Parallel()
	s := open(t)
	fido := Dogs.New("fido", Registered{Name: "Fido"})
	_, err := s.Save(t.Context(), fido, nil)
	wantError(t, err, annals.ErrConfiguration, "aggregate 2 is nil")
	_, err = s.Save(t.Context(), fido, fido)
	wantError(t, err, annals.ErrConfiguration, "pass each aggregate once", `"fido"`)
	_, err = s.Save(t.Context(), (*Dog)(nil))
	wantError(t, err, annals.ErrConfiguration, "aggregate 1 is nil")
	_, err = s.Save(t.Context(), fido, Dogs.New("fido", Registered{Name: "Fido"}))
	wantError(t, err, annals.ErrConfiguration, "pass each aggregate once", `"fido"`)
	if _, err := s.Save(t.Context(), fido); err != nil {
		t.Error(err)
	}
}

// B12, B52.
func TestSaveRefusesWhatCouldNotBeLoaded(t *testing.T) {
	t.Parallel()
	s := open(t)
	fido, rex := Dogs.New("fido", Registered{Name: "Fido"}), Dogs.New("rex", Registered{Name: "Rex"})
	annals.Trigger(rex, Unstorable{})
	_, err := s.Save(t.Context(), fido, rex)
	wantError(t, err, annals.ErrUnencodable, "Unstorable.Then", `"rex"`, "version 2")

	unknown, err := application.Open(t.Context(), "unknown")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unknown.Close(); err != nil {
			t.Error(err)
		}
	})
	_, err = unknown.Save(t.Context(), fido)
	wantError(t, err, annals.ErrUnknownTopic, "Dog.Registered", "NewRepository")
	if len(fido.PendingEvents()) != 1 {
		t.Error("a failed save took the pending events")
	}
}

// B13, B52.
func TestUnreadableEventsAreNamed(t *testing.T) {
	t.Parallel()
	recorder := memory.New()
	s := open(t, application.WithRecorder(recorder))
	s.register(t, "fido")
	for stream, change := range map[string]func(*persistence.StoredEvent){
		"unknown": func(e *persistence.StoredEvent) { e.Topic = "Dog.Vanished" },
		"damaged": func(e *persistence.StoredEvent) { e.State = []byte(`{"Name":"secret`) },
	} {
		e := persistence.StoredEvent{
			ID: annals.NewID(), StreamID: stream, Version: 1, Topic: "Dog.Registered", Time: time.Unix(1, 0).UTC(),
			Shape: 1, Encoding: "1:json", State: []byte(`{}`),
		}
		change(&e)
		if _, err := recorder.Record(t.Context(), persistence.Batch{Events: []persistence.StoredEvent{e}}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.dogs.Get(t.Context(), "unknown")
	wantError(t, err, annals.ErrUnknownTopic, "Dog.Vanished", `"unknown"`, "version 1")
	_, err = s.dogs.Get(t.Context(), "damaged")
	wantError(t, err, annals.ErrUndecodable, "Dog.Registered", `"damaged"`, "version 1")
	var last application.Notification
	for n := range s.Notifications(t.Context()) { //nolint:errcheck // it is looked at below
		last = n
	}
	if last.Position != 2 {
		t.Errorf("the event that cannot be read is yielded with position %d, want 2", last.Position)
	}
	got, err := topics(s.Notifications(t.Context()))
	if len(got) != 1 {
		t.Errorf("before the event that cannot be read: %v", got)
	}
	if !errors.Is(err, annals.ErrUnknownTopic) && !errors.Is(err, annals.ErrUndecodable) || !strings.Contains(err.Error(), "position 2") ||
		strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

func TestOpenRefusesBadOptions(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]application.Option{
		"WithRecorder":   application.WithRecorder(nil),
		"WithRetries":    application.WithRetries(-1),
		"Dog.Registered": application.WithTypes(Dogs, annals.Define("Dog", annals.On[TrickAdded]("Registered"))),
	} {
		_, err := application.Open(t.Context(), "school", opt)
		wantError(t, err, annals.ErrConfiguration, name, "school")
	}
	_, err := application.Open(t.Context(), "")
	wantError(t, err, annals.ErrInvalidID, "application name")
	closed := memory.New()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = application.Open(t.Context(), "school", application.WithRecorder(closed))
	wantError(t, err, annals.ErrClosed, "school: open: the recorder was closed")
}

// B39, B52.
func TestWhatIsClosedIsSaid(t *testing.T) {
	t.Parallel()
	r := memory.New()
	s := open(t, application.WithRecorder(r))
	s.register(t, "fido")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	const says = "the recorder was closed before the application"
	_, err := s.Save(t.Context(), Dogs.New("rex", Registered{Name: "Rex"}))
	wantError(t, err, annals.ErrClosed, "application school: save: "+says)
	_, err = s.dogs.Get(t.Context(), "fido")
	wantError(t, err, annals.ErrClosed, "application school: get: "+says)
	_, err = topics(s.Subscribe(t.Context()))
	wantError(t, err, annals.ErrClosed, says)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = s.dogs.Get(t.Context(), "fido"); !errors.Is(err, annals.ErrClosed) || strings.Contains(err.Error(), "recorder") {
		t.Errorf("the application is closed, too: %v", err)
	}
}

func TestTwoTypesWithOneTopicPanic(t *testing.T) {
	t.Parallel()
	s := open(t)
	defer func() {
		if text, _ := recover().(string); !strings.Contains(text, "Dog.Registered") {
			t.Errorf("panic %q", text)
		}
	}()
	application.NewRepository(s.Application, annals.Define("Dog", annals.On[TrickAdded]("Registered")))
	t.Error("no panic")
}
