package annals_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/annals-es/annals"
)

// B1.
func TestEventsHaveVersionIDAndTime(t *testing.T) {
	t.Parallel()
	before := time.Now().UTC().Truncate(time.Microsecond)
	dog := Dogs.New("fido", Registered{Name: "Fido"})
	annals.Trigger(dog, TrickAdded{Trick: "sit"})
	annals.Trigger(dog, TrickAdded{Trick: "roll"})
	after := time.Now().UTC()

	events := dog.PendingEvents()
	if got := versions(events); !slices.Equal(got, []int64{1, 2, 3}) {
		t.Errorf("versions %v, want 1, 2, 3", got)
	}
	ids := make(map[string]bool)
	for _, e := range events {
		ids[e.ID] = true
		if e.StreamID != "fido" {
			t.Errorf("stream id %q", e.StreamID)
		}
		if e.Time.Location() != time.UTC || e.Time.Before(before) || e.Time.After(after) {
			t.Errorf("time %v is not UTC between %v and %v", e.Time, before, after)
		}
		if e.Time.Nanosecond()%1000 != 0 {
			t.Errorf("time %v is not in whole microseconds", e.Time)
		}
	}
	if len(ids) != 3 || ids[""] {
		t.Errorf("event ids %v, want three", ids)
	}
	if got := topics(events); got != "Dog.Registered Dog.TrickAdded" {
		t.Errorf("topics %q", got)
	}
	if dog.ID() != "fido" || dog.Version() != 3 || !dog.CreatedAt().Equal(events[0].Time) || !dog.ModifiedAt().Equal(events[2].Time) {
		t.Errorf("id %q, version %d, created %v, modified %v", dog.ID(), dog.Version(), dog.CreatedAt(), dog.ModifiedAt())
	}
	if dog.Name != "Fido" || !slices.Equal(dog.Tricks, []string{"sit", "roll"}) {
		t.Errorf("the events were not applied: %+v", dog)
	}
}

// B2.
func TestPendingEventsAreCollectedOnce(t *testing.T) {
	t.Parallel()
	dog := Dogs.New("fido", Registered{Name: "Fido"})
	annals.Trigger(dog, TrickAdded{Trick: "sit"})
	if got := versions(dog.CollectEvents()); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("collected versions %v, want 1, 2", got)
	}
	if got := dog.CollectEvents(); len(got) != 0 {
		t.Errorf("a second collection has %d events, want none", len(got))
	}
	annals.Trigger(dog, TrickAdded{Trick: "roll"})
	if got := versions(dog.PendingEvents()); !slices.Equal(got, []int64{3}) {
		t.Errorf("pending versions after the collection %v, want 3", got)
	}
}

// B4.
func TestReplayGivesAnEqualAggregate(t *testing.T) {
	t.Parallel()
	dog := Dogs.New("fido", Registered{Name: "Fido"})
	annals.Trigger(dog, TrickAdded{Trick: "sit"}, annals.At(time.Date(1971, 3, 4, 5, 6, 7, 8999, time.FixedZone("", 3600))))
	replayed, err := Dogs.Replay("fido", sequence(dog.CollectEvents()...))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(dog, replayed) {
		t.Errorf("replayed %+v, want %+v", replayed, dog)
	}
	if want := time.Date(1971, 3, 4, 4, 6, 7, 8000, time.UTC); replayed.ModifiedAt() != want {
		t.Errorf("modified at %v, want %v", replayed.ModifiedAt(), want)
	}
}

