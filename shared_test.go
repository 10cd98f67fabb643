package annals_test

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/annals-es/annals"
)

// Shelf has parts that may refer to the same memory.
type Shelf struct {
	annals.Aggregate

	List   []*Book
	ByName map[string]*Book
	Best   *Book
	Parts  []Book
	Inner  struct{ Tags, More []string }
	Pair   [2]map[string]int
	Any    any
	Empty  *struct{}
	Blank  *struct{}
	Times  [2]*time.Time
	Sums   [2]*big.Int
	Next   *Shelf
}

// Book is one of them.
type Book struct {
	Name string
	Tags []string
}

type Put struct{}

func (Put) Apply(*Shelf) {}

var Shelves = annals.Define("Shelf", annals.On[Put]("Put"))

// B33: what is stored twice would be two things.
func TestNoSnapshotOfAnAggregateInWhichTwoPartsShareMemory(t *testing.T) {
	t.Parallel()
	at := time.Unix(1, 0)
	for name, c := range map[string]struct {
		build func(s *Shelf)
		paths string // of the two that share; empty if nothing is shared
	}{
		"nothing": {func(*Shelf) {}, ""},
		"parts of their own": {func(s *Shelf) {
			s.List = []*Book{{Name: "a", Tags: []string{"x"}}, {Name: "b", Tags: []string{"y"}}, nil, nil}
			s.ByName, s.Best = map[string]*Book{"c": {}, "d": {}, "e": nil, "f": nil}, &Book{}
			s.Parts = []Book{{Tags: make([]string, 1, 9)}, {}}
			s.Inner.Tags, s.Inner.More = []string{"a"}, []string{"a"}
			s.Pair = [2]map[string]int{{}, {}}
			s.Any = []any{&Book{}, map[string]any{"a": 1}, nil}
			s.Empty, s.Blank = new(struct{}), new(struct{})
			s.Sums = [2]*big.Int{big.NewInt(1 << 60), new(big.Int)}
			s.Times = [2]*time.Time{{}, &at}
		}, ""},
		"no elements in common": {func(s *Shelf) {
			all := []string{"a", "b", "c", "d"}
			s.Inner.Tags, s.Inner.More = all[:2:2], all[2:]
		}, ""},
		"a pointer in a map and a slice": {func(s *Shelf) {
			s.List = []*Book{{}}
			s.ByName = map[string]*Book{"secret": s.List[0]}
		}, "annals_test.Shelf.ByName[] and annals_test.Shelf.List[]"},
		"a pointer twice in a slice": {func(s *Shelf) { b := &Book{}; s.List = []*Book{b, b} }, "Shelf.List[] and annals_test.Shelf.List[]"},
		"a pointer into a slice":     {func(s *Shelf) { s.Parts = make([]Book, 3); s.Best = &s.Parts[1] }, "Shelf.Best and annals_test.Shelf.Parts"},
		"a pointer to the last of a slice": {
			func(s *Shelf) { s.Parts = make([]Book, 3); s.Best = &s.Parts[2] }, "Shelf.Best and annals_test.Shelf.Parts",
		},
		"slices that overlap": {func(s *Shelf) {
			all := []string{"a", "b", "c"}
			s.Inner.Tags, s.Inner.More = all[:2], all[1:]
		}, "Shelf.Inner.More and annals_test.Shelf.Inner.Tags"},
		"one slice within another": {func(s *Shelf) {
			all := []string{"a", "b", "c", "d"}
			s.Inner.Tags, s.Inner.More, s.Any = all, all[:1], &Book{Tags: all[3:]}
		}, "annals_test.Shelf."},
		"a map":               {func(s *Shelf) { s.Pair[0] = map[string]int{}; s.Pair[1] = s.Pair[0] }, "Shelf.Pair[][] and"},
		"in an any":           {func(s *Shelf) { s.Best = &Book{}; s.Any = []any{s.Best} }, "Shelf.Any[] and annals_test.Shelf.Best"},
		"a time":              {func(s *Shelf) { s.Times = [2]*time.Time{&at, &at} }, "Shelf.Times[] and"},
		"the aggregate":       {func(s *Shelf) { s.Next = s }, "annals_test.Shelf and annals_test.Shelf.Next"},
		"a circle":            {func(s *Shelf) { n := &Shelf{}; n.Next, s.Next = n, n }, "Shelf.Next and annals_test.Shelf.Next.Next"},
		"a part of itself":    {func(s *Shelf) { s.Any = &s.Inner.Tags }, "annals_test.Shelf and annals_test.Shelf.Any"},
		"within what is deep": {func(s *Shelf) { s.Next = &Shelf{Best: &Book{}}; s.Best = s.Next.Best }, "Shelf.Best and annals_test.Shelf.Next.Best"},
	} {
		shelf := Shelves.New("s", Put{})
		shelf.CollectEvents()
		c.build(shelf)
		_, err := Shelves.TakeSnapshot(shelf)
		if c.paths == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		wantError(t, err, annals.ErrUnsupported, c.paths, "SnapshotAs", `Shelf "s"`)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v quotes data", name, err)
		}
	}
}

// B33: a form of the user's own, and what is immutable, are not looked into.
func TestSharedMemoryMattersInAggregatesAlone(t *testing.T) {
	t.Parallel()
	all := []string{"a", "b"}
	typ := annals.Define("Shelf", annals.On[Put]("Put"), annals.SnapshotAs(
		func(s *Shelf) []string { return s.Inner.Tags }, func(s *Shelf, tags []string) { s.Inner.Tags, s.Inner.More = tags, tags[1:] }))
	shelf := typ.New("s", Put{})
	shelf.CollectEvents()
	shelf.Inner.Tags, shelf.Inner.More = all, all[1:]
	if _, err := typ.TakeSnapshot(shelf); err != nil {
		t.Error(err)
	}
	state := annals.DefineState("State", [2][]string{all, all}, annals.Evolve("Put", func(s [2][]string, _ Put) [2][]string { return s }))
	s := state.Begin("s")
	s.Trigger(Put{})
	s.CollectEvents()
	if _, err := state.TakeSnapshot(s); err != nil {
		t.Error(err)
	}
}
