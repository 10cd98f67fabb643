package main

import "testing"

// B20: a reader that follows the log under 64 writers misses nothing. Of the peer
// nothing is asserted: what it loses is reported as it is.
func TestAReaderThatFollowsTheLogMissesNothing(t *testing.T) {
	t.Parallel()
	const each = 30
	p := newPlaces(t, onPostgres)
	for _, l := range libraries() {
		if l.on[onPostgres] == nil {
			continue
		}
		w, err := watch(t.Context(), p, l, onPostgres, each)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: of %d events that 64 goroutines saved, a reader that followed never saw %d", l.name, w.stored, w.lost)
		if l.metric == "" && w.lost != 0 {
			t.Errorf("%s has lost %d events", l.name, w.lost)
		}
	}
}
