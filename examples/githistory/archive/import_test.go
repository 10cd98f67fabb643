package archive_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/examples/githistory/archive"
	"github.com/annals-es/annals/examples/githistory/gittest"
	"github.com/annals-es/annals/examples/githistory/history"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

func TestImportAgreesAtEveryCommit(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			r := gittest.Odd(t, "--object-format="+format)
			repo, a := openGit(t, r), openArchive(t, memory.New())
			done := importAll(t, a, repo, archive.ImportConfig{})
			report := verifyAll(t, a, repo)
			if n := len(r.Chain()); done.Commits != n || done.Total != n || report.Commits != n || report.Before != 0 {
				t.Errorf("of %d commits, the import has %+v, the comparison %+v", n, done, report)
			}
			if n := len(logOf(t, a)); done.Events != n+1 {
				t.Errorf("it counted %d events; there are %d, and that of the record", done.Events, n)
			}
			if report.Aggregates == 0 || report.Paths < 1000 {
				t.Errorf("hardly anything was compared: %+v", report)
			}
		})
	}
}

func TestEveryCommitIsInTheLogOnceAndInOrder(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	a := openArchive(t, memory.New())
	importAll(t, a, openGit(t, r), archive.ImportConfig{EventsPerSave: 50})
	var got []string
	for _, e := range logOf(t, a) {
		if c, ok := e.Data.(history.Committed); ok {
			got = append(got, string(c.Commit))
		}
	}
	if diff := cmp.Diff(r.Chain(), got); diff != "" {
		t.Error(diff)
	}
}

// TestSavesAndMemoryDoNotShow imports with saves of all sizes, and with hardly any
// aggregate kept in memory: the log is always the same.
func TestSavesAndMemoryDoNotShow(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	repo := openGit(t, r)
	whole := openArchive(t, memory.New())
	importAll(t, whole, repo, archive.ImportConfig{EventsPerSave: 1_000_000})
	want := logOf(t, whole)
	for _, cfg := range []archive.ImportConfig{
		{EventsPerSave: 1, Kept: 1}, {EventsPerSave: 1}, {EventsPerSave: 7, Kept: 3}, {EventsPerSave: 100, Kept: 1}, {EventsPerSave: 1000},
	} {
		rec := newRecorder()
		a := openArchive(t, rec)
		importAll(t, a, repo, cfg)
		if diff := cmp.Diff(want, logOf(t, a)); diff != "" {
			t.Errorf("%+v: %s", cfg, diff)
		}
		for i, b := range rec.batches {
			n := len(b.Events)
			if before, last := b.Events[n-2].Topic, b.Events[n-1].Topic; before != "Author.Committed" || last != "Record.Extended" {
				t.Errorf("%+v: save %d splits a commit: its last events are %s and %s", cfg, i, before, last)
			}
			if n-1 < cfg.EventsPerSave && i < len(rec.batches)-1 {
				t.Errorf("%+v: save %d has only %d events", cfg, i, len(b.Events))
			}
		}
	}
}

func TestImportGoesOn(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	chain := r.Chain()
	repo := openGit(t, r)
	whole := openArchive(t, memory.New())
	importAll(t, whole, repo, archive.ImportConfig{})

	a := openArchive(t, memory.New())
	total := 0
	for n := 0; n < len(chain); n += 9 {
		r.Git("update-ref", "refs/heads/main", chain[n])
		done := importAll(t, a, repo, archive.ImportConfig{})
		if total += done.Commits; total != n+1 {
			t.Errorf("after commit %d, %d commits were imported", n+1, total)
		}
		verify(t, a, repo, 1)
		if done := importAll(t, a, repo, archive.ImportConfig{}); done.Total != 0 || done.Events != 0 || string(done.Head) != chain[n] {
			t.Errorf("there was nothing to import, and it imported %+v", done)
		}
	}
	r.Git("update-ref", "refs/heads/main", chain[len(chain)-1])
	importAll(t, a, repo, archive.ImportConfig{})
	if diff := cmp.Diff(logOf(t, whole), logOf(t, a)); diff != "" {
		t.Error(diff)
	}
}

// TestInterruptedImport ends an import when each commit was read, and after each
// save: the next one goes on with the commit after the last save.
func TestInterruptedImport(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	repo := openGit(t, r)
	a := openArchive(t, memory.New())
	recorded, saves := 0, 0
	for n := 0; ; n++ {
		ctx, cancel := context.WithCancel(t.Context())
		read := 0
		interrupted := source{repo, func(history.Commit) {
			if read++; n%2 == 0 && read == 5+n/2 {
				cancel()
			}
		}}
		done, err := a.Import(ctx, interrupted, archive.ImportConfig{EventsPerSave: 20, Saved: func(archive.Imported) {
			if saves++; n%2 == 1 {
				cancel()
			}
		}})
		cancel()
		recorded += done.Commits
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if n > 1000 {
			t.Fatal("it does not come to an end")
		}
	}
	if saves < 10 || recorded != len(r.Chain()) {
		t.Errorf("%d commits were recorded in %d saves; want %d", recorded, saves, len(r.Chain()))
	}
	verifyAll(t, a, repo)
}

