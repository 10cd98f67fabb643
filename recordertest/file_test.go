//go:build unix

package recordertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

// file is the simplest recorder that has every feature: a file with a line for
// each batch, which is locked while one is added. Each handle keeps in memory what
// it has read of it.
type file struct {
	writing sync.Mutex // held by the one who has the lock of the file, or waits for it

	mu     sync.Mutex
	f      *os.File
	inner  *memory.Recorder
	read   int64         // how much of the file is in memory
	closed chan struct{} // closed by Close

	// What defects replace.
	load    func() error                        // reads what was added to the file
	write   func(f *os.File, line []byte) error // adds to it, durably
	release func()                              // gives the lock back
}

// line is what the file has of one save, or of one transaction: its events, its
// trackings, the rows that were inserted with it; or a snapshot.
type line struct {
	Events    []persistence.StoredEvent
	Trackings []persistence.Tracking
	Rows      []string
	Snapshot  *persistence.StoredSnapshot
}

// fileBackend is the backend of file, whose handles are made by wrap.
func fileBackend(wrap func(*file) Recorder) Backend {
	return Backend{
		Name: "file",
		Create: func(tb testing.TB) string {
			tb.Helper()
			return filepath.Join(tb.TempDir(), "events")
		},
		Open: func(_ context.Context, path string) (Recorder, error) {
			r, err := openFile(path)
			if err != nil {
				return nil, err
			}
			return wrap(r), nil
		},
		Features:   Features{Durable: true, Processes: true, Transactions: true, Snapshots: true, Joins: true},
		Statements: &Statements{Insert: insertRow, Count: countRows, Begin: beginFile},
	}
}

// fileTx is a transaction of the caller's own: a handle that holds the lock, and
// the line that it is going to add.
type fileTx struct {
	file *file
	line line
}

func beginFile(_ context.Context, path string) (tx any, commit, rollback func() error, err error) {
	r, err := openFile(path)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := errors.Join(syscall.Flock(int(r.f.Fd()), syscall.LOCK_EX), r.load()); err != nil {
		return nil, nil, nil, errors.Join(err, r.Close())
	}
	x := &fileTx{file: r}
	return x, func() error { return errors.Join(r.append(x.line), r.Close()) }, r.Close, nil // to close gives the lock back
}

func (r *file) RecordTx(ctx context.Context, tx any, b persistence.Batch) ([]int64, error) {
	x, ok := tx.(*fileTx)
	if !ok {
		return nil, fmt.Errorf("a %T is no transaction of a file: %w", tx, annals.ErrUnsupported)
	}
	added, positions, _, err := x.file.add(ctx, b)
	x.line.Events = append(x.line.Events, added.Events...)
	x.line.Rows = append(x.line.Rows, added.Rows...)
	x.line.Trackings = append(x.line.Trackings, added.Trackings...)
	return positions, err
}

func (r *file) ReadStreamTx(
	ctx context.Context, tx any, id string, q persistence.StreamQuery,
) iter.Seq2[persistence.StoredEvent, error] {
	x, ok := tx.(*fileTx)
	if !ok {
		err := fmt.Errorf("a %T is no transaction of a file: %w", tx, annals.ErrUnsupported)
		return func(yield func(persistence.StoredEvent, error) bool) { yield(persistence.StoredEvent{}, err) }
	}
	return x.file.inner.ReadStream(ctx, id, q)
}

func openFile(path string) (*file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	r := &file{f: f, inner: memory.New(), closed: make(chan struct{}), write: writeDurably}
	r.load = r.loadNew
	r.release = func() { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
	return r, nil
}

func writeDurably(f *os.File, line []byte) error {
	if _, err := f.Write(line); err != nil {
		return err
	}
	return f.Sync()
}

func insertRow(_ context.Context, tx any, key string) error {
	switch tx := tx.(type) {
	case *line:
		tx.Rows = append(tx.Rows, key)
	case *fileTx:
		tx.line.Rows = append(tx.line.Rows, key)
	}
	return nil
}

func countRows(_ context.Context, path, key string) (n int, err error) {
	data, err := os.ReadFile(path)
	for text := range bytes.Lines(data) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return 0, err
		}
		for _, row := range l.Rows {
			if row == key {
				n++
			}
		}
	}
	return n, err
}

func (r *file) Close() error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.closed:
		return nil
	default:
	}
	close(r.closed)
	return errors.Join(r.inner.Close(), r.f.Close())
}

