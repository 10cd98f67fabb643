// Package hotel has hotels with few rooms, some of which answer by hand.
package hotel

import (
	"errors"

	"github.com/annals-es/annals"
)

// Hotel has rooms. One that a trip gives back goes to the hotel's own desk and is not
// offered again: who gets a room depends on the order of the requests alone.
type Hotel struct {
	annals.Aggregate
	Name      string          // empty until it is opened
	Rooms     int             // that are left
	OnRequest bool            // somebody has to confirm
	Waiting   map[string]bool // trips that rooms are held for
}

// The events of a hotel. A room is that of a trip.
type (
	// Opened says how many rooms there are, and whether somebody has to confirm each.
	Opened struct {
		Name      string
		Rooms     int
		OnRequest bool
	}
	// RoomReserved says that a trip has a room.
	RoomReserved struct{ Trip string }
	// RoomRefused says why it has none.
	RoomRefused struct{ Trip, Reason string }
	// RoomHeld says that a room waits for somebody to confirm it.
	RoomHeld struct{ Trip string }
	// RoomReleased says that a trip has no room any more.
	RoomReleased struct{ Trip string }
)

// Apply evolves the hotel.
func (e Opened) Apply(h *Hotel) {
	h.Name, h.Rooms, h.OnRequest = e.Name, e.Rooms, e.OnRequest
}

func (e RoomReserved) Apply(h *Hotel) {
	if h.Waiting[e.Trip] {
		delete(h.Waiting, e.Trip)
	} else {
		h.Rooms--
	}
}

func (RoomRefused) Apply(*Hotel) {}

func (e RoomHeld) Apply(h *Hotel) {
	if h.Waiting == nil {
		h.Waiting = make(map[string]bool)
	}
	h.Waiting[e.Trip] = true
	h.Rooms--
}

func (e RoomReleased) Apply(h *Hotel) { delete(h.Waiting, e.Trip) }

// Hotels names what is stored.
var Hotels = annals.Define("Hotel",
	annals.On[Opened]("Opened"),
	annals.On[RoomReserved]("RoomReserved"),
	annals.On[RoomRefused]("RoomRefused"),
	annals.On[RoomHeld]("RoomHeld"),
	annals.On[RoomReleased]("RoomReleased"),
)

// ErrNotWaiting says that nobody waits for a room: the trip has one, or was cancelled.
var ErrNotWaiting = errors.New("the trip does not wait for a room")

// ID returns the id of the hotel of a name.
func ID(name string) string { return annals.NamedID("/hotels", name) }

// Open opens the hotel. One that is open stays as it is.
func (h *Hotel) Open(name string, rooms int, onRequest bool) {
	if h.Name == "" {
		annals.Trigger(h, Opened{Name: name, Rooms: rooms, OnRequest: onRequest})
	}
}

// Reserve decides whether a trip has a room.
func (h *Hotel) Reserve(trip string) {
	switch {
	case h.Rooms <= 0:
		annals.Trigger(h, RoomRefused{Trip: trip, Reason: "the hotel is full"})
	case h.OnRequest:
		annals.Trigger(h, RoomHeld{Trip: trip})
	default:
		annals.Trigger(h, RoomReserved{Trip: trip})
	}
}

// Confirm gives a trip the room that is held for it.
func (h *Hotel) Confirm(trip string) error {
	if !h.Waiting[trip] {
		return ErrNotWaiting
	}
	annals.Trigger(h, RoomReserved{Trip: trip})
	return nil
}

// Release takes a room back. It says so in any case: whoever asks waits for that.
func (h *Hotel) Release(trip string) { annals.Trigger(h, RoomReleased{Trip: trip}) }
