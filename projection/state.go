package projection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// What a ledger has of the projection "counts" in its version 2:
//
//	counts/active                the version that readers see
//	counts@2/lease               who runs it
//	counts@2/position/00000      how far partition 0 is: a row
//	counts@2/parked/000…0042     a parked event: ParkedEvent
//
// The row of a partition is changed by whatever concerns the partition: by its worker
// with each transaction, by Retry and Drop, by a switch. Who changes it says what it was
// before, and finds out so that somebody else was there: this is the fence.
type ledgerKeys struct {
	name    string
	version int
}

func (k ledgerKeys) active() string { return k.name + "/active" }
func (k ledgerKeys) prefix() string { return fmt.Sprintf("%s@%d/", k.name, k.version) }
func (k ledgerKeys) lease() string  { return k.prefix() + "lease" }
func (k ledgerKeys) rows() string   { return k.prefix() + "position/" }
func (k ledgerKeys) row(partition int) string {
	return fmt.Sprintf("%s%05d", k.rows(), partition)
}
func (k ledgerKeys) parked() string { return k.prefix() + "parked/" }
func (k ledgerKeys) parkedAt(position int64) string {
	return fmt.Sprintf("%s%020d", k.parked(), position)
}

// row is how far a partition is.
type row struct {
	Position int64 `json:"position"`
	Of       int   `json:"of"`                 // how many partitions there are
	Parked   int   `json:"parked,omitempty"`   // how many events of the partition are parked
	Replaced bool  `json:"replaced,omitempty"` // a newer version is active

	text string // as it was read: newer code may write more
}

func (r row) encode() string {
	if r.text != "" {
		return r.text
	}
	text, _ := json.Marshal(r) //nolint:errchkjson // numbers
	return string(text)
}

func decodeRow(e persistence.LedgerEntry) (row, error) {
	var r row
	if err := json.Unmarshal([]byte(e.Value), &r); err != nil || r.Of < 1 {
		return row{}, fmt.Errorf("the ledger says %q of %s: %w", e.Value, e.Key, persistence.ErrCorrupt)
	}
	r.text = e.Value
	return r, nil
}

// rows are the partitions of a version, in order.
type rows []row

// readRows returns the partitions, none if the version was never started.
func readRows(ctx context.Context, l persistence.Ledger, k ledgerKeys) (rows, error) {
	entries, err := l.List(ctx, k.rows(), 0)
	if err != nil {
		return nil, err
	}
	all := make(rows, len(entries))
	for i, e := range entries {
		if all[i], err = decodeRow(e); err != nil {
			return nil, err
		}
		if all[i].Of != len(entries) {
			return nil, fmt.Errorf("the ledger has %d partitions of %s, and %s says %d: %w",
				len(entries), k.prefix(), e.Key, all[i].Of, persistence.ErrCorrupt)
		}
	}
	return all, nil
}

func (rs rows) least() int64 {
	return slices.MinFunc(rs, byPosition).Position
}

func (rs rows) greatest() int64 {
	return slices.MaxFunc(rs, byPosition).Position
}

func byPosition(a, b row) int {
	switch {
	case a.Position < b.Position:
		return -1
	case a.Position > b.Position:
		return 1
	default:
		return 0
	}
}

// has reports whether an event was handled.
func (rs rows) has(position int64, streamID string) bool {
	return len(rs) > 0 && position <= rs[partitionOf(streamID, len(rs))].Position
}

// partitionOf returns which of n partitions has a stream.
func partitionOf(streamID string, n int) int {
	if n == 1 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(streamID))
	return int(h.Sum64() % uint64(n)) //nolint:gosec // small and positive
}

// errFenced says that the ledger is not as the runner left it.
var errFenced = errors.New("another runner, or a command, changed the ledger")

// put changes a row in the ledger from what it was.
func put(ctx context.Context, l persistence.Ledger, key string, old, r row) error {
	return swapped(l.Swap(ctx, key, old.encode(), r.encode()))
}

// changed returns the row, to be changed.
func (r row) changed() row {
	r.text = ""
	return r
}

// swapped is the error of a swap that must not fail.
func swapped(ok bool, err error) error {
	if err == nil && !ok {
		return errFenced
	}
	return err
}

// readActive returns the active version; 0 if there is none.
func readActive(ctx context.Context, l persistence.Ledger, k ledgerKeys) (int, error) {
	text, ok, err := l.Get(ctx, k.active())
	if err != nil || !ok {
		return 0, err
	}
	version, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("the ledger says %q of %s: %w", text, k.active(), persistence.ErrCorrupt)
	}
	return version, nil
}

// ActiveVersion returns the version of a projection that readers of a view see; 0 if the
// view has none yet.
func ActiveVersion[Tx any](ctx context.Context, v persistence.View[Tx], name string) (version int, err error) {
	err = v.Update(ctx, func(ctx context.Context, _ Tx, l persistence.Ledger) error {
		version, err = readActive(ctx, l, ledgerKeys{name: name})
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("projection %s: active version: %w", name, err)
	}
	return version, nil
}

// Forget removes what a view knows of a version of a projection: how far it is, and its
// parked events. The version begins anew when it is started again. The tables are the
// caller's to drop. The active version can only be forgotten when it is the only one.
// It returns [annals.ErrUnsupported] for a view of [Tracking].
func Forget[Tx any](ctx context.Context, p *Projection[Tx], v persistence.View[Tx]) error {
	if v, ok := v.(limited); ok && v.limits(ctx).oneRow {
		return p.errorf("forget", fmt.Errorf("a tracking cannot be taken back: %w", annals.ErrUnsupported))
	}
	k := ledgerKeys{p.name, p.version}
	return p.errorf("forget", v.Update(ctx, func(ctx context.Context, _ Tx, l persistence.Ledger) error {
		active, err := readActive(ctx, l, k)
		if err != nil {
			return err
		}
		if active == p.version {
			others, err := l.List(ctx, p.name+"@", 0)
			if err != nil {
				return err
			}
			for _, e := range others {
				if !strings.HasPrefix(e.Key, k.prefix()) {
					return fmt.Errorf("version %d is the active one, and %s is there: %w", active, e.Key, annals.ErrConfiguration)
				}
			}
			if err := swapped(l.Swap(ctx, k.active(), strconv.Itoa(active), "")); err != nil {
				return err
			}
		}
		entries, err := l.List(ctx, k.prefix(), 0)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := swapped(l.Swap(ctx, e.Key, e.Value, "")); err != nil {
				return err
			}
		}
		return nil
	}))
}
