package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/examples/githistory/history"
)

// Reference is what the record is compared with.
type Reference interface {
	// Head and Distance are those of [Source].
	Head(ctx context.Context) (history.Hash, error)
	Distance(ctx context.Context, from, to history.Hash) (int, error)
	// Log yields the commits from one, which does not count, to another, oldest
	// first, without their changes.
	Log(ctx context.Context, from, to history.Hash) iter.Seq2[history.Commit, error]
	// Tree yields every path of a commit, and what is there.
	Tree(ctx context.Context, commit history.Hash) iter.Seq2[history.Entry, error]
}

// Report says what a comparison found.
type Report struct {
	// Head is the commit that HEAD is at; empty if the repository is new.
	Head history.Hash
	// Recorded is the number of commits in the record, Before that of older ones
	// which it does not have: those that a shallow clone lacked.
	Recorded, Before int
	// Commits were compared; at CommitsAgree of them every path agrees.
	Commits, CommitsAgree int
	// Paths is the sum of the paths at these commits; PathsAgree of them agree.
	Paths, PathsAgree int
	// Aggregates is the number of paths at HEAD; that many were loaded, and
	// AggregatesAgree of them agree.
	Aggregates, AggregatesAgree int
	// First is the first difference; nil if there is none.
	First *Difference
}

// Difference says where record and repository differ.
type Difference struct {
	Path   history.Path
	Commit history.Hash
	// Recorded is what the events say, Git what git says.
	Recorded, Git history.Content
	// Loaded reports that the events of the path alone were asked.
	Loaded bool
}

// String names path and commit, and says what is there.
func (d *Difference) String() string {
	who := "the events say"
	if d.Loaded {
		who = "the aggregate of the path says"
	}
	return fmt.Sprintf("path %q at commit %s: %s %v, git says %v", d.Path, d.Commit, who, d.Recorded, d.Git)
}

// LagError says that the record ends before HEAD.
type LagError struct {
	// Last is the last commit of the record; empty if it has none. Head is the
	// commit that HEAD is at, Behind the number of commits in between.
	Last, Head history.Hash
	Behind     int
}

// Error names both commits.
func (e *LagError) Error() string {
	if e.Last == "" {
		return fmt.Sprintf("the record is empty, and HEAD is at commit %s: run import first", e.Head)
	}
	return fmt.Sprintf("the record ends with commit %s, %d commits before HEAD, commit %s: run import first", e.Last, e.Behind, e.Head)
}

// Verify reads the whole record, rebuilds the tree from its events, and compares
// it, at HEAD and at a number of earlier commits spread evenly over the history,
// with that of the repository: every path with its mode and hash. At HEAD it also
// loads every path's aggregate. All events are checked to be those of the
// history's commits, in order, with their authors and times.
//
// What differs is in the report. An error says that there was nothing to compare:
// the record lags behind HEAD ([*LagError]), is of another repository
// ([*ForeignError]), or is not a history at all.
func (a *Archive) Verify(ctx context.Context, reference Reference, samples int) (Report, error) {
	v := verifier{archive: a, reference: reference}
	record, err := a.record(ctx)
	if err != nil {
		return v.report, err
	}
	if v.report.Head, err = head(ctx, reference); err != nil {
		return v.report, err
	}
	if v.report.Head == "" && record == nil {
		return v.report, nil
	}
	if err := v.compareEnds(ctx, record); err != nil {
		return v.report, err
	}
	if err := v.readLog(ctx, sampled(v.report.Recorded, samples)); err != nil {
		return v.report, err
	}
	return v.report, v.loadAll(ctx)
}

// sampled returns which of n commits are compared: the last, and a number of
// earlier ones.
func sampled(n, samples int) map[int]bool {
	chosen := map[int]bool{n - 1: true}
	samples = min(samples, n-1)
	for i := range samples {
		chosen[i*(n-1)/samples] = true
	}
	return chosen
}

type verifier struct {
	archive   *Archive
	reference Reference
	tree      history.Tree
	report    Report
}

// compareEnds compares the first and the last commit of the record with the
// history.
func (v *verifier) compareEnds(ctx context.Context, record *history.Record) error {
	if record == nil {
		return &LagError{Head: v.report.Head}
	}
	if record.Commit != v.report.Head {
		return v.explain(ctx, record.Commit)
	}
	var first history.Hash
	for n, err := range v.archive.Notifications(ctx, application.Topics("Author.Committed"), application.Limit(1)) {
		if err != nil {
			return err
		}
		committed, _ := n.Event.Data.(history.Committed)
		first = committed.Commit
	}
	if first == "" {
		return errors.New("the record has no commits, and says that it has")
	}
	after, err := v.reference.Distance(ctx, first, v.report.Head)
	if errors.Is(err, history.ErrElsewhere) {
		return &ForeignError{Commit: first, Head: v.report.Head}
	} else if err != nil {
		return err
	}
	all, err := v.reference.Distance(ctx, "", v.report.Head)
	v.report.Recorded = after + 1
	v.report.Before = all - v.report.Recorded
	return err
}

