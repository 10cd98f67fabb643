package application

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// maxSnapshotQueue is how many aggregates may wait for a snapshot. What does not
// fit is told to the hook, and waits for a later save.
const maxSnapshotQueue = 10_000

// snapshots takes snapshots after saves, in a goroutine that lives as long as
// there is something to do.
type snapshots struct {
	recorder persistence.SnapshotRecorder // nil if the application has none
	every    map[string]int64             // by the name of the type; 0: by hand only
	others   *int64                       // for types that are not in every; nil: none
	failed   func(*SnapshotError)

	mu      sync.Mutex
	takers  map[string]func(ctx context.Context, id string) error // by the name of the type
	queue   []snapshotJob
	queued  map[snapshotJob]bool
	running bool
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
		return fmt.Errorf("snapshots: a %T keeps none: %w", r, annals.ErrUnsupported)
	}
	s.recorder, s.every, s.others, s.failed = recorder, cfg.snapshotEvery, cfg.snapshotOthers, cfg.snapshotFailed
	s.takers = make(map[string]func(context.Context, string) error)
	s.queued = make(map[snapshotJob]bool)
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
// versions.
func (s *snapshots) saved(events []persistence.StoredEvent) {
	if s.recorder == nil {
		return
	}
	for i := range events {
		e := &events[i]
		typ, _, _ := strings.Cut(e.Topic, ".")
		if every, on := s.of(typ); on && every > 0 && e.Version%every == 0 {
			s.enqueue(snapshotJob{typ, e.StreamID})
		}
	}
}

func (s *snapshots) enqueue(job snapshotJob) {
	s.mu.Lock()
	full := len(s.queue) >= maxSnapshotQueue
	if !s.queued[job] && s.takers[job.typ] != nil && !full {
		s.queued[job] = true
		s.queue = append(s.queue, job)
		if !s.running {
			s.running = true
			s.workers.Go(s.work)
		}
	}
	s.mu.Unlock()
	if full {
		s.fail(job.typ, job.id, "take", fmt.Errorf("%d aggregates wait for theirs; this one waits for a later save", maxSnapshotQueue))
	}
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
			s.fail(job.typ, job.id, "take", fmt.Errorf("panic of type %T", p))
		}
	}()
	err := take(context.Background(), job.id)
	if err != nil && !errors.Is(err, annals.ErrNotFound) { // it was discarded meanwhile
		s.fail(job.typ, job.id, "take", err)
	}
}

// wait returns when nothing is left to do.
func (s *snapshots) wait() { s.workers.Wait() }

// load returns the aggregate of its snapshot; nil if there is none that can be
// used.
func loadSnapshot[A any](ctx context.Context, app *Application, t *annals.Type[A], id string, upTo int64) (*A, error) {
	s := &app.snapshots
	stored, ok, err := s.recorder.ReadSnapshot(ctx, id)
	if err == nil && (!ok || upTo > 0 && stored.Version > upTo) {
		return nil, nil //nolint:nilnil // no snapshot is no error
	}
	var snapshot annals.Snapshot
	if err == nil {
		snapshot, err = app.mapper.DecodeSnapshot(ctx, t.SnapshotType(), &stored)
	}
	var a *A
	if err == nil {
		a, err = t.FromSnapshot(snapshot)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.fail(t.Name(), id, "use", err)
		return nil, nil //nolint:nilnil // the events say the same
	}
	return a, nil
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
	a, err := r.loadStored(ctx, id, 0)
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
