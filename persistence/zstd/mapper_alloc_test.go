//go:build !race

// With the race detector, pools forget at random.

package zstd_test

import "testing"

// An event takes memory for what is stored or returned, and for little else: neither
// a compressor nor a cipher is made for it.
//
//nolint:paralleltest // it counts the allocations of the process
func TestTheMapperAllocatesLittle(t *testing.T) {
	const most = 6
	for _, kind := range kinds(t) {
		l := newLayers(t, kind.opts...)
		events := mappedEvents(t, l)
		for _, w := range ways(t.Context(), l) {
			if n := allocations(w, events); n > most {
				t.Errorf("%s%s makes %v allocations, want at most %d", w.name, kind.suffix, n, most)
			} else {
				t.Logf("%s%s makes %v allocations", w.name, kind.suffix, n)
			}
		}
	}
}
