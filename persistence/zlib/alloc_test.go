//go:build !race

// With the race detector, pools forget at random.

package zlib_test

import (
	"testing"

	"github.com/annals-es/annals/persistence/zlib"
)

// reused does each thing again and again with the memory of before, and fails if it
// takes more memory for each event: a writer alone has 800 KB.
func reused(tb testing.TB, c *zlib.Compressor, each func(name string, do func() ([]byte, error))) {
	tb.Helper()
	src := event(1)
	compressed := compress(tb, c, src)
	into := make([]byte, 0, len(src))
	for _, a := range []struct {
		name string
		most float64
		do   func() ([]byte, error)
	}{
		{"compress", 0, func() ([]byte, error) { return c.Compress(into, src) }},
		{"decompress", 1, func() ([]byte, error) { return c.Decompress(into, compressed) }}, // the library's checksum
	} {
		if allocs := testing.AllocsPerRun(200, func() { _, _ = a.do() }); allocs > a.most {
			tb.Errorf("%s: %v allocations, want %v", a.name, allocs, a.most)
		}
		each(a.name, a.do)
	}
}

//nolint:paralleltest // it counts the allocations of the process
func TestMemoryIsUsedAgain(t *testing.T) {
	reused(t, zlib.New(), func(string, func() ([]byte, error)) {})
}

func BenchmarkCompressor(b *testing.B) {
	reused(b, zlib.New(), func(name string, do func() ([]byte, error)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}
