package application

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Repository loads aggregates of one type. It is safe for concurrent use.
type Repository[A any] struct {
	app *Application
	typ *annals.Type[A]
}

// NewRepository returns a repository of the application, and makes the events of
// the type known to it. It panics if a different event of the application has
// the same topic.
func NewRepository[A any](app *Application, t *annals.Type[A]) *Repository[A] {
	if err := app.mapper.Register(t); err != nil {
		panic(fmt.Sprintf("application %s: NewRepository: %v", app.name, err))
	}
	return &Repository[A]{app: app, typ: t}
}

// Get returns the aggregate as its last event left it. It returns an
// [*annals.NotFoundError] if there is none or if it was discarded, and
// [annals.ErrUndecodable] or [annals.ErrUnknownTopic] if an event cannot be read.
func (r *Repository[A]) Get(ctx context.Context, id string) (*A, error) {
	return r.load(ctx, id, persistence.StreamQuery{}, nil)
}

// GetVersion returns the aggregate as it was at a version, from 1 on. It returns
// an [*annals.NotFoundError] if it has no such version.
func (r *Repository[A]) GetVersion(ctx context.Context, id string, version int64) (*A, error) {
	at := fmt.Sprintf("at version %d", version)
	if version < 1 {
		return nil, r.app.errorf("get", &annals.NotFoundError{Type: r.typ.Name(), ID: id, At: at})
	}
	a, err := r.load(ctx, id, persistence.StreamQuery{UpTo: version}, nil)
	if err == nil && r.typ.AggregateOf(a).Version() < version {
		err = &annals.NotFoundError{Type: r.typ.Name(), ID: id}
	}
	if err != nil {
		return nil, r.app.errorf("get", notFoundAt(err, at))
	}
	return a, nil
}

// GetAt returns the aggregate as it was at a time: with its events in order, up
// to the first one that is later. It returns an [*annals.NotFoundError] if it
// did not exist then.
func (r *Repository[A]) GetAt(ctx context.Context, id string, t time.Time) (*A, error) {
	a, err := r.load(ctx, id, persistence.StreamQuery{}, func(e *annals.Event) bool { return e.Time.After(t) })
	if err != nil {
		return nil, r.app.errorf("get", notFoundAt(err, "at "+t.UTC().Format(time.RFC3339Nano)))
	}
	return a, nil
}

// Events yields the events of one aggregate in order: its life. They are also
// there for a discarded aggregate; an unknown id yields none. An error is the
// last that it yields.
func (r *Repository[A]) Events(ctx context.Context, id string) iter.Seq2[annals.Event, error] {
	return func(yield func(annals.Event, error) bool) {
		if err := r.usable(id); err != nil {
			yield(annals.Event{}, r.app.errorf("events", err))
			return
		}
		for e, err := range r.events(ctx, id, persistence.StreamQuery{}, nil) {
			if !yield(e, r.app.errorf("events", err)) || err != nil {
				return
			}
		}
	}
}

// Update loads the aggregate, calls decide, and saves. When somebody else saved
// the aggregate in between, it does all of that again, with growing random
// pauses, as often as [WithRetries] says; then it returns the conflict. An error
// of decide is returned as it is, and nothing is saved.
//
// A save whose outcome is unknown is repeated a few times. If it stays unknown,
// the error is [annals.ErrOutcomeUnknown]: calling Update again would decide
// again, so look first.
//
// Decide may be called several times, each time with a fresh aggregate: it must
// have no effect but on the aggregate. For work on several aggregates see
// [Application.Retry].
func (r *Repository[A]) Update(ctx context.Context, id string, decide func(*A) error) error {
	return r.app.retry(ctx, func() (again bool, err error) {
		a, err := r.Get(ctx, id)
		if err != nil {
			return false, err
		}
		if err := decide(a); err != nil {
			return false, err
		}
		agg := r.typ.AggregateOf(a)
		_, err = r.app.Save(ctx, agg)
		for n := 0; n < maxRepeats && errors.Is(err, annals.ErrOutcomeUnknown); n++ {
			_, err = r.app.Save(ctx, agg) // the same events: what is stored is recognised
		}
		return errors.Is(err, annals.ErrVersionConflict), err
	})
}

// load replays what the query selects, up to the first event for which stop
// reports true.
func (r *Repository[A]) load(
	ctx context.Context, id string, q persistence.StreamQuery, stop func(*annals.Event) bool,
) (*A, error) {
	if err := r.usable(id); err != nil {
		return nil, r.app.errorf("get", err)
	}
	a, err := r.typ.Replay(id, r.events(ctx, id, q, stop))
	if err != nil {
		return nil, r.app.errorf("get", err)
	}
	return a, nil
}

func (r *Repository[A]) usable(id string) error {
	if err := r.app.usable(); err != nil {
		return err
	}
	return annals.CheckID("stream id", id)
}

func (r *Repository[A]) events(
	ctx context.Context, id string, q persistence.StreamQuery, stop func(*annals.Event) bool,
) iter.Seq2[annals.Event, error] {
	return func(yield func(annals.Event, error) bool) {
		for stored, err := range r.app.recorder.ReadStream(ctx, id, q) {
			var e annals.Event
			if err == nil {
				e, err = r.app.mapper.Decode(&stored)
			}
			if err == nil && stop != nil && stop(&e) {
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// notFoundAt adds to a not-found error which state was asked for.
func notFoundAt(err error, at string) error {
	if notFound, ok := errors.AsType[*annals.NotFoundError](err); ok {
		e := *notFound
		e.At = at
		return &e
	}
	return err
}
