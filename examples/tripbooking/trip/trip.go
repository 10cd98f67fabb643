// Package trip is the process manager of a booking: an aggregate that asks for one thing
// after the other, waits for the answers until a deadline, and gives back what it holds
// when something goes wrong.
package trip

import (
	"time"

	"github.com/annals-es/annals"
)

// Order is what a customer wants.
type Order struct {
	Number   string // who orders twice under one number has ordered once
	Customer string
	Flight   string
	Hotel    string
	Price    int
}

// Status is how far a trip is.
type Status string

// What a trip can be.
const (
	Booking    Status = "booking"    // it waits for an answer
	Completed  Status = "completed"  // all is confirmed and paid
	Cancelling Status = "cancelling" // it gives back what it holds
	Cancelled  Status = "cancelled"  // nothing is left to give back
)

// Part is a part of a trip, which another application has.
type Part string

// The parts, in the order in which they are asked for.
const (
	Flight  Part = "flight"
	Room    Part = "room"
	Payment Part = "payment"
)

// Trip is one booking.
type Trip struct {
	annals.Aggregate
	Order  Order
	Due    time.Time // when it is given up, if it is not completed
	Status Status
	Asked  []Part // what was asked for, and neither refused nor given back
}

// The events of a trip. One that asks another application for something has all that this one
// needs to know.
type (
	// Booked begins a trip: it is to be completed before it is due.
	Booked struct {
		Order Order
		Due   time.Time
	}
	// FlightRequested asks for a seat.
	FlightRequested struct{ Flight string }
	// FlightConfirmed says that there is a seat.
	FlightConfirmed struct{}
	// RoomRequested asks for a room.
	RoomRequested struct{ Hotel string }
	// RoomConfirmed says that there is a room.
	RoomConfirmed struct{}
	// RoomRefused says that there is none.
	RoomRefused struct{}
	// PaymentRequested asks for the money.
	PaymentRequested struct {
		Customer string
		Amount   int
	}
	// PaymentRefused says that there is none.
	PaymentRefused struct{}
	// TripCompleted says that the trip is paid: it ends well.
	TripCompleted struct{}

	// Failed says why the trip is given up. What it holds is given back, the last first.
	Failed struct{ Reason string }
	// PaymentCancelRequested asks for the payment to be undone.
	PaymentCancelRequested struct{}
	// PaymentCancelled says that it is.
	PaymentCancelled struct{}
	// RoomCancelRequested gives the room back.
	RoomCancelRequested struct{ Hotel string }
	// RoomCancelled says that the hotel has it.
	RoomCancelled struct{}
	// FlightCancelRequested gives the seat back.
	FlightCancelRequested struct{}
	// FlightCancelled says that it is free.
	FlightCancelled struct{}
	// TripCancelled says that nothing is left to give back.
	TripCancelled struct{}
)

// Apply evolves the trip.
func (e Booked) Apply(t *Trip) { t.Order, t.Due, t.Status = e.Order, e.Due, Booking }

func (FlightRequested) Apply(t *Trip)  { t.ask(Flight) }
func (FlightConfirmed) Apply(*Trip)    {}
func (RoomRequested) Apply(t *Trip)    { t.ask(Room) }
func (RoomConfirmed) Apply(*Trip)      {}
func (RoomRefused) Apply(t *Trip)      { t.drop() }
func (PaymentRequested) Apply(t *Trip) { t.ask(Payment) }
func (PaymentRefused) Apply(t *Trip)   { t.drop() }
func (TripCompleted) Apply(t *Trip)    { t.Status = Completed }

func (Failed) Apply(t *Trip)               { t.Status = Cancelling }
func (PaymentCancelRequested) Apply(*Trip) {}
func (PaymentCancelled) Apply(t *Trip)     { t.drop() }
func (RoomCancelRequested) Apply(*Trip)    {}
func (RoomCancelled) Apply(t *Trip)        { t.drop() }
func (FlightCancelRequested) Apply(*Trip)  {}
func (FlightCancelled) Apply(t *Trip)      { t.drop() }
func (TripCancelled) Apply(t *Trip)        { t.Status = Cancelled }

func (t *Trip) ask(p Part) { t.Asked = append(t.Asked, p) }
func (t *Trip) drop()      { t.Asked = t.Asked[:len(t.Asked)-1] }

