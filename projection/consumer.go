package projection

import (
	"context"

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

// limits are what a view cannot do.
type limits struct {
	oneRow   bool // it has one partition and one version
	noLedger bool // it keeps nothing but positions
}

// limited is a view that cannot do all.
type limited interface {
	limits(ctx context.Context) limits
}

func (c consumer[Tx]) limits(ctx context.Context) limits {
	if l, ok := c.view.(limited); ok {
		return l.limits(ctx)
	}
	return limits{}
}
