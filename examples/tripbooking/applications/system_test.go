package applications_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/annalstest"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/examples/internal/running"
	"github.com/annals-es/annals/examples/tripbooking/applications"
	"github.com/annals-es/annals/examples/tripbooking/bank"
	"github.com/annals-es/annals/examples/tripbooking/hotel"
	"github.com/annals-es/annals/examples/tripbooking/trip"
	"github.com/annals-es/annals/internal/pgserver"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/system"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

const patience = time.Hour

// world is the system, and a bank.
type world struct {
	*applications.TripBooking
	runner *system.Runner
	bank   *bank.Fake
}

func define(gateway applications.Gateway) *applications.TripBooking {
	return applications.Define(applications.Config{Gateway: gateway, Now: annalstest.NewClock(noon).Now, Patience: patience})
}

func start(t *testing.T, how running.Flags) *world {
	t.Helper()
	w := &world{bank: bank.New(1000)}
	w.TripBooking = define(w.bank)
	var err error
	if w.runner, err = how.Run(t.Context(), w.System); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) stop(t *testing.T) {
	t.Helper()
	if err := w.runner.Stop(); err != nil {
		t.Error(err)
	}
}

func (w *world) wait(t *testing.T) {
	t.Helper()
	if err := w.runner.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) apps() map[string]*application.Application {
	return map[string]*application.Application{
		"trips": w.Trips.In(w.runner).Application, "flights": w.Flights.In(w.runner).Application,
		"hotels": w.Hotels.In(w.runner).Application, "payments": w.Payments.In(w.runner).Application,
	}
}

// happened are the events of an application, by stream: topics and data.
type happened map[string][]string

func eventsOf(t *testing.T, app *application.Application) happened {
	t.Helper()
	all := make(happened)
	for n, err := range app.Notifications(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(n.Event.Data)
		if err != nil {
			t.Fatal(err)
		}
		all[n.Event.StreamID] = append(all[n.Event.StreamID], fmt.Sprintf("%s %s", n.Event.Topic, data))
	}
	return all
}

// outcome is what is left of a run.
type outcome struct {
	Streams  map[string]happened // of trips, flights and payments
	Hotels   happened            // sorted
	Stays    happened            // the events of a hotel, by trip
	Overview []applications.Row
	Paid     map[string]int
}

