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

// line is a batch in the file, with the rows that Do inserted.
type line struct {
	Events   []persistence.StoredEvent
	Tracking *persistence.Tracking
	Rows     []string
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
			f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
			if err != nil {
				return nil, err
			}
			r := &file{f: f, inner: memory.New(), closed: make(chan struct{}), write: writeDurably}
			r.load = r.loadNew
			r.release = func() { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
			return wrap(r), nil
		},
		Features:   Features{Durable: true, Processes: true, Transactions: true},
		Statements: &Statements{Insert: insertRow, Count: countRows},
	}
}

func writeDurably(f *os.File, line []byte) error {
	if _, err := f.Write(line); err != nil {
		return err
	}
	return f.Sync()
}

func insertRow(_ context.Context, tx any, key string) error {
	rows := tx.(*[]string)
	*rows = append(*rows, key)
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
		if _, err := r.inner.Record(context.Background(), persistence.Batch{Events: l.Events, Tracking: l.Tracking}); err != nil {
			return fmt.Errorf("the file is damaged: %w", err)
		}
		r.read += int64(len(text))
	}
	return nil
}

func (r *file) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.closed:
		return nil, annals.ErrClosed
	default:
	}
	if err := syscall.Flock(int(r.f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	defer r.release()
	if err := r.load(); err != nil {
		return nil, err
	}
	if info, err := r.f.Stat(); err != nil {
		return nil, err
	} else if info.Size() > r.read { // somebody was killed while writing
		if err := r.f.Truncate(r.read); err != nil {
			return nil, err
		}
	}
	return r.add(ctx, b)
}

func (r *file) add(ctx context.Context, b persistence.Batch) ([]int64, error) {
	l := line{Events: b.Events, Tracking: b.Tracking}
	if do := b.Do; do != nil {
		b.Do = func(ctx context.Context, _ any) error { return do(ctx, &l.Rows) }
	}
	before, _, err := r.inner.MaxPosition(ctx)
	if err != nil {
		return nil, err
	}
	positions, err := r.inner.Record(ctx, b)
	if err != nil || len(positions) > 0 && positions[0] <= before {
		return positions, err
	}
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	text = append(text, '\n')
	r.read += int64(len(text))
	return positions, r.write(r.f, text)
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
