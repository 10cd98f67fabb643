package application

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/hashchain"
)

// Application saves and loads aggregates, and reads their events. It is embedded
// in the application of a domain, which adds repositories and commands. It is
// safe for concurrent use.
type Application struct {
	name      string
	recorder  persistence.Recorder
	owned     io.Closer // the recorder, if the application opened it
	mapper    *persistence.Mapper
	retries   int
	chain     *hashchain.Linker // nil without a hash chain
	snapshots snapshots
	cache     *cache // nil if there is none

	unknown persistence.UnknownPolicy

	closing context.Context //nolint:containedctx // done when Close is called, with annals.ErrClosed
	cancel  context.CancelCauseFunc
	mu      sync.Mutex
	closed  bool           // no save begins any more
	saves   sync.WaitGroup // those that run
	after   []*afterSave   // what is called after a save
	ended   sync.Once      // what Close does when none runs any more
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

// Open opens an application. Its events are in memory unless an option or the
// environment, see [FromEnviron], says otherwise. The name is that of the
// application's log: consumers know it by it.
//
// It returns [annals.ErrConfiguration] for a bad option or setting,
// [annals.ErrUnsupported] for one that the recorder cannot serve, and the
// recorder's error if that cannot be used, such as [persistence.ErrSchema] if its
// tables are missing.
func Open(ctx context.Context, name string, opts ...Option) (*Application, error) {
	if err := annals.CheckID("application name", name); err != nil {
		return nil, err
	}
	a, err := open(ctx, name, opts)
	if err != nil {
		return nil, fmt.Errorf("application %s: open: %w", name, err)
	}
	return a, nil
}

func open(ctx context.Context, name string, opts []Option) (_ *Application, err error) {
	var cfg config
	for _, o := range opts {
		if err := o.apply(&cfg); err != nil {
			return nil, err
		}
	}
	a := &Application{name: name}
	if a.owned, err = cfg.complete(ctx, name); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && a.owned != nil {
			err = errors.Join(err, a.owned.Close())
		}
	}()
	a.recorder, a.retries = cfg.recorder, *cfg.retries
	if a.mapper, err = persistence.NewMapper(cfg.mapper); err != nil {
		return nil, err
	}
	if err := a.mapper.Register(cfg.types...); err != nil {
		return nil, err
	}
	a.unknown = cfg.mapper.Unknown
	if *cfg.chain {
		a.chain = hashchain.NewLinker(a.recorder)
	}
	if *cfg.cache > 0 {
		a.cache = newCache(*cfg.cache)
	}
	if err := a.snapshots.init(a.recorder, &cfg); err != nil {
		return nil, err
	}
	for _, t := range cfg.snapshotTypes {
		if err := a.mapper.CheckSnapshots(t); err != nil {
			return nil, err
		}
	}
	if _, _, err := a.recorder.MaxPosition(ctx); err != nil {
		return nil, ofOpen(err)
	}
	a.closing, a.cancel = context.WithCancelCause(context.Background())
	return a, nil
}

// Name returns the application's name.
func (a *Application) Name() string { return a.name }

// Recorder returns the recorder that the application stores its events in.
func (a *Application) Recorder() persistence.Recorder { return a.recorder }

// Close ends the subscriptions and waits for running saves, and up to ten seconds
// for the snapshots that they asked for; afterwards every call returns
// [annals.ErrClosed]. A recorder given by [WithRecorder] stays open.
func (a *Application) Close() (err error) {
	a.cancel(annals.ErrClosed)
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.saves.Wait()
	a.ended.Do(func() {
		a.snapshots.close()
		if a.owned != nil {
			err = a.owned.Close()
		}
	})
	return err
}

// begin registers a save, which Close waits for until a.saves.Done is called.
func (a *Application) begin() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return annals.ErrClosed
	}
	a.saves.Add(1)
	return nil
}

// usable returns an error if the application is closed.
func (a *Application) usable() error {
	if a.closing.Err() != nil {
		return annals.ErrClosed
	}
	return nil
}

// usableID returns an error if the application is closed, or the id is none.
func (a *Application) usableID(id string) error {
	if err := a.usable(); err != nil {
		return err
	}
	return annals.CheckID("stream id", id)
}

// errorf says which application could not do what.
func (a *Application) errorf(verb string, err error) error {
	if _, ok := errors.AsType[*Error](err); ok || err == nil {
		return err
	}
	if a.closing.Err() == nil {
		err = ofOpen(err)
	}
	return &Error{Application: a.name, Op: verb, Err: err}
}

// ofOpen says of an error of an open application what is closed.
func ofOpen(err error) error {
	if errors.Is(err, annals.ErrClosed) {
		return fmt.Errorf("the recorder was closed before the application: %w", err)
	}
	return err
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
