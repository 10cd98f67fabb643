package memory_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/recordertest"
)

type viewTx = *memory.ViewTx[string, int]

func put(t *testing.T, v *memory.View[string, int], rows map[string]int) {
	t.Helper()
	err := v.Update(t.Context(), func(_ context.Context, tx viewTx, _ persistence.Ledger) error {
		for key, row := range rows {
			tx.Put(key, row)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestATransactionSeesItsOwnWritesAndReadersDoNot(t *testing.T) {
	t.Parallel()
	v := memory.NewView[string, int]()
	put(t, v, map[string]int{"kept": 1, "changed": 2, "deleted": 3})
	before := map[string]int{"kept": 1, "changed": 2, "deleted": 3}
	after := map[string]int{"kept": 1, "changed": 20, "new": 4}
	broken := errors.New("broken")
	for _, want := range []struct {
		err  error
		rows map[string]int
	}{{broken, before}, {nil, after}} {
		err := v.Update(t.Context(), func(_ context.Context, tx viewTx, _ persistence.Ledger) error {
			tx.Put("changed", 20)
			tx.Delete("deleted")
			tx.Put("new", 4)
			if diff := cmp.Diff(after, maps.Collect(tx.All())); diff != "" {
				t.Errorf("in the transaction: %s", diff)
			}
			for key := range before {
				row, ok := tx.Get(key)
				if wanted, there := after[key]; row != wanted || ok != there {
					t.Errorf("%s is %d, %t in the transaction", key, row, ok)
				}
			}
			if diff := cmp.Diff(before, maps.Collect(v.All())); diff != "" {
				t.Errorf("outside of the transaction: %s", diff)
			}
			return want.err
		})
		if !errors.Is(err, want.err) {
			t.Errorf("update: %v, want %v", err, want.err)
		}
		if diff := cmp.Diff(want.rows, maps.Collect(v.All())); diff != "" {
			t.Errorf("after %v: %s", want.err, diff)
		}
		if v.Len() != len(want.rows) {
			t.Errorf("there are %d rows, want %d", v.Len(), len(want.rows))
		}
	}
	if row, ok := v.Get("changed"); row != 20 || !ok {
		t.Errorf("the changed row is %d, %t", row, ok)
	}
	if row, ok := v.Get("deleted"); row != 0 || ok {
		t.Errorf("the deleted row is %d, %t", row, ok)
	}
}

func TestRowsCanBeChangedWhileTheyAreRead(t *testing.T) {
	t.Parallel()
	v := memory.NewView[string, int]()
	put(t, v, map[string]int{"a": 1, "b": 2, "c": 3})
	err := v.Update(t.Context(), func(_ context.Context, tx viewTx, _ persistence.Ledger) error {
		seen := 0
		for key, row := range tx.All() {
			seen++
			tx.Delete(key)
			tx.Put(key+key, row)
		}
		if seen != 3 {
			t.Errorf("%d rows were read, want 3", seen)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for key := range v.All() {
		seen++
		put(t, v, map[string]int{key + "!": seen})
	}
	if seen != 3 || v.Len() != 6 {
		t.Errorf("%d rows were read, and there are %d; want 3 and 6", seen, v.Len())
	}
}

func TestAnUpdateWaitsForTheOneBeforeUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := memory.NewView[string, int]()
		waiting := make(chan error, 1)
		var begun atomic.Int32
		begin := func(context.Context, viewTx, persistence.Ledger) error { begun.Add(1); return nil } //nolint:unparam // as Update takes it
		err := v.Update(t.Context(), func(ctx context.Context, _ viewTx, _ persistence.Ledger) error {
			ended, cancel := context.WithCancel(ctx)
			go func() { waiting <- v.Update(ended, begin) }()
			go func() { _ = v.Update(ctx, begin) }()
			synctest.Wait()
			if n := begun.Load(); n != 0 {
				t.Errorf("%d others began in the transaction", n)
			}
			cancel()
			if err := <-waiting; !errors.Is(err, context.Canceled) {
				t.Errorf("the update whose context ended: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := begun.Load(); n != 1 {
			t.Errorf("%d others began, want the one whose context had not ended", n)
		}
	})
}

func TestViewConformance(t *testing.T) {
	t.Parallel()
	var views sync.Map
	at := func(address string) *memory.View[string, string] {
		v, _ := views.Load(address)
		return v.(*memory.View[string, string])
	}
	recordertest.RunView(t, recordertest.ViewBackend[*memory.ViewTx[string, string]]{
		Create: func(testing.TB) string {
			address := annals.NewID()
			views.Store(address, memory.NewView[string, string]())
			return address
		},
		Open: func(_ testing.TB, address string) persistence.View[*memory.ViewTx[string, string]] {
			return at(address)
		},
		Put: func(_ context.Context, tx *memory.ViewTx[string, string], key, value string) error {
			if _, ok := tx.Get(key); ok {
				return fmt.Errorf("there is a row of %q", key)
			}
			tx.Put(key, value)
			return nil
		},
		Rows: func(_ context.Context, address string) (map[string]string, error) {
			return maps.Collect(at(address).All()), nil
		},
	})
}
