package system_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/system"
)

// gaps is a recorder whose positions have gaps: others than those of its events.
type gaps struct {
	*memory.Recorder

	mu    sync.Mutex
	reads int
}

func (r *gaps) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	positions, err := r.Recorder.Record(ctx, b)
	for i := range positions {
		positions[i] *= 3
	}
	return positions, err
}

func (r *gaps) MaxPosition(ctx context.Context) (int64, bool, error) {
	position, ok, err := r.Recorder.MaxPosition(ctx)
	return position * 3, ok, err
}

func (r *gaps) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	r.mu.Lock()
	r.reads++
	r.mu.Unlock()
	after, upTo := q.After, q.UpTo
	q.After, q.UpTo = 0, 0
	return func(yield func(persistence.Notification, error) bool) {
		for n, err := range r.Recorder.ReadLog(ctx, q) {
			if n.Position *= 3; n.Position > after && (upTo <= 0 || n.Position <= upTo) && !yield(n, err) {
				return
			}
		}
	}
}

// counted counts what is read of the log.
type counted struct {
	*memory.Recorder

	mu    sync.Mutex
	reads int
}

func (r *counted) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	r.mu.Lock()
	r.reads++
	r.mu.Unlock()
	return r.Recorder.ReadLog(ctx, q)
}

