package recordertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals/persistence"
)

// ViewBackend is a database of views under test. Tx is what its transactions are.
type ViewBackend[Tx any] struct {
	// Create makes an empty database with a table of the user's own, for one test, and
	// returns its address. It has no ledger. It is removed by tb.Cleanup.
	Create func(tb testing.TB) (address string)

	// Open returns a handle on a database, which is closed by tb.Cleanup. It is called
	// several times for one address.
	Open func(tb testing.TB, address string) persistence.View[Tx]

	// Put stores a row in the user's own table, which has none of the key.
	Put func(ctx context.Context, tx Tx, key, value string) error

	// Rows returns the committed rows of the user's own table, as others see them.
	Rows func(ctx context.Context, address string) (map[string]string, error)
}

// RunView runs the conformance suite of views: a subtest for each sentence. All of
// them run in parallel, each on a database of its own.
func RunView[Tx any](t *testing.T, b ViewBackend[Tx]) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, v *viewed[Tx])
	}{
		{"rows and ledger are stored together", checkViewStores[Tx]},
		{"an error undoes rows and ledger, and is found in that of Update", checkViewError[Tx]},
		{"a panic undoes rows and ledger", checkViewPanic[Tx]},
		{"a swap changes nothing unless the old value is there", checkViewSwap[Tx]},
		{"entries are listed in the order of their bytes, by prefix and up to a limit", checkViewList[Tx]},
		{"of swaps of one key at one moment one wins", checkViewRace[Tx]},
		{"increments by swaps are all counted", checkViewCount[Tx]},
		{"views that begin at one moment make one ledger", checkViewBeginnings[Tx]},
		{"when the context has ended, nothing is stored", checkViewContext[Tx]},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := &viewed[Tx]{backend: b, address: b.Create(t)}
			v.View = v.open(t)
			c.run(t, v)
		})
	}
}

// viewed is the database of one check, and a handle on it.
type viewed[Tx any] struct {
	persistence.View[Tx]

	backend ViewBackend[Tx]
	address string
}

func (v *viewed[Tx]) open(t *testing.T) persistence.View[Tx] {
	t.Helper()
	return v.backend.Open(t, v.address)
}

// swap is one call of Swap.
type swap struct{ key, old, value string }

