package projection_test

import (
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/annals-es/annals/internal/projectiontest"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

// The suite with log and view in memory, as the model of the others.
func TestSuiteInMemory(t *testing.T) {
	type tx = *memory.ViewTx[string, projectiontest.Row]
	var logs, views sync.Map
	projectiontest.Run(t, projectiontest.Backend[tx]{
		Name:      "memory",
		CreateLog: func(tb testing.TB) string { tb.Helper(); logs.Store(tb.Name(), memory.New()); return tb.Name() },
		OpenLog: func(_ context.Context, address string) (projectiontest.Recorder, error) {
			r, _ := logs.Load(address)
			return r.(*memory.Recorder), nil
		},
		CreateView: func(tb testing.TB) string {
			tb.Helper()
			views.Store(tb.Name(), memory.NewView[string, projectiontest.Row]())
			return tb.Name()
		},
		OpenView: func(_ context.Context, address string) (persistence.View[tx], func(), error) {
			v, _ := views.Load(address)
			return v.(*memory.View[string, projectiontest.Row]), func() {}, nil
		},
		Get: func(_ context.Context, tx tx, id string) (projectiontest.Row, error) {
			r, _ := tx.Get(id)
			return r, nil
		},
		Put: func(_ context.Context, tx tx, id string, r projectiontest.Row) error { tx.Put(id, r); return nil },
		Rows: func(_ context.Context, v persistence.View[tx]) (map[string]projectiontest.Row, error) {
			return maps.Collect(v.(*memory.View[string, projectiontest.Row]).All()), nil
		},
	})
}
