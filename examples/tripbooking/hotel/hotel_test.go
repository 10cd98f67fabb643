package hotel_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/annals-es/annals/annalstest"
	"github.com/annals-es/annals/examples/tripbooking/hotel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func reserve(trip string) func(*hotel.Hotel) error {
	return func(h *hotel.Hotel) error { h.Reserve(trip); return nil }
}

func confirm(trip string) func(*hotel.Hotel) error {
	return func(h *hotel.Hotel) error { return h.Confirm(trip) }
}

func release(trip string) func(*hotel.Hotel) error {
	return func(h *hotel.Hotel) error { h.Release(trip); return nil }
}

func TestAHotelIsFullAndStaysSo(t *testing.T) {
	t.Parallel()
	annalstest.Given(t, hotel.Hotels, hotel.Opened{Name: "Ritz", Rooms: 1}).
		When(reserve("a")).Then(hotel.RoomReserved{Trip: "a"}).
		When(reserve("b")).Then(hotel.RoomRefused{Trip: "b", Reason: "the hotel is full"}).
		When(release("a")).Then(hotel.RoomReleased{Trip: "a"}).
		When(reserve("c")).Then(hotel.RoomRefused{Trip: "c", Reason: "the hotel is full"})
}

func TestARoomThatIsHeldIsConfirmedOnce(t *testing.T) {
	t.Parallel()
	annalstest.Given(t, hotel.Hotels, hotel.Opened{Name: "Inn", Rooms: 2, OnRequest: true}).
		When(reserve("a")).Then(hotel.RoomHeld{Trip: "a"}).
		When(reserve("b")).Then(hotel.RoomHeld{Trip: "b"}).
		When(reserve("c")).Then(hotel.RoomRefused{Trip: "c", Reason: "the hotel is full"}).
		When(confirm("a")).Then(hotel.RoomReserved{Trip: "a"}).
		When(confirm("a")).ThenError(hotel.ErrNotWaiting).
		When(release("b")).Then(hotel.RoomReleased{Trip: "b"}).
		When(confirm("b")).ThenError(hotel.ErrNotWaiting)
}
