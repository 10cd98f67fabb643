package application

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Log is a stream of events that stand for themselves, without an aggregate: the
// ids of all pages, say, in the order in which they were made. It is safe for
// concurrent use.
type Log[E any] struct {
	app *Application
	typ *annals.LogType[E]
	id  string
}

// Entry is an event of a [Log].
type Entry[E any] struct {
	// Event is the event with its envelope. Its Version is its place in the log,
	// from 1 on.
	Event annals.Event
	// Data is the event itself.
	Data E
}

// Range selects entries of a log. Its zero value selects all, in order.
type Range struct {
	// After excludes the versions up to this one. Defaults to 0: from the first.
	After int64
	// UpTo is the last version. Defaults to 0: no bound.
	UpTo int64
	// Descending yields the last entry first. Defaults to false.
	Descending bool
	// Limit is the greatest number of entries. Defaults to 0: no limit.
	Limit int
}

// NewLog returns the log that is stored in the stream with the id, and makes its
// events known to the application. It panics if a different event of the
// application has the same topic.
func NewLog[E any](app *Application, t *annals.LogType[E], id string) *Log[E] {
	if err := app.mapper.Register(t); err != nil {
		panic(fmt.Sprintf("application %s: NewLog: %v", app.name, err))
	}
	return &Log[E]{app: app, typ: t, id: id}
}

// Append adds an entry at the end. When somebody else was first it tries again, as
// often as [WithRetries] says.
func (l *Log[E]) Append(ctx context.Context, e E, opts ...annals.TriggerOption) (recordings Recordings, err error) {
	err = l.app.retry(ctx, func() (again bool, err error) {
		next, err := l.Next(ctx, e, opts...)
		if err != nil {
			return false, err
		}
		recordings, err = l.app.saveAgain(ctx, next)
		return errors.Is(err, annals.ErrVersionConflict), err
	})
	return recordings, err
}

// Next returns the next entry, to be saved together with others. When somebody
// else is first, the save gives [annals.ErrVersionConflict]; see
// [Application.Retry].
//
//	next, err := pages.Next(ctx, PageCreated{ID: page.ID()})
//	…
//	_, err = wiki.Save(ctx, page, next)
func (l *Log[E]) Next(ctx context.Context, e E, opts ...annals.TriggerOption) (Source, error) {
	version := int64(1)
	for last, err := range l.events(ctx, Range{Limit: 1, Descending: true}) {
		if err != nil {
			return nil, err
		}
		version = last.Version + 1 // also if it is of an unknown topic
	}
	return &events{l.typ.Event(l.id, version, e, opts...)}, nil
}

// First returns the first entry. It returns an [*annals.NotFoundError] if there is
// none.
func (l *Log[E]) First(ctx context.Context) (Entry[E], error) {
	return l.one(ctx, Range{Limit: 1})
}

// Last returns the last entry. It returns an [*annals.NotFoundError] if there is
// none.
func (l *Log[E]) Last(ctx context.Context) (Entry[E], error) {
	return l.one(ctx, Range{Limit: 1, Descending: true})
}

func (l *Log[E]) one(ctx context.Context, r Range) (Entry[E], error) {
	for e, err := range l.Entries(ctx, r) {
		return e, err
	}
	return Entry[E]{}, l.app.errorf("get", &annals.NotFoundError{Type: l.typ.Name(), ID: l.id, At: "(it has no entries)"})
}

// Entries yields entries in order. An error is the last that it yields. Events of
// unknown topics are left out, unless they are errors, see [WithUnknownEvents].
func (l *Log[E]) Entries(ctx context.Context, r Range) iter.Seq2[Entry[E], error] {
	return func(yield func(Entry[E], error) bool) {
		left := r.Limit
		if l.app.unknown != persistence.FailUnknown {
			r.Limit = 0 // the recorder would count what is left out
		}
		for e, err := range l.events(ctx, r) {
			data, ok := e.Data.(E)
			if err == nil && !ok {
				continue
			}
			if left--; !yield(Entry[E]{Event: e, Data: data}, err) || left == 0 {
				return
			}
		}
	}
}

// events yields the events of the log, those of unknown topics among them.
func (l *Log[E]) events(ctx context.Context, r Range) iter.Seq2[annals.Event, error] {
	return func(yield func(annals.Event, error) bool) {
		err := l.app.usable()
		if err == nil {
			err = annals.CheckID("stream id", l.id)
		}
		if err != nil {
			yield(annals.Event{}, l.app.errorf("read log", err))
			return
		}
		q := persistence.StreamQuery{After: r.After, UpTo: r.UpTo, Descending: r.Descending, Limit: r.Limit}
		for stored, err := range l.app.readStream(ctx, l.id, q) {
			var e annals.Event
			if err == nil {
				e, err = l.event(ctx, &stored)
			}
			if !yield(e, l.app.errorf("read log", err)) || err != nil {
				return
			}
		}
	}
}

func (l *Log[E]) event(ctx context.Context, stored *persistence.StoredEvent) (annals.Event, error) {
	e, err := l.app.mapper.Decode(ctx, stored)
	if err != nil {
		return annals.Event{}, err
	}
	if _, ok := e.Data.(E); !ok && !isUnknown(&e) {
		return annals.Event{}, &annals.UnknownTopicError{
			Topic: e.Topic, StreamID: e.StreamID, Version: e.Version, Where: "DefineLog(\"" + l.typ.Name() + "\")",
		}
	}
	return e, nil
}
