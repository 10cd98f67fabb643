package recordertest

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

// comparison measures the recorder against the plain driver. Rounds of the one
// and of the other take turns, each on a store of its own, so that whatever else
// the machine does hits both alike; the result is the median of what the rounds
// gave. Without a baseline only the recorder is measured.
type comparison struct {
	ours side
	bare side // zero: no baseline
}

// side is one of the two that are compared.
type side struct {
	events  int          // how many a round saves or reads
	prepare func()       // makes ready what the next round needs; it is not measured
	round   func() error // is measured
}

// outcome is what the rounds of a comparison gave.
type outcome struct {
	perEvent []time.Duration // of ours
	ratios   []float64       // of the times per event: ours by bare
	mallocs  uint64
}

// run runs rounds for as long as the benchmark is to last, at least one. It
// reports the time and the allocations per event, and, with a baseline, the
// metric that ratio makes of the ratio of times.
func (c *comparison) run(b *testing.B, metric string, ratio func(times float64) float64) *outcome {
	b.Helper()
	var o outcome
	for n := 0; b.Loop(); n++ {
		var bare time.Duration
		if n%2 == 0 {
			bare = c.bare.measure(b, nil)
		}
		ours := c.ours.measure(b, &o.mallocs)
		if n%2 == 1 {
			bare = c.bare.measure(b, nil)
		}
		o.perEvent = append(o.perEvent, ours)
		if bare > 0 {
			o.ratios = append(o.ratios, float64(ours)/float64(bare))
		}
	}
	b.ReportMetric(float64(median(o.perEvent).Nanoseconds()), "ns/op") // an operation is an event
	b.ReportMetric(float64(o.mallocs)/float64(c.ours.events*len(o.perEvent)), "allocs/event")
	if len(o.ratios) > 0 {
		b.ReportMetric(ratio(median(o.ratios)), metric)
	}
	return &o
}

// measure runs a round and returns its time per event. The allocations of the
// whole program meanwhile are added to mallocs, if that is not nil.
func (s *side) measure(b *testing.B, mallocs *uint64) time.Duration {
	b.Helper()
	if s.round == nil {
		return 0
	}
	if s.prepare != nil {
		s.prepare()
	}
	var before, after runtime.MemStats
	if mallocs != nil {
		runtime.ReadMemStats(&before)
	}
	start := time.Now()
	err := s.round()
	took := time.Since(start)
	if mallocs != nil {
		runtime.ReadMemStats(&after)
		*mallocs += after.Mallocs - before.Mallocs
	}
	if err != nil {
		b.Fatal(err)
	}
	return took / time.Duration(s.events)
}

func median[T time.Duration | float64](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// perSecond is how often a second something happens that takes d.
func perSecond(d time.Duration) float64 { return float64(time.Second) / float64(d) }

// timesAsLong reports a ratio of times as it is; asFast reports it as that of
// rates.
func timesAsLong(times float64) float64 { return times }
func asFast(times float64) float64      { return 1 / times }