// explain says why the record does not end at HEAD.
func (v *verifier) explain(ctx context.Context, last history.Hash) error {
	if v.report.Head == "" {
		return &ForeignError{Commit: last}
	}
	behind, err := v.reference.Distance(ctx, last, v.report.Head)
	if errors.Is(err, history.ErrElsewhere) {
		return &ForeignError{Commit: last, Head: v.report.Head}
	} else if err != nil {
		return err
	}
	return &LagError{Last: last, Head: v.report.Head, Behind: behind}
}

// readLog reads the record beside git's log.
func (v *verifier) readLog(ctx context.Context, chosen map[int]bool) error {
	next, stop := iter.Pull2(v.reference.Log(ctx, "", v.report.Head))
	defer stop()
	for range v.report.Before {
		if _, err, _ := next(); err != nil {
			return err
		}
	}
	commits := 0
	for n, err := range v.archive.Notifications(ctx) {
		if err != nil {
			return err
		}
		done, err := v.tree.Apply(&n.Event)
		if err != nil {
			return fmt.Errorf("position %d: %w", n.Position, err)
		}
		if done == nil {
			continue
		}
		commit, err, ok := next()
		if err != nil {
			return err
		}
		if err := compareCommit(&n.Event, done, &commit, ok); err != nil {
			return fmt.Errorf("position %d: %w", n.Position, err)
		}
		if chosen[commits] {
			if err := v.compareTree(ctx, commit.Hash); err != nil {
				return err
			}
		}
		commits++
	}
	if commits != v.report.Recorded {
		return fmt.Errorf("the record has %d commits, and the history %d", commits, v.report.Recorded)
	}
	return nil
}

// compareCommit compares what is recorded of a commit with the next one of git's
// log, if there is one.
func compareCommit(e *annals.Event, recorded *history.Committed, commit *history.Commit, ok bool) error {
	switch {
	case !ok:
		return fmt.Errorf("the record has commit %s after the last one", recorded.Commit)
	case recorded.Commit != commit.Hash:
		return fmt.Errorf("the record has commit %s where the history has commit %s", recorded.Commit, commit.Hash)
	case recorded.Email != commit.Author.Email, recorded.Name != commit.Author.Name, !e.Time.Equal(commit.Time):
		return fmt.Errorf("commit %s: the record says that %q <%q> wrote it at %v, git says %q <%q> at %v", commit.Hash,
			recorded.Name, recorded.Email, e.Time, commit.Author.Name, commit.Author.Email, commit.Time)
	default:
		return nil
	}
}

// compareTree compares the tree with that of a commit, in both directions.
func (v *verifier) compareTree(ctx context.Context, commit history.Hash) error {
	paths, agree, there := 0, 0, 0
	var first *Difference
	differs := func(path history.Path, recorded, git history.Content) {
		if first == nil || path < first.Path {
			first = &Difference{Path: path, Commit: commit, Recorded: recorded, Git: git}
		}
	}
	for entry, err := range v.reference.Tree(ctx, commit) {
		if err != nil {
			return err
		}
		recorded := v.tree.Content(entry.Path)
		paths++
		if recorded != (history.Content{}) {
			there++
		}
		if recorded == entry.Content {
			agree++
		} else {
			differs(entry.Path, recorded, entry.Content)
		}
	}
	if there != v.tree.Len() {
		inGit := make(map[history.Path]bool, paths)
		for entry, err := range v.reference.Tree(ctx, commit) {
			if err != nil {
				return err
			}
			inGit[entry.Path] = true
		}
		for path, content := range v.tree.All() {
			if !inGit[path] {
				paths++
				differs(path, content, history.Content{})
			}
		}
	}
	v.report.Commits++
	v.report.Paths += paths
	v.report.PathsAgree += agree
	if first == nil {
		v.report.CommitsAgree++
	} else if v.report.First == nil {
		v.report.First = first
	}
	return nil
}

// loadAll compares each path at HEAD with its aggregate.
func (v *verifier) loadAll(ctx context.Context) error {
	for entry, err := range v.reference.Tree(ctx, v.report.Head) {
		if err != nil {
			return err
		}
		path, err := get(ctx, v.archive.paths, history.PathID(entry.Path))
		if err != nil {
			return err
		}
		var content history.Content
		if path != nil {
			content = path.Content
		}
		v.report.Aggregates++
		if content == entry.Content {
			v.report.AggregatesAgree++
		} else if v.report.First == nil {
			v.report.First = &Difference{
				Path: entry.Path, Commit: v.report.Head, Recorded: content, Git: entry.Content, Loaded: true,
			}
		}
	}
	return nil
}