func (w *world) outcome(t *testing.T, orders []trip.Order) outcome {
	t.Helper()
	apps := w.apps()
	o := outcome{Streams: make(map[string]happened), Hotels: eventsOf(t, apps["hotels"]), Stays: make(happened), Paid: make(map[string]int)}
	for _, name := range []string{"trips", "flights", "payments"} {
		o.Streams[name] = eventsOf(t, apps[name])
	}
	for id, events := range o.Hotels {
		for _, e := range events {
			for _, order := range orders {
				if tripID := trip.ID(order.Number); strings.Contains(e, tripID) {
					key := id + " " + order.Number
					o.Stays[key] = append(o.Stays[key], e)
				}
			}
		}
		slices.Sort(events)
	}
	var err error
	if o.Overview, err = w.Trips.In(w.runner).Overview(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, order := range orders {
		o.Paid[order.Number] = w.bank.Paid(trip.ID(order.Number))
	}
	return o
}

// randomOrders returns orders that end in every way there is.
func randomOrders(random *rand.Rand, n int) []trip.Order {
	hotels := []string{"Ritz", "Plaza", "Inn", "none"}
	orders := make([]trip.Order, n)
	for i := range orders {
		orders[i] = trip.Order{
			Number: fmt.Sprintf("order-%03d", i), Customer: fmt.Sprintf("customer-%d", random.IntN(10)),
			Flight: fmt.Sprintf("AN %d", random.IntN(5)), Hotel: hotels[random.IntN(len(hotels))], Price: 1 + random.IntN(1500),
		}
	}
	return orders
}

// play books all orders, confirms some rooms, and lets the deadlines of the others pass.
func (w *world) play(t *testing.T, orders []trip.Order, confirm map[string]bool) {
	t.Helper()
	ctx := t.Context()
	trips, hotels := w.Trips.In(w.runner), w.Hotels.In(w.runner)
	if err := errors.Join(hotels.Open(ctx, "Ritz", 8, false), hotels.Open(ctx, "Plaza", 100, false), hotels.Open(ctx, "Inn", 12, true)); err != nil {
		t.Fatal(err)
	}
	for _, o := range orders {
		for range 2 { // the second one is the same order
			if _, err := trips.Book(ctx, o); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.wait(t)
	for _, o := range orders {
		if !confirm[o.Number] {
			continue
		}
		if err := hotels.Confirm(ctx, trip.ID(o.Number)); err != nil && !errors.Is(err, hotel.ErrNotWaiting) {
			t.Fatal(err)
		}
	}
	w.wait(t)
	for _, now := range []time.Time{noon, noon.Add(patience), noon.Add(2 * patience)} {
		if _, err := trips.Expire(ctx, now); err != nil {
			t.Fatal(err)
		}
	}
	w.wait(t)
}

// B49: the same system has the same effects on every recorder and every runner. A trip hears
// three other applications, and its events are the same all the same, because it waits for one
// answer at a time. The events of a hotel come from many trips: they are the same, and those of one
// trip are in the same order.
func TestTheEffectsAreTheSameInEveryModeAndOnEveryRecorder(t *testing.T) {
	t.Parallel()
	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	orders := randomOrders(random, 60)
	confirm := make(map[string]bool)
	for _, o := range orders {
		confirm[o.Number] = random.IntN(2) == 0
	}
	played := func(t *testing.T, how running.Flags) outcome {
		t.Helper()
		w := start(t, how)
		defer w.stop(t)
		w.play(t, orders, confirm)
		w.checkStories(t, orders)
		return w.outcome(t, orders)
	}
	want := played(t, running.Flags{Mode: "sync", Recorder: "memory"})
	ends := make(map[string]int)
	for _, row := range want.Overview {
		ends[fmt.Sprint(row.Status, " ", row.Reason[:min(len(row.Reason), 12)])]++
	}
	if d := cmp.Diff([]string{
		"cancelled no answer in", "cancelled payment refu", "cancelled the hotel is", "completed ",
	}, slices.Sorted(maps.Keys(ends))); d != "" {
		t.Fatalf("not every end is there: %v", ends)
	}
	for name, how := range map[string]running.Flags{
		"in the background, in memory":              {Mode: "async", Recorder: "memory"},
		"in the background, on SQLite, a file each": {Mode: "async", Recorder: "sqlite", Dir: t.TempDir()},
		"in the background, on SQLite, one file":    {Mode: "async", Recorder: "sqlite", Path: filepath.Join(t.TempDir(), "trips.db")},
		"in the background, on PostgreSQL":          {Mode: "async", Recorder: "postgres"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if how.Recorder == "postgres" {
				how.URL = pgserver.TestPrivate(t, pgserver.Config{}).URL("postgres")
			}
			if d := cmp.Diff(want, played(t, how)); d != "" {
				t.Error(d)
			}
		})
	}
}

// checkStories holds that each event belongs to the story of one order, and was caused by an
// event of it before. B37.
func (w *world) checkStories(t *testing.T, orders []trip.Order) {
	t.Helper()
	apps := slices.Collect(maps.Values(w.apps()))
	told := 0
	for _, o := range orders {
		story, err := application.Story(t.Context(), o.Number, apps...)
		if err != nil {
			t.Fatal(err)
		}
		told += len(story)
		known := make(map[string]bool)
		for i, e := range story {
			if first := i < 2; first == known[e.Event.Metadata.CausationID] { // Booked and FlightRequested begin it
				t.Errorf("%s: event %d, %s, is caused by %q", o.Number, i+1, e.Event.Topic, e.Event.Metadata.CausationID)
			}
			known[e.Event.ID] = true
		}
	}
	all := -3 // the openings of the hotels are in no story
	for _, app := range apps {
		for _, events := range eventsOf(t, app) {
			all += len(events)
		}
	}
	if told != all {
		t.Errorf("the stories have %d events, the logs %d", told, all)
	}
}

// B49, B48: a backlog and deadlines survive a restart, also in another mode.
func TestADeadlineSurvivesARestart(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	order := trip.Order{Number: "1", Customer: "Ada", Flight: "AN 101", Hotel: "Inn", Price: 700}

	w := start(t, running.Flags{Mode: "async", Recorder: "sqlite", Dir: dir})
	if err := w.Hotels.In(w.runner).Open(ctx, "Inn", 1, true); err != nil {
		t.Fatal(err)
	}
	id, err := w.Trips.In(w.runner).Book(ctx, order)
	if err != nil {
		t.Fatal(err)
	}
	w.stop(t) // whatever is done by now

	w = start(t, running.Flags{Mode: "sync", Recorder: "sqlite", Dir: dir})
	if one, err := w.Trips.In(w.runner).Get(ctx, id); err != nil || one.Status != trip.Booking || len(one.Asked) != 2 {
		t.Fatalf("%+v, %v; want a trip that waits for its room", one, err)
	}
	if n, err := w.Trips.In(w.runner).Expire(ctx, noon); n != 0 || err != nil {
		t.Errorf("%d trips were due before the deadline, %v", n, err)
	}
	w.stop(t)

	w = start(t, running.Flags{Mode: "async", Recorder: "sqlite", Dir: dir})
	defer w.stop(t)
	for i, want := range []int{1, 0} {
		if n, err := w.Trips.In(w.runner).Expire(ctx, noon.Add(patience)); n != want || err != nil {
			t.Errorf("call %d: %d trips were due, %v; want %d", i+1, n, err, want)
		}
	}
	w.wait(t)
	rows, err := w.Trips.In(w.runner).Overview(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]applications.Row{{Order: order, Status: trip.Cancelled, Reason: "no answer in time: room"}}, rows); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(happened{id: {`Reservation.Reserved {"Flight":"AN 101"}`, "Reservation.Cancelled {}"}}, eventsOf(t, w.apps()["flights"])); d != "" {
		t.Error(d)
	}
	if err := w.Hotels.In(w.runner).Confirm(ctx, id); !errors.Is(err, hotel.ErrNotWaiting) {
		t.Errorf("the hotel confirms too late: %v", err)
	}
}

// B47: what the gateway answered could not be saved. It is called again, with the same key.
func TestACallThatIsRepeatedChargesOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := &world{bank: bank.New(1000)}
	w.TripBooking = define(w.bank)
	recorder, faults := annalstest.NewFaulty(t, memory.New())
	var err error
	if w.runner, err = system.RunSync(ctx, w.System, system.WithApplication(w.Payments, application.WithRecorder(recorder))); err != nil {
		t.Fatal(err)
	}
	defer w.stop(t)
	if err := w.Hotels.In(w.runner).Open(ctx, "Ritz", 1, false); err != nil {
		t.Fatal(err)
	}
	faults.OnRecord(annalstest.Before(persistence.ErrUnavailable))
	id, err := w.Trips.In(w.runner).Book(ctx, trip.Order{Number: "1", Customer: "Ada", Flight: "AN 101", Hotel: "Ritz", Price: 700})
	if _, saved := errors.AsType[*application.AfterSaveError](err); !saved {
		t.Fatalf("the trip is booked, and %v", err)
	}
	w.wait(t)
	if calls, paid := w.bank.Calls(), w.bank.Paid(id); calls != 2 || paid != 700 {
		t.Errorf("%d calls, and %d are paid", calls, paid)
	}
	if one, err := w.Trips.In(w.runner).Get(ctx, id); err != nil || one.Status != trip.Completed {
		t.Errorf("%+v, %v", one, err)
	}
}

