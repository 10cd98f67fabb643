package applications

import (
	"context"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/examples/tripbooking/payment"
	"github.com/annals-es/annals/examples/tripbooking/trip"
)

// Gateway is a payment service. A call may come again, after a crash or a conflict: with the
// same key it must do nothing again, and answer as it did.
type Gateway interface {
	// Charge says why it refuses; refused is empty if the customer is charged. An error says
	// that there is no answer: the call is repeated.
	Charge(ctx context.Context, c Call) (refused string, err error)
	Refund(ctx context.Context, c Call) error
}

// Call is what a gateway is asked to do.
type Call struct {
	Key      string // the idempotency key: the id of the event that asks for it
	Trip     string
	Customer string // of a charge
	Amount   int
}

// Payments is the application of the payments. It calls the gateway.
type Payments struct {
	*application.Application
	payments *application.Repository[payment.Payment]
	gateway  Gateway
}

// OpenPayments opens the application.
func OpenPayments(ctx context.Context, g Gateway, opts ...application.Option) (*Payments, error) {
	app, err := application.Open(ctx, "payments", opts...)
	if err != nil {
		return nil, err
	}
	return &Payments{app, application.NewRepository(app, payment.Payments), g}, nil
}

// Policy calls the gateway, and records what it has answered. If that cannot be saved, the
// policy is called again for the same event, and so is the gateway, with the same key.
func (a *Payments) Policy(ctx context.Context, n application.Notification, p *application.Processing) error {
	call := Call{Key: n.Event.ID, Trip: n.Event.StreamID}
	switch e := n.Event.Data.(type) {
	case trip.PaymentRequested:
		call.Customer, call.Amount = e.Customer, e.Amount
		refused, err := a.gateway.Charge(ctx, call)
		if err != nil {
			return err
		}
		p.Collect(payment.New(call.Trip, e.Amount, refused))
	case trip.PaymentCancelRequested:
		// If the request was given up, there is no payment, and nothing to refund: it says so.
		one, err := a.payments.GetOrNew(ctx, call.Trip, func() *payment.Payment { return payment.Payments.Begin(call.Trip) })
		if err != nil {
			return err
		}
		if call.Amount = one.Charged; call.Amount > 0 {
			if err := a.gateway.Refund(ctx, call); err != nil {
				return err
			}
		}
		one.Cancel()
		p.Collect(one)
	}
	return nil
}