// B5.
func TestReplayRefusesEventsThatAreOutOfSequence(t *testing.T) {
	t.Parallel()
	dog := Dogs.New("fido", Registered{Name: "Fido"})
	annals.Trigger(dog, TrickAdded{Trick: "sit"})
	annals.Trigger(dog, TrickAdded{Trick: "roll"})
	own := dog.CollectEvents()
	other := Dogs.New("rex", Registered{Name: "Rex"}).CollectEvents()
	for name, c := range map[string]struct {
		events []annals.Event
		says   []string
	}{
		"a gap":                      {[]annals.Event{own[0], own[2]}, []string{`version 2 of stream "fido"`, `version 3 of stream "fido": events are missing: if they were stored so, verify the log`}},
		"a start behind version 1":   {own[1:], []string{`version 1 of stream "fido"`, `version 2 of stream "fido"`}},
		"the same event twice":       {[]annals.Event{own[0], own[0]}, []string{`version 2 of stream "fido"`, `version 1 of stream "fido"`}},
		"an event of another stream": {other, []string{`version 1 of stream "fido"`, `version 1 of stream "rex": they are not those of one stream in order`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Dogs.Replay("fido", sequence(c.events...))
			wantError(t, err, annals.ErrSequence, c.says...)
		})
	}
}

func TestReplayOfNothingIsNotFound(t *testing.T) {
	t.Parallel()
	_, err := Dogs.Replay("fido", sequence())
	wantError(t, err, annals.ErrNotFound, "Dog", `"fido"`)
}

func TestReplayRefusesEventsOfAnotherType(t *testing.T) {
	t.Parallel()
	e := Dogs.New("fido", Registered{Name: "Fido"}).CollectEvents()[0]
	for name, change := range map[string]func(*annals.Event){
		"a topic that is not defined": func(e *annals.Event) { e.Topic = "Dog.Barked" },
		"data that is no event":       func(e *annals.Event) { e.Data = "Fido" },
		"no data":                     func(e *annals.Event) { e.Data = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := e
			change(&e)
			_, err := Dogs.Replay("fido", sequence(e))
			wantError(t, err, annals.ErrUnknownTopic, e.Topic, `"fido"`)
		})
	}
}

// B6.
func TestDiscardedAggregateIsNotFound(t *testing.T) {
	t.Parallel()
	dog := Dogs.New("fido", Registered{Name: "Fido"})
	annals.Trigger(dog, Retired{})
	if !dog.Discarded() {
		t.Error("the aggregate does not know that it is discarded")
	}
	wantPanic(t, func() { annals.Trigger(dog, TrickAdded{Trick: "sit"}) }, "discarded", `"fido"`, "TrickAdded")
	_, err := Dogs.Replay("fido", sequence(dog.CollectEvents()...))
	wantError(t, err, annals.ErrNotFound, "discarded", `"fido"`)
}

// B11.
func TestTimeAndMetadataCanBeGiven(t *testing.T) {
	t.Parallel()
	then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	m := annals.Metadata{CorrelationID: "story", CausationID: "cause", Headers: map[string]string{"user": "ann"}}
	dog := Dogs.New("fido", Registered{Name: "Fido"}, annals.At(then), annals.WithEventID("e1"), annals.WithMetadata(m))
	e := dog.PendingEvents()[0]
	if e.Time != then || e.ID != "e1" || !reflect.DeepEqual(e.Metadata, m) {
		t.Errorf("got %+v", e)
	}
	first := Dogs.New("rex", Registered{Name: "Rex"}, annals.At(time.Time{}))
	if !first.CreatedAt().IsZero() {
		t.Errorf("the first moment of the year 1 was taken for no time: %v", first.CreatedAt())
	}
	if dog.CreatedAt() != then {
		t.Errorf("created at %v, want %v", dog.CreatedAt(), then)
	}
}

// B11.
func TestClockIsInjected(t *testing.T) {
	t.Parallel()
	now := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	clocked := Dogs.WithClock(func() time.Time { return now })
	dog := clocked.New("fido", Registered{Name: "Fido"})
	now = now.Add(time.Hour)
	annals.Trigger(dog, TrickAdded{Trick: "sit"})
	if dog.CreatedAt() != now.Add(-time.Hour) || dog.ModifiedAt() != now {
		t.Errorf("created %v, modified %v", dog.CreatedAt(), dog.ModifiedAt())
	}
	loaded, err := clocked.Replay("fido", sequence(dog.CollectEvents()...))
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	annals.Trigger(loaded, TrickAdded{Trick: "roll"})
	if loaded.ModifiedAt() != now {
		t.Errorf("a loaded aggregate has another clock: modified %v", loaded.ModifiedAt())
	}
	if got := Dogs.New("rex", Registered{}).CreatedAt(); got.Equal(now) {
		t.Error("the original type got the clock, too")
	}
}

