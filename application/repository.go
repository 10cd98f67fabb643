package application

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Repository loads aggregates of one type. It is safe for concurrent use.
type Repository[A any] struct {
	app       *Application
	typ       *annals.Type[A]
	snapshots bool // the type has snapshots
	flat      bool // see checkCopies
}

// NewRepository returns a repository of the application, and makes the events of
// the type known to it.
//
// It panics where the program is wrong: if a different event of the application
// has the same topic, if the type is to have snapshots ([WithSnapshots], or the
// environment) and its state would not survive them, see [annals.SnapshotAs], and
// if the application has a cache ([WithCache]) and aggregates of the type cannot be
// copied: give them a method Clone.
func NewRepository[A any](app *Application, t *annals.Type[A]) *Repository[A] {
	r := &Repository[A]{app: app, typ: t}
	err := app.mapper.Register(t)
	if _, on := app.snapshots.of(t.Name()); on && err == nil {
		err = app.mapper.CheckSnapshots(t.SnapshotType())
		r.snapshots = true
		app.snapshots.taker(t.Name(), r.snapshot)
	}
	if app.cache != nil && err == nil {
		if r.flat, err = checkCopies[A](); err != nil {
			err = fmt.Errorf("WithCache, or %s of the environment: %w; give %v a method Clone that returns a copy, a *%[3]v "+
				"(the state of a decider can have none: keep such a part out of it)",
				keyCache, err, reflect.TypeFor[A]())
		}
	}
	if err != nil {
		panic(fmt.Sprintf("application %s: NewRepository: %v", app.name, err))
	}
	return r
}

// Get returns the aggregate as its last event left it. It returns an
// [*annals.NotFoundError] if there is none or if it was discarded, and
// [annals.ErrUndecodable] or [annals.ErrUnknownTopic] if an event cannot be read.
// What the caller does with the aggregate changes nothing for others.
func (r *Repository[A]) Get(ctx context.Context, id string) (*A, error) {
	err := r.usable(id)
	var a *A
	switch {
	case err != nil:
	case len(r.app.collected(ctx, id)) > 0:
		a, err = r.getCollected(ctx, id)
	case r.app.cache != nil:
		a, err = r.getCached(ctx, id)
	default:
		a, err = r.loadStored(ctx, id, 0)
	}
	if err != nil {
		return nil, r.app.errorf("get", err)
	}
	if r.snapshots && r.app.effectsOf(ctx) == nil {
		r.app.snapshots.reached(snapshotJob{r.typ.Name(), id}, r.typ.AggregateOf(a).Version())
	}
	return a, nil
}

// getCollected returns an aggregate that a policy has collected before in the same step:
// as it is stored, and will be.
func (r *Repository[A]) getCollected(ctx context.Context, id string) (*A, error) {
	collected := r.app.collected(ctx, id)
	if r.app.cache == nil || collected[0].Version == 1 {
		return r.loadStored(ctx, id, 0)
	}
	a, err := r.getCached(withoutEffects(ctx), id)
	if err != nil {
		return nil, err
	}
	version := r.typ.AggregateOf(a).Version()
	if version != collected[0].Version-1 { // somebody else has saved it since
		return r.loadStored(ctx, id, 0)
	}
	if err := r.typ.Advance(a, r.events(ctx, id, persistence.StreamQuery{After: version}, nil)); err != nil {
		return nil, err
	}
	if r.typ.AggregateOf(a).Discarded() {
		return nil, &annals.NotFoundError{Type: r.typ.Name(), ID: id, Discarded: true}
	}
	return a, nil
}

// GetOrNew is Get, but returns a new aggregate for an id that is new: what begin
// returns, which must have that id. A discarded aggregate is still an
// [*annals.NotFoundError].
//
//	counter, err := counters.GetOrNew(ctx, id, func() *Counter { return Counters.New(id, Started{}) })
func (r *Repository[A]) GetOrNew(ctx context.Context, id string, begin func() *A) (*A, error) {
	a, err := r.Get(ctx, id)
	if notFound, ok := errors.AsType[*annals.NotFoundError](err); !ok || notFound.Discarded {
		return a, err
	}
	a = begin()
	if a == nil || r.typ.AggregateOf(a).ID() != id {
		err := fmt.Errorf("what GetOrNew is given does not begin %s %q: %w", r.typ.Name(), id, annals.ErrConfiguration)
		return nil, r.app.errorf("get", err)
	}
	return a, nil
}

// GetVersion returns the aggregate as it was at a version, from 1 on. It returns
// an [*annals.NotFoundError] if it has no such version.
func (r *Repository[A]) GetVersion(ctx context.Context, id string, version int64) (*A, error) {
	err := r.usable(id)
	var a *A
	if err == nil && version >= 1 {
		a, err = r.loadStored(ctx, id, version)
	}
	if err == nil && (a == nil || r.typ.AggregateOf(a).Version() < version) {
		err = &annals.NotFoundError{Type: r.typ.Name(), ID: id}
	}
	if err != nil {
		return nil, r.app.errorf("get", notFoundAt(err, fmt.Sprintf("at version %d", version)))
	}
	return a, nil
}

