package recordertest

import (
	"slices"
	"testing"

	"github.com/annals-es/annals/internal/compare"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/hashchain"
)

// BenchmarkSaveHashed measures saves of one event each by 64 goroutines with a hash
// chain, against the same saves without one:
//
//   - x-plain: the time by that without a hash chain. Target: 1.2 or less for a
//     database.
//   - saves/s, allocs/event.
func BenchmarkSaveHashed(b *testing.B, backend Backend) {
	backend.Bare = nil
	hashed, _ := stores(b, backend)
	plain, _ := stores(b, backend)
	c := compare.Comparison{Ours: saves(hashchain.NewLinker(hashed), 64, 32), Bare: saves(plain, 64, 32)}
	o := c.Run(b, "x-plain", compare.TimesAsLong)
	b.ReportMetric(compare.PerSecond(compare.Median(o.PerEvent)), "saves/s")
}

// BenchmarkVerify measures the verification of a log of 100,000 events in 100
// streams, against reading it without hashes:
//
//   - x-scan: the time by that of ReadLog. Target: 1.5 or less for a database.
//   - events/s, allocs/event.
//
// With -short the log has 10,000 events.
func BenchmarkVerify(b *testing.B, backend Backend) {
	ctx := b.Context()
	backend.Bare = nil
	r, _ := stores(b, backend)
	const streams = 100
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	l := hashchain.NewLinker(r)
	for events := range slices.Chunk(accountEvents(b, streams, n/streams), 1000) {
		if _, err := l.Record(ctx, batch(events...)); err != nil {
			b.Fatal(err)
		}
	}
	c := compare.Comparison{
		Ours: compare.Side{Events: n, Round: func() error {
			report, err := hashchain.Verify(ctx, r, hashchain.Config{HashedFrom: 1})
			if err != nil {
				return err
			}
			return wantRows(int(report.Hashed), n)
		}},
		Bare: compare.Side{Events: n, Round: func() error {
			count := 0
			for _, err := range r.ReadLog(ctx, persistence.LogQuery{}) {
				if err != nil {
					return err
				}
				count++
			}
			return wantRows(count, n)
		}},
	}
	o := c.Run(b, "x-scan", compare.TimesAsLong)
	b.ReportMetric(compare.PerSecond(compare.Median(o.PerEvent)), "events/s")
}
