package recordertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

func orderChecks() []check {
	return []check{
		{"positions grow with each commit, in the order of the batch", "B16, B30", Features{}, checkPositions},
		{"two saves of 1,000 events do not interleave", "B19", Features{}, checkNotInterleaved},
		{"a read of the log while others write is its beginning", "B20", Features{}, checkPrefix},
		{"a follower sees every event once, in order, whatever 64 writers do", "B20, B40", Features{}, checkFollowers},
		{"a follower in another process sees the same", "B20, B40", Features{Processes: true}, checkFollowerProcess},
	}
}

func checkPositions(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	last := int64(0)
	for v := range int64(50) {
		if v%5 == 0 { // what is undone may use positions up, and must not disturb
			b := batch(event("undone", 1))
			b.Do = func(context.Context, any) error { return &failure{} }
			if _, err := r.Record(ctx, b); err == nil {
				t.Error("a batch was stored though Do failed")
			}
		}
		positions := record(ctx, t, r, event("a", v+1), event("b", 2*v+1), event("b", 2*v+2))
		if !ascending(append([]int64{last}, positions...)) {
			t.Errorf("positions %v do not grow from %d on", positions, last)
		}
		last = positions[2]
	}
	checkLog(t, readLog(ctx, t, r, persistence.LogQuery{}))
}

func checkNotInterleaved(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	handles := s.handles(ctx, t, r, 6)
	for round := range int64(rounds(3)) {
		batches := make([][]persistence.StoredEvent, 6)
		for i := range batches {
			n := 1000
			if i > 1 { // and small ones between the large ones
				n = 3
			}
			batches[i] = events(fmt.Sprintf("stream %d", i), round*int64(n)+1, n)
		}
		together(len(batches), func(i int) {
			positions, err := handles[i].Record(ctx, batch(batches[i]...))
			if err != nil || !ascending(positions) {
				t.Errorf("got error %v and positions that ascend: %t", err, ascending(positions))
			}
		})
		log := readLog(ctx, t, r, persistence.LogQuery{})
		checkLog(t, log)
		for id, there := range checkContiguous(t, log, batches) {
			if !there {
				t.Errorf("the batch of event %s is not there", id)
			}
		}
	}
}

func checkPrefix(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	reader := s.handles(ctx, t, r, 2)[1]
	for v := range int64(5) {
		record(ctx, t, r, events("before", 1000*v+1, 1000)...)
	}
	var read atomic.Bool // there was a read that began after the first write and ended before the last
	writing := background(func() error {
		for v := int64(0); v < 100 || v < 1000 && !read.Load(); v++ {
			if _, err := r.Record(ctx, batch(event("during", 2*v+1), event("during", 2*v+2))); err != nil {
				read.Store(true)
				return err
			}
		}
		return nil
	})
	var reads [][]persistence.Notification
	for range 3 {
		reads = append(reads, readLog(ctx, t, reader, persistence.LogQuery{}))
	}
	read.Store(true)
	if err := writing(); err != nil {
		t.Error(err)
	}
	log := readLog(ctx, t, reader, persistence.LogQuery{})
	checkLog(t, log)
	for _, got := range reads {
		if len(got) < 5000 || len(got) > len(log) {
			t.Errorf("a read had %d events; 5000 were there before it began, and %d at the end", len(got), len(log))
			continue
		}
		equal(t, "a read while others write", got, log[:len(got)])
	}
}

// endStream is the stream of the event by which a storm ends.
const endStream = "end"

// storm saves from 64 goroutines what is good, what conflicts, what is undone, and
// what is cancelled, and at last one event of the stream endStream.
func storm(ctx context.Context, t *testing.T, handles []Recorder, saves int) {
	t.Helper()
	var hot atomic.Int64
	together(len(handles), func(i int) {
		for n := range int64(saves) {
			w := writer{handles[i], fmt.Sprintf("writer %d", i), n}
			if err := errors.Join(w.good(ctx), w.contended(ctx, &hot), w.undone(ctx), w.cancelled(ctx)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	if _, err := handles[0].Record(ctx, batch(event(endStream, 1))); err != nil {
		t.Error(err)
	}
}

type writer struct {
	r    Recorder
	name string
	n    int64 // how often it has written
}

func (w *writer) good(ctx context.Context) error {
	b := tracked(batch(events(w.name, 2*w.n+1, 2)...), w.name, w.n+1)
	_, err := w.r.Record(ctx, b)
	return err
}

// contended saves the next version of a stream that all writers save.
func (w *writer) contended(ctx context.Context, version *atomic.Int64) error {
	next := version.Load() + 1
	_, err := w.r.Record(ctx, batch(event(fmt.Sprintf("%s, %d", w.name, w.n), 1), event("hot", next)))
	switch {
	case err == nil:
		version.Store(next)
	case errors.Is(err, annals.ErrVersionConflict):
		err = nil
	}
	return err
}

func (w *writer) undone(ctx context.Context) error {
	b := batch(events(w.name, 2*w.n+3, 3)...)
	failed := &failure{}
	b.Do = func(context.Context, any) error { return failed }
	if _, err := w.r.Record(ctx, b); !errors.Is(err, failed) {
		return fmt.Errorf("got error %w, want that of Do", err)
	}
	return nil
}

func (w *writer) cancelled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.Int64N(int64(3*time.Millisecond))))
	defer cancel()
	_, err := w.r.Record(ctx, batch(events(fmt.Sprintf("%s, %d, cancelled", w.name, w.n), 1, 2)...))
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, annals.ErrOutcomeUnknown) {
		return nil
	}
	return err
}

