package archive_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/examples/githistory/archive"
	"github.com/annals-es/annals/examples/githistory/gittest"
	"github.com/annals-es/annals/examples/githistory/history"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

// plain makes a repository with five commits, each of which writes its number into
// "changing" and into a file of its own.
func plain(t *testing.T) *gittest.Repo {
	t.Helper()
	var s gittest.Script
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		s.Commit(gittest.Commit{Ops: []gittest.Op{gittest.Put("changing", gittest.File, n), gittest.Put("file "+n, gittest.File, n)}})
	}
	r := gittest.New(t)
	r.Write(&s)
	return r
}

func TestVerifyFindsWhatWasAltered(t *testing.T) {
	t.Parallel()
	r := plain(t)
	chain := r.Chain()
	repo := openGit(t, r)
	rec := newRecorder()
	importAll(t, openArchive(t, rec), repo, archive.ImportConfig{EventsPerSave: 7})

	state := func(old, replaced string) func(persistence.Notification) []persistence.Notification {
		return func(n persistence.Notification) []persistence.Notification {
			n.State = []byte(strings.ReplaceAll(string(n.State), old, replaced))
			return []persistence.Notification{n}
		}
	}
	drop := func(drops func(n *persistence.Notification) bool) func(persistence.Notification) []persistence.Notification {
		return func(n persistence.Notification) []persistence.Notification {
			if drops(&n) {
				return nil
			}
			return []persistence.Notification{n}
		}
	}
	has := func(n *persistence.Notification, text string) bool { return strings.Contains(string(n.State), text) }
	blob1, blob5 := r.Git("rev-parse", "HEAD:file 1"), r.Git("rev-parse", "HEAD:file 5")
	blob3 := r.Git("rev-parse", "HEAD:file 3")
	for name, c := range map[string]struct {
		read func(n persistence.Notification) []persistence.Notification
		want string
	}{
		"a hash, from the first commit on": {
			state(blob1, blob5),
			`path "changing" at commit ` + chain[0] + `: the events say 100644 ` + blob5 + `, git says 100644 ` + blob1,
		},
		"a hash, in the last commit": {
			state(blob5, blob1),
			`path "changing" at commit ` + chain[4] + `: the events say 100644 ` + blob1 + `, git says 100644 ` + blob5,
		},
		"a mode": {
			state(`"100644","blob":"`+blob3, `"100755","blob":"`+blob3),
			`path "changing" at commit ` + chain[2] + `: the events say 100755 ` + blob3 + `, git says 100644 ` + blob3,
		},
		"a path": {
			state(`"file 3"`, `"file x"`),
			`Path.Added of path "file x" is in the stream`,
		},
		"an event is missing": {
			drop(func(n *persistence.Notification) bool { return has(n, "file 2") }),
			"commit " + chain[1] + " has events of 1 paths, and touched 2",
		},
		"an event and its count are missing": {
			func(n persistence.Notification) []persistence.Notification {
				if has(&n, "file 2") {
					return nil
				}
				if n.Topic == "Author.Committed" && has(&n, chain[1]) {
					n.State = []byte(strings.ReplaceAll(string(n.State), `"paths":2`, `"paths":1`))
				}
				return []persistence.Notification{n}
			},
			`path "file 2" at commit ` + chain[1] + `: the events say nothing, git says 100644`,
		},
		"a commit is missing": {
			drop(func(n *persistence.Notification) bool { return has(n, chain[2]) }),
			`path "changing": version 4 follows version 2`,
		},
		"the first commit is missing": {
			drop(func(n *persistence.Notification) bool { return has(n, chain[0]) }),
			`path "changing": version 2 follows version 0`,
		},
		"the events of a save are missing": {
			drop(func(n *persistence.Notification) bool { return n.Position > 10 }),
			"the record has 3 commits, and the history 5",
		},
		"all is missing": {
			drop(func(*persistence.Notification) bool { return true }),
			"the record has no commits",
		},
		"an event is there twice": {
			func(n persistence.Notification) []persistence.Notification {
				if has(&n, "file 4") {
					return []persistence.Notification{n, n}
				}
				return []persistence.Notification{n}
			},
			`path "file 4": version 1 follows version 1`,
		},
		"the name of an author": {
			state(`"name":"Ada"`, `"name":"Eve"`),
			"commit " + chain[0] + `: the record says that "Eve" <"ada@example.org"> wrote it`,
		},
		"a time": {
			func(n persistence.Notification) []persistence.Notification {
				if n.Topic == "Author.Committed" && has(&n, chain[3]) {
					n.Time = n.Time.AddDate(1, 0, 0)
				}
				return []persistence.Notification{n}
			},
			"commit " + chain[3] + ": the record says",
		},
		"the name of a commit": {
			state(chain[3], strings.Repeat("1", 40)),
			"the record has commit " + strings.Repeat("1", 40) + " where the history has commit " + chain[3],
		},
		"the first commit is another": {
			state(chain[0], strings.Repeat("1", 40)),
			"the record has commit " + strings.Repeat("1", 40) + ", which is not in the first-parent history",
		},
		"it is no event": {
			func(n persistence.Notification) []persistence.Notification {
				n.State = []byte("{")
				return []persistence.Notification{n}
			},
			"cannot decode",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			altered := &recorder{Recorder: rec.Recorder, read: c.read}
			report, err := openArchive(t, altered).Verify(t.Context(), repo, 100)
			if err == nil && report.First != nil {
				err = errors.New(report.First.String())
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want %s", err, c.want)
			}
			if report.First != nil && (report.CommitsAgree >= report.Commits || report.PathsAgree >= report.Paths) {
				t.Errorf("there is a difference, and the report is %+v", report)
			}
		})
	}
	// Unaltered, and read by its log only, it agrees.
	verifyAll(t, openArchive(t, &recorder{Recorder: rec.Recorder, read: drop(func(*persistence.Notification) bool { return false })}), repo)
}

