package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/examples/githistory/history"
)

// Source is what an import reads of a repository.
type Source interface {
	// Head returns the commit that HEAD is at, or [history.ErrNoCommits].
	Head(ctx context.Context) (history.Hash, error)
	// Distance returns the number of commits from one, which does not count, or
	// from the first on if from is empty, to another, by first parents. It must
	// return [history.ErrElsewhere] if from is not among the first parents of to.
	Distance(ctx context.Context, from, to history.Hash) (int, error)
	// Commits yields these commits with their changes, oldest first. An error
	// must be the last that it yields.
	Commits(ctx context.Context, from, to history.Hash) iter.Seq2[history.Commit, error]
}

// ImportConfig says how an import is done.
type ImportConfig struct {
	// EventsPerSave is how many events are at least saved together, but at the
	// end. Commits are not split: a large one makes a large save. Defaults to 1000.
	EventsPerSave int
	// Kept is how many paths, and how many authors, are kept in memory so that
	// they need not be loaded again. Defaults to 30,000.
	Kept int
	// Saved is called after each save with what was imported so far. Defaults to
	// nil: nobody is told.
	Saved func(Imported)
}

// Imported says what an import has done so far.
type Imported struct {
	// Commits are recorded now, of Total that were missing.
	Commits, Total int
	// Events is the number of events that these commits are.
	Events int
	// Head is the commit that the import goes up to; empty if the repository is
	// new.
	Head history.Hash
}

// Import records the commits of the first-parent history of HEAD that the record
// does not have. A commit is recorded whole or not at all, and once, also when
// imports run at the same moment: all but one of them then end with
// [annals.ErrVersionConflict].
//
// When the context is done, it ends after the running save, with the context's
// error. What it returns says, also with an error, what is recorded.
func (a *Archive) Import(ctx context.Context, source Source, cfg ImportConfig) (Imported, error) {
	if cfg.EventsPerSave == 0 {
		cfg.EventsPerSave = 1000
	}
	if cfg.Kept == 0 {
		cfg.Kept = 30_000
	}
	var done Imported
	record, err := a.record(ctx)
	if err != nil {
		return done, err
	}
	var from history.Hash
	if record != nil {
		from = record.Commit
	}
	if done.Head, err = head(ctx, source); err != nil {
		return done, err
	}
	if done.Head == "" && from == "" {
		return done, nil
	} else if done.Head == "" {
		return done, &ForeignError{Commit: from}
	}
	done.Total, err = source.Distance(ctx, from, done.Head)
	if errors.Is(err, history.ErrElsewhere) {
		return done, &ForeignError{Commit: from, Head: done.Head}
	} else if err != nil {
		return done, err
	}
	i, err := a.newImporter(record, cfg)
	if err != nil {
		return done, err
	}
	err = i.run(ctx, source.Commits(ctx, from, done.Head), &done)
	return done, err
}

// importer records commits. It collects the events of several and saves them
// together.
type importer struct {
	archive *Archive
	cfg     ImportConfig
	record  *history.Record // as of the last save; nil before the first
	paths   *cache[history.TrackedPath]
	authors *cache[history.Author]
	batch   batch
	commits int          // in the batch
	last    history.Hash // of them
}

// batch is events in the order of their commits. The aggregates alone would be
// saved one after the other, each with its events of several commits.
type batch struct{ events []annals.Event }

// PendingEvents returns the events.
func (b *batch) PendingEvents() []annals.Event { return b.events }

// CollectEvents returns the events and forgets them.
func (b *batch) CollectEvents() []annals.Event {
	events := b.events
	b.events = nil
	return events
}

func (a *Archive) newImporter(record *history.Record, cfg ImportConfig) (*importer, error) {
	paths, err := newCache(a.paths, cfg.Kept)
	if err != nil {
		return nil, err
	}
	authors, err := newCache(a.authors, cfg.Kept)
	if err != nil {
		return nil, err
	}
	return &importer{archive: a, cfg: cfg, record: record, paths: paths, authors: authors}, nil
}

func (i *importer) run(ctx context.Context, commits iter.Seq2[history.Commit, error], done *Imported) error {
	for commit, err := range commits {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = i.add(ctx, &commit)
			if errors.As(err, new(*history.OutOfStepError)) {
				err = cmp.Or(i.overtaken(ctx), err) // it may have loaded what another import saved
			}
		}
		if err == nil && len(i.batch.events) >= i.cfg.EventsPerSave {
			err = i.save(ctx, done)
		}
		if err != nil {
			return err
		}
	}
	if err := i.save(ctx, done); err != nil {
		return err
	}
	if done.Commits != done.Total {
		return fmt.Errorf("archive: git listed %d commits, and counted %d", done.Commits, done.Total)
	}
	return nil
}

// add lets a commit happen to its paths and its author, and puts their events into
// the batch.
func (i *importer) add(ctx context.Context, commit *history.Commit) error {
	before := len(i.batch.events)
	for _, change := range commit.Changes {
		id := history.PathID(change.Path)
		path, err := i.paths.get(ctx, id)
		if err != nil {
			return err
		}
		if path == nil {
			path, err = history.Track(commit, change)
		} else {
			err = path.Record(commit, change)
		}
		if err != nil {
			return err
		}
		i.paths.put(id, path)
		i.batch.events = append(i.batch.events, path.CollectEvents()...)
	}
	touched := len(i.batch.events) - before

	id := history.AuthorID(commit.Author.Email)
	author, err := i.authors.get(ctx, id)
	if err != nil {
		return err
	}
	if author == nil {
		author = history.FirstCommit(commit, touched)
	} else {
		author.Commit(commit, touched)
	}
	i.authors.put(id, author)
	i.batch.events = append(i.batch.events, author.CollectEvents()...)
	i.commits++
	i.last = commit.Hash
	return nil
}

// save stores the batch. It is not given up when the context is done.
func (i *importer) save(ctx context.Context, done *Imported) error {
	if i.commits == 0 {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if i.record == nil {
		i.record = history.Begin(i.last, i.commits)
	} else {
		i.record.Extend(i.last, i.commits)
	}
	i.batch.events = append(i.batch.events, i.record.CollectEvents()...)
	events := len(i.batch.events)
	_, err := i.archive.Save(ctx, &i.batch)
	for tries := 1; errors.Is(err, annals.ErrOutcomeUnknown) && tries < 5; tries++ {
		_, err = i.archive.Save(ctx, &i.batch) // what is stored is not stored twice
	}
	if errors.Is(err, annals.ErrVersionConflict) {
		return concurrent(err)
	} else if err != nil {
		return err
	}
	i.paths.saved()
	i.authors.saved()
	done.Commits += i.commits
	done.Events += events
	i.commits = 0
	if i.cfg.Saved != nil {
		i.cfg.Saved(*done)
	}
	return nil
}

// overtaken returns an error if another import extended the record since this one's
// last save.
func (i *importer) overtaken(ctx context.Context) error {
	record, err := i.archive.record(ctx)
	if err != nil || record == nil {
		return err
	}
	expected := int64(0)
	if i.record != nil {
		expected = i.record.Version()
	}
	if record.Version() == expected {
		return nil
	}
	return concurrent(&annals.VersionConflictError{StreamID: record.ID(), Expected: expected, Actual: record.Version()})
}

// concurrent says what a version conflict means here.
func concurrent(err error) error {
	return fmt.Errorf("another import wrote to the same database; nothing was recorded twice: %w", err)
}
