package application

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

// Application saves and loads aggregates, and reads their events. It is embedded
// in the application of a domain, which adds repositories and commands. It is
// safe for concurrent use.
type Application struct {
	name     string
	recorder persistence.Recorder
	owned    io.Closer // the recorder, if the application opened it
	mapper   *persistence.Mapper
	retries  int

	closing context.Context //nolint:containedctx // done when Close is called, with annals.ErrClosed
	cancel  context.CancelCauseFunc
	mu      sync.RWMutex // read-held by running saves
	closed  bool
}

// Source is what [Application.Save] takes: an aggregate.
type Source interface {
	// PendingEvents returns the events to save, in order.
	PendingEvents() []annals.Event
	// CollectEvents returns the same events and forgets them.
	CollectEvents() []annals.Event
}

// Notification is an event with its position in the application's log.
type Notification struct {
	// Position is the place in the log, in commit order: a position that is
	// visible means that no lower one will ever appear.
	Position int64
	// Event is the event.
	Event annals.Event
}

// Recordings are the notifications of the events that one save stored, in order.
type Recordings []Notification

// Position returns the position of the last event; 0 if nothing was saved.
func (r Recordings) Position() int64 {
	if len(r) == 0 {
		return 0
	}
	return r[len(r)-1].Position
}

// Open opens an application. Its events are in memory unless [WithRecorder] says
// otherwise. The name is that of the application's log: consumers know it by it.
//
// It returns [annals.ErrConfiguration] for a bad option, and the recorder's error
// if that cannot be used, such as [persistence.ErrSchema] if its tables are
// missing.
func Open(ctx context.Context, name string, opts ...Option) (*Application, error) {
	if err := annals.CheckID("application name", name); err != nil {
		return nil, err
	}
	cfg := config{retries: defaultRetries}
	for _, o := range opts {
		if err := o.apply(&cfg); err != nil {
			return nil, fmt.Errorf("application %s: open: %w", name, err)
		}
	}
	a := &Application{name: name, recorder: cfg.recorder, mapper: persistence.NewMapper(cfg.mapper), retries: cfg.retries}
	if a.recorder == nil {
		r := memory.New()
		a.recorder, a.owned = r, r
	}
	if err := a.mapper.Register(cfg.types...); err != nil {
		return nil, fmt.Errorf("application %s: open: %w", name, err)
	}
	if _, _, err := a.recorder.MaxPosition(ctx); err != nil {
		return nil, fmt.Errorf("application %s: open: %w", name, err)
	}
	a.closing, a.cancel = context.WithCancelCause(context.Background())
	return a, nil
}

// Name returns the application's name.
func (a *Application) Name() string { return a.name }

// Close ends the subscriptions and waits for running saves; afterwards every call
// returns [annals.ErrClosed]. A recorder given by [WithRecorder] stays open.
func (a *Application) Close() error {
	a.cancel(annals.ErrClosed)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	if a.owned != nil {
		return a.owned.Close()
	}
	return nil
}

// Save stores the pending events of the aggregates in one atomic step, and
// returns one recording per event, in order. The aggregates forget their pending
// events once they are stored. Saving nothing returns nothing.
//
// If it fails, the events stay pending, and nothing is stored, unless the error
// is [annals.ErrOutcomeUnknown]: then repeat the same save, which stores nothing
// twice. On [annals.ErrVersionConflict] somebody else was first: load the
// aggregate again and decide again, see [Repository.Update]. An event that would
// not come back as it is gives [annals.ErrUnencodable].
func (a *Application) Save(ctx context.Context, sources ...Source) (Recordings, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed || a.closing.Err() != nil {
		return nil, a.errorf("save", annals.ErrClosed)
	}
	var recordings Recordings
	var batch persistence.Batch
	for i, s := range sources {
		if s == nil {
			return nil, a.errorf("save", fmt.Errorf("aggregate %d is nil: %w", i+1, annals.ErrConfiguration))
		}
		for _, e := range s.PendingEvents() {
			stored, err := a.mapper.Encode(&e)
			if err != nil {
				return nil, a.errorf("save", err)
			}
			batch.Events = append(batch.Events, stored)
			recordings = append(recordings, Notification{Event: e})
		}
	}
	if len(recordings) == 0 {
		return nil, nil
	}
	if err := checkSources(sources, &batch); err != nil {
		return nil, a.errorf("save", err)
	}
	positions, err := a.recorder.Record(ctx, batch)
	if err != nil {
		return nil, a.errorf("save", err)
	}
	for i := range recordings {
		recordings[i].Position = positions[i]
	}
	for _, s := range sources {
		s.CollectEvents()
	}
	return recordings, nil
}

// checkSources finds what is no conflict with what is stored, but one within the
// save: the same aggregate given twice, or two that were loaded of one stream.
func checkSources(sources []Source, b *persistence.Batch) error {
	if len(sources) < 2 {
		return nil
	}
	err := b.Check()
	if conflict, ok := errors.AsType[*annals.VersionConflictError](err); ok {
		return fmt.Errorf("stream %q is there twice, with versions that do not follow each other; pass each aggregate once: %w",
			conflict.StreamID, annals.ErrConfiguration)
	}
	return err
}

// usable returns an error if the application is closed.
func (a *Application) usable() error {
	if a.closing.Err() != nil {
		return annals.ErrClosed
	}
	return nil
}

// errorf says which application could not do what.
func (a *Application) errorf(verb string, err error) error {
	if _, ok := errors.AsType[*Error](err); ok || err == nil {
		return err
	}
	return &Error{Application: a.name, Op: verb, Err: err}
}

// Error says which application could not do what. It unwraps to the reason.
type Error struct {
	// Application is the application's name, Op what it was to do: "save".
	Application, Op string
	// Err is the reason.
	Err error
}

// Error names the application, the operation and the reason.
func (e *Error) Error() string {
	return fmt.Sprintf("application %s: %s: %v", e.Application, e.Op, e.Err)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }
