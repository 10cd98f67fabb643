package annalstest

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Fault is what goes wrong with one call of a recorder.
type Fault struct {
	before  error
	instead error
	after   error
	gate    <-chan struct{}
	yields  int
}

// Pass is no fault: the call goes through.
func Pass() Fault { return Fault{} }

// Before fails a call with the error before anything is done.
func Before(err error) Fault { return Fault{before: err} }

// Instead stores nothing, and says that this is not known: the connection was lost
// before the commit. The error is [annals.ErrOutcomeUnknown].
func Instead() Fault {
	return Fault{instead: fmt.Errorf("annalstest: the connection was lost: %w", annals.ErrOutcomeUnknown)}
}

// LostAnswer stores everything, and says that this is not known: the connection was
// lost after the commit. The error is [annals.ErrOutcomeUnknown].
func LostAnswer() Fault {
	return After(fmt.Errorf("annalstest: the answer was lost: %w", annals.ErrOutcomeUnknown))
}

// After stores everything, and then returns the error.
func After(err error) Fault { return Fault{after: err} }

// Delayed lets a call go through once the gate is closed, or fails it with the
// context's error.
func Delayed(gate <-chan struct{}) Fault { return Fault{gate: gate} }

// BreakAfter ends a read with the error, after it yielded n events.
func BreakAfter(n int, err error) Fault { return Fault{yields: n, after: err} }

// Faults are what goes wrong with a recorder. Each queue has the faults of the next
// calls, one for each; a call that finds its queue empty goes through. It is safe
// for concurrent use.
type Faults struct {
	mu        sync.Mutex
	record    queue
	read      queue
	snapshots queue
}

type queue struct {
	faults []Fault
	calls  int
}

// OnRecord queues faults for the next calls of Record and RecordTx.
func (f *Faults) OnRecord(faults ...Fault) { f.add(&f.record, faults) }

// OnRead queues faults for the next reads of streams and of the log.
func (f *Faults) OnRead(faults ...Fault) { f.add(&f.read, faults) }

// OnSnapshot queues faults for the next calls of RecordSnapshot and ReadSnapshot.
func (f *Faults) OnSnapshot(faults ...Fault) { f.add(&f.snapshots, faults) }

// Records, Reads and Snapshots return how many calls there were.
func (f *Faults) Records() int { return f.count(&f.record) }

// Reads returns how many reads of streams and of the log there were.
func (f *Faults) Reads() int { return f.count(&f.read) }

// Snapshots returns how many snapshots were written or read.
func (f *Faults) Snapshots() int { return f.count(&f.snapshots) }

func (f *Faults) add(q *queue, faults []Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q.faults = append(q.faults, faults...)
}

func (f *Faults) count(q *queue) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return q.calls
}

// next returns the fault of a call, once its gate is open.
func (f *Faults) next(ctx context.Context, q *queue) (Fault, error) {
	f.mu.Lock()
	q.calls++
	var fault Fault
	if len(q.faults) > 0 {
		fault, q.faults = q.faults[0], q.faults[1:]
	}
	f.mu.Unlock()
	if fault.gate != nil {
		select {
		case <-fault.gate:
		case <-ctx.Done():
			return fault, ctx.Err()
		}
	}
	return fault, fault.before
}

// NewFaulty returns a recorder that does what inner does, but for the faults. It
// keeps snapshots and joins transactions if inner does.
//
//	recorder, faults := annalstest.NewFaulty(memory.New())
//	faults.OnRecord(annalstest.LostAnswer())
func NewFaulty(inner persistence.Recorder) (persistence.Recorder, *Faults) {
	f := new(Faults)
	r := &faulty{inner, f}
	snapshots, keeps := inner.(persistence.SnapshotRecorder)
	joins, joined := inner.(persistence.TxRecorder)
	s, t := faultySnapshots{snapshots, f}, faultyTx{joins, f}
	switch {
	case keeps && joined:
		return struct {
			*faulty
			faultySnapshots
			faultyTx
		}{r, s, t}, f
	case keeps:
		return struct {
			*faulty
			faultySnapshots
		}{r, s}, f
	case joined:
		return struct {
			*faulty
			faultyTx
		}{r, t}, f
	default:
		return r, f
	}
}

type faulty struct {
	persistence.Recorder

	faults *Faults
}

// Close closes the inner recorder, if it can be closed.
func (r *faulty) Close() error {
	if c, ok := r.Recorder.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (r *faulty) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	return r.faults.recorded(ctx, func() ([]int64, error) { return r.Recorder.Record(ctx, b) })
}

func (f *Faults) recorded(ctx context.Context, record func() ([]int64, error)) ([]int64, error) {
	fault, err := f.next(ctx, &f.record)
	if err == nil {
		err = fault.instead
	}
	if err != nil {
		return nil, err
	}
	positions, err := record()
	if err == nil && fault.after != nil {
		return nil, fault.after
	}
	return positions, err
}

func (r *faulty) ReadStream(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	return faultyRead(ctx, r.faults, r.Recorder.ReadStream(ctx, id, q))
}

func (r *faulty) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	return faultyRead(ctx, r.faults, r.Recorder.ReadLog(ctx, q))
}

func faultyRead[E any](ctx context.Context, f *Faults, inner iter.Seq2[E, error]) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		var none E
		fault, err := f.next(ctx, &f.read)
		if err != nil {
			yield(none, err)
			return
		}
		n := 0
		for e, err := range inner {
			if err == nil && fault.after != nil && n == fault.yields {
				yield(none, fault.after)
				return
			}
			n++
			if !yield(e, err) || err != nil {
				return
			}
		}
		if fault.after != nil {
			yield(none, fault.after)
		}
	}
}

type faultySnapshots struct {
	inner  persistence.SnapshotRecorder
	faults *Faults
}

func (s faultySnapshots) RecordSnapshot(ctx context.Context, snapshot persistence.StoredSnapshot) error {
	fault, err := s.faults.next(ctx, &s.faults.snapshots)
	if err == nil {
		err = fault.instead
	}
	if err == nil {
		err = s.inner.RecordSnapshot(ctx, snapshot)
	}
	if err == nil {
		err = fault.after
	}
	return err
}

func (s faultySnapshots) ReadSnapshot(ctx context.Context, id string) (persistence.StoredSnapshot, bool, error) {
	fault, err := s.faults.next(ctx, &s.faults.snapshots)
	if err == nil {
		err = fault.after
	}
	if err != nil {
		return persistence.StoredSnapshot{}, false, err
	}
	return s.inner.ReadSnapshot(ctx, id)
}

type faultyTx struct {
	inner  persistence.TxRecorder
	faults *Faults
}

func (t faultyTx) RecordTx(ctx context.Context, tx any, b persistence.Batch) ([]int64, error) {
	return t.faults.recorded(ctx, func() ([]int64, error) { return t.inner.RecordTx(ctx, tx, b) })
}
