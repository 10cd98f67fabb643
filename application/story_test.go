package application_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
)

// told is an event of a story, of which the tests of the order know so much.
type told struct {
	id, cause string
	minute    int
}

// storyApps opens applications with the events of a story in their logs, and with
// one of another story in each.
func storyApps(t *testing.T, logs [][]told) (apps []*application.Application) {
	t.Helper()
	for i, log := range logs {
		app, err := application.Open(t.Context(), fmt.Sprintf("app%d", i), application.WithTypes(Dogs))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := app.Close(); err != nil {
				t.Error(err)
			}
		})
		dogs := []application.Source{Dogs.New("other", Registered{}, annals.WithMetadata(annals.Metadata{CorrelationID: "another"}))}
		for _, e := range log {
			dogs = append(dogs, Dogs.New(annals.NewID(), Registered{}, annals.WithEventID(e.id),
				annals.At(time.Date(2024, 2, 29, 12, e.minute, 0, 0, time.UTC)),
				annals.WithMetadata(annals.Metadata{CorrelationID: "story", CausationID: e.cause})))
		}
		if _, err := app.Save(t.Context(), dogs...); err != nil {
			t.Fatal(err)
		}
		apps = append(apps, app)
	}
	return apps
}

// B37.
func TestAStoryIsToldInTheOrderOfCausesAndTimes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		logs [][]told
		want string // the number of the application and the id of each event
	}{
		"no applications":                  {nil, ""},
		"no events":                        {[][]told{{}, {}}, ""},
		"one application, in log order":    {[][]told{{{"a", "", 2}, {"b", "", 1}}}, "0a 0b"},
		"by times":                         {[][]told{{{"a", "", 2}, {"b", "", 4}}, {{"c", "", 1}, {"d", "", 3}}}, "1c 0a 1d 0b"},
		"of one time, as they are given":   {[][]told{{{"a", "", 1}}, {{"b", "", 1}}}, "0a 1b"},
		"a cause goes before its effect":   {[][]told{{{"effect", "cause", 1}}, {{"first", "", 2}, {"cause", "", 3}}}, "1first 1cause 0effect"},
		"an early effect waits, too":       {[][]told{{{"first", "", 2}, {"cause", "", 3}}, {{"effect", "cause", 1}}}, "0first 0cause 1effect"},
		"through three applications":       {[][]told{{{"c", "b", 1}}, {{"b", "a", 2}}, {{"a", "", 3}}}, "2a 1b 0c"},
		"a cause in the same application":  {[][]told{{{"a", "", 2}, {"b", "a", 1}}}, "0a 0b"},
		"a cause that is not of the story": {[][]told{{{"a", "command", 2}}, {{"b", "command", 1}}}, "1b 0a"},
		"causes in a circle":               {[][]told{{{"a", "b", 2}}, {{"b", "a", 1}, {"c", "", 3}}}, "1b 0a 1c"},
		"an event that causes itself":      {[][]told{{{"a", "a", 1}}, {{"b", "", 2}}}, "1b 0a"},
		"one id in two applications":       {[][]told{{{"a", "", 1}, {"b", "a", 3}}, {{"a", "", 2}, {"c", "a", 4}}}, "0a 1a 0b 1c"},
		"one id, and nothing after it":     {[][]told{{{"a", "", 2}}, {{"a", "", 1}}}, "1a 0a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story, err := application.Story(t.Context(), "story", storyApps(t, c.logs)...)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range story {
				got = append(got, strings.TrimPrefix(e.Application, "app")+e.Event.ID)
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("the story differs (-want +got):\n%s", diff)
			}
		})
	}
}

// B37, B52. An empty id would select all events of all applications.
func TestAStoryNeedsAnID(t *testing.T) {
	t.Parallel()
	apps := storyApps(t, [][]told{{{"a", "", 1}}})
	story, err := application.Story(t.Context(), "", apps...)
	wantError(t, err, annals.ErrInvalidID, "story", "correlation id", "is empty")
	if story != nil {
		t.Errorf("there is a story of %d events", len(story))
	}
	if err := apps[0].Close(); err != nil {
		t.Error(err)
	}
	_, err = application.Story(t.Context(), "story", apps...)
	wantError(t, err, annals.ErrClosed, "app0")
}

type renamed struct{ Name string }

// B37.
func TestWhateverSavesTakesWhatTheContextSays(t *testing.T) {
	t.Parallel()
	names := annals.DefineState("Name", "", annals.Evolve("Given", func(_ string, e renamed) string { return e.Name }))
	entries := annals.DefineLog[renamed]("Names", "Added")
	edge := annals.Metadata{CorrelationID: "story", CausationID: "command", Headers: map[string]string{"user": "u1"}}
	own := annals.Metadata{CausationID: "own", Headers: map[string]string{"tenant": "t1"}}
	both := annals.Metadata{
		CorrelationID: "story", CausationID: "own", Headers: map[string]string{"user": "u1", "tenant": "t1"},
	}
	for name, c := range map[string]struct {
		save func(ctx context.Context, s *school) error
		want annals.Metadata
	}{
		"Save": {func(ctx context.Context, s *school) error {
			_, err := s.Save(ctx, Dogs.New("rex", Registered{}))
			return err
		}, edge},
		"Save, of an event with metadata of its own": {func(ctx context.Context, s *school) error {
			_, err := s.Save(ctx, Dogs.New("rex", Registered{}, annals.WithMetadata(own)))
			return err
		}, both},
		"Save, after another one that failed": {func(ctx context.Context, s *school) error {
			rex := Dogs.New("rex", Registered{})
			wrong := annals.ContextWithMetadata(ctx, annals.Metadata{CausationID: "wrong", Headers: map[string]string{"wrong": "1"}})
			_, err := s.Save(wrong, rex, Dogs.New("fido", Registered{}))
			wantError(t, err, annals.ErrVersionConflict)
			_, err = s.Save(ctx, rex)
			return err
		}, edge},
		"Repository.Update": {func(ctx context.Context, s *school) error {
			return s.dogs.Update(ctx, "fido", func(d *Dog) error { return d.AddTrick("sit") })
		}, edge},
		"Repository.Update, of an event with metadata of its own": {func(ctx context.Context, s *school) error {
			return s.dogs.Update(ctx, "fido", func(d *Dog) error {
				annals.Trigger(d, TrickAdded{Trick: "sit"}, annals.WithMetadata(own))
				return nil
			})
		}, both},
		"Decider.Handle": {func(ctx context.Context, s *school) error {
			decider := application.NewDecider(s.Application, names, func(name, _ string) ([]renamed, error) { return []renamed{{name}}, nil })
			_, err := decider.Handle(ctx, "n1", "Rex")
			return err
		}, edge},
		"Log.Append": {func(ctx context.Context, s *school) error {
			_, err := application.NewLog(s.Application, entries, "all").Append(ctx, renamed{"Rex"})
			return err
		}, edge},
		"Log.Append, of an event with metadata of its own": {func(ctx context.Context, s *school) error {
			_, err := application.NewLog(s.Application, entries, "all").Append(ctx, renamed{"Rex"}, annals.WithMetadata(own))
			return err
		}, both},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			s.register(t, "fido")
			if err := c.save(annals.ContextWithMetadata(t.Context(), edge), s); err != nil {
				t.Fatal(err)
			}
			var got []annals.Metadata
			for n, err := range s.Notifications(t.Context(), application.After(1)) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, n.Event.Metadata)
			}
			if diff := cmp.Diff([]annals.Metadata{c.want}, got); diff != "" {
				t.Errorf("the metadata differ (-want +got):\n%s", diff)
			}
		})
	}
}