func TestPointerToAnEventIsTheEvent(t *testing.T) {
	t.Parallel()
	e := &TrickAdded{Trick: "sit"}
	dog := Dogs.New("fido", &Registered{Name: "Fido"})
	annals.Trigger(dog, e)
	e.Trick = "changed later"
	if got := dog.PendingEvents()[1].Data; got != (TrickAdded{Trick: "sit"}) {
		t.Errorf("data %#v, want the value that was triggered", got)
	}
}

func TestTriggerPanicsWhereTheProgramIsWrong(t *testing.T) {
	t.Parallel()
	dog := Dogs.New("fido", Registered{Name: "Fido"})
	wantPanic(t, func() { annals.Trigger(dog, Unlisted{}) }, "Unlisted", `Define("Dog")`, "annals.On")
	wantPanic(t, func() { annals.Trigger(&Dog{}, Registered{}) }, "New", "*annals_test.Dog")
	wantPanic(t, func() { Dogs.New("fido", Unlisted{}) }, "Unlisted")
	wantPanic(t, func() { annals.Trigger(dog, (*TrickAdded)(nil)) }, "TrickAdded")
	wantPanic(t, func() { annals.Trigger(dog, TrickAdded{Trick: "nested"}) }, "by an Apply", `"fido"`)
	wantPanic(t, func() { annals.Trigger(dog, TrickAdded{Trick: "panic"}) }, "of the user")
	annals.Trigger(dog, TrickAdded{Trick: "sit"})
	if got := versions(dog.CollectEvents()); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("versions after panics: %v, want 1, 2", got)
	}
	dog = Dogs.New("fido", Registered{Name: "Fido"})
	wantPanic(t, func() { annals.Trigger(dog, Unlisted{}) }, "Unlisted")
	if len(dog.PendingEvents()) != 1 || dog.Version() != 1 {
		t.Errorf("a panic left %d pending events and version %d", len(dog.PendingEvents()), dog.Version())
	}
}

// B7. Events of a type that the code does not have any more change nothing but the
// version, if the mapper lets them through.
func TestUnknownEventsChangeOnlyTheVersion(t *testing.T) {
	t.Parallel()
	dog := Dogs.New("fido", Registered{Name: "Fido"})
	annals.Trigger(dog, TrickAdded{Trick: "sit"})
	annals.Trigger(dog, TrickAdded{Trick: "roll"})
	events := dog.CollectEvents()
	for _, i := range []int{0, 1} {
		events[i].Topic, events[i].Data = "Dog.Deleted", annals.Unknown{}
	}
	got, err := Dogs.Replay("fido", sequence(events...))
	if err != nil {
		t.Fatal(err)
	}
	if got.Version() != 3 || got.Name != "" || !slices.Equal(got.Tricks, []string{"roll"}) {
		t.Errorf("version %d, name %q, tricks %q", got.Version(), got.Name, got.Tricks)
	}
	if got.CreatedAt() != events[0].Time || got.ModifiedAt() != events[2].Time {
		t.Errorf("created %v, modified %v", got.CreatedAt(), got.ModifiedAt())
	}
	annals.Trigger(got, TrickAdded{Trick: "beg"})
	if v := got.PendingEvents()[0].Version; v != 4 {
		t.Errorf("the next event has version %d, want 4", v)
	}
	events[1].Version = 7
	_, err = Dogs.Replay("fido", sequence(events...))
	wantError(t, err, annals.ErrSequence, "version 2", "version 7")
}

// B11.
func TestAnAggregateBeginsWithoutEvents(t *testing.T) {
	t.Parallel()
	dog := Dogs.Begin("fido")
	if dog.ID() != "fido" || dog.Version() != 0 || len(dog.PendingEvents()) != 0 || dog.Discarded() || !dog.CreatedAt().IsZero() {
		t.Errorf("it begins as %+v", dog)
	}
	annals.Trigger(dog, Registered{Name: "Fido"})
	if dog.Version() != 1 || dog.PendingEvents()[0].Version != 1 || dog.CreatedAt().IsZero() {
		t.Errorf("after its first event it is %+v", dog)
	}
}

