package application_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

// at is an event as some release stored it.
func at(streamID string, version int64, topic string, shape int, state string) persistence.StoredEvent {
	return persistence.StoredEvent{
		ID: annals.NewID(), StreamID: streamID, Version: version, Topic: topic, Shape: shape, Encoding: "1:json",
		State: []byte(state), Time: time.Unix(version, 0).UTC(), CorrelationID: "story of " + streamID,
	}
}

// stored returns a recorder with events that other releases stored.
func stored(t *testing.T, events ...persistence.StoredEvent) *memory.Recorder {
	t.Helper()
	r := memory.New()
	if _, err := r.Record(t.Context(), persistence.Batch{Events: events}); err != nil {
		t.Fatal(err)
	}
	return r
}

// all returns what a sequence yields, and its error.
func all[E any](seq iter.Seq2[E, error]) (got []E, err error) {
	for e, err := range seq {
		if err != nil {
			return got, err
		}
		got = append(got, e)
	}
	return got, nil
}

func closeApplication(t *testing.T, app *application.Application) {
	t.Helper()
	if err := app.Close(); err != nil {
		t.Error(err)
	}
}

// puppy is a dog with an event that this code does not know in the middle.
func puppy(t *testing.T) *memory.Recorder {
	t.Helper()
	return stored(t,
		at("fido", 1, "Dog.Registered", 1, `{"Name":"Fido"}`),
		at("fido", 2, "Dog.Renamed", 1, `{"Name":"Rex"}`),
		at("fido", 3, "Dog.TrickLearned", 1, `{"Trick":"sit"}`))
}

var unknownPolicies = map[string]persistence.UnknownPolicy{
	"skip": persistence.SkipUnknown, "keep": persistence.KeepUnknown,
}

// B7.
func TestAnEventOfAnUnknownTopicIsAnErrorWhereverItIsRead(t *testing.T) {
	t.Parallel()
	s := open(t, application.WithRecorder(puppy(t)), application.WithCache(1), application.WithSnapshots(Dogs, 0))
	ctx := t.Context()
	_, get := s.dogs.Get(ctx, "fido")
	_, getVersion := s.dogs.GetVersion(ctx, "fido", 3)
	_, getAt := s.dogs.GetAt(ctx, "fido", time.Unix(9, 0))
	_, events := all(s.dogs.Events(ctx, "fido"))
	_, notifications := all(s.Notifications(ctx))
	_, subscribe := all(s.Subscribe(ctx, application.UpTo(3)))
	_, story := application.Story(ctx, "story of fido", s.Application)
	update := s.dogs.Update(ctx, "fido", func(*Dog) error { t.Error("it decides on half of the events"); return nil })
	for what, err := range map[string]error{
		"Get": get, "GetVersion": getVersion, "GetAt": getAt, "Events": events, "Notifications": notifications, "Subscribe": subscribe,
		"Story": story, "Update": update, "Snapshot": s.dogs.Snapshot(ctx, "fido"),
	} {
		if !errors.Is(err, annals.ErrUnknownTopic) || !strings.Contains(err.Error(), "version 2") || !strings.Contains(err.Error(), "Dog.Renamed") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if d, err := s.dogs.GetVersion(ctx, "fido", 1); err != nil || d.Name != "Fido" {
		t.Errorf("the version before: %+v, %v", d, err)
	}
	if got, err := topics(s.Notifications(ctx, application.Topics("Dog.TrickAdded"))); err != nil || len(got) != 1 {
		t.Errorf("what has nothing to do with it: %q, %v", got, err)
	}
}

// B7.
func TestAnAggregateGoesOnBehindAnEventOfAnUnknownTopic(t *testing.T) {
	t.Parallel()
	for name, policy := range unknownPolicies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, application.WithRecorder(puppy(t)), application.WithUnknownEvents(policy), application.WithCache(1))
			for range 2 { // the second comes out of the cache
				if err := s.dogs.Update(t.Context(), "fido", func(d *Dog) error { return d.AddTrick(fmt.Sprint(d.Version())) }); err != nil {
					t.Fatal(err)
				}
			}
			d, err := s.dogs.Get(t.Context(), "fido")
			if err != nil || d.Name != "Fido" || d.Version() != 5 || !slices.Equal(d.Tricks, []string{"sit", "3", "4"}) {
				t.Errorf("%+v, %v", d, err)
			}
			if d, err := s.dogs.GetVersion(t.Context(), "fido", 2); err != nil || d.Version() != 2 || !d.ModifiedAt().Equal(time.Unix(2, 0)) {
				t.Errorf("the version of the unknown event: %+v, %v", d, err)
			}
		})
	}
}

