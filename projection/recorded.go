package projection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Tracking returns a view for a [Consumer] that keeps positions by the trackings of a
// recorder, and leases and parked events in its ledger. With a recorder that has no ledger
// there is no lease, so that every runner delivers each event, and no event can be parked.
// There is one partition, and one version.
func Tracking(r persistence.Recorder) persistence.View[struct{}] {
	return Recorded(r, "consumer", func(key string) string { return key },
		func(ctx context.Context, f func(context.Context, struct{}) error, b func() persistence.Batch) error {
			if err := f(ctx, struct{}{}); err != nil {
				return err
			}
			batch := b()
			if batch.Tracking == nil && batch.Ledger == nil {
				return nil
			}
			_, err := r.Record(ctx, batch)
			return err
		})
}

// Recorded returns a view that is a recorder: what its transactions write is what update
// records. Update calls f, and then b, which returns the tracking and the entries of the
// ledger to record with it, in one step.
//
// The position of a projection is the tracking that name makes of the key of its row;
// leases and parked events are in the ledger of the recorder, if it has one, behind the
// prefix. There is one partition, and one version. Package system makes the followers of a
// system of it.
func Recorded[Tx any](
	r persistence.Recorder, prefix string, name func(key string) string,
	update func(ctx context.Context, f func(ctx context.Context, tx Tx) error, b func() persistence.Batch) error,
) persistence.View[Tx] {
	return &recorded[Tx]{r, prefix + "/", name, update}
}

type recorded[Tx any] struct {
	recorder persistence.Recorder
	prefix   string
	name     func(key string) string
	update   func(ctx context.Context, f func(ctx context.Context, tx Tx) error, b func() persistence.Batch) error
}

// limits says what the view cannot do.
func (v *recorded[Tx]) limits(ctx context.Context) limits {
	_, err := v.recorder.Record(ctx, persistence.Batch{Ledger: func(context.Context, persistence.Ledger) error { return nil }})
	return limits{oneRow: true, noLedger: errors.Is(err, annals.ErrUnsupported)}
}

func (v *recorded[Tx]) Update(ctx context.Context, f func(context.Context, Tx, persistence.Ledger) error) error {
	var l *recordedLedger
	err := v.update(ctx, func(ctx context.Context, tx Tx) error {
		l = &recordedLedger{recorder: v.recorder, prefix: v.prefix, name: v.name}
		return f(ctx, tx, l)
	}, func() persistence.Batch { return l.batch() })
	if errors.Is(err, annals.ErrTrackingConflict) {
		return errors.Join(errFenced, err)
	}
	return err
}

// recordedLedger reads what is recorded, and keeps what is to be recorded until the end.
// What it has read may be changed by then: the tracking, and each entry that is changed,
// is compared again when it is.
//
// A row is two things: its position is a tracking, and while events are parked, how many
// is an entry of the ledger. Nobody but the runner moves the first, and nobody changes the
// second but where events are parked.
type recordedLedger struct {
	recorder persistence.Recorder
	prefix   string
	name     func(key string) string

	tracking *persistence.Tracking
	swaps    []swap
}

type swap struct{ key, old, value string }

func isRow(key string) bool { return strings.HasSuffix(key, "/position/00000") }

// batch returns what is to be recorded.
func (l *recordedLedger) batch() (b persistence.Batch) {
	b.Tracking = l.tracking
	if len(l.swaps) == 0 {
		return b
	}
	b.Ledger = func(ctx context.Context, ledger persistence.Ledger) error {
		for _, s := range l.swaps {
			if err := swapped(ledger.Swap(ctx, s.key, s.old, s.value)); err != nil {
				return err
			}
		}
		return nil
	}
	return b
}

// read calls f with the ledger as it is recorded.
func (l *recordedLedger) read(ctx context.Context, f func(context.Context, persistence.Ledger) error) error {
	_, err := l.recorder.Record(ctx, persistence.Batch{Ledger: f})
	if errors.Is(err, annals.ErrUnsupported) {
		return nil // it has none, and nothing is in it
	}
	return err
}

func (l *recordedLedger) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	if strings.HasSuffix(key, "/active") {
		return "", false, nil // there is one version
	}
	if !isRow(key) {
		err = l.read(ctx, func(ctx context.Context, ledger persistence.Ledger) (err error) {
			value, ok, err = ledger.Get(ctx, l.prefix+key)
			return err
		})
		return value, ok, err
	}
	position, ok, err := l.recorder.MaxTracking(ctx, l.name(key))
	if err != nil || !ok {
		return "", false, err
	}
	parked := ""
	err = l.read(ctx, func(ctx context.Context, ledger persistence.Ledger) (err error) {
		parked, _, err = ledger.Get(ctx, l.prefix+key)
		return err
	})
	if err != nil {
		return "", false, err
	}
	r := row{Of: 1}
	if parked != "" {
		if err := json.Unmarshal([]byte(parked), &r); err != nil {
			return "", false, fmt.Errorf("the ledger says %q of %s: %w", parked, l.prefix+key, persistence.ErrCorrupt)
		}
	}
	r.Position = position
	return r.encode(), true, nil
}

func (l *recordedLedger) List(ctx context.Context, prefix string, limit int) (list []persistence.LedgerEntry, err error) {
	if strings.HasSuffix(prefix, "/position/") {
		key := prefix + "00000"
		value, ok, err := l.Get(ctx, key)
		if err != nil || !ok {
			return nil, err
		}
		return []persistence.LedgerEntry{{Key: key, Value: value}}, nil
	}
	err = l.read(ctx, func(ctx context.Context, ledger persistence.Ledger) (err error) {
		list, err = ledger.List(ctx, l.prefix+prefix, limit)
		return err
	})
	for i := range list {
		list[i].Key = strings.TrimPrefix(list[i].Key, l.prefix)
	}
	return list, err
}

func (l *recordedLedger) Swap(ctx context.Context, key, old, value string) (bool, error) {
	switch {
	case strings.HasSuffix(key, "/active"):
		return true, nil
	case isRow(key) && value != "":
		return l.move(key, old, value)
	case isRow(key):
		return false, fmt.Errorf("a tracking cannot be taken back, of %s: %w", key, annals.ErrUnsupported)
	}
	if strings.HasSuffix(key, "/lease") { // who has it is the question
		there, _, err := l.Get(ctx, key)
		if err != nil || there != old {
			return false, err
		}
	}
	l.swaps = append(l.swaps, swap{l.prefix + key, old, value})
	return true, nil
}

// move changes the row.
func (l *recordedLedger) move(key, old, value string) (bool, error) {
	from, to := row{}, row{}
	var err error
	if old != "" {
		from, err = decodeRow(persistence.LedgerEntry{Key: key, Value: old})
	}
	if err == nil {
		to, err = decodeRow(persistence.LedgerEntry{Key: key, Value: value})
	}
	if err != nil {
		return false, err
	}
	switch {
	case l.tracking != nil: // it was moved before, and not as far, or further
		l.tracking.Position = to.Position
		if to.Position == *l.tracking.After {
			l.tracking = nil
		}
	case to.Position != from.Position:
		l.tracking = &persistence.Tracking{Name: l.name(key), Position: to.Position, After: &from.Position}
	}
	if from.Parked > 0 || to.Parked > 0 {
		l.swaps = append(l.swaps, swap{l.prefix + key, from.parkedText(), to.parkedText()})
	}
	return true, nil
}

// parkedText is what the ledger has of a row beside its tracking.
func (r row) parkedText() string {
	if r.Parked == 0 {
		return ""
	}
	return row{Of: 1, Parked: r.Parked}.encode()
}