// slowBank answers when it may.
type slowBank struct {
	*bank.Fake
	asked, answer chan struct{}
}

func (s *slowBank) Charge(ctx context.Context, c applications.Call) (string, error) {
	close(s.asked)
	<-s.answer
	return s.Fake.Charge(ctx, c)
}

// B48: the trip is cancelled while the bank still thinks.
func TestAPaymentThatComesTooLateIsRefunded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	slow := &slowBank{bank.New(1000), make(chan struct{}), make(chan struct{})}
	w := &world{TripBooking: define(slow), bank: slow.Fake}
	var err error
	if w.runner, err = system.RunAsync(ctx, w.System); err != nil {
		t.Fatal(err)
	}
	defer w.stop(t)
	if err := w.Hotels.In(w.runner).Open(ctx, "Ritz", 1, false); err != nil {
		t.Fatal(err)
	}
	id, err := w.Trips.In(w.runner).Book(ctx, trip.Order{Number: "1", Customer: "Ada", Flight: "AN 101", Hotel: "Ritz", Price: 700})
	if err != nil {
		t.Fatal(err)
	}
	<-slow.asked
	if n, err := w.Trips.In(w.runner).Expire(ctx, noon.Add(patience)); n != 1 || err != nil {
		t.Errorf("%d trips were due, %v", n, err)
	}
	close(slow.answer)
	w.wait(t)
	if d := cmp.Diff(happened{id: {`Payment.Charged {"Amount":700}`, `Payment.Cancelled {"Refunded":700}`}}, eventsOf(t, w.apps()["payments"])); d != "" {
		t.Error(d)
	}
	if one, err := w.Trips.In(w.runner).Get(ctx, id); err != nil || one.Status != trip.Cancelled || slow.Paid(id) != 0 {
		t.Errorf("%+v, %v; %d are paid", one, err, slow.Paid(id))
	}
}

// deadBank does not answer when it is to charge somebody.
type deadBank struct{ *bank.Fake }

func (deadBank) Charge(context.Context, applications.Call) (string, error) {
	return "", errors.New("the bank does not answer")
}

// cancelled holds that a trip is given up, and that nothing is paid for it.
func (w *world) cancelled(t *testing.T, id string) {
	t.Helper()
	w.wait(t)
	if one, err := w.Trips.In(w.runner).Get(t.Context(), id); err != nil || one.Status != trip.Cancelled || w.bank.Paid(id) != 0 {
		t.Errorf("%+v, %v; %d are paid", one, err, w.bank.Paid(id))
	}
}

