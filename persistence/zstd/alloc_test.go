//go:build !race

// With the race detector, pools forget at random.

package zstd_test

import (
	"testing"

	"github.com/annals-es/annals/persistence/zstd"
)

// reused does each thing again and again with the memory of before, and fails if it
// takes more memory for each event: an encoder alone has megabytes.
func reused(tb testing.TB, c *zstd.Compressor, each func(name string, do func() ([]byte, error))) {
	tb.Helper()
	src := event(300)
	compressed := compress(tb, c, src)
	compressedInto, into := make([]byte, 0, len(src)), make([]byte, 0, len(src))
	for _, a := range []struct {
		name string
		most float64
		do   func() ([]byte, error)
	}{
		{"compress", 0, func() ([]byte, error) { return c.Compress(compressedInto, src) }},
		{"decompress", 0, func() ([]byte, error) { return c.Decompress(into, compressed) }},
		{"decompress without room", 1, func() ([]byte, error) { return c.Decompress(nil, compressed) }}, // the result
	} {
		for range 100 { // each encoder has been used
			_, _ = a.do()
		}
		if allocs := testing.AllocsPerRun(200, func() { _, _ = a.do() }); allocs > a.most {
			tb.Errorf("%s: %v allocations, want %v", a.name, allocs, a.most)
		}
		each(a.name, a.do)
	}
}

func compressors(tb testing.TB) map[string]*zstd.Compressor {
	tb.Helper()
	d := train(tb, events(0, 300))
	return map[string]*zstd.Compressor{
		"alone": zstd.New(), "dictionary": zstd.New(zstd.WithDictionary(d)), "level 6": zstd.New(zstd.WithLevel(6)),
	}
}

//nolint:paralleltest // it counts the allocations of the process
func TestMemoryIsUsedAgain(t *testing.T) {
	for name, c := range compressors(t) {
		t.Run(name, func(t *testing.T) {
			reused(t, c, func(string, func() ([]byte, error)) {})
		})
	}
}

func BenchmarkCompressor(b *testing.B) {
	for kind, c := range compressors(b) {
		reused(b, c, func(name string, do func() ([]byte, error)) {
			b.Run(kind+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := do(); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
