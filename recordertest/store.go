package recordertest

import (
	"context"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals/persistence"
)

// defaultPatience guards against a check that hangs. Nothing is expected to take
// a noticeable part of it.
const defaultPatience = 2 * time.Minute

// store is the store of one check. It is created when it is first opened.
type store struct {
	backend Backend
	address string
}

// setup opens the store, until the check ends. The context ends when patience
// does.
func (s *store) setup(t *testing.T) (context.Context, Recorder) {
	t.Helper()
	ctx := s.context(t)
	return ctx, s.open(ctx, t)
}

func (s *store) context(t *testing.T) context.Context {
	t.Helper()
	patience := s.backend.patience
	if patience == 0 {
		patience = defaultPatience
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rounds(1))*patience)
	t.Cleanup(cancel)
	return ctx
}

// open returns a handle on the store, which is closed when the check ends.
func (s *store) open(ctx context.Context, t *testing.T) Recorder {
	t.Helper()
	if s.address == "" {
		s.address = s.backend.Create(t)
	}
	r, err := s.backend.Open(ctx, s.address)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { closeRecorder(t, r) })
	return r
}

// handles returns the recorder as n writers use it: by two handles in turn if
// the store can have them, or else all by the one.
func (s *store) handles(ctx context.Context, t *testing.T, r Recorder, n int) []Recorder {
	t.Helper()
	second := r
	if s.backend.Features.Processes {
		second = s.open(ctx, t)
	}
	handles := make([]Recorder, n)
	for i := range handles {
		handles[i] = r
		if i%2 == 1 {
			handles[i] = second
		}
	}
	return handles
}

// reopens reports whether the store can be opened again once it was closed.
func (s *store) reopens() bool { return s.backend.Features.Durable || s.backend.Features.Processes }

func closeRecorder(tb testing.TB, r Recorder) {
	tb.Helper()
	if err := r.Close(); err != nil {
		tb.Errorf("close: %v", err)
	}
}

// together calls f(0) … f(n-1), each in a goroutine of its own, all started at
// one moment, and returns when all have returned.
func together(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

// background calls f in a goroutine and returns its result when it is asked for.
func background[T any](f func() T) (wait func() T) {
	result := make(chan T, 1)
	go func() { result <- f() }()
	return sync.OnceValue(func() T { return <-result })
}

func record(ctx context.Context, t *testing.T, r Recorder, events ...persistence.StoredEvent) []int64 {
	t.Helper()
	return recordBatch(ctx, t, r, persistence.Batch{Events: events})
}

func recordBatch(ctx context.Context, t *testing.T, r Recorder, b persistence.Batch) []int64 {
	t.Helper()
	positions, err := r.Record(ctx, b)
	if err != nil {
		t.Fatalf("record: %v", err)
	}
	if len(positions) != len(b.Events) {
		t.Fatalf("record: %d positions for %d events", len(positions), len(b.Events))
	}
	return positions
}

func readStream(ctx context.Context, t *testing.T, r Recorder, id string, q persistence.StreamQuery) []persistence.StoredEvent {
	t.Helper()
	events, err := collect(r.ReadStream(ctx, id, q))
	if err != nil {
		t.Fatalf("read stream %q: %v", id, err)
	}
	return events
}

func readLog(ctx context.Context, t *testing.T, r Recorder, q persistence.LogQuery) []persistence.Notification {
	t.Helper()
	notifications, err := collect(r.ReadLog(ctx, q))
	if err != nil {
		t.Fatalf("read log: %v", err)
	}
	return notifications
}

// collect returns what a read yields before its end, and the error that ends it.
// What is yielded beside an error does not count; what is yielded after one does,
// so that it is seen to be wrong.
func collect[T any](read iter.Seq2[T, error]) (all []T, err error) {
	for one, e := range read {
		if e != nil {
			err = e
			continue
		}
		all = append(all, one)
	}
	return all, err
}

// everything returns the log and the trackings of the names, as they are now.
func everything(ctx context.Context, t *testing.T, r Recorder, names ...string) (log []persistence.Notification, tracked map[string]int64) {
	t.Helper()
	tracked = make(map[string]int64)
	for _, name := range names {
		if position, ok := maxTracking(ctx, t, r, name); ok {
			tracked[name] = position
		}
	}
	return readLog(ctx, t, r, persistence.LogQuery{}), tracked
}

func maxTracking(ctx context.Context, t *testing.T, r Recorder, name string) (int64, bool) {
	t.Helper()
	position, ok, err := r.MaxTracking(ctx, name)
	if err != nil {
		t.Fatalf("max tracking of %q: %v", name, err)
	}
	return position, ok
}

func maxPosition(ctx context.Context, t *testing.T, r Recorder) (int64, bool) {
	t.Helper()
	position, ok, err := r.MaxPosition(ctx)
	if err != nil {
		t.Fatalf("max position: %v", err)
	}
	return position, ok
}

// doneContexts returns contexts that are done already, by their errors.
func doneContexts(ctx context.Context) map[error]context.Context {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	expired, cancel := context.WithDeadline(ctx, time.Unix(0, 0))
	cancel()
	return map[error]context.Context{context.Canceled: cancelled, context.DeadlineExceeded: expired}
}
