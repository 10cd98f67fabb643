package applications

import (
	"context"
	"errors"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/examples/tripbooking/hotel"
	"github.com/annals-es/annals/examples/tripbooking/trip"
	"github.com/annals-es/annals/projection"
)

// Hotels is the application of the hotels.
type Hotels struct {
	*application.Application
	hotels *application.Repository[hotel.Hotel]
	held   *projection.Fold[held]
}

// OpenHotels opens the application.
func OpenHotels(ctx context.Context, opts ...application.Option) (*Hotels, error) {
	app, err := application.Open(ctx, "hotels", opts...)
	if err != nil {
		return nil, err
	}
	h := &Hotels{Application: app, hotels: application.NewRepository(app, hotel.Hotels)}
	if h.held, err = projection.NewFold(app, heldRooms, func() *held { return &held{} }); err != nil {
		return nil, errors.Join(err, app.Close())
	}
	return h, nil
}

// Open opens a hotel. One that is open stays as it is.
func (h *Hotels) Open(ctx context.Context, name string, rooms int, onRequest bool) error {
	return h.Retry(ctx, func(ctx context.Context) error {
		one, err := h.get(ctx, name)
		if err != nil {
			return err
		}
		one.Open(name, rooms, onRequest)
		_, err = h.Save(ctx, one)
		return err
	})
}

// get returns a hotel, also one that nobody has opened: it has no rooms.
func (h *Hotels) get(ctx context.Context, name string) (*hotel.Hotel, error) {
	id := hotel.ID(name)
	return h.hotels.GetOrNew(ctx, id, func() *hotel.Hotel { return hotel.Hotels.Begin(id) })
}

// Policy does what a trip asks for.
func (h *Hotels) Policy(ctx context.Context, n application.Notification, p *application.Processing) error {
	var name string
	var decide func(*hotel.Hotel)
	switch e := n.Event.Data.(type) {
	case trip.RoomRequested:
		name, decide = e.Hotel, func(one *hotel.Hotel) { one.Reserve(n.Event.StreamID) }
	case trip.RoomCancelRequested:
		name, decide = e.Hotel, func(one *hotel.Hotel) { one.Release(n.Event.StreamID) }
	default:
		return nil
	}
	one, err := h.get(ctx, name)
	if err != nil {
		return err
	}
	decide(one)
	p.Collect(one)
	return nil
}

// held are the events that hold a room for a trip until somebody confirms.
type held map[string]annals.Event

func settled[E any](tripOf func(E) string) projection.Part[*held] {
	return projection.On(func(_ context.Context, all *held, e E, _ annals.Event) error {
		delete(*all, tripOf(e))
		return nil
	})
}

var heldRooms = projection.Define("held",
	projection.On(func(_ context.Context, all *held, e hotel.RoomHeld, env annals.Event) error {
		(*all)[e.Trip] = env
		return nil
	}),
	settled(func(e hotel.RoomReserved) string { return e.Trip }),
	settled(func(e hotel.RoomReleased) string { return e.Trip }))

// Confirm is what somebody of a hotel does who answers a request. It belongs to the story
// of the trip. It returns [hotel.ErrNotWaiting] if it comes too late.
func (h *Hotels) Confirm(ctx context.Context, tripID string) error {
	var request annals.Event
	if _, err := h.held.Read(ctx, func(all *held) error {
		request = (*all)[tripID]
		return nil
	}); err != nil {
		return err
	}
	if request.ID == "" {
		return hotel.ErrNotWaiting
	}
	return h.hotels.Update(annals.CausedBy(ctx, request), request.StreamID, func(one *hotel.Hotel) error { return one.Confirm(tripID) })
}
