package main

import (
	"testing"
	"time"

	"github.com/annals-es/annals/internal/pgserver"
)

// BenchmarkSave1 measures saves of one event each by one goroutine. Targets: on every
// store not behind the best peer.
//
//   - x-hallgren, x-eventhorizon, x-best-peer: how many times as fast ours is.
//   - events/s: ours.
func BenchmarkSave1(b *testing.B) { benchmark(b, save1()) }

// BenchmarkSave64 measures the same by 64 goroutines. Targets: eight times the best peer
// on PostgreSQL and SQLite, in memory not behind.
func BenchmarkSave64(b *testing.B) { benchmark(b, save64()) }

// BenchmarkLoad100 measures loads of an aggregate of 100 events by one goroutine.
func BenchmarkLoad100(b *testing.B) { benchmark(b, load100()) }

// BenchmarkScan measures reading a whole log. That of a peer may have no order.
func BenchmarkScan(b *testing.B) { benchmark(b, scanLog()) }

// benchmark measures a workload on every store. An operation is an event, or a load.
func benchmark(b *testing.B, w workload) {
	b.Helper()
	for _, k := range []kind{inMemory, onSQLite, onPostgres} {
		b.Run(string(k), func(b *testing.B) {
			c, err := newContest(b.Context(), newPlaces(b, k), k, w)
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := c.close(); err != nil {
					b.Error(err)
				}
			}()
			for b.Loop() {
				if err := c.turn(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(time.Second)/c.rate(0), "ns/op")
			b.ReportMetric(c.rate(0), w.unit)
			for i, l := range c.libraries[1:] {
				b.ReportMetric(c.turns.Ratio(0, i+1).Median, l.metric)
			}
			if best := c.bestPeer(); best > 0 {
				b.ReportMetric(c.turns.Ratio(0, best).Median, "x-best-peer")
			}
		})
	}
}

// newPlaces returns places for stores of a kind. Without a server for them, the test is
// skipped.
func newPlaces(tb testing.TB, k kind) places {
	tb.Helper()
	p := places{folder: tb.TempDir()}
	if k == onPostgres {
		p.server = pgserver.Test(tb).URL("postgres")
	}
	return p
}