func TestNoCommits(t *testing.T) {
	t.Parallel()
	repo, a := openGit(t, gittest.New(t)), openArchive(t, memory.New())
	if done := importAll(t, a, repo, archive.ImportConfig{}); done != (archive.Imported{}) {
		t.Errorf("got %+v", done)
	}
	if report := verifyAll(t, a, repo); report != (archive.Report{}) {
		t.Errorf("got %+v", report)
	}
}

// TestAnotherHistory compares with repositories that the record is not of.
func TestAnotherHistory(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	chain := r.Chain()
	last := chain[len(chain)-1]
	a := openArchive(t, memory.New())
	importAll(t, a, openGit(t, r), archive.ImportConfig{})
	before := logOf(t, a)

	other := gittest.New(t)
	var s gittest.Script
	s.Commit(gittest.Commit{Ops: []gittest.Op{gittest.Put("other", gittest.File, "other\n")}})
	other.Write(&s)

	rewritten := filepath.Join(t.TempDir(), "rewritten.git")
	r.Git("clone", "--quiet", "--bare", r.Dir, rewritten)
	amended := gittest.At(t, rewritten)
	amended.Git("update-ref", "refs/heads/main", amended.Git("commit-tree", "-m", "amended", "-p", chain[len(chain)-2], "HEAD^{tree}"))

	back := filepath.Join(t.TempDir(), "back.git")
	r.Git("clone", "--quiet", "--bare", r.Dir, back)
	gittest.At(t, back).Git("update-ref", "refs/heads/main", chain[3])

	merged := filepath.Join(t.TempDir(), "merged.git")
	r.Git("clone", "--quiet", "--bare", r.Dir, merged)
	m := gittest.At(t, merged)
	m.Git("update-ref", "refs/heads/main", m.Git("commit-tree", "-m", "merge", "-p", chain[0], "-p", last, "HEAD^{tree}"))

	for name, repo := range map[string]*gittest.Repo{
		"another repository": other, "another last commit": amended, "HEAD is moved back": gittest.At(t, back),
		"the record is of a merged branch": m, "no commits": gittest.New(t),
	} {
		for what, do := range map[string]func() error{
			"import": func() error { _, err := a.Import(t.Context(), openGit(t, repo), archive.ImportConfig{}); return err },
			"verify": func() error { _, err := a.Verify(t.Context(), openGit(t, repo), 10); return err },
		} {
			var foreign *archive.ForeignError
			err := do()
			if !errors.As(err, &foreign) || string(foreign.Commit) != last || !strings.Contains(err.Error(), last) {
				t.Errorf("%s: %s: got %v", name, what, err)
				continue
			}
			if name != "no commits" && !strings.Contains(err.Error(), repo.Git("rev-parse", "HEAD")) {
				t.Errorf("%s: %s: the error does not name HEAD: %v", name, what, err)
			}
		}
	}
	if diff := cmp.Diff(before, logOf(t, a)); diff != "" {
		t.Error("the record has changed:", diff)
	}
}

// TestImportsAtTheSameMoment runs many imports into one record. Those that lose
// say so; together they record each commit once.
func TestImportsAtTheSameMoment(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	repo := openGit(t, r)
	rec := memory.New()
	for left := true; left; {
		errs := make([]error, 4)
		var wg sync.WaitGroup
		for i := range errs {
			a := openArchive(t, rec)
			wg.Go(func() {
				// Saves of different sizes, so that they do not keep step.
				_, errs[i] = a.Import(t.Context(), repo, archive.ImportConfig{EventsPerSave: 10 + 7*i})
			})
		}
		wg.Wait()
		left = false
		for _, err := range errs {
			if err != nil && !errors.Is(err, annals.ErrVersionConflict) {
				t.Fatal(err)
			}
			left = left || err != nil
		}
	}
	verifyAll(t, openArchive(t, rec), repo)
}

