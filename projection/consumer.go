package projection

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Delivery is what the handlers of a consumer are given in the place of a transaction.
type Delivery struct {
	// Key is the same each time that an event is delivered to a projection of this name,
	// in whatever version, and that of no other event: an idempotency key for what is
	// called.
	Key string
}

// Consumer returns a view for handlers whose effects are no database: mails, calls of
// other services. They are called before the position is saved, so that each event is
// delivered at least once: again, with the same [Delivery.Key], if the process ends, the
// view cannot be reached, or somebody else changes what is parked, in between. The view
// keeps positions, leases and parked events: any view will do, also that of [Tracking].
func Consumer[Tx any](v persistence.View[Tx]) persistence.View[Delivery] { return consumer[Tx]{v} }

type consumer[Tx any] struct{ view persistence.View[Tx] }

// Update calls f with the ledger of the view that keeps the position.
func (c consumer[Tx]) Update(ctx context.Context, f func(context.Context, Delivery, persistence.Ledger) error) error {
	return c.view.Update(ctx, func(ctx context.Context, _ Tx, l persistence.Ledger) error { return f(ctx, Delivery{}, l) })
}

// deliverer is a view whose handlers are called outside of transactions.
type deliverer[Tx any] interface {
	delivery(projection string, it *item) Tx
}

func (c consumer[Tx]) delivery(projection string, it *item) Delivery {
	return Delivery{Key: projection + "/" + it.Event.ID}
}

// limited is a view that may keep nothing but positions.
type limited interface{ tracksOnly() bool }

func (c consumer[Tx]) tracksOnly() bool {
	l, ok := c.view.(limited)
	return ok && l.tracksOnly()
}

// Tracking returns a view for a [Consumer] that keeps positions by the trackings of a
// recorder. It keeps nothing else: there is no lease, so that every runner delivers each
// event; no event can be parked; there is one partition, and one version.
func Tracking(r persistence.Recorder) persistence.View[struct{}] { return tracking{r} }

type tracking struct{ recorder persistence.Recorder }

func (tracking) tracksOnly() bool { return true }

func (t tracking) Update(ctx context.Context, f func(context.Context, struct{}, persistence.Ledger) error) error {
	l := &trackingLedger{recorder: t.recorder}
	if err := f(ctx, struct{}{}, l); err != nil {
		return err
	}
	if l.next == nil {
		return nil
	}
	_, err := t.recorder.Record(ctx, persistence.Batch{Tracking: l.next})
	if errors.Is(err, annals.ErrTrackingConflict) {
		return errors.Join(errFenced, err)
	}
	return err
}

// trackingLedger knows the rows of positions only.
type trackingLedger struct {
	recorder persistence.Recorder
	next     *persistence.Tracking
}

func (l *trackingLedger) Get(ctx context.Context, key string) (string, bool, error) {
	if !strings.HasSuffix(key, "/position/00000") {
		return "", false, nil
	}
	position, ok, err := l.recorder.MaxTracking(ctx, key)
	if err != nil || !ok {
		return "", false, err
	}
	return row{Position: position, Of: 1}.encode(), true, nil
}

func (l *trackingLedger) List(ctx context.Context, prefix string, _ int) ([]persistence.LedgerEntry, error) {
	if !strings.HasSuffix(prefix, "/position/") {
		return nil, nil
	}
	key := prefix + "00000"
	value, ok, err := l.Get(ctx, key)
	if err != nil || !ok {
		return nil, err
	}
	return []persistence.LedgerEntry{{Key: key, Value: value}}, nil
}

func (l *trackingLedger) Swap(ctx context.Context, key, old, value string) (bool, error) {
	switch {
	case strings.HasSuffix(key, "/active"):
		return true, nil
	case !strings.HasSuffix(key, "/position/00000") || value == "":
		return false, fmt.Errorf("a tracking keeps positions, not %s: %w", key, annals.ErrUnsupported)
	}
	there, _, err := l.Get(ctx, key)
	if err != nil {
		return false, err
	}
	r, err := decodeRow(persistence.LedgerEntry{Key: key, Value: value})
	if err != nil {
		return false, err
	}
	if there == "" && old != "" {
		there = row{Of: 1}.encode() // position 0 is tracked by nothing
	}
	if l.next == nil && there != old {
		return false, nil
	}
	if there != value && r.Position > 0 {
		l.next = &persistence.Tracking{Name: key, Position: r.Position}
	}
	return true, nil
}
