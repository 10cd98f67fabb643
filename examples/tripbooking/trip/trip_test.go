package trip_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/annalstest"
	"github.com/annals-es/annals/examples/tripbooking/trip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	due   = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	order = trip.Order{Number: "1", Customer: "Ada", Flight: "AN 101", Hotel: "Ritz", Price: 700}
)

// given are the events of a trip that waits for the room, and more.
func given(more ...annals.Applier[trip.Trip]) []annals.Applier[trip.Trip] {
	return append([]annals.Applier[trip.Trip]{
		trip.Booked{Order: order, Due: due}, trip.FlightRequested{Flight: "AN 101"},
		trip.FlightConfirmed{}, trip.RoomRequested{Hotel: "Ritz"},
	}, more...)
}

func do(command func(*trip.Trip)) func(*trip.Trip) error {
	return func(t *trip.Trip) error { command(t); return nil }
}

func expire(now time.Time) func(*trip.Trip) error {
	return do(func(t *trip.Trip) { t.Expire(now) })
}

func TestATripAsksForOneThingAfterTheOther(t *testing.T) {
	t.Parallel()
	annalstest.New(t, trip.Trips, func() (*trip.Trip, error) { return trip.Book(order, due), nil }).
		Then(trip.Booked{Order: order, Due: due}, trip.FlightRequested{Flight: "AN 101"}).
		When(do((*trip.Trip).ConfirmFlight)).
		Then(trip.FlightConfirmed{}, trip.RoomRequested{Hotel: "Ritz"}).
		When(do((*trip.Trip).ConfirmRoom)).
		Then(trip.RoomConfirmed{}, trip.PaymentRequested{Customer: "Ada", Amount: 700}).
		When(do((*trip.Trip).ConfirmPayment)).
		Then(trip.TripCompleted{}).
		When(expire(due.Add(time.Hour))).ThenNothing()
}

func TestATripWithoutARoomGivesTheFlightBack(t *testing.T) {
	t.Parallel()
	annalstest.Given(t, trip.Trips, given()...).
		When(do(func(t *trip.Trip) { t.RefuseRoom("full") })).
		Then(trip.RoomRefused{}, trip.Failed{Reason: "full"}, trip.FlightCancelRequested{}).
		When(do((*trip.Trip).CancelFlight)).
		Then(trip.FlightCancelled{}, trip.TripCancelled{})
}

func TestATripThatIsNotPaidGivesBackInReverseOrder(t *testing.T) {
	t.Parallel()
	annalstest.Given(t, trip.Trips, given(trip.RoomConfirmed{}, trip.PaymentRequested{Customer: "Ada", Amount: 700})...).
		When(do(func(t *trip.Trip) { t.RefusePayment("too much") })).
		Then(trip.PaymentRefused{}, trip.Failed{Reason: "too much"}, trip.RoomCancelRequested{Hotel: "Ritz"}).
		When(do((*trip.Trip).CancelRoom)).
		Then(trip.RoomCancelled{}, trip.FlightCancelRequested{}).
		When(do((*trip.Trip).CancelFlight)).
		Then(trip.FlightCancelled{}, trip.TripCancelled{})
}

func TestATripExpiresAtItsDeadlineAndOnce(t *testing.T) {
	t.Parallel()
	annalstest.Given(t, trip.Trips, given()...).
		When(expire(due.Add(-time.Microsecond))).ThenNothing().
		When(expire(due)).
		Then(trip.Failed{Reason: "no answer in time: room"}, trip.RoomCancelRequested{Hotel: "Ritz"}).
		When(expire(due.Add(time.Hour))).ThenNothing()
}

func TestAnAnswerThatComesTooLateChangesNothing(t *testing.T) {
	t.Parallel()
	annalstest.Given(t, trip.Trips, given(trip.RoomConfirmed{}, trip.PaymentRequested{Customer: "Ada", Amount: 700})...).
		When(expire(due)).
		Then(trip.Failed{Reason: "no answer in time: payment"}, trip.PaymentCancelRequested{}).
		When(do((*trip.Trip).ConfirmPayment)).ThenNothing().
		When(do(func(t *trip.Trip) { t.RefusePayment("too much") })).ThenNothing().
		When(do((*trip.Trip).CancelPayment)).
		Then(trip.PaymentCancelled{}, trip.RoomCancelRequested{Hotel: "Ritz"})
}