// TestImportThatLoadsWhatAnotherSaved lets an import load its aggregates after
// another one saved the same commits: their versions then fit, and the import has
// to find out all the same.
func TestImportThatLoadsWhatAnotherSaved(t *testing.T) {
	t.Parallel()
	r := gittest.New(t)
	var s gittest.Script
	for n, author := range []string{"A <a>", "B <b>", "A <a>", "C <c>", "B <b>"} {
		s.Commit(gittest.Commit{Author: author, Ops: []gittest.Op{gittest.Put(string(rune('p'+n)), gittest.File, author)}})
	}
	r.Write(&s)
	repo := openGit(t, r)
	rec := memory.New()
	for at := range 5 {
		a, another := openArchive(t, rec), openArchive(t, rec)
		read := 0
		slow := source{repo, func(history.Commit) {
			if read++; read == at+1 {
				importAll(t, another, repo, archive.ImportConfig{})
			}
		}}
		_, err := a.Import(t.Context(), slow, archive.ImportConfig{})
		if !errors.Is(err, annals.ErrVersionConflict) || !strings.Contains(err.Error(), "another import") {
			t.Errorf("the other one came after commit %d: got %v", at+1, err)
		}
		verifyAll(t, a, repo)
		rec = memory.New()
	}
	a := openArchive(t, rec)
	before := beforeCommits{
		source{repo, func(history.Commit) {}},
		func() { importAll(t, openArchive(t, rec), repo, archive.ImportConfig{}) },
	}
	if _, err := a.Import(t.Context(), before, archive.ImportConfig{}); !errors.Is(err, annals.ErrVersionConflict) {
		t.Errorf("the other one came before the first commit: got %v", err)
	}
	verifyAll(t, a, repo)
}

// TestImportsOfTwoBranches lets two imports of histories that part record different
// commits, of different paths and authors, at the same moment.
func TestImportsOfTwoBranches(t *testing.T) {
	t.Parallel()
	r := gittest.New(t)
	var s gittest.Script
	base := s.Commit(gittest.Commit{})
	s.Commit(gittest.Commit{Author: "A <a>", Ops: []gittest.Op{gittest.Put("a", gittest.File, "a")}})
	s.Commit(gittest.Commit{Branch: "other", Parents: []string{base}, Author: "B <b>", Ops: []gittest.Op{gittest.Put("b", gittest.File, "b")}})
	r.Write(&s)
	repo := openGit(t, r)
	head, err := repo.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other, err := repo.Resolve(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	rec := memory.New()
	a := openArchive(t, rec)
	r.Git("update-ref", "refs/heads/main", "main~1")
	importAll(t, a, repo, archive.ImportConfig{})

	r.Git("update-ref", "refs/heads/main", string(other))
	slow := source{repo, func(history.Commit) {
		r.Git("update-ref", "refs/heads/main", string(head))
		importAll(t, openArchive(t, rec), repo, archive.ImportConfig{})
	}}
	if _, err := a.Import(t.Context(), slow, archive.ImportConfig{}); !errors.Is(err, annals.ErrVersionConflict) {
		t.Errorf("got %v", err)
	}
	verifyAll(t, a, repo)
}

func TestFailedSaveLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	repo := openGit(t, r)
	rec := newRecorder()
	boom := errors.New("boom")
	rec.record = func(ctx context.Context, b persistence.Batch) ([]int64, error) {
		if len(rec.batches)%3 == 0 {
			return nil, boom
		}
		return rec.Recorder.Record(ctx, b)
	}
	a := openArchive(t, rec)
	for tries := 0; ; tries++ {
		_, err := a.Import(t.Context(), repo, archive.ImportConfig{EventsPerSave: 40})
		if err == nil {
			if tries < 3 {
				t.Errorf("only %d saves failed", tries)
			}
			break
		}
		if !errors.Is(err, boom) {
			t.Fatal(err)
		}
	}
	verifyAll(t, a, repo)
}

// TestUnknownOutcome has a recorder that stores a batch and then does not know.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	repo := openGit(t, r)
	rec := newRecorder()
	unknown := 0
	rec.record = func(ctx context.Context, b persistence.Batch) ([]int64, error) {
		positions, err := rec.Recorder.Record(ctx, b)
		if unknown++; err == nil && unknown%2 == 1 {
			return nil, annals.ErrOutcomeUnknown
		}
		return positions, err
	}
	a := openArchive(t, rec)
	importAll(t, a, repo, archive.ImportConfig{EventsPerSave: 40})
	verify(t, a, repo, 3)

	rec.record = func(context.Context, persistence.Batch) ([]int64, error) { return nil, annals.ErrOutcomeUnknown }
	if _, err := openArchive(t, rec).Import(t.Context(), openGit(t, grown(t, r)), archive.ImportConfig{}); !errors.Is(err, annals.ErrOutcomeUnknown) {
		t.Errorf("it never knows: got %v", err)
	}
}

// grown adds a commit.
func grown(t *testing.T, r *gittest.Repo) *gittest.Repo {
	t.Helper()
	var s gittest.Script
	s.Commit(gittest.Commit{Parents: []string{"refs/heads/main^0"}, Ops: []gittest.Op{gittest.Put("one more", gittest.File, "")}})
	r.Write(&s)
	return r
}
