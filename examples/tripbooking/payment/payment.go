// Package payment records what a payment service has answered.
package payment

import "github.com/annals-es/annals"

// Payment is that of one trip, and has the trip's id.
type Payment struct {
	annals.Aggregate
	Charged int // what there is to refund
}

// The events of a payment.
type (
	// Charged says that the customer has paid.
	Charged struct{ Amount int }
	// Refused says why not.
	Refused struct{ Reason string }
	// Cancelled says that nothing is paid any more, and what was refunded: nothing, if nothing was charged.
	Cancelled struct{ Refunded int }
)

// Apply evolves the payment.
func (e Charged) Apply(p *Payment) { p.Charged = e.Amount }
func (Refused) Apply(*Payment)     {}
func (Cancelled) Apply(p *Payment) { p.Charged = 0 }

// Payments names what is stored.
var Payments = annals.Define("Payment",
	annals.On[Charged]("Charged"),
	annals.On[Refused]("Refused"),
	annals.On[Cancelled]("Cancelled"),
)

// New records the answer: why the payment is refused, or nothing.
func New(trip string, amount int, refused string) *Payment {
	if refused != "" {
		return Payments.New(trip, Refused{Reason: refused})
	}
	return Payments.New(trip, Charged{Amount: amount})
}

// Cancel records that what was charged is refunded: nothing, if nothing was asked for.
func (p *Payment) Cancel() { annals.Trigger(p, Cancelled{Refunded: p.Charged}) }