// B43, B48: a request that was dropped has left nothing to give back, and the trip ends all the same.
func TestATripEndsWhoseRequestWasDropped(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(context.Context, *system.System, ...system.Option) (*system.Runner, error){
		"in one goroutine": system.RunSync, "in the background": system.RunAsync,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			dead := deadBank{bank.New(1000)}
			w := &world{TripBooking: define(dead), bank: dead.Fake}
			var err error
			if w.runner, err = run(ctx, w.System, system.WithFollowers(projection.WithFailures(1, 0, 0, projection.Park))); err != nil {
				t.Fatal(err)
			}
			defer w.stop(t)
			if err := w.Hotels.In(w.runner).Open(ctx, "Ritz", 1, false); err != nil {
				t.Fatal(err)
			}
			id, err := w.Trips.In(w.runner).Book(ctx, trip.Order{Number: "1", Customer: "Ada", Flight: "AN 101", Hotel: "Ritz", Price: 700})
			if err != nil {
				t.Fatal(err)
			}
			w.wait(t)
			if n, err := w.Trips.In(w.runner).Expire(ctx, noon.Add(patience)); n != 1 || err != nil {
				t.Errorf("%d trips were due, %v", n, err)
			}
			w.wait(t)
			parked, err := w.runner.Parked(ctx)
			if err != nil || len(parked) != 2 || parked[0].Topic != "Trip.PaymentRequested" || parked[1].Topic != "Trip.PaymentCancelRequested" {
				t.Fatalf("%+v, %v; want the request, and behind it that of the cancellation", parked, err)
			}
			if err := w.runner.Drop(ctx, "payments", "trips", parked[0].Position); err != nil {
				t.Fatal(err)
			}
			if n, err := w.runner.Retry(ctx, "payments", "trips", id); n != 1 || err != nil {
				t.Errorf("%d were handled, %v", n, err)
			}
			w.cancelled(t, id)
			if d := cmp.Diff(happened{id: {`Payment.Cancelled {"Refunded":0}`}}, eventsOf(t, w.apps()["payments"])); d != "" {
				t.Error(d)
			}
		})
	}
}

// B43, B48: a reservation that cannot be saved is skipped, and cancelled all the same.
func TestATripEndsWhoseRequestWasSkipped(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := &world{bank: bank.New(1000)}
	w.TripBooking = define(w.bank)
	recorder, faults := annalstest.NewFaulty(t, memory.New())
	var err error
	if w.runner, err = system.RunSync(ctx, w.System, system.WithApplication(w.Flights, application.WithRecorder(recorder)),
		system.WithFollowers(projection.WithFailures(1, 0, 0, projection.Skip))); err != nil {
		t.Fatal(err)
	}
	defer w.stop(t)
	bad := annalstest.Before(errors.New("bad"))
	faults.OnRecord(bad, bad) // the second time, the event is tried alone
	id, err := w.Trips.In(w.runner).Book(ctx, trip.Order{Number: "1", Customer: "Ada", Flight: "AN 101", Hotel: "Ritz", Price: 700})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Trips.In(w.runner).Expire(ctx, noon.Add(patience)); n != 1 || err != nil {
		t.Errorf("%d trips were due, %v", n, err)
	}
	w.cancelled(t, id)
	if d := cmp.Diff(happened{id: {"Reservation.Cancelled {}"}}, eventsOf(t, w.apps()["flights"])); d != "" {
		t.Error(d)
	}
}

// B48: the trip that fails is due at the next call, the others are cancelled at this one.
func TestATripThatFailsDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := &world{bank: bank.New(1000)}
	w.TripBooking = define(w.bank)
	recorder, faults := annalstest.NewFaulty(t, memory.New())
	var err error
	if w.runner, err = system.RunSync(ctx, w.System, system.WithApplication(w.Trips, application.WithRecorder(recorder))); err != nil {
		t.Fatal(err)
	}
	defer w.stop(t)
	if err := w.Hotels.In(w.runner).Open(ctx, "Inn", 9, true); err != nil {
		t.Fatal(err)
	}
	trips := w.Trips.In(w.runner)
	var ids []string
	for i := range 3 {
		id, err := trips.Book(ctx, trip.Order{Number: fmt.Sprint(i), Customer: "Ada", Flight: "AN 101", Hotel: "Inn", Price: 700})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	errBad := errors.New("bad")
	faults.OnRecord(annalstest.Before(errBad))
	if n, err := trips.Expire(ctx, noon.Add(patience)); n != 2 || !errors.Is(err, errBad) {
		t.Errorf("%d trips were due, %v", n, err)
	}
	if n, err := trips.Expire(ctx, noon.Add(patience)); n != 1 || err != nil {
		t.Errorf("%d trips were still due, %v", n, err)
	}
	for _, id := range ids {
		w.cancelled(t, id)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if n, err := trips.Expire(stopped, noon.Add(patience)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d trips were due, %v", n, err)
	}
}