// B7.
func TestAnAggregateOfUnknownEventsAloneIsEmptyAndThere(t *testing.T) {
	t.Parallel()
	r := stored(t, at("fido", 1, "Dog.Born", 1, `{}`), at("fido", 2, "Dog.Renamed", 1, `{}`))
	s := open(t, application.WithRecorder(r), application.WithUnknownEvents(persistence.SkipUnknown))
	d, err := s.dogs.Get(t.Context(), "fido")
	if err != nil || d.Version() != 2 || d.Name != "" || !d.CreatedAt().Equal(time.Unix(1, 0)) {
		t.Errorf("%+v, %v", d, err)
	}
	if err := s.dogs.Update(t.Context(), "fido", func(d *Dog) error { return d.AddTrick("sit") }); err != nil {
		t.Errorf("it goes on: %v", err)
	}
}

// B7.
func TestReadersGetEventsOfUnknownTopicsAsThePolicySays(t *testing.T) {
	t.Parallel()
	kept := annals.Unknown{Shape: 1, Transcoder: "json", State: []byte(`{"Name":"Rex"}`)}
	want := map[string][]any{
		"skip": {Registered{"Fido"}, TrickAdded{"sit"}},
		"keep": {Registered{"Fido"}, kept, TrickAdded{"sit"}},
	}
	for name, policy := range unknownPolicies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, application.WithRecorder(puppy(t)), application.WithUnknownEvents(policy))
			check := func(what string, err error, got ...annals.Event) {
				t.Helper()
				data := make([]any, len(got))
				for i, e := range got {
					data[i] = e.Data
				}
				if d := cmp.Diff(want[name], data); d != "" || err != nil {
					t.Errorf("%s: %v (-want +got):\n%s", what, err, d)
				}
			}
			events, err := all(s.dogs.Events(t.Context(), "fido"))
			check("Events", err, events...)
			for what, seq := range map[string]iter.Seq2[application.Notification, error]{
				"Notifications": s.Notifications(t.Context()), "Subscribe": s.Subscribe(t.Context(), application.UpTo(3)),
				"by correlation id": s.Notifications(t.Context(), application.Correlation("story of fido")),
			} {
				notifications, err := all(seq)
				notified := make([]annals.Event, len(notifications))
				for i, n := range notifications {
					notified[i] = n.Event
				}
				check(what, err, notified...)
			}
			story, err := application.Story(t.Context(), "story of fido", s.Application)
			events = nil
			for _, e := range story {
				events = append(events, e.Event)
			}
			check("Story", err, events...)
			got, err := topics(s.Notifications(t.Context(), application.Topics("Dog.Renamed")))
			if err != nil || len(got) != len(want[name])-2 {
				t.Errorf("asked for by its topic: %q, %v", got, err)
			}
		})
	}
}