// B48: what is handed over is what would be read, whatever is kept of it.
func TestWhatIsHandedOverIsWhatWouldBeRead(t *testing.T) {
	t.Parallel()
	for name, recorder := range map[string]persistence.Recorder{"dense": &counted{Recorder: memory.New()}, "with gaps": &gaps{Recorder: memory.New()}} {
		school, err := openSchool(t.Context(), application.WithRecorder(recorder))
		if err != nil {
			t.Fatal(err)
		}
		h := system.NewHandover(school.Application)
		feed := h.Feed()
		random := rand.New(rand.NewPCG(1, 2))
		var late []application.Saved
		var told sync.Mutex
		stop := school.AfterSave(func(ctx context.Context, s application.Saved) error {
			told.Lock()
			defer told.Unlock()
			switch random.IntN(5) {
			case 0: // somebody else saved it
				return nil
			case 1: // it is told of later
				late = append(late, s)
				return nil
			}
			return h.Saved(ctx, s)
		})
		var seen []application.Notification
		position := int64(0)
		read := func() {
			head, err := feed.Position(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for n, err := range feed.Notifications(t.Context(), application.After(position), application.UpTo(head)) {
				if err != nil {
					t.Fatal(err)
				}
				seen = append(seen, n)
			}
			position = max(position, head)
		}
		for i := range 3 * system.MaxKept {
			if _, err := school.register(t.Context(), fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			if random.IntN(100) == 0 {
				for _, s := range late {
					_ = h.Saved(t.Context(), s)
				}
				late = nil
			}
			if random.IntN(50) == 0 || i > 2*system.MaxKept && random.IntN(2000) == 0 {
				read()
			}
		}
		read()
		read() // the end of the log, whoever saved it
		stop()
		i := 0
		for n, err := range school.Notifications(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if i == len(seen) || seen[i].Position != n.Position || seen[i].Event.ID != n.Event.ID || seen[i].Event.Data != n.Event.Data {
				t.Fatalf("%s: event %d differs: want %+v", name, i, n)
			}
			i++
		}
		if i != len(seen) {
			t.Errorf("%s: %d events, want %d", name, len(seen), i)
		}
		if n, size := h.Kept(); n > system.MaxKept || size > system.MaxKeptSize {
			t.Errorf("%s: %d events are kept, of %d bytes", name, n, size)
		}
		if err := school.Close(); err != nil {
			t.Error(err)
		}
	}
}

// B48: whoever follows slowly, or not at all, does not make the others keep more.
func TestASlowFollowerDoesNotGrowMemory(t *testing.T) {
	t.Parallel()
	recorder := &counted{Recorder: memory.New()}
	school, err := openSchool(t.Context(), application.WithRecorder(recorder))
	if err != nil {
		t.Fatal(err)
	}
	h := system.NewHandover(school.Application)
	stop := school.AfterSave(h.Saved)
	defer stop()
	const large = system.MaxKeptSize / 50
	for i := range 200 {
		if _, err := school.register(t.Context(), strings.Repeat("x", large)); err != nil {
			t.Fatal(err)
		}
		if n, size := h.Kept(); size > system.MaxKeptSize || i > 60 && n < 40 {
			t.Fatalf("%d events are kept, of %d bytes", n, size)
		}
	}
	if _, err := school.register(t.Context(), strings.Repeat("x", system.MaxKeptSize)); err != nil { // is not kept at all
		t.Fatal(err)
	}
	if n, size := h.Kept(); size > system.MaxKeptSize || n < 40 {
		t.Fatalf("%d events are kept, of %d bytes", n, size)
	}
	for range 2 * system.MaxKept {
		if _, err := school.register(t.Context(), "Fido"); err != nil {
			t.Fatal(err)
		}
	}
	if n, size := h.Kept(); n != system.MaxKept || size > 1<<20 {
		t.Errorf("%d events are kept, of %d bytes", n, size)
	}
	// What is kept is not read.
	feed := h.Feed()
	head, err := feed.Position(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	positions := func(after int64) (all []int64) {
		for n, err := range feed.Notifications(t.Context(), application.After(after), application.UpTo(head)) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, n.Position)
		}
		return all
	}
	if got := positions(head - system.MaxKept); len(got) != system.MaxKept || !slices.IsSorted(got) || recorder.reads != 0 {
		t.Errorf("%d events, %d reads", len(got), recorder.reads)
	}
	if got := positions(head - system.MaxKept - 1); len(got) != system.MaxKept+1 || recorder.reads != 1 {
		t.Errorf("%d events, %d reads", len(got), recorder.reads)
	}
	if err := school.Close(); err != nil {
		t.Error(err)
	}
}

// B48: events that were handed over are the reader's own.
func TestWhatIsHandedOverIsTheReadersOwn(t *testing.T) {
	t.Parallel()
	app, err := application.Open(t.Context(), "lists")
	if err != nil {
		t.Fatal(err)
	}
	lists := application.NewLog(app, annals.DefineLog[[]string]("Lists", "Listed"), "lists")
	h := system.NewHandover(app)
	stop := app.AfterSave(h.Saved)
	defer stop()
	list := []string{"a", "b"}
	if _, err := lists.Append(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	list[0] = "changed"
	for n, err := range h.Feed().Notifications(t.Context(), application.UpTo(1)) {
		if got, ok := n.Event.Data.([]string); err != nil || !ok || !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("%v, %v", n.Event.Data, err)
		}
	}
	if err := app.Close(); err != nil {
		t.Error(err)
	}
}

// B48.
func TestARunnerEndsCleanly(t *testing.T) {
	t.Parallel()
	for mode, run := range runs() {
		r := start(t, run, dogSchools)
		ctx := t.Context()
		var wg sync.WaitGroup
		begun := make(chan struct{}, 4)
		for range 4 {
			wg.Go(func() { // until the application is closed
				for i := 0; ; i++ {
					id, err := schoolApp.In(r).register(ctx, "Fido")
					if err == nil {
						err = schoolApp.In(r).addTrick(ctx, id, "sit")
					}
					if i == 10 {
						begun <- struct{}{}
					}
					if err != nil {
						return
					}
				}
			})
		}
		for range 4 {
			<-begun
		}
		if err := r.Stop(); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		wg.Wait()
		if err := r.Stop(); err != nil || r.Err() != nil {
			t.Errorf("%s: stopped again: %v, %v", mode, err, r.Err())
		}
		select {
		case <-r.Done():
		default:
			t.Errorf("%s: it is not done", mode)
		}
	}
}

type located struct {
	Addr netip.Addr
	Tags []string
}

// A value that is more than its memory is read, and not copied.
func TestWhatCannotBeCopiedIsRead(t *testing.T) {
	t.Parallel()
	app, err := application.Open(t.Context(), "places")
	if err != nil {
		t.Fatal(err)
	}
	places := application.NewLog(app, annals.DefineLog[located]("Places", "Located"), "places")
	h := system.NewHandover(app)
	stop := app.AfterSave(h.Saved)
	defer stop()
	addr := netip.MustParseAddr("10.0.0.1")
	if _, err := places.Append(t.Context(), located{addr, []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	for n, err := range h.Feed().Notifications(t.Context(), application.UpTo(1)) {
		if got, ok := n.Event.Data.(located); err != nil || !ok || got.Addr != addr {
			t.Errorf("%v, %v", n.Event.Data, err)
		}
	}
	if n, _ := h.Kept(); n != 0 {
		t.Errorf("%d are kept", n)
	}
	if err := app.Close(); err != nil {
		t.Error(err)
	}
}

// B37: the headers of what was handed over are the reader's own.
func TestHeadersAreHandedOverAsACopy(t *testing.T) {
	t.Parallel()
	school, err := openSchool(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h := system.NewHandover(school.Application)
	stop := school.AfterSave(h.Saved)
	defer stop()
	ctx := annals.ContextWithMetadata(t.Context(), annals.Metadata{Headers: map[string]string{"user": "ada"}})
	recordings, err := school.Save(ctx, dogs.New(annals.NewID(), registered{"Fido"}))
	if err != nil {
		t.Fatal(err)
	}
	recordings[0].Event.Metadata.Headers["user"] = "eve"
	for n, err := range h.Feed().Notifications(t.Context(), application.UpTo(1)) {
		if got := n.Event.Metadata.Headers["user"]; got != "ada" || err != nil {
			t.Errorf("%s, %v", got, err)
		}
	}
	if err := school.Close(); err != nil {
		t.Error(err)
	}
}
