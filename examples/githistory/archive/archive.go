// Package archive is the application of githistory: it records the history of a
// repository as events, and compares what it recorded with the repository.
//
// It knows what it needs of git as interfaces, and of databases nothing.
package archive

import (
	"context"
	"errors"
	"fmt"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/examples/githistory/history"
)

// Archive is the record of the history of one repository. It is safe for
// concurrent use.
type Archive struct {
	*application.Application
	records *application.Repository[history.Record]
	paths   *application.Repository[history.TrackedPath]
	authors *application.Repository[history.Author]
}

// Open opens the archive; its events are in memory unless an option gives a
// recorder.
func Open(ctx context.Context, opts ...application.Option) (*Archive, error) {
	app, err := application.Open(ctx, "githistory", opts...)
	if err != nil {
		return nil, err
	}
	return &Archive{
		Application: app,
		records:     application.NewRepository(app, history.Records),
		paths:       application.NewRepository(app, history.Paths),
		authors:     application.NewRepository(app, history.Authors),
	}, nil
}

// record returns how far the record goes; nil if it is empty.
func (a *Archive) record(ctx context.Context) (*history.Record, error) {
	return get(ctx, a.records, history.RecordID)
}

// get returns an aggregate; nil if there is none.
func get[A any](ctx context.Context, repository *application.Repository[A], id string) (*A, error) {
	aggregate, err := repository.Get(ctx, id)
	if errors.Is(err, annals.ErrNotFound) {
		return nil, nil //nolint:nilnil // there is none
	}
	return aggregate, err
}

// ForeignError says that the record is not one of the repository's history.
type ForeignError struct {
	// Commit is a commit of the record, and Head the one that the repository's
	// HEAD is at; empty if that is new.
	Commit, Head history.Hash
}

// Error names both commits.
func (e *ForeignError) Error() string {
	if e.Head == "" {
		return fmt.Sprintf("the record ends with commit %s, and the repository has no commits: it is another repository", e.Commit)
	}
	return fmt.Sprintf("the record has commit %s, which is not in the first-parent history of HEAD, commit %s: "+
		"it is another repository, its history was rewritten, or HEAD was moved", e.Commit, e.Head)
}

// head returns the commit that HEAD is at; it is empty if there is none.
func head(ctx context.Context, source interface {
	Head(ctx context.Context) (history.Hash, error)
},
) (history.Hash, error) {
	hash, err := source.Head(ctx)
	if errors.Is(err, history.ErrNoCommits) {
		return "", nil
	}
	return hash, err
}
