package annalstest_test

import (
	"fmt"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/annalstest"
)

// The times and ids of events are the same in every run.
func ExampleClock() {
	clock := annalstest.NewClock(time.Date(2024, time.February, 29, 12, 0, 0, 0, time.UTC))
	dogs := Dogs.WithClock(clock.Now).WithIDs(annalstest.NewIDs("event").Next)

	fido := dogs.New("fido", Registered{Name: "Fido"})
	clock.Advance(time.Hour)
	annals.Trigger(fido, TrickAdded{Trick: "sit"})
	for _, e := range fido.CollectEvents() {
		fmt.Println(e.ID, e.Time.Format(time.TimeOnly), e.Topic)
	}
	// Output:
	// event-1 12:00:00 Dog.Registered
	// event-2 13:00:00 Dog.TrickAdded
}
