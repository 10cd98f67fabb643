// Tripbooking books trips: a process manager asks for a flight, a room and the payment, and
// gives back what it holds when one of them is refused, or not answered in time. See its
// README.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/examples/internal/running"
	"github.com/annals-es/annals/examples/tripbooking/applications"
	"github.com/annals-es/annals/examples/tripbooking/bank"
	"github.com/annals-es/annals/examples/tripbooking/hotel"
	"github.com/annals-es/annals/examples/tripbooking/trip"
	"github.com/annals-es/annals/system"
)

// patience is how long a trip may take.
const patience = time.Hour

func main() {
	var how running.Flags
	how.Register(flag.CommandLine)
	graph := flag.Bool("graph", false, "print the graph of the system as Mermaid, and do nothing else")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *graph {
		fmt.Print(define().System.Mermaid())
		return
	}
	if err := run(ctx, how, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tripbooking:", err)
		os.Exit(1) //nolint:gocritic // the program ends, and with it what stop would end
	}
}

func define() *applications.TripBooking {
	return applications.Define(applications.Config{Gateway: bank.New(1000), Now: time.Now, Patience: patience})
}

// orders are one for each way in which a trip can end.
var orders = []trip.Order{
	{Number: "order-1", Customer: "Ada", Flight: "AN 101", Hotel: "Ritz", Price: 700},
	{Number: "order-2", Customer: "Ben", Flight: "AN 101", Hotel: "Ritz", Price: 800},    // the last room is Ada's
	{Number: "order-3", Customer: "Cleo", Flight: "AN 101", Hotel: "Plaza", Price: 5000}, // too much for the bank
	{Number: "order-4", Customer: "Dan", Flight: "AN 102", Hotel: "Inn", Price: 300},     // where somebody has to confirm
	{Number: "order-5", Customer: "Eve", Flight: "AN 102", Hotel: "Inn", Price: 350},
}

func run(ctx context.Context, how running.Flags, out io.Writer) (err error) {
	b := define()
	runner, err := how.Run(ctx, b.System)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, runner.Stop()) }()
	trips, hotels := b.Trips.In(runner), b.Hotels.In(runner)

	if err := errors.Join(
		hotels.Open(ctx, "Ritz", 1, false), hotels.Open(ctx, "Plaza", 9, false), hotels.Open(ctx, "Inn", 9, true),
	); err != nil {
		return err
	}
	for _, o := range orders {
		if _, err := trips.Book(ctx, o); err != nil {
			return err
		}
	}
	if err := show(ctx, out, "Booked:", runner, trips); err != nil {
		return err
	}

	err = hotels.Confirm(ctx, trip.ID("order-5"))
	if err != nil && !errors.Is(err, hotel.ErrNotWaiting) { // on the files of an earlier run it is confirmed already
		return err
	}
	if err := show(ctx, out, "The Inn has confirmed Eve's room:", runner, trips); err != nil {
		return err
	}

	if _, err := trips.Expire(ctx, time.Now().Add(patience)); err != nil {
		return err
	}
	if err := show(ctx, out, "An hour later:", runner, trips); err != nil {
		return err
	}
	for _, o := range orders {
		if err := tell(ctx, out, o.Number, b, runner); err != nil {
			return err
		}
	}
	return nil
}

// show prints the overview, once all that was saved has had its effects.
func show(ctx context.Context, out io.Writer, title string, runner *system.Runner, trips *applications.Trips) error {
	if err := runner.Wait(ctx); err != nil {
		return err
	}
	rows, err := trips.Overview(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n\n", title)
	count := make(map[trip.Status]int)
	for _, r := range rows {
		count[r.Status]++
		line := fmt.Sprintf("  %s  %-4s  %-5s  %-9s  %s", r.Order.Number, r.Order.Customer, r.Order.Hotel, r.Status, r.Reason)
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
	fmt.Fprintf(out, "\n  %d booking, %d completed, %d cancelled\n\n", count[trip.Booking], count[trip.Completed], count[trip.Cancelled])
	return nil
}

// tell prints what happened in all applications because of an order: the events with its
// correlation id, each with the number of the one that caused it.
func tell(ctx context.Context, out io.Writer, order string, b *applications.TripBooking, runner *system.Runner) error {
	story, err := application.Story(ctx, order,
		b.Flights.In(runner).Application, b.Hotels.In(runner).Application, b.Payments.In(runner).Application,
		b.Trips.In(runner).Application)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The story %s:\n\n", order)
	number := make(map[string]int)
	for i, e := range story {
		number[e.Event.ID] = i + 1
		because := ""
		if cause := number[e.Event.Metadata.CausationID]; cause > 0 {
			because = fmt.Sprint("because of ", cause)
		}
		line := fmt.Sprintf("  %2d  %-8s  %-27s  %s", i+1, e.Application, e.Event.Topic, because)
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
	fmt.Fprintln(out)
	return nil
}