// TestVerifyComparesAggregates has a record whose log is right, and whose streams
// are not.
func TestVerifyComparesAggregates(t *testing.T) {
	t.Parallel()
	r := plain(t)
	repo := openGit(t, r)
	rec, other := newRecorder(), memory.New()
	importAll(t, openArchive(t, rec), repo, archive.ImportConfig{})
	blob, another := r.Git("rev-parse", "HEAD:file 5"), r.Git("rev-parse", "HEAD:file 1")
	var events []persistence.StoredEvent
	for n, err := range rec.ReadLog(t.Context(), persistence.LogQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		n.State = []byte(strings.ReplaceAll(string(n.State), blob, another))
		events = append(events, n.StoredEvent)
	}
	if _, err := other.Record(t.Context(), persistence.Batch{Events: events}); err != nil {
		t.Fatal(err)
	}
	log := &recorder{Recorder: other, read: func(n persistence.Notification) []persistence.Notification {
		for original, err := range rec.ReadLog(t.Context(), persistence.LogQuery{After: n.Position - 1, Limit: 1}) {
			if err == nil {
				return []persistence.Notification{original}
			}
		}
		return nil
	}}
	report, err := openArchive(t, log).Verify(t.Context(), repo, 100)
	if err != nil || report.First == nil || !report.First.Loaded || report.First.Path != "changing" ||
		string(report.First.Recorded.Blob) != another || string(report.First.Git.Blob) != blob {
		t.Fatalf("got %+v, %v", report, err)
	}
	if report.CommitsAgree != report.Commits || report.AggregatesAgree != report.Aggregates-2 {
		t.Errorf("the report is %+v", report)
	}
	if want := "the aggregate of the path says"; !strings.Contains(report.First.String(), want) {
		t.Errorf("got %q; want %q", report.First, want)
	}
}

func TestVerifyChoosesCommits(t *testing.T) {
	t.Parallel()
	r := plain(t)
	repo := openGit(t, r)
	a := openArchive(t, memory.New())
	importAll(t, a, repo, archive.ImportConfig{})
	for samples, want := range map[int]struct{ commits, paths int }{
		0: {1, 6}, 1: {2, 2 + 6}, 2: {3, 2 + 4 + 6}, 3: {4, 2 + 3 + 4 + 6}, 4: {5, 2 + 3 + 4 + 5 + 6}, 5: {5, 20}, 1000: {5, 20},
	} {
		report := verify(t, a, repo, samples)
		if report.Commits != want.commits || report.Paths != want.paths || report.Aggregates != 6 {
			t.Errorf("%d earlier commits: got %+v; want %+v", samples, report, want)
		}
	}
}

