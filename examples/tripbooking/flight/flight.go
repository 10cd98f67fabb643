// Package flight has reservations of seats.
package flight

import "github.com/annals-es/annals"

// Reservation is that of one trip, and has the trip's id.
type Reservation struct {
	annals.Aggregate
	Cancelled bool
}

// The events of a reservation.
type (
	// Reserved says that a trip has a seat.
	Reserved struct{ Flight string }
	// Cancelled says that it has it no more.
	Cancelled struct{}
)

// Apply evolves the reservation.
func (Reserved) Apply(*Reservation)    {}
func (Cancelled) Apply(r *Reservation) { r.Cancelled = true }

// Reservations names what is stored.
var Reservations = annals.Define("Reservation",
	annals.On[Reserved]("Reserved"),
	annals.On[Cancelled]("Cancelled"),
)

// Reserve reserves a seat for a trip. There is always one.
func Reserve(trip, flight string) *Reservation { return Reservations.New(trip, Reserved{flight}) }

// Cancel gives the seat back. It says so also if none was reserved: whoever asks waits for that.
func (r *Reservation) Cancel() {
	if !r.Cancelled {
		annals.Trigger(r, Cancelled{})
	}
}
