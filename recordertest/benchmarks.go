package recordertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/compare"
	"github.com/annals-es/annals/persistence"
)

// BenchmarkSave1 measures saves of one event each by one goroutine, committed one
// by one by both sides:
//
//   - frac-Bare: the rate by that of the plain driver. Target: 0.8 or more.
//   - saves/s, allocs/event.
func BenchmarkSave1(b *testing.B, backend Backend) {
	ours, bare := stores(b, backend)
	c := compare.Comparison{Ours: saves(ours, 1, 20), Bare: bareSaves(bare, 1, 20)}
	o := c.Run(b, "frac-bare", compare.AsFast)
	b.ReportMetric(compare.PerSecond(compare.Median(o.PerEvent)), "saves/s")
}

// BenchmarkSave64 measures saves of one event each by 64 goroutines, each save a
// call of Record, against the same saves committed one by one by one goroutine
// with the plain driver:
//
//   - x-serial: the rate by that of the plain driver. Target: 10 or more, where
//     a commit waits for the disk.
//   - saves/s, allocs/event.
func BenchmarkSave64(b *testing.B, backend Backend) {
	ours, bare := stores(b, backend)
	c := compare.Comparison{Ours: saves(ours, 64, 32), Bare: bareSaves(bare, 64, 64)}
	o := c.Run(b, "x-serial", compare.AsFast)
	b.ReportMetric(compare.PerSecond(compare.Median(o.PerEvent)), "saves/s")
}

// BenchmarkLoad1000 measures loading an aggregate of 1,000 events, which lie in
// the log among those of 20 others, by the Get of a repository, against the plain
// driver selecting the same states and decoding each into the type of its event:
//
//   - x-bare: the time by that of the plain driver. Target: 2 or less.
//   - events/s, allocs/event.
func BenchmarkLoad1000(b *testing.B, backend Backend) { benchmarkLoad(b, backend, 5, 1000) }

// BenchmarkLoad100 measures the same with an aggregate of 100 events:
//
//   - x-bare: the time by that of the plain driver. Target: 1.3 or less, where the
//     database is a server.
//   - events/s, allocs/event.
func BenchmarkLoad100(b *testing.B, backend Backend) { benchmarkLoad(b, backend, 50, 100) }