func TestVerifyOfARecordThatLags(t *testing.T) {
	t.Parallel()
	r := plain(t)
	chain := r.Chain()
	repo := openGit(t, r)
	a := openArchive(t, memory.New())
	var lag *archive.LagError
	if _, err := a.Verify(t.Context(), repo, 10); !errors.As(err, &lag) || lag.Last != "" || !strings.Contains(err.Error(), "run import first") {
		t.Errorf("an empty record: got %v", err)
	}
	r.Git("update-ref", "refs/heads/main", chain[2])
	importAll(t, a, repo, archive.ImportConfig{})
	r.Git("update-ref", "refs/heads/main", chain[4])
	_, err := a.Verify(t.Context(), repo, 10)
	if !errors.As(err, &lag) || string(lag.Last) != chain[2] || string(lag.Head) != chain[4] || lag.Behind != 2 {
		t.Errorf("got %v", err)
	}
	if want := "the record ends with commit " + chain[2] + ", 2 commits before HEAD, commit " + chain[4]; !strings.Contains(err.Error(), want) {
		t.Errorf("got %q; want %q", err, want)
	}
}

// TestCloneThatWasShallow records a shallow clone, which then gets its older
// commits.
func TestCloneThatWasShallow(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	dir := filepath.Join(t.TempDir(), "clone.git")
	r.Git("clone", "--quiet", "--bare", "--depth=5", "file://"+r.Dir, dir)
	clone := gittest.At(t, dir)
	repo, a := openGit(t, clone), openArchive(t, memory.New())
	shallow := len(clone.Chain())
	if done := importAll(t, a, repo, archive.ImportConfig{}); done.Commits != shallow {
		t.Errorf("it imported %+v; the clone has %d commits", done, shallow)
	}
	verifyAll(t, a, repo)
	clone.Git("fetch", "--quiet", "--unshallow")
	grown(t, clone)
	importAll(t, a, repo, archive.ImportConfig{})
	report := verifyAll(t, a, repo)
	if all := len(clone.Chain()); report.Before != all-shallow-1 || report.Recorded != shallow+1 {
		t.Errorf("the clone has %d commits, and had %d: got %+v", all, shallow, report)
	}
}

func TestLife(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	repo, a := openGit(t, r), openArchive(t, memory.New())
	importAll(t, a, repo, archive.ImportConfig{})
	trees := map[string]map[history.Path]history.Content{}
	for _, c := range r.Chain() {
		trees[c] = map[history.Path]history.Content{}
		for e, err := range repo.Tree(t.Context(), history.Hash(c)) {
			if err != nil {
				t.Fatal(err)
			}
			trees[c][e.Path] = e.Content
		}
	}
	for _, path := range []history.Path{"life", "x", "\xff"} {
		life, err := a.Life(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		version := int64(0)
		for _, c := range r.Chain() {
			commit := history.Hash(c)
			v, err := a.VersionAt(t.Context(), repo, life, commit)
			if err != nil {
				t.Fatal(err)
			}
			if v != version && v != version+1 {
				t.Fatalf("path %q: at commit %s it is at version %d, and before at %d", path, c, v, version)
			}
			version = v
			want := trees[c][path]
			if v == 0 {
				if want != (history.Content{}) {
					t.Errorf("path %q at commit %s: it has no version, git says %v", path, c, want)
				}
				continue
			}
			state, err := a.State(t.Context(), path, v)
			if err != nil {
				t.Fatal(err)
			}
			if state.Content != want || state.Path != path {
				t.Errorf("path %q at commit %s: it is %v, git says %v", state.Path, c, state.Content, want)
			}
		}
		if version != int64(len(life)) {
			t.Errorf("path %q: at the end it is at version %d of %d", path, version, len(life))
		}
		if _, err := a.State(t.Context(), path, version+1); !errors.Is(err, annals.ErrNotFound) {
			t.Errorf("path %q: version %d: got %v", path, version+1, err)
		}
	}
}

func TestLifeOfNothing(t *testing.T) {
	t.Parallel()
	r := plain(t)
	repo, a := openGit(t, r), openArchive(t, memory.New())
	importAll(t, a, repo, archive.ImportConfig{})
	if _, err := a.Life(t.Context(), "no\nwhere"); !errors.Is(err, annals.ErrNotFound) || !strings.Contains(err.Error(), `path "no\nwhere"`) {
		t.Errorf("got %v", err)
	}
	life, err := a.Life(t.Context(), "changing")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.VersionAt(t.Context(), repo, life, "1111"); !errors.Is(err, history.ErrElsewhere) {
		t.Errorf("got %v", err)
	}
}