// A reader of pages takes a short one for the last.
//
// B7, B18.
func TestALimitDoesNotCountWhatIsSkipped(t *testing.T) {
	t.Parallel()
	var events []persistence.StoredEvent
	for v := int64(1); v <= 60; v++ {
		topic := "Dog.Gone"
		if v%20 == 0 {
			topic = "Dog.TrickAdded"
		}
		events = append(events, at("fido", v, topic, 1, `{"Trick":"sit"}`))
	}
	s := open(t, application.WithRecorder(stored(t, events...)), application.WithUnknownEvents(persistence.SkipUnknown))
	for what, read := range map[string]func(context.Context, ...application.ReadOption) iter.Seq2[application.Notification, error]{
		"Notifications": s.Notifications, "Subscribe": s.Subscribe,
	} {
		got, err := all(read(t.Context(), application.UpTo(60), application.Limit(2)))
		if err != nil || len(got) != 2 || got[1].Position != 40 {
			t.Errorf("%s: %d notifications, %v", what, len(got), err)
		}
		got, err = all(read(t.Context(), application.After(20), application.UpTo(60), application.Limit(1)))
		if err != nil || len(got) != 1 || got[0].Position != 40 {
			t.Errorf("%s: the page behind: %d notifications, %v", what, len(got), err)
		}
	}
	if got, err := all(s.Notifications(t.Context(), application.Limit(9))); err != nil || len(got) != 3 {
		t.Errorf("a limit that is not reached: %d notifications, %v", len(got), err)
	}
}

// Created is an entry of a log.
type Created struct{ Page string }

var Pages = annals.DefineLog[Created]("Pages", "Created", annals.FormerName("Made"))

// B7, B10.
func TestALogGoesOnBehindEntriesOfUnknownTopics(t *testing.T) {
	t.Parallel()
	old := []persistence.StoredEvent{
		at("pages", 1, "Pages.Imported", 1, `{}`), at("pages", 2, "Pages.Made", 1, `{"Page":"Home"}`),
		at("pages", 3, "Pages.Created", 1, `{"Page":"About"}`), at("pages", 4, "Pages.Imported", 1, `{}`),
	}
	failing := application.NewLog(open(t, application.WithRecorder(stored(t, old...))).Application, Pages, "pages")
	_, err := failing.Append(t.Context(), Created{"News"})
	wantError(t, err, annals.ErrUnknownTopic, "Pages.Imported", "version 4")
	_, err = failing.First(t.Context())
	wantError(t, err, annals.ErrUnknownTopic, "version 1")
	for name, policy := range unknownPolicies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, application.WithRecorder(stored(t, old...)), application.WithUnknownEvents(policy))
			pages := application.NewLog(s.Application, Pages, "pages")
			if last, err := pages.Last(t.Context()); err != nil || last.Data.Page != "About" || last.Event.Version != 3 {
				t.Errorf("the last: %+v, %v", last, err)
			}
			if first, err := pages.First(t.Context()); err != nil || first.Data.Page != "Home" || first.Event.Topic != "Pages.Created" {
				t.Errorf("the first: %+v, %v", first, err)
			}
			if _, err := pages.Append(t.Context(), Created{"News"}); err != nil {
				t.Fatal(err)
			}
			for what, c := range map[string]struct {
				r    application.Range
				want []string
			}{
				"all":          {application.Range{}, []string{"2 Home", "3 About", "5 News"}},
				"descending":   {application.Range{Descending: true}, []string{"5 News", "3 About", "2 Home"}},
				"two":          {application.Range{Limit: 2}, []string{"2 Home", "3 About"}},
				"the last two": {application.Range{Limit: 2, Descending: true}, []string{"5 News", "3 About"}},
				"a range":      {application.Range{After: 2, UpTo: 4}, []string{"3 About"}},
			} {
				entries, err := all(pages.Entries(t.Context(), c.r))
				var got []string
				for _, e := range entries {
					got = append(got, fmt.Sprint(e.Event.Version, " ", e.Data.Page))
				}
				if d := cmp.Diff(c.want, got); d != "" || err != nil {
					t.Errorf("%s: %v (-want +got):\n%s", what, err, d)
				}
			}
			// What is known, and no entry, is no log.
			s.register(t, "fido")
			_, err := application.NewLog(s.Application, Pages, "fido").Append(t.Context(), Created{"News"})
			wantError(t, err, annals.ErrUnknownTopic, "Dog.Registered", "DefineLog")
		})
	}
}

