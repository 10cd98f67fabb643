package annalstest

import (
	"context"
	"io"
	"iter"
	"testing"

	"github.com/annals-es/annals/persistence"
)

// NewFaulty returns a recorder that does what inner does, but for the faults. It keeps
// snapshots, joins transactions and makes its tables if inner does, and closing it
// closes inner. Without faults it conforms to recordertest if inner does.
//
//	recorder, faults := annalstest.NewFaulty(t, memory.New())
//	faults.OnRecord(annalstest.LostAnswer())
func NewFaulty(tb testing.TB, inner persistence.Recorder) (persistence.Recorder, *Faults) {
	tb.Helper()
	if inner == nil {
		tb.Fatalf("NewFaulty: the recorder is nil")
	}
	f := new(Faults)
	tb.Cleanup(func() { f.report(tb) })
	return faultyOf(inner, f), f
}

// faultyOf returns a recorder with the optional abilities of inner, and no others.
func faultyOf(inner persistence.Recorder, f *Faults) persistence.Recorder {
	r := &faulty{inner, f}
	snapshots, keeps := inner.(persistence.SnapshotRecorder)
	joining, joins := inner.(persistence.TxRecorder)
	m, migrates := inner.(persistence.Migrator)
	s, t := faultySnapshots{snapshots, f}, faultyTx{joining, f}
	switch {
	case keeps && joins && migrates:
		return struct {
			*faulty
			faultySnapshots
			faultyTx
			persistence.Migrator
		}{r, s, t, m}
	case keeps && joins:
		return struct {
			*faulty
			faultySnapshots
			faultyTx
		}{r, s, t}
	case keeps && migrates:
		return struct {
			*faulty
			faultySnapshots
			persistence.Migrator
		}{r, s, m}
	case joins && migrates:
		return struct {
			*faulty
			faultyTx
			persistence.Migrator
		}{r, t, m}
	case keeps:
		return struct {
			*faulty
			faultySnapshots
		}{r, s}
	case joins:
		return struct {
			*faulty
			faultyTx
		}{r, t}
	case migrates:
		return struct {
			*faulty
			persistence.Migrator
		}{r, m}
	default:
		return r
	}
}

type faulty struct {
	inner  persistence.Recorder
	faults *Faults
}

// Close closes the inner recorder, if it can be closed.
func (r *faulty) Close() error {
	if c, ok := r.inner.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (r *faulty) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	return r.faults.recorded(ctx, func() ([]int64, error) { return r.inner.Record(ctx, b) })
}

func (f *Faults) recorded(ctx context.Context, do func() ([]int64, error)) ([]int64, error) {
	fault, err := f.next(ctx, record)
	if err != nil {
		return nil, err
	}
	positions, err := do()
	if err == nil && fault.after != nil {
		return nil, fault.after
	}
	return positions, err
}

func (r *faulty) ReadStream(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	return faultyRead(ctx, r.faults, readStream, r.inner.ReadStream(ctx, id, q))
}

func (r *faulty) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	return faultyRead(ctx, r.faults, readLog, r.inner.ReadLog(ctx, q))
}

func faultyRead[E any](ctx context.Context, f *Faults, m method, inner iter.Seq2[E, error]) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		var none E
		fault, err := f.next(ctx, m)
		if err != nil {
			yield(none, err)
			return
		}
		n := 0
		for e, err := range inner {
			if err == nil && fault.after != nil && n == fault.yields {
				err = fault.after
			}
			if err == nil {
				err = f.isDown()
			}
			if err != nil {
				yield(none, err)
				return
			}
			if n++; !yield(e, nil) {
				return
			}
		}
		if fault.after != nil {
			yield(none, fault.after)
		}
	}
}

func (r *faulty) MaxPosition(ctx context.Context) (position int64, ok bool, err error) {
	if _, err := r.faults.next(ctx, maxPosition); err != nil {
		return 0, false, err
	}
	return r.inner.MaxPosition(ctx)
}

func (r *faulty) Wait(ctx context.Context, after int64) error {
	if _, err := r.faults.next(ctx, wait); err != nil {
		return err
	}
	waiting, stop := r.faults.untilDown(ctx)
	defer stop()
	err := r.inner.Wait(waiting, after)
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		return context.Cause(waiting)
	}
	return err
}

func (r *faulty) MaxTracking(ctx context.Context, name string) (position int64, ok bool, err error) {
	if _, err := r.faults.next(ctx, maxTracking); err != nil {
		return 0, false, err
	}
	return r.inner.MaxTracking(ctx, name)
}

type faultySnapshots struct {
	inner  persistence.SnapshotRecorder
	faults *Faults
}

func (s faultySnapshots) RecordSnapshot(ctx context.Context, snapshot persistence.StoredSnapshot) error {
	fault, err := s.faults.next(ctx, recordSnapshot)
	if err == nil {
		err = s.inner.RecordSnapshot(ctx, snapshot)
	}
	if err == nil {
		err = fault.after
	}
	return err
}

func (s faultySnapshots) ReadSnapshot(ctx context.Context, id string) (persistence.StoredSnapshot, bool, error) {
	if _, err := s.faults.next(ctx, readSnapshot); err != nil {
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

func (t faultyTx) ReadStreamTx(
	ctx context.Context, tx any, id string, q persistence.StreamQuery,
) iter.Seq2[persistence.StoredEvent, error] {
	return faultyRead(ctx, t.faults, readStream, t.inner.ReadStreamTx(ctx, tx, id, q))
}
