package hashchain_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/hashchain"
)

// BenchmarkVerifyChain measures the verification of a log of 50,000 events of some
// 350 bytes in 500 streams, against hashing the same bytes alone:
//
//   - frac-sha256: the rate by that of crypto/sha256 in one goroutine. Target: 0.5
//     or more.
func BenchmarkVerifyChain(b *testing.B) {
	const events, streams = 50_000, 500
	r := memory.New()
	l := hashchain.NewLinker(r)
	var forms [][]byte // what is hashed, and nothing else
	var before [streams][]byte
	for i := range int64(events) {
		e := event(fmt.Sprintf("0192f0c1-2d3e-7000-8000-%012d", i%streams), i/streams+1)
		e.State = append(e.State, make([]byte, 100)...)
		batch := []persistence.StoredEvent{e}
		save(b, l, batch...)
		forms = append(forms, hashchain.AppendForm(nil, before[i%streams], &batch[0]))
		before[i%streams] = batch[0].Hash
	}
	var ratios []float64
	for b.Loop() {
		start := time.Now()
		for _, form := range forms {
			sha256.Sum256(form)
		}
		alone := time.Since(start)
		start = time.Now()
		report, err := hashchain.Verify(b.Context(), r, hashchain.Config{})
		if err != nil || report.Events != events {
			b.Fatal(report, err)
		}
		ratios = append(ratios, float64(alone)/float64(time.Since(start)))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "frac-sha256")

	b.ReportMetric(float64(len(forms[1])), "bytes/event")
}