// Score is an immutable state.
type (
	Score  struct{ Points int }
	Scored struct{ Points int }
)

var Scores = annals.DefineState("Score", Score{},
	annals.Evolve("Scored", func(s Score, e Scored) Score { s.Points += e.Points; return s }))

// B7, B9.
func TestADeciderGoesOnBehindAnEventOfAnUnknownTopic(t *testing.T) {
	t.Parallel()
	old := []persistence.StoredEvent{at("s", 1, "Score.Scored", 1, `{"Points":1}`), at("s", 2, "Score.Gone", 1, `{}`)}
	decide := func(points int, _ Score) ([]Scored, error) { return []Scored{{points}}, nil }
	failing := application.NewDecider(open(t, application.WithRecorder(stored(t, old...))).Application, Scores, decide)
	_, err := failing.Handle(t.Context(), "s", 5)
	wantError(t, err, annals.ErrUnknownTopic, "Score.Gone")
	for name, policy := range unknownPolicies {
		app := open(t, application.WithRecorder(stored(t, old...)), application.WithUnknownEvents(policy), application.WithCache(1)).Application
		scores := application.NewDecider(app, Scores, decide)
		for _, want := range []int{6, 11} {
			if got, err := scores.Handle(t.Context(), "s", 5); err != nil || got.Points != want {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	}
}

// B7, B34.
func TestACachedAggregateMeetsAnEventOfAnUnknownTopic(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]persistence.UnknownPolicy{"fail": persistence.FailUnknown, "skip": persistence.SkipUnknown} {
		r := stored(t, at("fido", 1, "Dog.Registered", 1, `{"Name":"Fido"}`))
		s := open(t, application.WithRecorder(r), application.WithCache(1), application.WithUnknownEvents(policy))
		if _, err := s.dogs.Get(t.Context(), "fido"); err != nil {
			t.Fatal(err)
		}
		news := []persistence.StoredEvent{at("fido", 2, "Dog.Renamed", 1, `{}`), at("fido", 3, "Dog.TrickAdded", 1, `{"Trick":"sit"}`)}
		if _, err := r.Record(t.Context(), persistence.Batch{Events: news}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			d, err := s.dogs.Get(t.Context(), "fido")
			switch {
			case policy == persistence.FailUnknown:
				wantError(t, err, annals.ErrUnknownTopic, "version 2")
			case err != nil || d.Version() != 3 || len(d.Tricks) != 1:
				t.Errorf("%s: %+v, %v", name, d, err)
			}
		}
	}
}

type Renamed struct{ Name string }

func (e Renamed) Apply(d *Dog) { d.Name = e.Name }

// newDogs is a release that knows one event more, of the same state.
var newDogs = annals.Define("Dog", annals.On[Registered]("Registered"), annals.On[TrickAdded]("TrickAdded"), annals.On[Renamed]("Renamed"))

// A snapshot that older code takes behind an event that it skips would hide the event
// from the code that knows it.
//
// B7, B33.
func TestOlderCodeTakesNoSnapshotBehindANewerEvent(t *testing.T) {
	t.Parallel()
	r := memory.New()
	newer, err := application.Open(t.Context(), "school", application.WithRecorder(r), application.WithSnapshots(newDogs, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeApplication(t, newer) })
	dogs := application.NewRepository(newer, newDogs)
	fido := newDogs.New("fido", Registered{Name: "Fido"})
	annals.Trigger(fido, Renamed{"Rex"})
	if _, err := newer.Save(t.Context(), fido); err != nil {
		t.Fatal(err)
	}

	told := make(chan error, 10)
	older := open(t, application.WithRecorder(r), application.WithUnknownEvents(persistence.SkipUnknown), application.WithSnapshots(Dogs, 1),
		application.WithSnapshotErrors(func(e *application.SnapshotError) { told <- e }))
	if err := older.dogs.Update(t.Context(), "fido", func(d *Dog) error { return d.AddTrick("sit") }); err != nil {
		t.Fatal(err)
	}
	wantError(t, older.dogs.Snapshot(t.Context(), "fido"), annals.ErrUnsupported, "version 2")
	if err := older.Close(); err != nil { // waits for the snapshot that the save asked for
		t.Fatal(err)
	}
	select {
	case err := <-told:
		wantError(t, err, annals.ErrUnsupported, "take", `"fido"`, "version 2")
	default:
		t.Error("the hook was not told")
	}

	if d, err := dogs.Get(t.Context(), "fido"); err != nil || d.Name != "Rex" || d.Version() != 3 {
		t.Errorf("the code that knows the event has %+v, %v", d, err)
	}
}

// B8.
func TestAnEventOfANewerShapeIsAnErrorWhateverThePolicy(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]persistence.UnknownPolicy{
		"fail": persistence.FailUnknown, "skip": persistence.SkipUnknown, "keep": persistence.KeepUnknown,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := stored(t, at("fido", 1, "Dog.Registered", 1, `{"Name":"Fido"}`), at("fido", 2, "Dog.TrickAdded", 2, `{}`),
				at("fido", 3, "Dog.TrickAdded", 1, `{"Trick":"sit"}`), at("pages", 1, "Pages.Created", 2, `{}`))
			s := open(t, application.WithRecorder(r), application.WithUnknownEvents(policy), application.WithCache(1))
			pages := application.NewLog(s.Application, Pages, "pages")
			ctx := t.Context()
			_, get := s.dogs.Get(ctx, "fido")
			_, events := all(s.dogs.Events(ctx, "fido"))
			_, subscribe := all(s.Subscribe(ctx, application.UpTo(4)))
			_, story := application.Story(ctx, "story of fido", s.Application)
			_, entries := all(pages.Entries(ctx, application.Range{}))
			_, appended := pages.Append(ctx, Created{})
			for what, err := range map[string]error{
				"Get": get, "Events": events, "Subscribe": subscribe, "Story": story, "Entries": entries, "Append": appended,
			} {
				if !errors.Is(err, annals.ErrUndecodable) || !errors.Is(err, annals.ErrUnsupported) || !strings.Contains(err.Error(), "newer code") {
					t.Errorf("%s: %v", what, err)
				}
			}
			var failed application.Notification
			for n, err := range s.Notifications(ctx) {
				if err != nil {
					failed = n
				}
			}
			got, err := topics(s.Notifications(ctx, application.After(failed.Position), application.UpTo(3)))
			if failed.Position != 2 || err != nil || !slices.Equal(got, []string{"Dog.TrickAdded"}) {
				t.Errorf("behind position %d: %q, %v", failed.Position, got, err)
			}
		})
	}
}

