package annals_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/annals-es/annals"
)

// The shapes in which a move was stored, from the oldest to today's.
type (
	MovedV1 struct{ Place string }
	MovedV2 struct{ Town, Country string }
	MovedV3 struct {
		Town, Country string
		Floor         int
	}
	Moved struct{ Address string }
)

func (e Moved) Apply(d *Dog) { d.Name = e.Address }

func movedV2(v1 MovedV1) MovedV2 { return MovedV2{Town: v1.Place, Country: "?"} }
func movedV3(v2 MovedV2) MovedV3 { return MovedV3{v2.Town, v2.Country, 1} }
func moved(v3 MovedV3) Moved {
	return Moved{fmt.Sprintf("%s, %s, floor %d", v3.Town, v3.Country, v3.Floor)}
}

var movers = annals.Define("Mover",
	annals.On[Moved]("Moved", annals.Upcast(movedV2), annals.Upcast(movedV3), annals.Upcast(moved)))

// B8.
func TestEveryStoredShapeBecomesThePresentOne(t *testing.T) {
	t.Parallel()
	typ := movers.EventTypes()[0]
	if typ.Shape() != 4 {
		t.Fatalf("the present shape is %d, want 4", typ.Shape())
	}
	for shape, c := range map[int]struct {
		goType reflect.Type
		stored string
		want   string
	}{
		1: {reflect.TypeFor[MovedV1](), `{"Place":"Ulm"}`, "Ulm, ?, floor 1"},
		2: {reflect.TypeFor[MovedV2](), `{"Town":"Ulm","Country":"DE"}`, "Ulm, DE, floor 1"},
		3: {reflect.TypeFor[MovedV3](), `{"Town":"Ulm","Country":"DE","Floor":7}`, "Ulm, DE, floor 7"},
		4: {reflect.TypeFor[Moved](), `{"Address":"Ulm"}`, "Ulm"},
	} {
		if got := typ.ShapeType(shape); got != c.goType {
			t.Errorf("shape %d is %v, want %v", shape, got, c.goType)
		}
		if got, err := typ.Decode(shape, []byte(c.stored), json.Unmarshal); err != nil || got != (Moved{c.want}) {
			t.Errorf("shape %d became %#v (%v), want %q", shape, got, err, c.want)
		}
	}
}

// B8.
func TestAShapeThatTheCodeDoesNotKnowIsAnError(t *testing.T) {
	t.Parallel()
	for _, shape := range []int{-1, 0, 5, 1 << 40} {
		_, err := movers.EventTypes()[0].Decode(shape, nil, func([]byte, any) error {
			t.Errorf("shape %d was decoded", shape)
			return nil
		})
		wantError(t, err, annals.ErrUnsupported, fmt.Sprint(shape), "4")
	}
	failed := errors.New("of the transcoder")
	for shape := 1; shape <= 4; shape++ {
		_, err := movers.EventTypes()[0].Decode(shape, nil, func([]byte, any) error { return failed })
		wantError(t, err, failed)
	}
}

// B8.
func TestUpcastsThatDoNotFollowEachOtherDoNotDefine(t *testing.T) {
	t.Parallel()
	same := func(v MovedV2) MovedV2 { return v }
	pointer := func(*MovedV1) Moved { return Moved{} }
	anything := func(any) Moved { return Moved{} }
	for name, c := range map[string]struct {
		opts []annals.UpcastOption
		says []string
	}{
		"a shape is missing between two":    {[]annals.UpcastOption{annals.Upcast(movedV2), annals.Upcast(moved)}, []string{"MovedV2", "shape 2 is annals_test.MovedV3"}},
		"the last is not today's type":      {[]annals.UpcastOption{annals.Upcast(movedV2), annals.Upcast(movedV3)}, []string{"MovedV3", "shape 3 is annals_test.Moved"}},
		"the newest comes first":            {[]annals.UpcastOption{annals.Upcast(moved), annals.Upcast(movedV3)}, []string{"annals_test.Moved,", "shape 2 is annals_test.MovedV2"}},
		"an upcast that gives what it gets": {[]annals.UpcastOption{annals.Upcast(same), annals.Upcast(movedV3), annals.Upcast(moved)}, []string{"MovedV2"}},
		"one shape twice, far apart": {
			[]annals.UpcastOption{annals.Upcast(movedV2), annals.Upcast(func(MovedV2) MovedV1 { return MovedV1{} }), annals.Upcast(func(MovedV1) Moved { return Moved{} })},
			[]string{"MovedV1", "later one"},
		},
		"a shape that points":             {[]annals.UpcastOption{annals.Upcast(pointer)}, []string{"*annals_test.MovedV1", "no pointer"}},
		"a shape that is an interface":    {[]annals.UpcastOption{annals.Upcast(anything)}, []string{"no pointer", "interface {}"}},
		"an upcast that nobody has given": {[]annals.UpcastOption{{}}, []string{"shape 1", "Moved"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			events, snapshots, none := []annals.EventOption{}, []annals.SnapshotOption{}, 0
			for _, o := range c.opts {
				events, snapshots = append(events, o), append(snapshots, o)
			}
			wantPanic(t, func() { annals.Define("Mover", annals.On[Moved]("Moved", events...)) }, append(c.says, `"Mover"`, `"Moved"`)...)
			wantPanic(t, func() {
				annals.DefineState("Mover", none, annals.Evolve("Moved", func(s int, _ Moved) int { return s }, events...))
			}, append(c.says, "DefineState", `"Mover"`, `"Moved"`)...)
			wantPanic(t, func() { annals.DefineLog[Moved]("Movers", "Moved", events...) }, append(c.says, "DefineLog", `"Movers"`, `"Moved"`)...)
			wantPanic(t, func() {
				annals.Define("Dog", annals.On[Registered]("Registered"),
					annals.SnapshotAs(func(*Dog) Moved { return Moved{} }, func(*Dog, Moved) {}, snapshots...))
			}, append(c.says, `"Dog"`, "SnapshotAs")...)
		})
	}
}