// B4, B5.
func TestAdvanceGoesOnFromWhereTheAggregateIs(t *testing.T) {
	t.Parallel()
	dog := Dogs.New("fido", Registered{Name: "Fido"})
	annals.Trigger(dog, TrickAdded{Trick: "sit"})
	annals.Trigger(dog, Retired{})
	events := dog.CollectEvents()

	behind := Dogs.Begin("fido")
	if err := Dogs.Advance(behind, sequence()); err != nil || behind.Version() != 0 {
		t.Errorf("nothing took it to version %d (%v)", behind.Version(), err)
	}
	if err := Dogs.Advance(behind, sequence(events[:1]...)); err != nil || behind.Version() != 1 || behind.Name != "Fido" {
		t.Errorf("one event made %+v (%v)", behind, err)
	}
	err := Dogs.Advance(behind, sequence(events[1], events[1]))
	wantError(t, err, annals.ErrSequence, "version 3", "version 2")
	if behind.Version() != 2 || !slices.Equal(behind.Tricks, []string{"sit"}) {
		t.Errorf("after an error it is at version %d with %q", behind.Version(), behind.Tricks)
	}
	broken := errors.New("of the recorder")
	err = Dogs.Advance(behind, func(yield func(annals.Event, error) bool) { yield(annals.Event{}, broken) })
	wantError(t, err, broken)
	if err := Dogs.Advance(behind, sequence(events[2])); err != nil || !behind.Discarded() || !reflect.DeepEqual(behind, dog) {
		t.Errorf("its last event made %+v (%v), want %+v", behind, err, dog)
	}
	pending := Dogs.New("fido", Registered{Name: "Fido"})
	wantPanic(t, func() { _ = Dogs.Advance(pending, sequence()) }, "pending", `"fido"`)
}

// B11.
func TestIDsOfEventsAreInjected(t *testing.T) {
	t.Parallel()
	n := 0
	typ := Dogs.WithIDs(func() string { n++; return fmt.Sprint("id", n) })
	dog := typ.New("fido", Registered{Name: "Fido"})
	annals.Trigger(dog, TrickAdded{Trick: "sit"}, annals.WithEventID("mine"))
	annals.Trigger(dog, TrickAdded{Trick: "roll"})
	var ids []string
	for _, e := range dog.CollectEvents() {
		ids = append(ids, e.ID)
	}
	if !slices.Equal(ids, []string{"id1", "mine", "id2"}) {
		t.Errorf("the ids are %q", ids)
	}
	if e := Dogs.New("rex", Registered{}).PendingEvents()[0]; e.ID == "id3" || n != 2 {
		t.Errorf("the original type got the ids, too: %q", e.ID)
	}
}

// B1, B11.
func TestTheEventsOfATypeAreMadeWithoutAnAggregate(t *testing.T) {
	t.Parallel()
	then := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	typ := Dogs.WithClock(func() time.Time { return then }).WithIDs(func() string { return "the id" })
	want := annals.Event{
		ID: "the id", StreamID: "fido", Version: 7, Topic: "Dog.TrickAdded", Time: then.Truncate(time.Microsecond), Data: TrickAdded{Trick: "sit"},
	}
	for _, e := range []any{TrickAdded{Trick: "sit"}, &TrickAdded{Trick: "sit"}} {
		if got := typ.Event("fido", 7, e); !reflect.DeepEqual(got, want) {
			t.Errorf("of a %T: %+v, want %+v", e, got, want)
		}
	}
	if got := typ.Event("fido", 7, TrickAdded{}, annals.WithEventID("mine"), annals.At(then.Add(time.Hour))); got.ID != "mine" || got.Time.Equal(want.Time) {
		t.Errorf("with options: %+v", got)
	}
	for _, e := range []any{Unlisted{}, "text", nil, (*TrickAdded)(nil)} {
		wantPanic(t, func() { Dogs.Event("fido", 1, e) }, fmt.Sprintf("%T", e), `"Dog"`)
	}
}