// The shapes of a trick, of which the first cannot always be upcast.
type trickV1 struct{ Tricks []string }

var upcastDogs = annals.Define("Dog",
	annals.On[Registered]("Registered"),
	annals.On[TrickAdded]("TrickAdded", annals.Upcast(func(v1 trickV1) TrickAdded { return TrickAdded{v1.Tricks[0]} })),
	annals.SnapshotAs(func(d *Dog) Registered { return Registered{d.Name} }, func(d *Dog, s Registered) { d.Name = s.Name },
		annals.Upcast(func(v1 trickV1) Registered { return Registered{v1.Tricks[0]} })))

// B8, B13, B33.
func TestAnUpcastThatPanicsIsAnErrorOfItsEventAlone(t *testing.T) {
	t.Parallel()
	r := stored(t, at("fido", 1, "Dog.Registered", 1, `{"Name":"Fido"}`), at("fido", 2, "Dog.TrickAdded", 1, `{"Tricks":[]}`),
		at("rex", 1, "Dog.Registered", 1, `{"Name":"Rex"}`), at("rex", 2, "Dog.TrickAdded", 1, `{"Tricks":["sit"]}`))
	app, err := application.Open(t.Context(), "school", application.WithRecorder(r))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeApplication(t, app) })
	dogs := application.NewRepository(app, upcastDogs)
	_, err = dogs.Get(t.Context(), "fido")
	wantError(t, err, annals.ErrUndecodable, "school", "Dog.TrickAdded", `"fido"`, "version 2", "upcast from shape 1", "version_test.go:")
	if d, err := dogs.Get(t.Context(), "rex"); err != nil || !slices.Equal(d.Tricks, []string{"sit"}) {
		t.Errorf("another aggregate: %+v, %v", d, err)
	}
	var got []string
	after := int64(0)
	for after < 4 { // a reader that notes what it cannot read, and goes on
		for n, err := range app.Subscribe(t.Context(), application.After(after), application.UpTo(4)) {
			if after = n.Position; err != nil {
				wantError(t, err, annals.ErrUndecodable, "position 2")
			}
			got = append(got, fmt.Sprint(n.Position, err == nil))
		}
	}
	if want := []string{"1 true", "2 false", "3 true", "4 true"}; !slices.Equal(got, want) {
		t.Errorf("the subscription yields %q, want %q", got, want)
	}
}

