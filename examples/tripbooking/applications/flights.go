package applications

import (
	"context"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/examples/tripbooking/flight"
	"github.com/annals-es/annals/examples/tripbooking/trip"
)

// Flights is the application of the reservations.
type Flights struct {
	*application.Application
	reservations *application.Repository[flight.Reservation]
}

// OpenFlights opens the application.
func OpenFlights(ctx context.Context, opts ...application.Option) (*Flights, error) {
	app, err := application.Open(ctx, "flights", opts...)
	if err != nil {
		return nil, err
	}
	return &Flights{app, application.NewRepository(app, flight.Reservations)}, nil
}

// Policy does what a trip asks for.
func (f *Flights) Policy(ctx context.Context, n application.Notification, p *application.Processing) error {
	switch e := n.Event.Data.(type) {
	case trip.FlightRequested:
		p.Collect(flight.Reserve(n.Event.StreamID, e.Flight))
	case trip.FlightCancelRequested:
		// If the request was given up, there is no reservation, and no seat to free: it says so.
		id := n.Event.StreamID
		r, err := f.reservations.GetOrNew(ctx, id, func() *flight.Reservation { return flight.Reservations.Begin(id) })
		if err != nil {
			return err
		}
		r.Cancel()
		p.Collect(r)
	}
	return nil
}
