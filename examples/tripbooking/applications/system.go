// Package applications has the applications of the system, and how they follow each other.
package applications

import (
	"context"
	"time"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/examples/tripbooking/flight"
	"github.com/annals-es/annals/examples/tripbooking/hotel"
	"github.com/annals-es/annals/examples/tripbooking/payment"
	"github.com/annals-es/annals/examples/tripbooking/trip"
	"github.com/annals-es/annals/system"
)

// Config is what the applications need of the world.
type Config struct {
	Gateway  Gateway
	Now      func() time.Time
	Patience time.Duration // how long a trip may take
}

// TripBooking is the system and its applications.
type TripBooking struct {
	Trips    *system.Node[*Trips]
	Flights  *system.Node[*Flights]
	Hotels   *system.Node[*Hotels]
	Payments *system.Node[*Payments]
	System   *system.System
}

// Define defines the system. Trips ask, and hear the answers: each of the others follows
// trips, and is followed by it. Nothing here says where events are stored, or who runs what.
func Define(c Config) *TripBooking {
	b := &TripBooking{
		Trips: system.App("trips", func(ctx context.Context, opts ...application.Option) (*Trips, error) {
			return OpenTrips(ctx, c.Now, c.Patience, opts...)
		}),
		Flights: system.App("flights", OpenFlights),
		Hotels:  system.App("hotels", OpenHotels),
		Payments: system.App("payments", func(ctx context.Context, opts ...application.Option) (*Payments, error) {
			return OpenPayments(ctx, c.Gateway, opts...)
		}),
	}
	b.System = system.Define("tripbooking",
		system.Pipe(b.Trips, b.Flights).Only(
			system.Event[trip.FlightRequested](), system.Event[trip.FlightCancelRequested]()),
		system.Pipe(b.Flights, b.Trips).Only(
			system.Event[flight.Reserved](), system.Event[flight.Cancelled]()),
		system.Pipe(b.Trips, b.Hotels).Only(
			system.Event[trip.RoomRequested](), system.Event[trip.RoomCancelRequested]()),
		system.Pipe(b.Hotels, b.Trips).Only(
			system.Event[hotel.RoomReserved](), system.Event[hotel.RoomRefused](), system.Event[hotel.RoomReleased]()),
		system.Pipe(b.Trips, b.Payments).Only(
			system.Event[trip.PaymentRequested](), system.Event[trip.PaymentCancelRequested]()),
		system.Pipe(b.Payments, b.Trips).Only(
			system.Event[payment.Charged](), system.Event[payment.Refused](), system.Event[payment.Cancelled]()),
	)
	return b
}