// B8, B33.
func TestASnapshotWhoseUpcastPanicsIsNotUsed(t *testing.T) {
	t.Parallel()
	r := stored(t, at("fido", 1, "Dog.Registered", 1, `{"Name":"Fido"}`))
	snapshot := persistence.StoredSnapshot{
		StreamID: "fido", Version: 1, Topic: "Dog", CreatedAt: time.Unix(1, 0).UTC(), ModifiedAt: time.Unix(1, 0).UTC(),
		Shape: 1, Mark: upcastDogs.SnapshotType().Mark(1), Encoding: "1:json", State: []byte(`{"Tricks":["of the snapshot"]}`),
	}
	var told []error
	app, err := application.Open(t.Context(), "school", application.WithRecorder(r), application.WithSnapshots(upcastDogs, 0),
		application.WithSnapshotErrors(func(e *application.SnapshotError) { told = append(told, e) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeApplication(t, app) })
	dogs := application.NewRepository(app, upcastDogs)
	for _, c := range []struct {
		state, want string
		told        int
	}{{`{"Tricks":["of the snapshot"]}`, "of the snapshot", 0}, {`{"Tricks":[]}`, "Fido", 1}} {
		snapshot.State = []byte(c.state)
		if err := r.RecordSnapshot(t.Context(), snapshot); err != nil {
			t.Fatal(err)
		}
		d, err := dogs.Get(t.Context(), "fido")
		if err != nil || d.Name != c.want || len(told) != c.told {
			t.Errorf("the snapshot %s gives %+v, %v; told %v", c.state, d, err, told)
		}
	}
	wantError(t, told[0], annals.ErrUndecodable, "use", `"fido"`, "upcast from shape 1")
}

// B7.
func TestTopicsOfFormerNamesAreFollowed(t *testing.T) {
	t.Parallel()
	s := open(t, application.WithRecorder(puppy(t)))
	s.register(t, "rex", "roll") // a trick under the present name, at position 5
	for _, topic := range []string{"Dog.TrickAdded", "Dog.TrickLearned"} {
		got, err := all(s.Subscribe(t.Context(), application.Topics(topic), application.UpTo(5)))
		if err != nil || len(got) != 2 || got[0].Position != 3 || got[1].Position != 5 || got[0].Event.Topic != "Dog.TrickAdded" {
			t.Errorf("%s: %+v, %v", topic, got, err)
		}
	}
}