func benchmarkLoad(b *testing.B, backend Backend, loads, versions int) {
	b.Helper()
	ours, bare := stores(b, backend)
	ctx := b.Context()
	const streams = 21
	events := accountEvents(b, streams, versions)
	fill(b, ours, bare, events)
	loaded := events[0].StreamID
	c := compare.Comparison{Ours: compare.Side{
		Events: loads * versions, Round: gets(ctx, openAccounts(b, ours, defineAccount()), loaded, int64(versions), loads),
	}}
	if bare != nil {
		c.Bare = compare.Side{Events: loads * versions, Round: func() error {
			for range loads {
				if err := loadBare(ctx, bare, loaded, versions); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	o := c.Run(b, "x-bare", compare.TimesAsLong)
	b.ReportMetric(compare.PerSecond(compare.Median(o.PerEvent)), "events/s")
}

// BenchmarkScan measures reading a log of 100,000 events from its start to its
// end by ReadLog, against the plain driver reading the same columns:
//
//   - frac-Bare: the rate by that of the plain driver. Target: 0.7 or more.
//   - events/s, allocs/event.
//
// With -short the log has 10,000 events.
func BenchmarkScan(b *testing.B, backend Backend) {
	ours, bare := stores(b, backend)
	ctx := b.Context()
	const streams = 100
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	fill(b, ours, bare, accountEvents(b, streams, n/streams))
	c := compare.Comparison{Ours: compare.Side{Events: n, Round: func() error {
		count := 0
		for _, err := range ours.ReadLog(ctx, persistence.LogQuery{}) {
			if err != nil {
				return err
			}
			count++
		}
		return wantRows(count, n)
	}}}
	if bare != nil {
		c.Bare = compare.Side{Events: n, Round: func() error {
			count, err := bare.Scan(ctx)
			return errors.Join(err, wantRows(count, n))
		}}
	}
	o := c.Run(b, "frac-bare", compare.AsFast)
	b.ReportMetric(compare.PerSecond(compare.Median(o.PerEvent)), "events/s")
}

func wantRows(got, want int) error {
	if got != want {
		return fmt.Errorf("%d rows, want %d", got, want)
	}
	return nil
}

// stores opens the recorder and the plain driver, each on a store of its own. Bare
// is nil if the backend has none.
func stores(b *testing.B, backend Backend) (ours Recorder, bare Bare) {
	b.Helper()
	ours, err := backend.Open(b.Context(), backend.Create(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeRecorder(b, ours) })
	if backend.Bare == nil {
		return ours, nil
	}
	bare = backend.Bare(b)
	b.Cleanup(func() {
		if err := bare.Close(); err != nil {
			b.Errorf("close: %v", err)
		}
	})
	return ours, bare
}

// streamLength is how many events a stream gets in a benchmark of saves, before its
// writer begins another one.
const streamLength = 10

// workload makes single events, as several writers save them: each has a stream of
// its own, and begins another one after a while.
type workload []persistence.StoredEvent // the last event of each writer

func (w workload) next(writer int) persistence.StoredEvent {
	last := &w[writer]
	if last.Version%streamLength == 0 {
		*last = event(annals.NewID(), 1)
	} else {
		*last = event(last.StreamID, last.Version+1)
	}
	return *last
}

// saver is a recorder, or what stands before one.
type saver interface {
	Record(ctx context.Context, b persistence.Batch) ([]int64, error)
}

// saves is the recorder saving single events, by several goroutines, each of which
// saves a number of them.
func saves(r saver, writers, each int) compare.Side {
	w := make(workload, writers)
	batches := make([][]persistence.Batch, writers)
	return compare.Side{
		Events: writers * each,
		Prepare: func() {
			for i := range batches {
				batches[i] = nil
				for range each {
					batches[i] = append(batches[i], batch(w.next(i)))
				}
			}
		},
		Round: func() error {
			errs := make([]error, writers)
			together(writers, func(i int) {
				for _, b := range batches[i] {
					if _, errs[i] = r.Record(context.Background(), b); errs[i] != nil {
						return
					}
				}
			})
			return errors.Join(errs...)
		},
	}
}

// bareSaves is the plain driver saving n events one by one, those of several
// writers in turn. Without a plain driver it is no side.
func bareSaves(bare Bare, writers, n int) compare.Side {
	if bare == nil {
		return compare.Side{}
	}
	w := make(workload, writers)
	next := make([]persistence.StoredEvent, n)
	return compare.Side{
		Events: n,
		Prepare: func() {
			for i := range next {
				next[i] = w.next(i % writers)
			}
		},
		Round: func() error {
			for i := range next {
				if err := bare.Save(context.Background(), &next[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// fill stores the events in both stores.
func fill(b *testing.B, ours Recorder, bare Bare, events []persistence.StoredEvent) {
	b.Helper()
	for from := 0; from < len(events); from += 1000 {
		if _, err := ours.Record(b.Context(), batch(events[from:min(from+1000, len(events))]...)); err != nil {
			b.Fatal(err)
		}
	}
	if bare == nil {
		return
	}
	if err := bare.Fill(b.Context(), events); err != nil {
		b.Fatal(err)
	}
}

// account is the aggregate that is loaded.
type account struct {
	annals.Aggregate

	owner    string
	balance  int64
	payments int
}

type opened struct {
	Owner, IBAN, Currency string
}

type moved struct {
	Payment, From, To, Purpose string
	Cents                      int64
}

func (e opened) Apply(a *account) { a.owner = e.Owner }

func (e moved) Apply(a *account) {
	a.balance += e.Cents
	a.payments++
}

func defineAccount(parts ...annals.Part[account]) *annals.Type[account] {
	return annals.Define("Account", append([]annals.Part[account]{annals.On[opened]("Opened"), annals.On[moved]("Moved")}, parts...)...)
}

// accountEvents returns the events of several accounts, in turn.
func accountEvents(b *testing.B, streams, versions int) []persistence.StoredEvent {
	b.Helper()
	m, err := persistence.NewMapper(persistence.MapperConfig{})
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Register(defineAccount()); err != nil {
		b.Fatal(err)
	}
	ids := make([]string, streams)
	for i := range ids {
		ids[i] = annals.NewID()
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	all := make([]persistence.StoredEvent, 0, streams*versions)
	for v := range int64(versions) {
		for _, id := range ids {
			e := annals.Event{
				ID: annals.NewID(), StreamID: id, Version: v + 1, Topic: topicMoved, Time: now,
				Data: moved{
					Payment: annals.NewID(), From: "DE02120300000000202051", To: "DE02500105170137075030", Purpose: "rent", Cents: 100 + v,
				},
			}
			if v == 0 {
				e.Topic, e.Data = topicOpened, opened{Owner: "Ada", IBAN: "DE02120300000000202051", Currency: "EUR"}
			}
			stored, err := m.Encode(b.Context(), &e)
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, stored)
		}
	}
	return all
}

// loadBare is what the repository does, without it: select, decode, apply.
func loadBare(ctx context.Context, bare Bare, id string, versions int) error {
	var a account
	json := persistence.JSON()
	rows := 0
	err := bare.Load(ctx, id, func(state []byte) error {
		if rows++; rows == 1 {
			var e opened
			if err := json.Decode(state, &e); err != nil {
				return err
			}
			e.Apply(&a)
			return nil
		}
		var e moved
		if err := json.Decode(state, &e); err != nil {
			return err
		}
		e.Apply(&a)
		return nil
	})
	return errors.Join(err, wantRows(rows, versions))
}

// BenchmarkWakeup measures how long after the commit of a save a subscriber has its
// event, by a handle of its own, if the store can have two. Somebody saves 100 times a
// second:
//
//   - p50-µs, p99-µs: from the acknowledgement on; 0 if the subscriber was first.
func BenchmarkWakeup(b *testing.B, backend Backend) {
	address := backend.Create(b)
	var handles [2]Recorder
	for i := range handles {
		if i == 1 && !backend.Features.Processes {
			handles[1] = handles[0]
			break
		}
		r, err := backend.Open(b.Context(), address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { closeRecorder(b, r) })
		handles[i] = r
	}
	ctx, cancel := context.WithCancel(b.Context())
	arrivals := make(chan time.Time, 1)
	ended := background(func() error {
		for _, err := range persistence.Follow(ctx, handles[1], persistence.LogQuery{}) {
			if err != nil {
				return err
			}
			arrivals <- time.Now()
		}
		return nil
	})
	defer func() {
		cancel()
		if err := ended(); !errors.Is(err, context.Canceled) {
			b.Errorf("the subscriber ended with the error %v", err)
		}
	}()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	var took []time.Duration
	for b.Loop() {
		<-ticker.C
		if _, err := handles[0].Record(ctx, batch(event(annals.NewID(), 1))); err != nil {
			b.Fatal(err)
		}
		acknowledged := time.Now()
		took = append(took, max(0, (<-arrivals).Sub(acknowledged)))
	}
	slices.Sort(took)
	for p, name := range map[int]string{50: "p50-µs", 99: "p99-µs"} {
		b.ReportMetric(float64(took[(len(took)-1)*p/100].Nanoseconds())/1e3, name)
	}
}