// loadNew reads the lines that were added to the file. A line that was not written
// to its end does not count.
func (r *file) loadNew() error {
	select {
	case <-r.closed:
		return nil // inner knows
	default:
	}
	data, err := io.ReadAll(io.NewSectionReader(r.f, r.read, 1<<40))
	if err != nil {
		return err
	}
	for text := range bytes.Lines(data) {
		if !bytes.HasSuffix(text, []byte("\n")) {
			break
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return err
		}
		if err := l.replay(r.inner); err != nil {
			return fmt.Errorf("the file is damaged: %w", err)
		}
		r.read += int64(len(text))
	}
	return nil
}

func (l *line) replay(r *memory.Recorder) error {
	ctx := context.Background()
	_, err := r.Record(ctx, persistence.Batch{Events: l.Events})
	for _, t := range l.Trackings {
		_, e := r.Record(ctx, persistence.Batch{Tracking: &t})
		err = errors.Join(err, e)
	}
	if l.Snapshot != nil {
		err = errors.Join(err, r.RecordSnapshot(ctx, *l.Snapshot))
	}
	return err
}

func (r *file) Record(ctx context.Context, b persistence.Batch) (positions []int64, err error) {
	fresh := false
	err = r.locked(func() error {
		var added line
		if added, positions, fresh, err = r.add(ctx, b); err != nil {
			return err
		}
		return r.append(added)
	})
	if err != nil {
		return nil, err
	}
	if fresh && b.Fresh != nil {
		*b.Fresh = true
	}
	return positions, nil
}

func (r *file) RecordSnapshot(ctx context.Context, s persistence.StoredSnapshot) error {
	return r.locked(func() error {
		if err := r.inner.RecordSnapshot(ctx, s); err != nil {
			return err
		}
		return r.append(line{Snapshot: &s})
	})
}

func (r *file) ReadSnapshot(ctx context.Context, id string) (persistence.StoredSnapshot, bool, error) {
	inner, err := r.fresh()
	if err != nil {
		return persistence.StoredSnapshot{}, false, err
	}
	return inner.ReadSnapshot(ctx, id)
}

// locked calls f when this handle alone may write, and all that was written is in
// memory.
func (r *file) locked(f func() error) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	select {
	case <-r.closed:
		return annals.ErrClosed
	default:
	}
	if err := syscall.Flock(int(r.f.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	defer r.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(); err != nil {
		return err
	}
	if info, err := r.f.Stat(); err != nil {
		return err
	} else if info.Size() > r.read { // somebody was killed while writing
		if err := r.f.Truncate(r.read); err != nil {
			return err
		}
	}
	return f()
}

// add stores a batch in memory, and returns what the file is to have of it:
// nothing of a repeat, which is not fresh.
func (r *file) add(ctx context.Context, b persistence.Batch) (added line, positions []int64, fresh bool, err error) {
	if b.Ledger != nil {
		return line{}, nil, false, fmt.Errorf("a file has no ledger: %w", annals.ErrUnsupported)
	}
	b.Fresh = &fresh
	l := line{Events: b.Events}
	if b.Tracking != nil {
		l.Trackings = append(l.Trackings, *b.Tracking)
	}
	if do := b.Do; do != nil {
		b.Do = func(ctx context.Context, _ any) error { return do(ctx, &l) }
	}
	if positions, err = r.inner.Record(ctx, b); err != nil || !fresh {
		return line{}, positions, false, err
	}
	return l, positions, true, nil
}

// append writes a line, unless it is empty.
func (r *file) append(l line) error {
	if len(l.Events)+len(l.Trackings)+len(l.Rows) == 0 && l.Snapshot == nil {
		return nil
	}
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	r.read += int64(len(text))
	return r.write(r.f, text)
}

// fresh returns what is in memory, once that is all there is.
func (r *file) fresh() (*memory.Recorder, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inner, r.load()
}

func (r *file) ReadStream(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	inner, err := r.fresh()
	if err != nil {
		return func(yield func(persistence.StoredEvent, error) bool) { yield(persistence.StoredEvent{}, err) }
	}
	return inner.ReadStream(ctx, id, q)
}

func (r *file) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	inner, err := r.fresh()
	if err != nil {
		return func(yield func(persistence.Notification, error) bool) { yield(persistence.Notification{}, err) }
	}
	return inner.ReadLog(ctx, q)
}

func (r *file) MaxPosition(ctx context.Context) (int64, bool, error) {
	inner, err := r.fresh()
	if err != nil {
		return 0, false, err
	}
	return inner.MaxPosition(ctx)
}

func (r *file) MaxTracking(ctx context.Context, name string) (int64, bool, error) {
	inner, err := r.fresh()
	if err != nil {
		return 0, false, err
	}
	return inner.MaxTracking(ctx, name)
}

func (r *file) Wait(ctx context.Context, after int64) error {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		position, _, err := r.MaxPosition(ctx)
		if err != nil || position > after {
			return err
		}
		select {
		case <-poll.C:
		case <-r.closed:
			return annals.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
