// Package compare measures two ways to do something side by side, in one benchmark:
// absolute times mean little on a machine that does other things as well.
package compare

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

// Comparison measures one side against the other. Rounds of the one
// and of the other take turns, each on a store of its own, so that whatever else
// the machine does hits both alike; the result is the median of what the rounds
// gave. Without a baseline only our side is measured.
type Comparison struct {
	Ours Side
	Bare Side // zero: no baseline
}

// Side is one of the two that are compared.
type Side struct {
	Events  int          // how many a round saves or reads
	Prepare func()       // makes ready what the next round needs; it is not measured
	Round   func() error // is measured
}

// Outcome is what the rounds of a comparison gave.
type Outcome struct {
	PerEvent []time.Duration // of ours
	ratios   []float64       // of the times per event: ours by bare
	mallocs  uint64
}

// Run runs rounds for as long as the benchmark is to last, at least one. It
// reports the time and the allocations per event, and, with a baseline, the
// metric that ratio makes of the ratio of times.
func (c *Comparison) Run(b *testing.B, metric string, ratio func(times float64) float64) *Outcome {
	b.Helper()
	var o Outcome
	var baresMallocs uint64 // counting them is not free: both sides begin as it leaves the memory
	for n := 0; b.Loop(); n++ {
		var bare time.Duration
		if n%2 == 0 {
			bare = c.Bare.measure(b, &baresMallocs)
		}
		ours := c.Ours.measure(b, &o.mallocs)
		if n%2 == 1 {
			bare = c.Bare.measure(b, &baresMallocs)
		}
		o.PerEvent = append(o.PerEvent, ours)
		if bare > 0 {
			o.ratios = append(o.ratios, float64(ours)/float64(bare))
		}
	}
	b.ReportMetric(float64(Median(o.PerEvent).Nanoseconds()), "ns/op") // an operation is an event
	b.ReportMetric(float64(o.mallocs)/float64(c.Ours.Events*len(o.PerEvent)), "allocs/event")
	if len(o.ratios) > 0 {
		b.ReportMetric(ratio(Median(o.ratios)), metric)
	}
	return &o
}

// measure is round for a benchmark, which fails if the round does.
func (s *Side) measure(b *testing.B, mallocs *uint64) time.Duration {
	b.Helper()
	if s.Round == nil {
		return 0
	}
	took, err := s.round(mallocs)
	if err != nil {
		b.Fatal(err)
	}
	return took
}

// round runs a round and returns its time per event. The allocations of the
// whole program meanwhile are added to mallocs, if that is not nil.
func (s *Side) round(mallocs *uint64) (time.Duration, error) {
	if s.Prepare != nil {
		s.Prepare()
	}
	var before, after runtime.MemStats
	if mallocs != nil {
		runtime.ReadMemStats(&before)
	}
	start := time.Now()
	err := s.Round()
	took := time.Since(start)
	if mallocs != nil {
		runtime.ReadMemStats(&after)
		*mallocs += after.Mallocs - before.Mallocs
	}
	return took / time.Duration(s.Events), err
}

// Median returns what lies in the middle.
func Median[T time.Duration | float64](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// PerSecond is how often a second something happens that takes d.
func PerSecond(d time.Duration) float64 { return float64(time.Second) / float64(d) }

// TimesAsLong reports a ratio of times as it is.
func TimesAsLong(times float64) float64 { return times }

// AsFast reports a ratio of times as that of rates.
func AsFast(times float64) float64 { return 1 / times }
