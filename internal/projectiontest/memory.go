package projectiontest

import (
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

// MemoryTx is the transaction of a view in memory.
type MemoryTx = *memory.ViewTx[string, Row]

// WithMemoryLog returns the backend with its log in memory, which no other process can open.
func WithMemoryLog[Tx any](b Backend[Tx]) Backend[Tx] {
	var logs sync.Map
	b.Name += ", log in memory"
	b.CreateLog = func(tb testing.TB) string {
		tb.Helper()
		logs.Store(tb.Name(), memory.New())
		return tb.Name()
	}
	b.OpenLog = func(_ context.Context, address string) (Recorder, error) {
		r, _ := logs.Load(address)
		return r.(*memory.Recorder), nil //nolint:forcetypeassert // see above
	}
	b.Processes, b.Cut = false, nil
	return b
}

// WithMemoryView returns the backend with its view in memory.
func WithMemoryView[Tx any](b Backend[Tx]) Backend[MemoryTx] {
	type view = *memory.View[string, Row]
	var views sync.Map
	return Backend[MemoryTx]{
		Name: b.Name + ", view in memory", CreateLog: b.CreateLog, OpenLog: b.OpenLog,
		CreateView: func(tb testing.TB) string {
			tb.Helper()
			views.Store(tb.Name(), memory.NewView[string, Row]())
			return tb.Name()
		},
		OpenView: func(_ context.Context, address string) (persistence.View[MemoryTx], func(), error) {
			v, _ := views.Load(address)
			return v.(view), func() {}, nil //nolint:forcetypeassert // see above
		},
		Get: func(_ context.Context, tx MemoryTx, id string) (Row, error) { r, _ := tx.Get(id); return r, nil },
		Put: func(_ context.Context, tx MemoryTx, id string, r Row) error { tx.Put(id, r); return nil },
		Rows: func(_ context.Context, v persistence.View[MemoryTx]) (map[string]Row, error) {
			return maps.Collect(v.(view).All()), nil //nolint:forcetypeassert // see above
		},
	}
}