// follow returns what a follower sees, up to the end of a storm.
func follow(ctx context.Context, r persistence.LogRecorder, after int64) (seen []persistence.Notification, err error) {
	for n, err := range persistence.Follow(ctx, r, persistence.LogQuery{After: after}) {
		if err != nil {
			return seen, err
		}
		if seen = append(seen, n); n.StreamID == endStream {
			break
		}
	}
	return seen, nil
}

// poll is a follower that takes what it finds, and does not look at the max
// position.
func poll(ctx context.Context, r persistence.LogRecorder) (seen []persistence.Notification, err error) {
	var q persistence.LogQuery
	for {
		for n, err := range r.ReadLog(ctx, q) {
			if err != nil {
				return seen, err
			}
			seen = append(seen, n)
			if q.After = n.Position; n.StreamID == endStream {
				return seen, nil
			}
		}
		if err := r.Wait(ctx, q.After); err != nil {
			return seen, err
		}
	}
}

func checkFollowers(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	handles := s.handles(ctx, t, r, 64)
	type result struct {
		name string
		seen []persistence.Notification
		err  error
	}
	record(ctx, t, r, events("before", 1, 10)...)
	begun, _ := maxPosition(ctx, t, r)
	followers := []func() result{
		background(func() result { seen, err := follow(ctx, handles[0], 0); return result{"from the first on", seen, err} }),
		background(func() result {
			seen, err := follow(ctx, handles[1], 0)
			return result{"by the other handle", seen, err}
		}),
		background(func() result { seen, err := follow(ctx, handles[0], begun); return result{"from now on", seen, err} }),
		background(func() result { seen, err := poll(ctx, handles[1]); return result{"by polling", seen, err} }),
	}
	storm(ctx, t, handles, rounds(8))
	log := readLog(ctx, t, r, persistence.LogQuery{})
	checkLog(t, log)
	for _, wait := range followers {
		got := wait()
		want := log
		if got.name == "from now on" {
			want = log[10:]
		}
		if got.err != nil {
			t.Errorf("follower %s: %v", got.name, got.err)
		}
		equal(t, "follower "+got.name, got.seen, want)
	}
}

func checkFollowerProcess(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	handles := s.handles(ctx, t, r, 64)
	record(ctx, t, r, events("before", 1, 10)...)
	c := s.start(ctx, t, roleFollow)
	c.tell("go")
	storm(ctx, t, handles, rounds(8))
	log := readLog(ctx, t, r, persistence.LogQuery{})
	checkLog(t, log)
	c.checkFollowed(log)
}

// checkFollowed checks what a process that follows has seen.
func (p *process) checkFollowed(log []persistence.Notification) {
	p.t.Helper()
	var got []string
	for line, ok := p.line(); ok; line, ok = p.line() {
		got = append(got, line)
	}
	p.wait()
	for i := range max(len(got), len(log)) {
		switch {
		case i >= len(got):
			p.t.Fatalf("the other process saw %d events, want %d; the first missing: %s", len(got), len(log), brief(log[i]))
		case i >= len(log) || got[i] != followed(log[i]):
			p.t.Fatalf("the other process saw as number %d %q, want the log's %d", i+1, got[i], len(log))
		}
	}
}

func playFollow(ctx context.Context, r Recorder) error {
	for n, err := range persistence.Follow(ctx, r, persistence.LogQuery{}) {
		if err != nil {
			return err
		}
		if sayf("%s", followed(n)); n.StreamID == endStream {
			break
		}
	}
	return nil
}

// followed is what the child process says of an event.
func followed(n persistence.Notification) string {
	return fmt.Sprintf("%d %s %d %s", n.Position, n.ID, n.Version, n.StreamID)
}
