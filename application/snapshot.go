package application

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// maxSnapshotQueue is how many aggregates may wait for a snapshot. What does not
// fit is told to the hook, and waits for a later save.
const maxSnapshotQueue = 10_000

// maxClosing is how long Close waits for snapshots.
const maxClosing = 10 * time.Second

// snapshots takes snapshots after saves, in a goroutine that lives as long as
// there is something to do.
type snapshots struct {
	recorder persistence.SnapshotRecorder // nil if the application has none
	every    map[string]int64             // by the name of the type; 0: by hand only
	others   *int64                       // for types that are not in every; nil: none
	failed   func(*SnapshotError)

	closing context.Context //nolint:containedctx // done when Close does not wait any longer
	giveUp  context.CancelFunc

	mu      sync.Mutex
	takers  map[string]func(ctx context.Context, id string) error // by the name of the type
	queue   []snapshotJob
	queued  map[snapshotJob]bool
	joined  map[snapshotJob]int64 // versions that a joined save went past: it may not be committed
	running bool
	closed  bool
	workers sync.WaitGroup
}

type snapshotJob struct{ typ, id string }

// SnapshotError says which snapshot could not be taken, or could not be used. The
// save or load that it belongs to went well: a load then replays all events.
type SnapshotError struct {
	// Type and ID say which aggregate it is.
	Type, ID string
	// Op is "take" or "use".
	Op string
	// Err is the reason. That of a snapshot that was made by other code, such as
	// one with other fields, is an [annals.ErrUndecodable].
	Err error
}

// Error names the aggregate and the reason.
func (e *SnapshotError) Error() string {
	return fmt.Sprintf("application: cannot %s the snapshot of %s %q: %v", e.Op, e.Type, e.ID, e.Err)
}

// Unwrap returns the reason.
func (e *SnapshotError) Unwrap() error { return e.Err }

func (s *snapshots) init(r persistence.Recorder, cfg *config) error {
	if len(cfg.snapshotEvery) == 0 && cfg.snapshotOthers == nil {
		return nil
	}
	recorder, ok := r.(persistence.SnapshotRecorder)
	if !ok {
		return fmt.Errorf("WithSnapshots, or %s of the environment: a %T keeps no snapshots: %w", keySnapshots, r, annals.ErrUnsupported)
	}
	s.recorder, s.every, s.others, s.failed = recorder, cfg.snapshotEvery, cfg.snapshotOthers, cfg.snapshotFailed
	s.takers = make(map[string]func(context.Context, string) error)
	s.queued = make(map[snapshotJob]bool)
	s.joined = make(map[snapshotJob]int64)
	s.closing, s.giveUp = context.WithCancel(context.Background())
	return nil
}

// of returns how often a type has snapshots; on is false if it has none.
func (s *snapshots) of(typ string) (every int64, on bool) {
	if s.recorder == nil {
		return 0, false
	}
	if every, on = s.every[typ]; on {
		return every, true
	}
	if s.others == nil {
		return 0, false
	}
	return *s.others, true
}

// taker says how a type's snapshots are taken.
func (s *snapshots) taker(typ string, take func(ctx context.Context, id string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.takers[typ] == nil {
		s.takers[typ] = take
	}
}

func (s *snapshots) fail(typ, id, op string, err error) {
	if s.failed != nil {
		s.failed(&SnapshotError{Type: typ, ID: id, Op: op, Err: err})
	}
}

// saved queues the aggregates that went past a multiple of their type's number of
// versions. Those of a joined save are not committed yet: they are queued when the
// version is seen to be, see reached.
func (s *snapshots) saved(events []persistence.StoredEvent, joined bool) {
	if s.recorder == nil {
		return
	}
	for i := range events {
		e := &events[i]
		typ, _, _ := strings.Cut(e.Topic, ".")
		every, on := s.of(typ)
		switch job := (snapshotJob{typ, e.StreamID}); {
		case !on || every == 0:
		case e.Version%every != 0:
			if !joined {
				s.reached(job, e.Version)
			}
		case joined:
			s.wait(job, e.Version)
		default:
			s.enqueue(job)
		}
	}
}

// wait keeps a job until its version is committed.
func (s *snapshots) wait(job snapshotJob, version int64) {
	s.mu.Lock()
	_, waits := s.joined[job]
	full := !waits && len(s.joined) >= maxSnapshotQueue
	if !full {
		s.joined[job] = version
	}
	s.mu.Unlock()
	if full {
		s.full(job)
	}
}

// reached is told that a version of an aggregate is committed.
func (s *snapshots) reached(job snapshotJob, version int64) {
	s.mu.Lock()
	wanted, waits := s.joined[job]
	if waits = waits && wanted <= version; waits {
		delete(s.joined, job)
	}
	s.mu.Unlock()
	if waits {
		s.enqueue(job)
	}
}

func (s *snapshots) enqueue(job snapshotJob) {
	s.mu.Lock()
	wanted := !s.closed && !s.queued[job] && s.takers[job.typ] != nil
	full := wanted && len(s.queue) >= maxSnapshotQueue
	if wanted && !full {
		s.queued[job] = true
		s.queue = append(s.queue, job)
		if !s.running {
			s.running = true
			s.workers.Go(s.work)
		}
	}
	s.mu.Unlock()
	if full {
		s.full(job)
	}
}

func (s *snapshots) full(job snapshotJob) {
	s.fail(job.typ, job.id, "take", fmt.Errorf("%d aggregates wait for theirs; this one waits for a later save", maxSnapshotQueue))
}

func (s *snapshots) work() {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.running = false
			s.mu.Unlock()
			return
		}
		job := s.queue[0]
		s.queue = s.queue[1:]
		delete(s.queued, job)
		take := s.takers[job.typ]
		s.mu.Unlock()
		s.takeOne(job, take)
	}
}

