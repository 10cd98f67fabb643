package application_test

import (
	"context"
	"fmt"
	"iter"
	"math/big"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

// reads is a recorder that counts the events that are read of streams.
type reads struct {
	*memory.Recorder

	mu sync.Mutex
	n  int
}

func (r *reads) ReadStream(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	return func(yield func(persistence.StoredEvent, error) bool) {
		for e, err := range r.Recorder.ReadStream(ctx, id, q) {
			if err == nil {
				r.mu.Lock()
				r.n++
				r.mu.Unlock()
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// since returns how many there were since the last call.
func (r *reads) since() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.n
	r.n = 0
	return n
}

// B34.
func TestACachedAggregateStaysWhenAGetIsCancelled(t *testing.T) {
	t.Parallel()
	r := &reads{Recorder: memory.New()}
	s := open(t, application.WithRecorder(r), application.WithCache(1))
	s.register(t, "fido", "sit", "roll")
	if _, err := s.dogs.Get(t.Context(), "fido"); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.dogs.Get(cancelled, "fido")
	wantError(t, err, context.Canceled, "school")
	r.since()
	if d, err := s.dogs.Get(t.Context(), "fido"); err != nil || d.Version() != 3 {
		t.Errorf("%+v, %v", d, err)
	}
	if n := r.since(); n != 0 {
		t.Errorf("%d events were read of a cached aggregate", n)
	}
}

// B34: a panic of an Apply leaves nothing half done in the cache.
func TestACachedAggregateIsLoadedAgainAfterAnApplyPanicked(t *testing.T) {
	t.Parallel()
	r := &reads{Recorder: memory.New()}
	armed := false
	bombs := defineBombs(func() bool { return armed })
	openBombs := func(opts ...application.Option) (*application.Application, *application.Repository[annals.State[bomb]]) {
		app, err := application.Open(t.Context(), "bombs", append(opts, application.WithRecorder(r))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = app.Close() })
		return app, application.NewRepository(app, bombs)
	}
	app, cached := openBombs(application.WithCache(10))
	b := bombs.Begin("b")
	b.Trigger(fuseLit{})
	if _, err := app.Save(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if _, err := cached.Get(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	b.Trigger(fuseLit{})
	if _, err := app.Save(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	armed = true
	wantPanic(t, func() { _, _ = cached.Get(t.Context(), "b") }, "boom")
	armed = false
	r.since()
	for range 2 {
		if got, err := cached.Get(t.Context(), "b"); err != nil || got.Value().Fuses != 2 || got.Version() != 2 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if n := r.since(); n != 2 {
		t.Errorf("%d events were read, want 2, once", n)
	}
}

// hooked is a recorder that calls a function, once, when a stream was read.
type hooked struct {
	*memory.Recorder

	hooks chan func()
}

func (h *hooked) ReadStream(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	return func(yield func(persistence.StoredEvent, error) bool) {
		for e, err := range h.Recorder.ReadStream(ctx, id, q) {
			if !yield(e, err) {
				return
			}
		}
		select {
		case hook := <-h.hooks:
			hook()
		default:
		}
	}
}

// B34: one of two that read the same new events was overtaken by the other.
func TestACachedAggregateIsTakenOnOnceByEachEvent(t *testing.T) {
	t.Parallel()
	h := &hooked{memory.New(), make(chan func(), 1)}
	s, other := open(t, application.WithRecorder(h), application.WithCache(1)), open(t, application.WithRecorder(h.Recorder))
	get := func(want ...string) {
		if d, err := s.dogs.Get(t.Context(), "fido"); err != nil || !slices.Equal(d.Tricks, want) {
			t.Errorf("%+v, %v, want %q", d, err, want)
		}
	}
	add := func(trick string) {
		if err := other.dogs.Update(t.Context(), "fido", func(d *Dog) error { return d.AddTrick(trick) }); err != nil {
			t.Error(err)
		}
	}
	s.register(t, "fido")
	get()
	add("sit")
	read, goOn, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	h.hooks <- func() { close(read); <-goOn }
	go func() { defer close(done); get("sit") }() // has read one event,
	<-read
	add("roll")
	h.hooks <- func() { close(goOn); <-done } // and applies it when two are read here
	get("sit", "roll")
	get("sit", "roll")
	add("jump")
	h.hooks <- func() { get("sit", "roll", "jump") } // and here it is further than what is read
	get("sit", "roll", "jump")
}

// Garden is an aggregate with parts of every kind that can be copied.
type Garden struct {
	annals.Aggregate

	beds    map[string][]*bed // unexported
	newest  *bed              // one of those
	Matrix  [2][]int
	Any     any
	Visited map[string]*bed
}

type bed struct{ Plants []string }

type planted struct{ Bed, Plant string }

func (e planted) Apply(g *Garden) {
	if g.beds == nil {
		g.beds, g.Visited = make(map[string][]*bed), make(map[string]*bed)
	}
	g.newest = &bed{[]string{e.Plant}}
	g.beds[e.Bed] = append(g.beds[e.Bed], g.newest)
	g.Matrix[1] = append(g.Matrix[1], len(e.Plant))
	g.Any = []string{e.Plant}
}

func (g *Garden) plants() (all []string) {
	for _, beds := range g.beds {
		for _, b := range beds {
			all = append(all, b.Plants...)
		}
	}
	slices.Sort(all)
	return all
}

// B34: with the race detector, which sees what is shared.
func TestCopiesOfACachedAggregateShareNothing(t *testing.T) {
	t.Parallel()
	app, err := application.Open(t.Context(), "gardens", application.WithCache(10), application.WithRetries(1000))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Close() })
	typ := annals.Define("Garden", annals.On[planted]("Planted"))
	gardens := application.NewRepository(app, typ)
	if _, err := app.Save(t.Context(), typ.New("g", planted{"a", "rose"})); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				g, err := gardens.Get(t.Context(), "g")
				if err != nil || g.beds["a"][len(g.beds["a"])-1] != g.newest {
					t.Errorf("what two pointers shared is not shared in the copy: %v", err)
					return
				}
				g.newest.Plants[0] = "weed"
				g.beds["a"][0].Plants = append(g.beds["a"][0].Plants, "weed")
				g.beds["b"], g.Visited["x"] = nil, g.newest
				g.Matrix[1][0]++
				g.Any.([]string)[0] = "weed"
			}
		})
		wg.Go(func() {
			for range 5 {
				if err := gardens.Update(t.Context(), "g", func(g *Garden) error {
					annals.Trigger(g, planted{"a", "rose"})
					g.newest.Plants[0] = "weed"
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	g, err := gardens.Get(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	if got := g.plants(); len(got) != 41 || slices.Contains(got, "weed") || len(g.Visited) != 0 || g.Matrix[1][0] != 4 {
		t.Errorf("%q, %v, %v", got, g.Visited, g.Matrix)
	}
}

// The types that cannot be copied, or copy themselves, well or not.
type (
	holder[T any] struct {
		annals.Aggregate

		Part T
	}
	held[T any]    struct{ _ T }
	stuffed[T any] struct{ Part T }

	inner  struct{ X int }
	within struct {
		All  []inner
		Best *inner
	}

	cell struct {
		annals.Aggregate

		watch  chan struct{}
		copies int
	}
	selfish struct{ annals.Aggregate }
	barren  struct{ annals.Aggregate }

	cellSplit    struct{}
	selfishSplit struct{}
	barrenSplit  struct{}
)

func (held[T]) Apply(*holder[T])        {}
func (e stuffed[T]) Apply(h *holder[T]) { h.Part = e.Part }
func (cellSplit) Apply(*cell)           {}
func (selfishSplit) Apply(*selfish)     {}
func (barrenSplit) Apply(*barren)       {}

func (c *cell) Clone() *cell       { return &cell{copies: c.copies + 1} }
func (s *selfish) Clone() *selfish { return s }
func (*barren) Clone() *barren     { return nil }

// newHolders returns a function that makes a repository of an aggregate with a part.
func newHolders[T any](t *testing.T, opts ...application.Option) func() {
	t.Helper()
	app := open(t, opts...).Application
	return func() { application.NewRepository(app, annals.Define("Holder", annals.On[held[T]]("Held"))) }
}

// B34.
func TestTypesThatCannotBeCopiedAreRefused(t *testing.T) {
	t.Parallel()
	cache := application.WithCache(1)
	hints := []string{"NewRepository", "WithCache", "CACHE", "Clone", ".Part"}
	wantPanic(t, newHolders[func()](t, cache), append(hints, "func")...)
	wantPanic(t, newHolders[map[string][]chan int](t, cache), append(hints, "chan")...)
	wantPanic(t, newHolders[[2]struct{ F *func() }](t, cache), append(hints, "func", ".F")...)
	wantPanic(t, newHolders[within](t, cache), append(hints, "Best", "may point into the aggregate itself")...)
	newHolders[map[string]*within](t, application.WithCache(0))()
	newHolders[func()](t)()
	newHolders[struct { // several pointers to one thing are kept
		All  map[string]*inner
		Best *inner
		At   *time.Time
	}](t, cache)()
}

// B34.
func TestAnAggregateCopiesItself(t *testing.T) {
	t.Parallel()
	app := open(t, application.WithCache(1)).Application
	cells := annals.Define("Cell", annals.On[cellSplit]("Split"))
	repository := application.NewRepository(app, cells)
	if _, err := app.Save(t.Context(), cells.New("c", cellSplit{})); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // what is loaded, and then copies of the copy in the cache
		c, err := repository.Get(t.Context(), "c")
		if err != nil || c.ID() != "c" || c.Version() != 1 || c.watch != nil || c.copies != min(2*i, 2) {
			t.Errorf("get %d: %+v, %v", i, c, err)
		}
	}
}

// B34.
func TestACloneThatIsNoCopyPanics(t *testing.T) {
	t.Parallel()
	app := open(t, application.WithCache(1)).Application
	selves := annals.Define("Selfish", annals.On[selfishSplit]("Split"))
	barrens := annals.Define("Barren", annals.On[barrenSplit]("Split"))
	ofSelves, ofBarrens := application.NewRepository(app, selves), application.NewRepository(app, barrens)
	if _, err := app.Save(t.Context(), selves.New("s", selfishSplit{}), barrens.New("b", barrenSplit{})); err != nil {
		t.Fatal(err)
	}
	wantPanic(t, func() { _, _ = ofSelves.Get(t.Context(), "s") }, "school", "Clone", "selfish")
	wantPanic(t, func() { _, _ = ofBarrens.Get(t.Context(), "b") }, "school", "Clone", "barren")
}

// B34: what a copy shares with the cached aggregate, for every kind of part. The
// copies of big numbers and of arrays of slices are told by their memory.
func TestACopyOfEveryKindOfPartIsItsOwn(t *testing.T) {
	t.Parallel()
	copyIsOwn(t, 1, func(n *int) { *n++ })
	copyIsOwn(t, [2]string{"a", "b"}, func(s *[2]string) { s[0] = "weed" })
	copyIsOwn(t, time.Unix(1, 0).UTC(), func(at *time.Time) { *at = at.Add(1) })
	copyIsOwn(t, struct{ B, C inner }{inner{1}, inner{2}}, func(s *struct{ B, C inner }) { s.C.X++ })
	copyIsOwn(t, []int{1}, func(s *[]int) { (*s)[0]++ })
	copyIsOwn(t, [1][]int{{1}}, func(s *[1][]int) { s[0][0]++ })
	copyIsOwn(t, map[string]int{"a": 1}, func(m *map[string]int) { (*m)["a"]++ })
	copyIsOwn(t, &inner{1}, func(p **inner) { (*p).X++ })
	copyIsOwn[any](t, map[string]any{"X": "rose"}, func(p *any) { (*p).(map[string]any)["X"] = "weed" })
	copyIsOwn(t, *big.NewInt(7), func(n *big.Int) { n.Bits()[0]++ })
	copyIsOwn(t, struct{ In struct{ N big.Int } }{struct{ N big.Int }{*big.NewInt(7)}},
		func(s *struct{ In struct{ N big.Int } }) { s.In.N.Bits()[0]++ })
}

// copyIsOwn gets an aggregate with a part twice, and changes that of the first one.
func copyIsOwn[T any](t *testing.T, part T, change func(*T)) {
	t.Helper()
	app := open(t, application.WithCache(1)).Application
	typ := annals.Define("Holder", annals.On[stuffed[T]]("Stuffed"))
	holders := application.NewRepository(app, typ)
	if _, err := app.Save(t.Context(), typ.New("h", stuffed[T]{part})); err != nil {
		t.Fatal(err)
	}
	get := func() *holder[T] {
		h, err := holders.Get(t.Context(), "h")
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	get() // from here on they are copies of the one in the cache
	h := get()
	before := fmt.Sprintf("%+v", h.Part)
	change(&h.Part)
	if p := reflect.ValueOf(get().Part); p.Kind() != reflect.Pointer && fmt.Sprintf("%+v", p.Interface()) != before {
		t.Errorf("%T: a caller's change came back: %+v, was %s", part, p.Interface(), before)
	} else if p.Kind() == reflect.Pointer && p.Pointer() == reflect.ValueOf(h.Part).Pointer() {
		t.Errorf("%T: two copies share what they point to", part)
	}
}

// board has two slices of the same memory.
type board struct {
	annals.Aggregate

	cells []int
	rows  [][]int
}

type (
	started struct{}
	placed  struct{ Row, Value int }
)

func (started) Apply(b *board) {
	b.cells = make([]int, 4)
	b.rows = [][]int{b.cells[:2], b.cells[2:]}
}
func (e placed) Apply(b *board) { b.rows[e.Row][0] = e.Value }

// B34: a copy would have them apart.
func TestAnAggregateWhosePartsShareMemoryIsNotCached(t *testing.T) {
	t.Parallel()
	boards := annals.Define("Board", annals.On[started]("Started"), annals.On[placed]("Placed"))
	app := open(t, application.WithCache(10)).Application
	repository := application.NewRepository(app, boards)
	if _, err := app.Save(t.Context(), boards.New("b", started{})); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := repository.Update(t.Context(), "b", func(b *board) error {
			annals.Trigger(b, placed{Row: i, Value: i + 1})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		b, err := repository.Get(t.Context(), "b")
		if want := [][]int{{1, 0, 0, 0}, {1, 0, 2, 0}}[i]; err != nil || !slices.Equal(b.cells, want) {
			t.Errorf("cells %v, want %v: %v", b.cells, want, err)
		}
	}
}

// B34: what the one loads has its clock.
func TestTypesWithOtherClocksShareNoCache(t *testing.T) {
	t.Parallel()
	then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	s := open(t, application.WithCache(10))
	s.register(t, "fido")
	slow := application.NewRepository(s.Application, Dogs.WithClock(func() time.Time { return then }))
	if _, err := s.dogs.Get(t.Context(), "fido"); err != nil {
		t.Fatal(err)
	}
	if err := slow.Update(t.Context(), "fido", func(d *Dog) error { return d.AddTrick("sit") }); err != nil {
		t.Fatal(err)
	}
	if d, err := s.dogs.Get(t.Context(), "fido"); err != nil || !d.ModifiedAt().Equal(then) {
		t.Errorf("modified at %v, want %v: %v", d.ModifiedAt(), then, err)
	}
}
