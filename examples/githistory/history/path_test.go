package history_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/examples/githistory/history"
)

var (
	nothing = history.Content{}
	one     = history.Content{Mode: "100644", Blob: "1111"}
	two     = history.Content{Mode: "100644", Blob: "2222"}
	link    = history.Content{Mode: "120000", Blob: "1111"}
)

func commit(hash history.Hash) *history.Commit {
	return &history.Commit{
		Hash: hash, Author: history.Signature{Name: "Ada", Email: "ada@example.org"},
		Time: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func touch(hash history.Hash, content history.Content) history.Touch {
	return history.Touch{Path: "p", Content: content, Commit: hash, Author: "ada@example.org"}
}

func TestChangeBecomesEvent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		there  history.Content
		change history.Change
		want   any // the event's data; nil if there is none
	}{
		"something is put where nothing was": {
			nothing, history.Change{New: two}, history.Added{Touch: touch("c", two)},
		},
		"something is moved where nothing was": {
			nothing, history.Change{New: two, From: "q"}, history.Added{Touch: touch("c", two), From: "q"},
		},
		"other content": {
			one, history.Change{Old: one, New: two}, history.Modified{Touch: touch("c", two)},
		},
		"another type": {
			one, history.Change{Old: one, New: link}, history.Modified{Touch: touch("c", link)},
		},
		"something is moved where something was": {
			one, history.Change{Old: one, New: two, From: "q"}, history.Modified{Touch: touch("c", two), From: "q"},
		},
		"moved away": {
			one, history.Change{Old: one, To: "q"}, history.Renamed{Touch: touch("c", one), To: "q"},
		},
		"deleted": {
			one, history.Change{Old: one}, history.Deleted{Touch: touch("c", one)},
		},
		"the same again": {
			one, history.Change{Old: one, New: one, From: "q"}, nil,
		},
		"still nothing": {
			nothing, history.Change{}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := tracked(t, c.there)
			c.change.Path = "p"
			version := path.Version()
			if err := path.Record(commit("c"), c.change); err != nil {
				t.Fatal(err)
			}
			if path.Content != c.change.New {
				t.Errorf("then %v is there; want %v", path.Content, c.change.New)
			}
			events := path.CollectEvents()
			if c.want == nil {
				if len(events) != 0 {
					t.Errorf("got %v; want no event", events)
				}
				return
			}
			if len(events) != 1 || !cmp.Equal(events[0].Data, c.want) {
				t.Fatalf("got %+v; want one %+v", events, c.want)
			}
			e := events[0]
			if e.Version != version+1 || e.StreamID != history.PathID("p") || !e.Time.Equal(commit("").Time) {
				t.Errorf("got the envelope %+v", e)
			}
			if path.Commit != "c" {
				t.Errorf("the last commit is %q; want c", path.Commit)
			}
		})
	}
}

// tracked returns a path that has lived, without pending events.
func tracked(t *testing.T, there history.Content) *history.TrackedPath {
	t.Helper()
	path, err := history.Track(commit("a"), history.Change{Path: "p", New: one})
	if err != nil {
		t.Fatal(err)
	}
	if there != one {
		if err := path.Record(commit("b"), history.Change{Path: "p", Old: one, New: there}); err != nil {
			t.Fatal(err)
		}
	}
	path.CollectEvents()
	return path
}

func TestChangeThatDoesNotFollow(t *testing.T) {
	t.Parallel()
	var outOfStep *history.OutOfStepError
	err := tracked(t, one).Record(commit("c"), history.Change{Path: "p", Old: two, New: link})
	if !errors.As(err, &outOfStep) || outOfStep.Recorded != one || outOfStep.Before != two {
		t.Errorf("other content was there: got %v", err)
	}
	if !strings.Contains(err.Error(), `commit c starts from 100644 2222 at path "p", and the record has 100644 1111`) {
		t.Errorf("the error is not clear: %v", err)
	}
	if _, err := history.Track(commit("c"), history.Change{Path: "p", Old: one, New: two}); !errors.As(err, &outOfStep) {
		t.Errorf("nothing was there: got %v", err)
	}
	if _, err := history.Track(commit("c"), history.Change{Path: "p"}); !errors.As(err, &outOfStep) {
		t.Errorf("nothing happened: got %v", err)
	}
}

func TestIDsDependOnEachByte(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, name := range []string{"", "a", "A", "a/", "/a", "caf\u00e9", "cafe\u0301", "\xff", `\xff`, "\xfe"} {
		for kind, id := range map[string]string{
			"path " + name:   history.PathID(history.Path(name)),
			"author " + name: history.AuthorID(history.Text(name)),
		} {
			if other, ok := seen[id]; ok {
				t.Errorf("%q and %q have one id", other, kind)
			}
			seen[id] = kind
		}
	}
}

func TestAuthorCountsCommits(t *testing.T) {
	t.Parallel()
	first := commit("a")
	author := history.FirstCommit(first, 3)
	second := commit("b")
	second.Author.Name = "Ada L."
	author.Commit(second, 0)
	if author.Commits != 2 || author.Name != "Ada L." || author.Email != "ada@example.org" {
		t.Errorf("got %+v", author)
	}
	var got []any
	for _, e := range author.CollectEvents() {
		got = append(got, e.Data)
		if !e.Time.Equal(first.Time) || e.StreamID != history.AuthorID("ada@example.org") {
			t.Errorf("got the envelope %+v", e)
		}
	}
	want := []any{
		history.Committed{Commit: "a", Email: "ada@example.org", Name: "Ada", Paths: 3},
		history.Committed{Commit: "b", Email: "ada@example.org", Name: "Ada L.", Paths: 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRecordCountsCommits(t *testing.T) {
	t.Parallel()
	record := history.Begin("b", 2)
	record.Extend("e", 3)
	if record.ID() != history.RecordID || record.Commit != "e" || record.Commits != 5 || record.Version() != 2 {
		t.Errorf("got %+v", record)
	}
}

// TestStoredNames holds the names under which events are stored: they may not
// change any more.
func TestStoredNames(t *testing.T) {
	t.Parallel()
	var got []string
	for _, def := range []annals.Definition{history.Paths, history.Authors, history.Records} {
		for _, e := range def.EventTypes() {
			got = append(got, e.Topic())
		}
	}
	want := []string{"Path.Added", "Path.Modified", "Path.Renamed", "Path.Deleted", "Author.Committed", "Record.Extended"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