// Trips names what is stored.
var Trips = annals.Define("Trip",
	annals.On[Booked]("Booked"),
	annals.On[FlightRequested]("FlightRequested"),
	annals.On[FlightConfirmed]("FlightConfirmed"),
	annals.On[RoomRequested]("RoomRequested"),
	annals.On[RoomConfirmed]("RoomConfirmed"),
	annals.On[RoomRefused]("RoomRefused"),
	annals.On[PaymentRequested]("PaymentRequested"),
	annals.On[PaymentRefused]("PaymentRefused"),
	annals.On[TripCompleted]("Completed"),
	annals.On[Failed]("Failed"),
	annals.On[PaymentCancelRequested]("PaymentCancelRequested"),
	annals.On[PaymentCancelled]("PaymentCancelled"),
	annals.On[RoomCancelRequested]("RoomCancelRequested"),
	annals.On[RoomCancelled]("RoomCancelled"),
	annals.On[FlightCancelRequested]("FlightCancelRequested"),
	annals.On[FlightCancelled]("FlightCancelled"),
	annals.On[TripCancelled]("Cancelled"),
)

// ID returns the id of the trip of an order.
func ID(number string) string { return annals.NamedID("/trips", number) }

// Book begins a trip, and asks for the flight.
func Book(o Order, due time.Time) *Trip {
	t := Trips.New(ID(o.Number), Booked{Order: o, Due: due})
	annals.Trigger(t, FlightRequested{Flight: o.Flight})
	return t
}

// An answer that nobody waits for any more, because the deadline was first, changes nothing:
// what it is about was asked back when the trip failed.

// ConfirmFlight goes on with the room.
func (t *Trip) ConfirmFlight() {
	if t.waitsFor(Booking, Flight) {
		annals.Trigger(t, FlightConfirmed{})
		annals.Trigger(t, RoomRequested{Hotel: t.Order.Hotel})
	}
}

// ConfirmRoom goes on with the payment.
func (t *Trip) ConfirmRoom() {
	if t.waitsFor(Booking, Room) {
		annals.Trigger(t, RoomConfirmed{})
		annals.Trigger(t, PaymentRequested{Customer: t.Order.Customer, Amount: t.Order.Price})
	}
}

// ConfirmPayment completes the trip.
func (t *Trip) ConfirmPayment() {
	if t.waitsFor(Booking, Payment) {
		annals.Trigger(t, TripCompleted{})
	}
}

// RefuseRoom cancels the trip: there is no room.
func (t *Trip) RefuseRoom(reason string) {
	if t.waitsFor(Booking, Room) {
		annals.Trigger(t, RoomRefused{})
		t.fail(reason)
	}
}

// RefusePayment cancels the trip: it was not paid.
func (t *Trip) RefusePayment(reason string) {
	if t.waitsFor(Booking, Payment) {
		annals.Trigger(t, PaymentRefused{})
		t.fail(reason)
	}
}

// Expire cancels the trip if it is not completed when its time is up. It may be called
// again, and too early: nothing happens then.
func (t *Trip) Expire(now time.Time) {
	if t.Status == Booking && !now.Before(t.Due) {
		t.fail("no answer in time: " + string(t.Asked[len(t.Asked)-1]))
	}
}

// fail begins the compensation.
func (t *Trip) fail(reason string) {
	annals.Trigger(t, Failed{Reason: reason})
	t.giveBack()
}

// giveBack asks for the cancellation of what was asked for last, also if it is not answered
// yet: who gets both requests gets them in this order.
func (t *Trip) giveBack() {
	if len(t.Asked) == 0 {
		annals.Trigger(t, TripCancelled{})
		return
	}
	switch t.Asked[len(t.Asked)-1] {
	case Payment:
		annals.Trigger(t, PaymentCancelRequested{})
	case Room:
		annals.Trigger(t, RoomCancelRequested{Hotel: t.Order.Hotel})
	case Flight:
		annals.Trigger(t, FlightCancelRequested{})
	}
}

// CancelPayment notes that the payment is undone, and goes on giving back.
func (t *Trip) CancelPayment() {
	if t.waitsFor(Cancelling, Payment) {
		annals.Trigger(t, PaymentCancelled{})
		t.giveBack()
	}
}

// CancelRoom notes that the room is given back, and goes on giving back.
func (t *Trip) CancelRoom() {
	if t.waitsFor(Cancelling, Room) {
		annals.Trigger(t, RoomCancelled{})
		t.giveBack()
	}
}

// CancelFlight notes that the flight is given back, and goes on giving back.
func (t *Trip) CancelFlight() {
	if t.waitsFor(Cancelling, Flight) {
		annals.Trigger(t, FlightCancelled{})
		t.giveBack()
	}
}

// waitsFor reports whether the trip is in this status, and what it waits for is of this part.
func (t *Trip) waitsFor(s Status, p Part) bool {
	return t.Status == s && len(t.Asked) > 0 && t.Asked[len(t.Asked)-1] == p
}
