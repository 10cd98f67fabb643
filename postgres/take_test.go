package postgres_test

import (
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/annals-es/annals/internal/group"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
)

// written are the streams and trackings that the batch of a request writes to.
func written(req *group.Request) []string {
	var all []string
	for i := range req.Batch.Events {
		all = append(all, "stream "+req.Batch.Events[i].StreamID)
	}
	if t := req.Batch.Tracking; t != nil {
		all = append(all, "tracking "+t.Name)
	}
	return all
}

func share(a, b *group.Request) bool {
	return slices.ContainsFunc(written(a), func(what string) bool { return slices.Contains(written(b), what) })
}

func isLarge(req *group.Request) bool {
	return slices.ContainsFunc(req.Batch.Events, func(e persistence.StoredEvent) bool { return len(e.State) > 0 })
}

// B16, B19: a group has no two saves of one stream, and nobody overtakes who saves to the same.
func TestAGroupIsTakenInOrder(t *testing.T) {
	t.Parallel()
	large := make([]byte, 5<<20) // two saves with one of these are never in one group
	streams := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})
	requests := rapid.Custom(func(t *rapid.T) *group.Request {
		b := &persistence.Batch{}
		for range rapid.IntRange(0, 3).Draw(t, "events") {
			state := large[:rapid.SampledFrom([]int{0, 0, 0, len(large)}).Draw(t, "size")]
			b.Events = append(b.Events, persistence.StoredEvent{StreamID: streams.Draw(t, "stream"), State: state})
		}
		if len(b.Events) == 0 || rapid.Bool().Draw(t, "tracks") {
			b.Tracking = &persistence.Tracking{Name: streams.Draw(t, "name")}
		}
		return &group.Request{Batch: b}
	})
	rapid.Check(t, func(t *rapid.T) {
		queue := rapid.SliceOfN(requests, 1, 20).Draw(t, "queue")
		place, small := make(map[*group.Request]int), true
		for i, req := range queue {
			place[req] = i
			small = small && !isLarge(req)
		}
		taken, rest := postgres.Take(slices.Clone(queue))
		inOrder := func(a, b *group.Request) int { return place[a] - place[b] }
		for _, req := range queue {
			t.Logf("%q, large: %v", written(req), isLarge(req))
		}
		if !slices.IsSortedFunc(taken, inOrder) || !slices.IsSortedFunc(rest, inOrder) {
			t.Fatal("not in the order of the queue")
		}
		all := slices.Concat(taken, rest)
		slices.SortFunc(all, inOrder)
		if !slices.Equal(all, queue) || len(taken) == 0 || taken[0] != queue[0] {
			t.Fatalf("%d taken and %d left of %d", len(taken), len(rest), len(queue))
		}
		for i, req := range taken {
			for _, other := range taken[i+1:] {
				if share(req, other) {
					t.Errorf("two of a group write to the same: %q, %q", written(req), written(other))
				}
			}
			for _, left := range rest {
				if share(req, left) && place[left] < place[req] {
					t.Errorf("%q overtakes %q", written(req), written(left))
				}
			}
		}
		for _, left := range rest { // nobody waits without a reason
			if small && !slices.ContainsFunc(queue[:place[left]], func(before *group.Request) bool { return share(left, before) }) {
				t.Errorf("%q was left", written(left))
			}
		}
	})
}

// requestOf saves events of a size to a stream.
func requestOf(stream string, events, size int) *group.Request {
	b := &persistence.Batch{Events: make([]persistence.StoredEvent, events)}
	for i := range b.Events {
		b.Events[i] = persistence.StoredEvent{StreamID: stream, State: make([]byte, size)}
	}
	return &group.Request{Batch: b}
}

func TestAGroupHasLimits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ requests, events, size, want int }{
		"saves":               {600, 1, 100, 512},
		"events":              {10, 1024, 0, 4},
		"bytes":               {10, 1, 2<<20 - 256, 4}, // names are taken to have 256
		"one byte more":       {10, 1, 2<<20 - 255, 3},
		"one that is too big": {3, 1, 9 << 20, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			queue := make([]*group.Request, c.requests)
			for i := range queue {
				queue[i] = requestOf(strconv.Itoa(i), c.events, c.size)
			}
			taken, rest := postgres.Take(slices.Clone(queue))
			if len(taken) != c.want || !slices.Equal(slices.Concat(taken, rest), queue) {
				t.Errorf("%d taken, %d left; want %d", len(taken), len(rest), c.want)
			}
		})
	}
}

// Whoever waits because the group is full is not overtaken by a save that would fit.
func TestAFullGroupIsNotFilledUp(t *testing.T) {
	t.Parallel()
	queue := []*group.Request{requestOf("a", 1, 5<<20), requestOf("b", 1, 5<<20), requestOf("b", 1, 0)}
	if taken, rest := postgres.Take(slices.Clone(queue)); len(taken) != 1 || !slices.Equal(slices.Concat(taken, rest), queue) {
		t.Errorf("%d taken, %d left", len(taken), len(rest))
	}
}
