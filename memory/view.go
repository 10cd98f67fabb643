package memory

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/annals-es/annals/persistence"
)

// View keeps the rows of a read model in memory; they are gone when the process ends.
// It is safe for concurrent use. Its transactions come one after another; readers see
// what is committed, and do not wait for them.
//
// Rows are kept and handed out as they are: a handler that changes one must put another
// value in its place, and not change what it points to.
type View[K comparable, V any] struct {
	turn   chan struct{} // holds a token while there is a transaction; before mu
	mu     sync.RWMutex  // of both maps, which the transaction alone changes
	rows   map[K]V
	ledger map[string]string
}

// NewView returns an empty view.
func NewView[K comparable, V any]() *View[K, V] {
	return &View[K, V]{turn: make(chan struct{}, 1), rows: make(map[K]V), ledger: make(map[string]string)}
}

var _ persistence.View[*ViewTx[string, int]] = (*View[string, int])(nil)

// Update calls f in a transaction, once others have ended. F must not call Update of
// the same view, and must not use the transaction after it returns. If the context has
// ended by then, nothing is stored.
func (v *View[K, V]) Update(ctx context.Context, f func(context.Context, *ViewTx[K, V], persistence.Ledger) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case v.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-v.turn }()
	rows, entries := newDraft(v.rows), newDraft(v.ledger)
	if err := f(ctx, &ViewTx[K, V]{rows}, &ledger{entries}); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	rows.apply()
	entries.apply()
	return nil
}

// Get returns the row of a key; ok is false if there is none.
func (v *View[K, V]) Get(key K) (row V, ok bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row, ok = v.rows[key]
	return row, ok
}

// All yields the rows in no order, as they were when the iteration began.
func (v *View[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		v.mu.RLock()
		rows := maps.Clone(v.rows)
		v.mu.RUnlock()
		maps.All(rows)(yield)
	}
}

// Len returns the number of rows.
func (v *View[K, V]) Len() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.rows)
}

// ViewTx is a transaction of a [View]. It is for one goroutine at a time.
type ViewTx[K comparable, V any] struct{ rows *draft[K, V] }

// Get returns the row of a key; ok is false if there is none.
func (tx *ViewTx[K, V]) Get(key K) (row V, ok bool) { return tx.rows.get(key) }

// Put stores a row in the place of the one that the key has.
func (tx *ViewTx[K, V]) Put(key K, row V) { tx.rows.changes[key] = &row }

// Delete removes the row of a key, if there is one.
func (tx *ViewTx[K, V]) Delete(key K) { tx.rows.changes[key] = nil }

// All yields the rows in no order, as they were when the iteration began.
func (tx *ViewTx[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { maps.All(maps.Collect(tx.rows.all()))(yield) }
}

// ledger is that of a transaction.
type ledger struct{ entries *draft[string, string] }

func (l *ledger) Get(ctx context.Context, key string) (string, bool, error) {
	value, ok := l.entries.get(key)
	return value, ok, ctx.Err()
}

func (l *ledger) List(ctx context.Context, prefix string, limit int) ([]persistence.LedgerEntry, error) {
	var list []persistence.LedgerEntry
	for key, value := range l.entries.all() {
		if strings.HasPrefix(key, prefix) {
			list = append(list, persistence.LedgerEntry{Key: key, Value: value})
		}
	}
	slices.SortFunc(list, func(a, b persistence.LedgerEntry) int { return cmp.Compare(a.Key, b.Key) })
	if limit > 0 && limit < len(list) {
		list = list[:limit]
	}
	return list, ctx.Err()
}

func (l *ledger) Swap(ctx context.Context, key, old, value string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if have, _ := l.entries.get(key); have != old { // no value is empty
		return false, nil
	}
	l.entries.changes[key] = &value
	if value == "" {
		l.entries.changes[key] = nil
	}
	return true, nil
}

// draft is a map with changes that are not made yet; nil removes a key.
type draft[K comparable, V any] struct {
	base    map[K]V
	changes map[K]*V
}

func newDraft[K comparable, V any](base map[K]V) *draft[K, V] {
	return &draft[K, V]{base, make(map[K]*V)}
}

func (d *draft[K, V]) get(key K) (value V, ok bool) {
	if p, changed := d.changes[key]; changed {
		if p != nil {
			value = *p
		}
		return value, p != nil
	}
	value, ok = d.base[key]
	return value, ok
}

// all yields what there would be with the changes. There must be none meanwhile.
func (d *draft[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for key, value := range d.base {
			if _, changed := d.changes[key]; !changed && !yield(key, value) {
				return
			}
		}
		for key, p := range d.changes {
			if p != nil && !yield(key, *p) {
				return
			}
		}
	}
}

// apply makes the changes.
func (d *draft[K, V]) apply() {
	for key, p := range d.changes {
		if p == nil {
			delete(d.base, key)
		} else {
			d.base[key] = *p
		}
	}
}
