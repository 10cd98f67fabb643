package applications

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/examples/tripbooking/flight"
	"github.com/annals-es/annals/examples/tripbooking/hotel"
	"github.com/annals-es/annals/examples/tripbooking/payment"
	"github.com/annals-es/annals/examples/tripbooking/trip"
	"github.com/annals-es/annals/projection"
)

// Trips is the application of the process manager.
type Trips struct {
	*application.Application
	trips    *application.Repository[trip.Trip]
	now      func() time.Time
	patience time.Duration
	open     *projection.Fold[deadlines]
	overview *projection.Fold[Overview]
}

// OpenTrips opens the application. A trip that takes longer than patience is cancelled.
func OpenTrips(ctx context.Context, now func() time.Time, patience time.Duration, opts ...application.Option) (*Trips, error) {
	app, err := application.Open(ctx, "trips", opts...)
	if err != nil {
		return nil, err
	}
	t := &Trips{Application: app, trips: application.NewRepository(app, trip.Trips), now: now, patience: patience}
	t.open, err = projection.NewFold(app, deadlinesOfTrips, func() *deadlines { return &deadlines{} })
	if err == nil {
		t.overview, err = projection.NewFold(app, overviewOfTrips, func() *Overview { return &Overview{} })
	}
	if err != nil {
		return nil, errors.Join(err, app.Close())
	}
	return t, nil
}

// Book books a trip, and returns its id. All that comes of it has the number of the order
// as its correlation id. An order that is booked already is not booked again.
func (t *Trips) Book(ctx context.Context, o trip.Order) (id string, err error) {
	ctx = annals.ContextWithMetadata(ctx, annals.Metadata{CorrelationID: o.Number})
	_, err = t.Save(ctx, trip.Book(o, t.now().Add(t.patience).UTC().Truncate(time.Microsecond)))
	if errors.Is(err, annals.ErrVersionConflict) { // the id of a trip is that of its order
		err = nil
	}
	return trip.ID(o.Number), err
}

// Get returns a trip.
func (t *Trips) Get(ctx context.Context, id string) (*trip.Trip, error) { return t.trips.Get(ctx, id) }

// Policy tells a trip what the others have answered.
func (t *Trips) Policy(ctx context.Context, n application.Notification, p *application.Processing) error {
	id := n.Event.StreamID // a reservation and a payment have the id of their trip
	var hear func(*trip.Trip)
	switch e := n.Event.Data.(type) {
	case flight.Reserved:
		hear = (*trip.Trip).ConfirmFlight
	case flight.Cancelled:
		hear = (*trip.Trip).CancelFlight
	case hotel.RoomReserved:
		id, hear = e.Trip, (*trip.Trip).ConfirmRoom
	case hotel.RoomRefused:
		id, hear = e.Trip, func(t *trip.Trip) { t.RefuseRoom(e.Reason) }
	case hotel.RoomReleased:
		id, hear = e.Trip, (*trip.Trip).CancelRoom
	case payment.Charged:
		hear = (*trip.Trip).ConfirmPayment
	case payment.Refused:
		hear = func(t *trip.Trip) { t.RefusePayment(e.Reason) }
	case payment.Cancelled:
		hear = (*trip.Trip).CancelPayment
	default:
		return nil
	}
	one, err := t.trips.Get(ctx, id)
	if err != nil {
		return err
	}
	hear(one)
	p.Collect(one)
	return nil
}

// deadlines are the trips that are neither completed nor failed, by the event that says
// until when.
type deadlines map[string]annals.Event

func closed[E any]() projection.Part[*deadlines] {
	return projection.On(func(_ context.Context, d *deadlines, _ E, env annals.Event) error {
		delete(*d, env.StreamID)
		return nil
	})
}

var deadlinesOfTrips = projection.Define("deadlines",
	projection.On(func(_ context.Context, d *deadlines, _ trip.Booked, env annals.Event) error {
		(*d)[env.StreamID] = env
		return nil
	}),
	closed[trip.TripCompleted](), closed[trip.Failed]())

func dueOf(booked annals.Event) time.Time {
	e, _ := booked.Data.(trip.Booked)
	return e.Due
}

// Expire cancels the trips whose time is up, and says how many: a trip that fails, and stays
// due, does not count, and does not hold up the others. What is due is computed from the log:
// it is there after a restart, and whoever calls this again, in whatever process, changes
// nothing.
func (t *Trips) Expire(ctx context.Context, now time.Time) (n int, err error) {
	var due []annals.Event
	if _, err := t.open.Read(ctx, func(all *deadlines) error {
		for _, booked := range *all {
			if !now.Before(dueOf(booked)) {
				due = append(due, booked)
			}
		}
		return nil
	}); err != nil {
		return 0, err
	}
	slices.SortFunc(due, func(a, b annals.Event) int {
		return cmp.Or(dueOf(a).Compare(dueOf(b)), cmp.Compare(a.StreamID, b.StreamID))
	})
	var failed []error
	for _, booked := range due {
		if ctx.Err() != nil {
			failed = append(failed, ctx.Err())
			break
		}
		err := t.trips.Update(annals.CausedBy(ctx, booked), booked.StreamID, func(one *trip.Trip) error {
			one.Expire(now) // it decides again: an answer may have been faster
			return nil
		})
		if err != nil {
			failed = append(failed, err)
		}
		if _, saved := errors.AsType[*application.AfterSaveError](err); saved || err == nil {
			n++
		}
	}
	return n, errors.Join(failed...)
}

// Overview is the trips, by their ids.
type Overview map[string]Row

// Row is a trip as the overview shows it.
type Row struct {
	Order  trip.Order
	Status trip.Status
	Reason string // why it is not completed
}

func shows[E any](change func(r *Row, e E)) projection.Part[*Overview] {
	return projection.On(func(_ context.Context, all *Overview, e E, env annals.Event) error {
		row := (*all)[env.StreamID]
		change(&row, e)
		(*all)[env.StreamID] = row
		return nil
	})
}

var overviewOfTrips = projection.Define("overview",
	shows(func(r *Row, e trip.Booked) { r.Order, r.Status = e.Order, trip.Booking }),
	shows(func(r *Row, _ trip.TripCompleted) { r.Status = trip.Completed }),
	shows(func(r *Row, e trip.Failed) { r.Status, r.Reason = trip.Cancelling, e.Reason }),
	shows(func(r *Row, _ trip.TripCancelled) { r.Status = trip.Cancelled }))

// Overview returns all trips, in the order of their numbers.
func (t *Trips) Overview(ctx context.Context) (rows []Row, err error) {
	_, err = t.overview.Read(ctx, func(all *Overview) error {
		for _, row := range *all {
			rows = append(rows, row)
		}
		return nil
	})
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Order.Number, b.Order.Number) })
	return rows, err
}
