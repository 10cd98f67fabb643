package hashchain_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/hashchain"
)

// BenchmarkVerifyChain measures the verification of a log of 50,000 events in 500
// streams, which is read from the memory recorder, against crypto/sha256 hashing the
// same bytes alone, those of the events and those of the digest of the log: they lie
// ready in memory, and as many goroutines as the verification has workers, which is as
// many as can run, take 256 events at a time.
//
//   - frac-sha256: the rate by that of crypto/sha256. Target: 0.5 or more.
//   - bytes/event: what is hashed for an event.
//   - events/s.
func BenchmarkVerifyChain(b *testing.B) {
	const events, streams = 50_000, 500
	r := memory.New()
	l := hashchain.NewLinker(r)
	forms := make([][]byte, events) // what is hashed, and nothing else
	var links []byte                // what the digest of the log is made of, for each event
	const link = 8 + hashchain.Size
	before := make([][]byte, streams)
	for i := range events {
		e := event(fmt.Sprintf("0192f0c1-2d3e-7000-8000-%012d", i%streams), int64(i/streams+1))
		e.State = append(e.State, make([]byte, 100)...)
		batch := []persistence.StoredEvent{e}
		save(b, l, batch...)
		forms[i] = hashchain.AppendForm(nil, before[i%streams], &batch[0])
		before[i%streams] = batch[0].Hash
		links = append(binary.BigEndian.AppendUint64(links, uint64(i+1)), batch[0].Hash...)
	}
	alone := func() time.Duration {
		start := time.Now()
		var all sync.WaitGroup
		var next atomic.Int64
		for range runtime.GOMAXPROCS(0) {
			all.Go(func() {
				for at := next.Add(256); at-256 < events; at = next.Add(256) {
					from, to := at-256, min(at, events)
					for _, form := range forms[from:to] {
						sha256.Sum256(form)
					}
					sha256.Sum256(links[from*link : to*link])
				}
			})
		}
		all.Wait()
		return time.Since(start)
	}
	verify := func() time.Duration {
		start := time.Now()
		report, err := hashchain.Verify(b.Context(), r, hashchain.Config{})
		took := time.Since(start)
		if err != nil || report.Hashed != events {
			b.Fatal(report, err)
		}
		return took
	}
	var ratios, rates []float64
	for n := 0; b.Loop(); n++ {
		var bare, ours time.Duration
		if n%2 == 0 { // they take turns, so that what else the machine does hits both alike
			bare, ours = alone(), verify()
		} else {
			ours, bare = verify(), alone()
		}
		ratios = append(ratios, float64(bare)/float64(ours))
		rates = append(rates, events/ours.Seconds())
	}
	b.ReportMetric(median(ratios), "frac-sha256")
	b.ReportMetric(median(rates), "events/s")
	b.ReportMetric(float64(len(forms[1])+link), "bytes/event")
}

func median(all []float64) float64 {
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}