// do makes swaps that must succeed, in one transaction.
func (v *viewed[Tx]) do(t *testing.T, swaps ...swap) {
	t.Helper()
	err := v.Update(t.Context(), func(ctx context.Context, _ Tx, l persistence.Ledger) error {
		for _, s := range swaps {
			wantSwap(ctx, t, l, s, true)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("update: %v", err)
	}
}

func wantSwap(ctx context.Context, t *testing.T, l persistence.Ledger, s swap, want bool) {
	t.Helper()
	ok, err := l.Swap(ctx, s.key, s.old, s.value)
	if err != nil || ok != want {
		t.Errorf("swap of %q from %q to %q: %t, %v; want %t", s.key, s.old, s.value, ok, err, want)
	}
}

// wantEntries fails unless the ledger has just these entries, as Get and List say.
func wantEntries(ctx context.Context, t *testing.T, l persistence.Ledger, want map[string]string) {
	t.Helper()
	list, err := l.List(ctx, "", 0)
	if err != nil {
		t.Errorf("list: %v", err)
	}
	got := make(map[string]string)
	for _, e := range list {
		got[e.Key] = e.Value
	}
	if d := cmp.Diff(want, got); d != "" || len(list) != len(want) {
		t.Errorf("the ledger has %d entries, want %d: %s", len(list), len(want), d)
	}
	for _, key := range append(slices.Collect(maps.Keys(want)), "absent", "") {
		value, ok, err := l.Get(ctx, key)
		if wanted, there := want[key]; value != wanted || ok != there || err != nil {
			t.Errorf("get %q: %q, %t, %v; want %q, %t", key, value, ok, err, wanted, there)
		}
	}
}

// check fails unless rows and entries, as others see them, are these.
func (v *viewed[Tx]) check(t *testing.T, rows, entries map[string]string) {
	t.Helper()
	got, err := v.backend.Rows(t.Context(), v.address)
	if err != nil {
		t.Fatalf("rows: %v", err)
	}
	if d := cmp.Diff(rows, got); d != "" {
		t.Errorf("rows: %s", d)
	}
	err = v.open(t).Update(t.Context(), func(ctx context.Context, _ Tx, l persistence.Ledger) error {
		wantEntries(ctx, t, l, entries)
		return nil
	})
	if err != nil {
		t.Errorf("update: %v", err)
	}
}

// write puts a row "new" and an entry "new", and changes and removes others, which
// [viewed.fill] stored.
func (v *viewed[Tx]) write(ctx context.Context, t *testing.T, tx Tx, l persistence.Ledger) {
	t.Helper()
	if err := v.backend.Put(ctx, tx, "new", "row"); err != nil {
		t.Errorf("put: %v", err)
	}
	for _, s := range []swap{{"new", "", "entry"}, {"changed", "1", "2"}, {"removed", "1", ""}} {
		wantSwap(ctx, t, l, s, true)
	}
	wantEntries(ctx, t, l, map[string]string{"new": "entry", "changed": "2"})
}

func (v *viewed[Tx]) fill(t *testing.T) {
	t.Helper()
	v.do(t, swap{"changed", "", "1"}, swap{"removed", "", "1"})
}

// checkFilled fails unless all is as fill left it.
func (v *viewed[Tx]) checkFilled(t *testing.T) {
	t.Helper()
	v.check(t, map[string]string{}, map[string]string{"changed": "1", "removed": "1"})
}

func checkViewStores[Tx any](t *testing.T, v *viewed[Tx]) {
	v.fill(t)
	err := v.Update(t.Context(), func(ctx context.Context, tx Tx, l persistence.Ledger) error {
		v.write(ctx, t, tx, l)
		return nil
	})
	if err != nil {
		t.Errorf("update: %v", err)
	}
	v.check(t, map[string]string{"new": "row"}, map[string]string{"new": "entry", "changed": "2"})
}

func checkViewError[Tx any](t *testing.T, v *viewed[Tx]) {
	v.fill(t)
	failed := &failure{}
	err := v.Update(t.Context(), func(ctx context.Context, tx Tx, l persistence.Ledger) error {
		v.write(ctx, t, tx, l)
		return fmt.Errorf("wrapped: %w", failed)
	})
	wantIs(t, "update", err, failed)
	for _, kind := range []error{persistence.ErrBusy, persistence.ErrUnavailable} {
		if errors.Is(err, kind) {
			t.Errorf("the error of the function became %v", kind)
		}
	}
	v.checkFilled(t)
}

func checkViewPanic[Tx any](t *testing.T, v *viewed[Tx]) {
	v.fill(t)
	for range 20 { // more than a pool has connections
		func() {
			defer func() {
				if p := recover(); p != "broken" {
					t.Errorf("the panic became %v", p)
				}
			}()
			err := v.Update(t.Context(), func(ctx context.Context, tx Tx, l persistence.Ledger) error {
				v.write(ctx, t, tx, l)
				panic("broken")
			})
			t.Errorf("update returned %v", err)
		}()
	}
	v.checkFilled(t)
}

func checkViewSwap[Tx any](t *testing.T, v *viewed[Tx]) {
	v.do(t, swap{"a", "", "1"})
	entries := map[string]string{"a": "1"}
	for _, s := range []swap{
		{"a", "", "2"},
		{"a", "", "1"},
		{"a", "", ""},
		{"a", "2", "1"},
		{"a", "2", "3"},
		{"a", "2", ""},
		{"b", "1", "2"},
		{"b", "1", ""},
	} {
		err := v.Update(t.Context(), func(ctx context.Context, _ Tx, l persistence.Ledger) error {
			wantSwap(ctx, t, l, s, false)
			return nil
		})
		if err != nil {
			t.Errorf("update: %v", err)
		}
		v.check(t, map[string]string{}, entries)
	}
	for _, s := range []swap{
		{"a", "1", "1"},
		{"a", "1", "2"},
		{"b", "", ""},
		{"b", "", "'; DROP TABLE own; --"},
		{"A", "", "é\U0010ffff\n\t"},
		{"b", "'; DROP TABLE own; --", ""},
		{"b", "", "again"},
	} {
		v.do(t, s)
		if entries[s.key] = s.value; s.value == "" {
			delete(entries, s.key)
		}
		v.check(t, map[string]string{}, entries)
	}
}

func checkViewList[Tx any](t *testing.T, v *viewed[Tx]) {
	keys := []string{
		"a", "A", "a/", "a/1", "a/10", "a/2", "a%", "a%b", "a_", "a_b", "axb", "a b", "a\x7f", "a\x7fb", "a\u0080",
		"a\\", "a'", `a"`, "a$1", "a?", "a\n", "b", "B", "é", "e\u0301", "z", "ä", "Z", "ß", "ss", "\x01",
		"\ud7ff", "\ud7ffa", "\ue000", "\uffff", "\U00010000", "a\U0010ffff", "a\U0010ffffa", "\U0010ffff", "\U0010ffff\U0010ffff",
		strings.Repeat("long", 100),
	}
	var swaps []swap
	prefixes := []string{"", "absent", "aa"}
	for i, key := range keys {
		swaps = append(swaps, swap{key, "", fmt.Sprint(i + 1)})
		for at := range key {
			prefixes = append(prefixes, key[:at])
		}
		prefixes = append(prefixes, key)
	}
	v.do(t, swaps...)
	slices.SortFunc(swaps, func(a, b swap) int { return strings.Compare(a.key, b.key) })
	slices.Sort(prefixes)
	err := v.Update(t.Context(), func(ctx context.Context, _ Tx, l persistence.Ledger) error {
		for _, prefix := range slices.Compact(prefixes) {
			var want []persistence.LedgerEntry
			for _, s := range swaps {
				if strings.HasPrefix(s.key, prefix) {
					want = append(want, persistence.LedgerEntry{Key: s.key, Value: s.value})
				}
			}
			for _, limit := range []int{0, -1, 1, 2, len(keys) + 1} {
				wanted := want
				if limit > 0 {
					wanted = want[:min(limit, len(want))]
				}
				got, err := l.List(ctx, prefix, limit)
				if err != nil || !slices.Equal(got, wanted) {
					t.Errorf("list of %q up to %d: %q, %v; want %q", prefix, limit, got, err, wanted)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("update: %v", err)
	}
}

// checkViewRace lets handlers insert, change and remove one key at once.
func checkViewRace[Tx any](t *testing.T, v *viewed[Tx]) {
	handles := []persistence.View[Tx]{v, v.open(t)}
	const rivals = 4
	rows := map[string]string{}
	for round := range rounds(5) {
		now := ""
		for _, next := range []string{"value", "other", ""} {
			var won atomic.Int32
			row := fmt.Sprintf("%d %s", round, next)
			together(rivals, func(i int) {
				value := next
				if value != "" {
					value = fmt.Sprint(value, i)
				}
				ok := false
				err := handles[i%2].Update(t.Context(), func(ctx context.Context, tx Tx, l persistence.Ledger) (err error) {
					if ok, err = l.Swap(ctx, "key", now, value); err != nil || !ok {
						return err
					}
					return v.backend.Put(ctx, tx, row, "once") // the loser's would fail
				})
				if err != nil {
					t.Errorf("update: %v", err)
				}
				if ok {
					won.Add(1)
				}
			})
			if n := won.Load(); n != 1 {
				t.Fatalf("%d of %d swaps from %q to %q won", n, rivals, now, next)
			}
			rows[row] = "once"
			err := v.Update(t.Context(), func(ctx context.Context, _ Tx, l persistence.Ledger) (err error) {
				now, _, err = l.Get(ctx, "key")
				return err
			})
			if err != nil {
				t.Fatalf("update: %v", err)
			}
		}
	}
	v.check(t, rows, map[string]string{})
}

// checkViewCount lets handlers read and swap one key, again until each has won.
func checkViewCount[Tx any](t *testing.T, v *viewed[Tx]) {
	handles := []persistence.View[Tx]{v, v.open(t)}
	const writers, each = 4, 5
	together(writers, func(i int) {
		for n := 0; n < each && !t.Failed(); {
			ok := false
			err := handles[i%2].Update(t.Context(), func(ctx context.Context, _ Tx, l persistence.Ledger) error {
				old, _, err := l.Get(ctx, "count")
				if err != nil {
					return err
				}
				runtime.Gosched() // to the others
				ok, err = l.Swap(ctx, "count", old, old+"|")
				return err
			})
			if err != nil {
				t.Errorf("update: %v", err)
			}
			if ok {
				n++
			}
		}
	})
	v.check(t, map[string]string{}, map[string]string{"count": strings.Repeat("|", writers*each)})
}

func checkViewBeginnings[Tx any](t *testing.T, v *viewed[Tx]) {
	const views = 4
	handles := make([]persistence.View[Tx], views)
	for i := range handles {
		handles[i] = v.open(t)
	}
	entries := make(map[string]string)
	for i := range views {
		entries[fmt.Sprint(i)] = "there"
	}
	together(views, func(i int) {
		err := handles[i].Update(t.Context(), func(ctx context.Context, _ Tx, l persistence.Ledger) error {
			wantSwap(ctx, t, l, swap{fmt.Sprint(i), "", "there"}, true)
			return nil
		})
		if err != nil {
			t.Errorf("update: %v", err)
		}
	})
	v.check(t, map[string]string{}, entries)
}

func checkViewContext[Tx any](t *testing.T, v *viewed[Tx]) {
	v.fill(t)
	for want, ctx := range doneContexts(t.Context()) {
		err := v.Update(ctx, func(context.Context, Tx, persistence.Ledger) error {
			t.Errorf("the function was called although the context had ended: %v", want)
			return nil
		})
		wantIs(t, "update with a context that had ended", err, want)
	}
	for _, own := range []error{nil, &failure{}} {
		ctx, cancel := context.WithCancel(t.Context())
		err := v.Update(ctx, func(ctx context.Context, tx Tx, l persistence.Ledger) error {
			v.write(ctx, t, tx, l)
			cancel()
			return own
		})
		if own == nil {
			own = context.Canceled
		}
		wantIs(t, "update with a context that ended", err, own)
	}
	v.checkFilled(t)
}
