package archive_test

import (
	"context"
	"flag"
	"iter"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/examples/githistory/archive"
	"github.com/annals-es/annals/examples/githistory/git"
	"github.com/annals-es/annals/examples/githistory/gittest"
	"github.com/annals-es/annals/examples/githistory/history"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

func TestMain(m *testing.M) {
	if os.Getenv("ANNALS_SOAK") == "" {
		// Each check starts dozens of git commands. A flag on the command line counts more than this.
		if err := flag.Set("rapid.checks", "30"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

func openGit(t *testing.T, r *gittest.Repo) *git.Repository {
	t.Helper()
	repo, err := git.Open(t.Context(), r.Dir, gittest.Environ())
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func openArchive(t *testing.T, recorder persistence.Recorder) *archive.Archive {
	t.Helper()
	a, err := archive.Open(t.Context(), application.WithRecorder(recorder))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func importAll(t *testing.T, a *archive.Archive, source archive.Source, cfg archive.ImportConfig) archive.Imported {
	t.Helper()
	done, err := a.Import(t.Context(), source, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// verifyAll compares every commit and fails the test if anything differs.
func verifyAll(t *testing.T, a *archive.Archive, reference archive.Reference) archive.Report {
	t.Helper()
	return verify(t, a, reference, 1_000_000)
}

func verify(t *testing.T, a *archive.Archive, reference archive.Reference, samples int) archive.Report {
	t.Helper()
	report, err := a.Verify(t.Context(), reference, samples)
	if err != nil {
		t.Fatal(err)
	}
	if report.First != nil {
		t.Fatal(report.First)
	}
	if report.Commits != min(report.Recorded, samples+1) || report.CommitsAgree != report.Commits || report.PathsAgree != report.Paths ||
		report.AggregatesAgree != report.Aggregates {
		t.Fatalf("there is no difference, and the report is %+v", report)
	}
	return report
}

// event is what of an event of a commit is the same in each import.
type event struct {
	StreamID string
	Version  int64
	Topic    string
	Time     string
	Data     any
}

func logOf(t *testing.T, a *archive.Archive) []event {
	t.Helper()
	var log []event
	for n, err := range a.Notifications(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		e := n.Event
		if e.Topic == "Record.Extended" { // as the saves were cut
			continue
		}
		log = append(log, event{e.StreamID, e.Version, e.Topic, e.Time.String(), e.Data})
	}
	return log
}

// recorder is a memory recorder that a test looks into and interferes with.
type recorder struct {
	*memory.Recorder
	record func(ctx context.Context, b persistence.Batch) ([]int64, error)
	read   func(n persistence.Notification) []persistence.Notification // what is read instead of n

	mu      sync.Mutex
	batches []persistence.Batch
}

func newRecorder() *recorder { return &recorder{Recorder: memory.New()} }

func (r *recorder) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	r.mu.Lock()
	r.batches = append(r.batches, b)
	r.mu.Unlock()
	if r.record != nil {
		return r.record(ctx, b)
	}
	return r.Recorder.Record(ctx, b)
}

func (r *recorder) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	if r.read == nil {
		return r.Recorder.ReadLog(ctx, q)
	}
	left := q.Limit
	q.Limit = 0
	return func(yield func(persistence.Notification, error) bool) {
		for n, err := range r.Recorder.ReadLog(ctx, q) {
			if err != nil {
				yield(n, err)
				return
			}
			for _, n := range r.read(n) {
				if !yield(n, nil) {
					return
				}
				if left--; left == 0 {
					return
				}
			}
		}
	}
}

// source is a repository that a test interferes with.
type source struct {
	*git.Repository
	after func(commit history.Commit) // called before the next commit is yielded
}

func (s source) Commits(ctx context.Context, from, to history.Hash) iter.Seq2[history.Commit, error] {
	return func(yield func(history.Commit, error) bool) {
		for commit, err := range s.Repository.Commits(ctx, from, to) {
			if !yield(commit, err) {
				return
			}
			s.after(commit)
		}
	}
}

// beforeCommits does something before the first commit is yielded.
type beforeCommits struct {
	source
	do func()
}

func (s beforeCommits) Commits(ctx context.Context, from, to history.Hash) iter.Seq2[history.Commit, error] {
	s.do()
	return s.source.Commits(ctx, from, to)
}