// A program that follows the log must not end for one event. The error says where to
// look, and nothing of the data.
//
// B8, B13.
func TestAnUpcastThatPanicsIsAnErrorThatSaysWhere(t *testing.T) {
	t.Parallel()
	stored := []byte(`{"Place":"Ulm"}`)
	for name, c := range map[string]struct {
		upcast func(MovedV1) MovedV2
		says   []string
	}{
		"of its own accord":  {func(v1 MovedV1) MovedV2 { panic("no such place: " + v1.Place) }, []string{"string", "shape_test.go:"}},
		"with an error":      {func(v1 MovedV1) MovedV2 { panic(errors.New(v1.Place)) }, []string{"*errors.errorString", "shape_test.go:"}},
		"with nothing":       {func(MovedV1) MovedV2 { panic(nil) }, []string{"*runtime.PanicNilError", "shape_test.go:"}}, //nolint:govet // on purpose
		"by an index":        {func(v1 MovedV1) MovedV2 { return MovedV2{Town: v1.Place[7:]} }, []string{"runtime.boundsError", "shape_test.go:"}},
		"by a nil":           {func(MovedV1) MovedV2 { return *(*MovedV2)(nil) }, []string{"runtime.errorString", "shape_test.go:"}}, //nolint:govet // on purpose
		"in what it calls":   {func(v1 MovedV1) MovedV2 { return MovedV2{Town: strings.Repeat(v1.Place, -1)} }, []string{"strings.Repeat"}},
		"behind a deferment": {func(MovedV1) MovedV2 { defer func() { _ = recover(); panic("again") }(); panic("first") }, []string{"shape_test.go:"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			typ := annals.Define("Mover", annals.On[Moved]("Moved", annals.Upcast(c.upcast), annals.Upcast(movedV3), annals.Upcast(moved))).EventTypes()[0]
			v, err := typ.Decode(1, stored, json.Unmarshal)
			if err == nil || v != nil {
				t.Fatalf("it became %#v, without an error", v)
			}
			for _, part := range append(c.says, "the upcast from shape 1 panicked") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not name %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "Ulm") {
				t.Errorf("error %q holds data", err)
			}
		})
	}
	later := annals.Define("Mover", annals.On[Moved]("Moved", annals.Upcast(movedV2), annals.Upcast(movedV3),
		annals.Upcast(func(MovedV3) Moved { panic("never") }))).EventTypes()[0]
	if _, err := later.Decode(1, stored, json.Unmarshal); err == nil || !strings.Contains(err.Error(), "from shape 3") {
		t.Errorf("the error of a later upcast: %v", err)
	}
	if v, err := later.Decode(4, []byte(`{"Address":"Ulm"}`), json.Unmarshal); err != nil || v != (Moved{"Ulm"}) {
		t.Errorf("the present shape: %v, %v", v, err)
	}
}

// B7, B8.
func TestUpcastsAndFormerNamesGoTogether(t *testing.T) {
	t.Parallel()
	def := annals.On[Moved]("Moved", annals.FormerName("Relocated"),
		annals.Upcast(movedV2), annals.Upcast(movedV3), annals.FormerName("Hound.Gone"), annals.Upcast(moved))
	for _, typ := range []*annals.EventType{
		annals.Define("Mover", def).EventTypes()[0],
		annals.Define("Goer", def).EventTypes()[0], // a second Define does not go on with the chain of the first
	} {
		if typ.Shape() != 4 || len(typ.FormerTopics()) != 2 {
			t.Errorf("%s has shape %d and former topics %v", typ.Topic(), typ.Shape(), typ.FormerTopics())
		}
	}
}