// takeOne takes a snapshot. What goes wrong, also a panic of an Apply, is told to the hook.
func (s *snapshots) takeOne(job snapshotJob, take func(context.Context, string) error) {
	defer func() {
		if p := recover(); p != nil {
			s.fail(job.typ, job.id, "take", fmt.Errorf("panic of type %T in %s", p, panicked()))
		}
	}()
	err := take(s.closing, job.id)
	switch {
	case err == nil, errors.Is(err, annals.ErrNotFound): // it was discarded meanwhile
	case s.closing.Err() != nil:
		s.fail(job.typ, job.id, "take", fmt.Errorf("Close waited for %v: %w", maxClosing, annals.ErrClosed))
	default:
		s.fail(job.typ, job.id, "take", err)
	}
}

// panicked returns the function that panicked, for a deferred function that
// recovered. The value of the panic may quote data, and is not told.
func panicked() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for panics := false; ; {
		frame, more := frames.Next()
		switch inRuntime := strings.HasPrefix(frame.Function, "runtime."); {
		case inRuntime:
			panics = true
		case panics:
			return fmt.Sprintf("%s (%s:%d)", frame.Function, path.Base(frame.File), frame.Line)
		}
		if !more {
			return "a function that is not known"
		}
	}
}

// close returns when nothing is left to do, or gives up what is left after a while.
func (s *snapshots) close() {
	if s.recorder == nil {
		return
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	timer := time.AfterFunc(maxClosing, s.giveUp)
	s.workers.Wait()
	timer.Stop()
	s.giveUp()
}

// fromSnapshot returns the aggregate as it was at a version, or as it is for 0, made
// of its snapshot and the events after it; nil if there is no snapshot that can be
// used.
func (r *Repository[A]) fromSnapshot(ctx context.Context, id string, version int64) (*A, error) {
	a, err := r.readSnapshot(ctx, id, version)
	there := false
	if a != nil && err == nil {
		there, err = r.advance(ctx, a, version)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case a == nil && err == nil:
		return nil, nil //nolint:nilnil // no snapshot is no error
	case !there:
		if err == nil {
			err = fmt.Errorf("it is of version %d, and the stream has no such event of that time: was a backup restored?",
				r.typ.AggregateOf(a).Version())
		}
		r.app.snapshots.fail(r.typ.Name(), id, "use", err)
		return nil, nil //nolint:nilnil // the events say what it was to say
	}
	return a, err
}

// readSnapshot returns the aggregate of its snapshot; nil if there is none, or a
// later one only.
func (r *Repository[A]) readSnapshot(ctx context.Context, id string, version int64) (*A, error) {
	stored, ok, err := r.app.snapshots.recorder.ReadSnapshot(ctx, id)
	if err != nil || !ok || version > 0 && stored.Version > version {
		return nil, err
	}
	snapshot, err := r.app.mapper.DecodeSnapshot(ctx, r.typ.SnapshotType(), &stored)
	if err != nil {
		return nil, err
	}
	return r.typ.FromSnapshot(snapshot)
}

// advance takes an aggregate that was made of a snapshot on by the events after it.
// They are read from the last event on that is in the snapshot, which is compared:
// a snapshot may be of a history that is not there any more. If it is not there,
// nothing was done.
func (r *Repository[A]) advance(ctx context.Context, a *A, version int64) (there bool, err error) {
	agg := r.typ.AggregateOf(a)
	last, at := agg.Version(), agg.ModifiedAt()
	later := func(yield func(annals.Event, error) bool) {
		for stored, err := range r.app.readStream(ctx, agg.ID(), persistence.StreamQuery{After: last - 1, UpTo: version}) {
			var e annals.Event
			switch {
			case err != nil:
			case !there:
				if there = stored.Version == last && stored.Time.Equal(at); !there {
					return
				}
				continue
			default:
				e, err = r.app.mapper.Decode(ctx, &stored)
			}
			if !yield(e, err) {
				return
			}
		}
	}
	return there, r.typ.Advance(a, later)
}

// Snapshot takes a snapshot of the aggregate as it is stored now. It returns
// [annals.ErrUnsupported] unless [WithSnapshots] has the type, and the errors of
// [Repository.Get].
func (r *Repository[A]) Snapshot(ctx context.Context, id string) error {
	err := r.usable(id)
	if err == nil {
		err = r.snapshot(ctx, id)
	}
	return r.app.errorf("snapshot", err)
}

func (r *Repository[A]) snapshot(ctx context.Context, id string) error {
	if !r.snapshots {
		return fmt.Errorf("WithSnapshots does not have %s: %w", r.typ.Name(), annals.ErrUnsupported)
	}
	a, err := r.loadStored(withoutEffects(ctx), id, 0)
	if err != nil {
		return err
	}
	snapshot, err := r.typ.TakeSnapshot(a)
	if err != nil {
		return err
	}
	stored, err := r.app.mapper.EncodeSnapshot(ctx, r.typ.SnapshotType(), &snapshot)
	if err != nil {
		return err
	}
	return r.app.snapshots.recorder.RecordSnapshot(ctx, stored)
}