// GetAt returns the aggregate as it was at a time: with its events in order, up
// to the first one that is later. It returns an [*annals.NotFoundError] if it
// did not exist then. It replays from the first event on, without a snapshot.
func (r *Repository[A]) GetAt(ctx context.Context, id string, t time.Time) (*A, error) {
	err := r.usable(id)
	var a *A
	if err == nil {
		later := func(e *annals.Event) bool { return e.Time.After(t) }
		a, err = r.typ.Replay(id, r.events(ctx, id, persistence.StreamQuery{}, later))
	}
	if err != nil {
		return nil, r.app.errorf("get", notFoundAt(err, "at "+t.UTC().Format(time.RFC3339Nano)))
	}
	return a, nil
}

// Events yields the events of one aggregate in order: its life. They are also
// there for a discarded aggregate; an unknown id yields none. Events of unknown
// topics are left out or kept as [WithUnknownEvents] says. An error is the last that
// it yields.
func (r *Repository[A]) Events(ctx context.Context, id string) iter.Seq2[annals.Event, error] {
	return func(yield func(annals.Event, error) bool) {
		if err := r.usable(id); err != nil {
			yield(annals.Event{}, r.app.errorf("events", err))
			return
		}
		for e, err := range r.events(ctx, id, persistence.StreamQuery{}, nil) {
			if r.app.skips(&e) {
				continue
			}
			if !yield(e, r.app.errorf("events", err)) || err != nil {
				return
			}
		}
	}
}

// Update loads the aggregate, calls decide, and saves, together with further
// sources such as [Do]. When somebody else saved the aggregate in between, it does
// all of that again, with growing random pauses, as often as [WithRetries] says;
// then it returns the conflict. A conflict on another stream, of a further source,
// is returned at once: those are not made anew. An error of decide is returned as it
// is, and nothing is saved.
//
// A save whose outcome is unknown is repeated a few times. If it stays unknown,
// the error is [annals.ErrOutcomeUnknown]: calling Update again would decide
// again, so look first.
//
// Decide may be called several times, each time with a fresh aggregate: it must
// have no effect but on the aggregate. For work on several aggregates see
// [Application.Retry].
func (r *Repository[A]) Update(ctx context.Context, id string, decide func(*A) error, with ...Source) error {
	_, err := r.update(ctx, func() (*A, error) { return r.Get(ctx, id) }, decide, with)
	return err
}

// update returns the aggregate as it was saved.
func (r *Repository[A]) update(
	ctx context.Context, load func() (*A, error), decide func(*A) error, with []Source,
) (a *A, err error) {
	err = r.app.retry(ctx, func() (again bool, err error) {
		if a, err = load(); err != nil {
			return false, err
		}
		if err := decide(a); err != nil {
			return false, err
		}
		_, err = r.app.saveAgain(ctx, append([]Source{r.typ.AggregateOf(a)}, with...)...)
		return isConflictOn(r.typ.AggregateOf(a).ID(), err), err
	})
	return a, err
}

// isConflictOn reports whether somebody else was first on the stream.
func isConflictOn(id string, err error) bool {
	conflict, ok := errors.AsType[*annals.VersionConflictError](err)
	return errors.Is(err, annals.ErrVersionConflict) && (!ok || conflict.StreamID == id)
}

// loadStored returns the aggregate as it was at a version, or as it is for 0, made
// of its snapshot, if there is one, and the events after it.
func (r *Repository[A]) loadStored(ctx context.Context, id string, version int64) (*A, error) {
	if r.snapshots {
		a, err := r.fromSnapshot(ctx, id, version)
		if err != nil {
			return nil, err
		}
		if a != nil && r.typ.AggregateOf(a).Discarded() {
			return nil, &annals.NotFoundError{Type: r.typ.Name(), ID: id, Discarded: true}
		}
		if a != nil {
			return a, nil
		}
	}
	return r.typ.Replay(id, r.events(ctx, id, persistence.StreamQuery{UpTo: version}, nil))
}

func (r *Repository[A]) usable(id string) error { return r.app.usableID(id) }

// events yields what the query selects, up to the first event for which stop
// reports true.
func (r *Repository[A]) events(
	ctx context.Context, id string, q persistence.StreamQuery, stop func(*annals.Event) bool,
) iter.Seq2[annals.Event, error] {
	return func(yield func(annals.Event, error) bool) {
		var e annals.Event // one for all: stop keeps it off the stack
		for stored, err := range r.app.readStream(ctx, id, q) {
			if err == nil {
				e, err = r.app.mapper.Decode(ctx, &stored)
			}
			switch {
			case err != nil:
				yield(annals.Event{}, err)
				return
			case stop != nil && stop(&e), !yield(e, nil):
				return
			}
		}
	}
}

func sequence(events []annals.Event) iter.Seq2[annals.Event, error] {
	return func(yield func(annals.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
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
