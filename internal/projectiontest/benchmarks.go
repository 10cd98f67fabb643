package projectiontest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/internal/compare"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/projection"
)

// fill saves events to streams of ten, and returns the last position.
func (s *store[Tx]) fill(b *testing.B, n int) (at int64) {
	b.Helper()
	const each, together = 10, 50
	for n > 0 {
		var sources []application.Source
		for range together {
			a := Accounts.New(annals.NewID(), Opened{Owner: "Ada"})
			for i := range each {
				annals.Trigger(a, Deposited{Cents: int64(i)})
			}
			sources = append(sources, a)
			n -= each
		}
		recordings, err := s.app.Save(b.Context(), sources...)
		if err != nil {
			b.Fatal(err)
		}
		at = recordings.Position()
	}
	return at
}

// upsert is a projection whose handler writes one row.
func (s *store[Tx]) upsert() *projection.Projection[Tx] {
	return projection.Define("balances", projection.On(func(ctx context.Context, tx Tx, e Deposited, env annals.Event) error {
		return s.Put(ctx, tx, env.StreamID, Row{env.Version, e.Cents})
	}))
}

// BenchmarkCatchUp measures a projection that catches up with a log, and whose handler
// writes a row for each event, against the same with a transaction for each event:
//
//   - x-one-by-one: the rate by that of the other. Target: 5 or more.
//   - events/s.
func BenchmarkCatchUp[Tx any](b *testing.B, backend Backend[Tx]) {
	s := backend.create(b)
	n, few := 2000, 500
	if testing.Short() {
		n, few = 500, 500
	}
	at := s.fill(b, n)
	c := compare.Comparison{
		Ours: s.catchesUp(b, n, 0, at),
		Bare: s.catchesUp(b, few, at-int64(few+few/10), at, projection.WithBatch(1, time.Minute)),
	}
	o := c.Run(b, "x-one-by-one", compare.AsFast)
	b.ReportMetric(compare.PerSecond(compare.Median(o.PerEvent)), "events/s")
}

// catchesUp is a side whose round projects the last n deposits, those behind a position.
func (s *store[Tx]) catchesUp(b *testing.B, n int, after, upTo int64, opts ...projection.Option) compare.Side {
	b.Helper()
	p := s.upsert()
	opts = append(opts, projection.StartAfter(after), projection.WithLease(0))
	return compare.Side{
		Events:  n,
		Prepare: func() { _ = projection.Forget(b.Context(), p, s.v) },
		Round: func() error {
			r, err := projection.Start(b.Context(), s.app, p, s.v, opts...)
			if err != nil {
				return err
			}
			return errors.Join(r.Wait(b.Context(), upTo), r.Stop())
		},
	}
}

// BenchmarkFracScan measures a projection into memory, against reading the log alone:
//
//   - frac-scan: the rate by that of reading. Target: 0.5 or more.
//   - events/s.
func BenchmarkFracScan(b *testing.B, create func(testing.TB) string, open func(context.Context, string) (Recorder, error)) {
	type tx = *memory.ViewTx[string, Row]
	backend := Backend[tx]{
		CreateLog: create, OpenLog: open,
		CreateView: func(testing.TB) string { return "" },
		OpenView: func(context.Context, string) (persistence.View[tx], func(), error) {
			return memory.NewView[string, Row](), func() {}, nil
		},
		Put: func(_ context.Context, tx tx, id string, r Row) error { tx.Put(id, r); return nil },
	}
	s := backend.create(b)
	n := 50_000
	if testing.Short() {
		n = 2000
	}
	at := s.fill(b, n)
	ours := s.catchesUp(b, n, 0, at)
	c := compare.Comparison{Ours: ours, Bare: compare.Side{Events: n, Round: func() error {
		for _, err := range s.app.Notifications(b.Context(), application.Topics("Account.Deposited")) {
			if err != nil {
				return err
			}
		}
		return nil
	}}}
	o := c.Run(b, "frac-scan", compare.AsFast)
	b.ReportMetric(compare.PerSecond(compare.Median(o.PerEvent)), "events/s")
}

// BenchmarkSaveToView measures how long after a save begins its effect is in the view, at
// 100 saves a second:
//
//   - p50-ms, p99-ms. Target of p99: 25 or less.
func BenchmarkSaveToView[Tx any](b *testing.B, backend Backend[Tx]) {
	s := backend.create(b)
	r, err := projection.Start(b.Context(), s.app, s.upsert(), s.v)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Stop() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var took []time.Duration
	for b.Loop() {
		<-tick.C
		began := time.Now()
		at, err := s.deposit(b.Context(), annals.NewID(), 1)
		if err == nil {
			err = r.Wait(b.Context(), at)
		}
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
	b.ReportMetric(ms(took[len(took)*99/100]), "p99-ms")
}
