package sqlite_test

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/sqlite"
)

// last returns the error that a read ends with.
func last[T any](read iter.Seq2[T, error]) (last error) {
	for _, err := range read {
		last = err
	}
	return last
}

// TestAReadWaitsForAConnectionNoLongerThanItsContext is the counterpart of
// TestNewWaitsForAConnectionNoLongerThanItsContext.
func TestAReadWaitsForAConnectionNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	r := open(t, filepath.Join(t.TempDir(), "x.db"), sqlite.WithReaders(2))
	if err := r.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Record(t.Context(), batch(event("fido", 1))); err != nil {
		t.Fatal(err)
	}
	all := map[string]func(ctx context.Context) error{
		"stream":       func(ctx context.Context) error { return last(r.ReadStream(ctx, "fido", persistence.StreamQuery{})) },
		"log":          func(ctx context.Context) error { return last(r.ReadLog(ctx, persistence.LogQuery{})) },
		"max position": func(ctx context.Context) error { _, _, err := r.MaxPosition(ctx); return err },
		"max tracking": func(ctx context.Context) error { _, _, err := r.MaxTracking(ctx, "x"); return err },
		"snapshot":     func(ctx context.Context) error { _, _, err := r.ReadSnapshot(ctx, "fido"); return err },
	}
	release := r.TakeReaders()
	for name, read := range all {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	release()
	var wg sync.WaitGroup
	for name, read := range all { // each gives its connection back: there are more reads than connections
		for range 5 {
			wg.Go(func() {
				if err := read(t.Context()); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
	wg.Wait()
	r.TakeReaders()() // all are back
}
