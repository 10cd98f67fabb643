package annals_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annals-es/annals"
)

// Cat is an aggregate with unexported fields, and a form for snapshots that has a
// past.
type Cat struct {
	annals.Aggregate

	name  string
	meals map[string]int
}

type (
	Adopted struct{ Name string }
	Fed     struct{ Meal string }
	Lost    struct{}
)

func (e Adopted) Apply(c *Cat) { c.name = e.Name }
func (Lost) Apply(*Cat)        {}
func (e Fed) Apply(c *Cat) {
	if c.meals == nil {
		c.meals = make(map[string]int)
	}
	c.meals[e.Meal]++
}

// The forms in which cats were kept, from the oldest to today's.
type (
	CatV1   struct{ Name string }
	CatV2   struct{ Name, LastMeal string }
	CatV3   struct{ Name, Meal string }
	CatForm struct {
		Name  string
		Meals map[string]int
	}
)

func (c *Cat) form() CatForm { return CatForm{c.name, c.meals} }

func (c *Cat) restore(f CatForm) { c.name, c.meals = f.Name, f.Meals }

var Cats = annals.Define("Cat",
	annals.On[Adopted]("Adopted"),
	annals.On[Fed]("Fed"),
	annals.On[Lost]("Lost", annals.Discards()),
	annals.Revision[Cat](3),
	annals.SnapshotAs((*Cat).form, (*Cat).restore,
		annals.Upcast(func(v1 CatV1) CatV2 { return CatV2{v1.Name, "fish"} }),
		annals.Upcast(func(v2 CatV2) CatV3 { return CatV3{v2.Name, v2.LastMeal} }),
		annals.Upcast(func(v3 CatV3) CatForm { return CatForm{v3.Name, map[string]int{v3.Meal: 1}} })),
)

// Account is an immutable state.
type Account struct {
	Owner    string
	Balance  int64
	Payments []int64
}

type (
	Opened    struct{ Owner string }
	Deposited struct{ Amount int64 }
	Closed    struct{}
)

func deposit(a Account, e Deposited) Account {
	a.Balance += e.Amount
	a.Payments = append(a.Payments, e.Amount)
	return a
}

var Accounts = annals.DefineState("Account", Account{Owner: "nobody"},
	annals.Evolve("Opened", func(a Account, e Opened) Account { a.Owner = e.Owner; return a }),
	annals.Evolve("Deposited", deposit),
	annals.Evolve("Closed", func(a Account, _ Closed) Account { return a }, annals.Discards()))

// stored returns a snapshot as it is after it was stored: nothing of it is shared
// with the aggregate.
func stored(t interface{ Fatal(args ...any) }, typ *annals.SnapshotType, s annals.Snapshot) annals.Snapshot {
	text, err := json.Marshal(s.State)
	if err == nil {
		s.State, err = typ.Decode(typ.Shape(), text, json.Unmarshal)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkSnapshot checks that an aggregate of a snapshot, and of the events after it,
// is that of all events.
func checkSnapshot[A any](t *rapid.T, typ *annals.Type[A], events []annals.Event) {
	at := rapid.IntRange(1, len(events)).Draw(t, "version of the snapshot")
	id := events[0].StreamID
	want, err := typ.Replay(id, sequence(events...))
	if err != nil {
		t.Fatal(err)
	}
	early, err := typ.Replay(id, sequence(events[:at]...))
	if err != nil {
		t.Fatal(err)
	}
	taken, err := typ.TakeSnapshot(early)
	if slices.ContainsFunc(events[:at], isUnknown) {
		if !errors.Is(err, annals.ErrUnsupported) {
			t.Fatalf("a snapshot was taken behind an unknown event: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if taken.StreamID != id || taken.Version != int64(at) || taken.CreatedAt != events[0].Time || taken.ModifiedAt != events[at-1].Time {
		t.Fatalf("the snapshot is %+v", taken)
	}
	snapshot := stored(t, typ.SnapshotType(), taken)
	if err := typ.Advance(early, sequence(events[at:]...)); err != nil { // taking it changed nothing
		t.Fatal(err)
	}
	got, err := typ.FromSnapshot(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if err := typ.Advance(got, sequence(events[at:]...)); err != nil {
		t.Fatal(err)
	}
	for what, a := range map[string]*A{"the snapshot and the rest": got, "the aggregate that it was taken of": early} {
		if !reflect.DeepEqual(a, want) {
			t.Fatalf("%s make %+v, all events %+v", what, a, want)
		}
	}
}

func isUnknown(e annals.Event) bool {
	_, unknown := e.Data.(annals.Unknown)
	return unknown
}

// drawEvents makes the events of an aggregate, some of them unknown to the code.
func drawEvents(t *rapid.T, agg interface{ CollectEvents() []annals.Event }, trigger func(text string, number int64)) []annals.Event {
	for range rapid.IntRange(0, 8).Draw(t, "events") {
		trigger(rapid.String().Draw(t, "text"), rapid.Int64().Draw(t, "number"))
	}
	events := agg.CollectEvents()
	for i := range events {
		if rapid.IntRange(0, 9).Draw(t, "unknown") == 0 {
			events[i].Topic, events[i].Data = "Gone.Gone", annals.Unknown{Shape: 1}
		}
	}
	return events
}

// B4, B9, B31, B33.
func TestASnapshotAndTheEventsAfterItAreAllEvents(t *testing.T) {
	t.Parallel()
	t.Run("an aggregate with exported fields", rapid.MakeCheck(func(t *rapid.T) {
		dog := Dogs.New("fido", Registered{Name: rapid.String().Draw(t, "name")})
		checkSnapshot(t, Dogs, drawEvents(t, dog, func(text string, _ int64) { annals.Trigger(dog, TrickAdded{Trick: text + "!"}) }))
	}))
	t.Run("an aggregate with a form of its own", rapid.MakeCheck(func(t *rapid.T) {
		cat := Cats.New("tom", Adopted{Name: rapid.String().Draw(t, "name")})
		checkSnapshot(t, Cats, drawEvents(t, cat, func(text string, _ int64) { annals.Trigger(cat, Fed{Meal: text}) }))
	}))
	t.Run("an immutable state", rapid.MakeCheck(func(t *rapid.T) {
		account := Accounts.Begin("a1")
		account.Trigger(Opened{Owner: rapid.String().Draw(t, "owner")})
		checkSnapshot(t, Accounts, drawEvents(t, account, func(_ string, number int64) { account.Trigger(Deposited{Amount: number}) }))
	}))
}

// Code that knows the event would use the snapshot, and miss what the event did.
//
// B7, B33.
func TestNoSnapshotIsTakenBehindAnUnknownEvent(t *testing.T) {
	t.Parallel()
	dog := Dogs.New("fido", Registered{Name: "Fido"})
	annals.Trigger(dog, TrickAdded{Trick: "sit"})
	annals.Trigger(dog, TrickAdded{Trick: "roll"})
	events := dog.CollectEvents()
	for _, i := range []int{1, 2} {
		events[i].Topic, events[i].Data = "Dog.Renamed", annals.Unknown{}
	}
	old, err := Dogs.Replay("fido", sequence(events...))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Dogs.TakeSnapshot(old)
	wantError(t, err, annals.ErrUnsupported, "Dog", `"fido"`, "version 2")
	// Nor when the unknown event comes behind a snapshot.
	first, err := Dogs.Replay("fido", sequence(events[:1]...))
	if err != nil {
		t.Fatal(err)
	}
	taken, err := Dogs.TakeSnapshot(first)
	if err != nil {
		t.Fatal(err)
	}
	restored, err := Dogs.FromSnapshot(taken)
	if err != nil {
		t.Fatal(err)
	}
	if err := Dogs.Advance(restored, sequence(events[1:]...)); err != nil {
		t.Fatal(err)
	}
	_, err = Dogs.TakeSnapshot(restored)
	wantError(t, err, annals.ErrUnsupported, "version 2")
}

func TestAnAggregateOfASnapshotGoesOnLikeAnyOther(t *testing.T) {
	t.Parallel()
	now := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	cats := Cats.WithClock(func() time.Time { return now }).WithIDs(func() string { return "the id" })
	cat, err := cats.FromSnapshot(annals.Snapshot{StreamID: "tom", Version: 7, State: CatForm{Name: "Tom"}})
	if err != nil {
		t.Fatal(err)
	}
	annals.Trigger(cat, Fed{Meal: "fish"})
	want := annals.Event{ID: "the id", StreamID: "tom", Version: 8, Topic: "Cat.Fed", Time: now, Data: Fed{Meal: "fish"}}
	if diff := cmp.Diff([]annals.Event{want}, cat.CollectEvents()); diff != "" {
		t.Errorf("what it triggers differs (-want +got):\n%s", diff)
	}
}

func TestRestoreKnowsTheAggregateAndDecidesNothing(t *testing.T) {
	t.Parallel()
	var seen string
	decides := false
	typ := annals.Define("Cat", annals.On[Adopted]("Adopted"), annals.SnapshotAs((*Cat).form, func(c *Cat, _ CatForm) {
		seen = fmt.Sprint(c.ID(), c.Version(), c.CreatedAt().IsZero(), len(c.PendingEvents()))
		if decides {
			annals.Trigger(c, Adopted{Name: "Tom"})
		}
	}))
	s := annals.Snapshot{StreamID: "tom", Version: 7, CreatedAt: time.Unix(0, 0), State: CatForm{}}
	if _, err := typ.FromSnapshot(s); err != nil || seen != "tom7 false 0" {
		t.Errorf("restore saw %q, error %v", seen, err)
	}
	decides = true
	wantPanic(t, func() { _, _ = typ.FromSnapshot(s) }, "Trigger", `"tom"`)
}

// B33.
func TestNoSnapshotOfWhatIsNotStored(t *testing.T) {
	t.Parallel()
	pending := Dogs.New("fido", Registered{Name: "Fido"})
	_, err := Dogs.TakeSnapshot(pending)
	wantError(t, err, annals.ErrUnsupported, "Dog", `"fido"`)
	if len(pending.PendingEvents()) != 1 {
		t.Error("a refused snapshot took the pending events")
	}

	discarded := Dogs.New("fido", Registered{Name: "Fido"})
	annals.Trigger(discarded, Retired{})
	discarded.CollectEvents()
	_, err = Dogs.TakeSnapshot(discarded)
	wantError(t, err, annals.ErrUnsupported, "Dog", `"fido"`)

	_, err = Dogs.TakeSnapshot(Dogs.Begin("fido"))
	wantError(t, err, annals.ErrUnsupported, "Dog", `"fido"`)
	_, err = Accounts.TakeSnapshot(Accounts.Begin("a1"))
	wantError(t, err, annals.ErrUnsupported, "Account", `"a1"`)
}

// B33.
func TestASnapshotOfAnotherTypeIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		snapshot annals.Snapshot
		says     string
	}{
		"another type":  {annals.Snapshot{StreamID: "tom", Version: 1, State: Dog{Name: "secret"}}, "annals_test.Dog"},
		"a pointer":     {annals.Snapshot{StreamID: "tom", Version: 1, State: &CatForm{Name: "secret"}}, "*annals_test.CatForm"},
		"no state":      {annals.Snapshot{StreamID: "tom", Version: 1}, "nil"},
		"an old shape":  {annals.Snapshot{StreamID: "tom", Version: 1, State: CatV3{Name: "secret"}}, "annals_test.CatV3"},
		"no version":    {annals.Snapshot{StreamID: "tom", State: CatForm{Name: "secret"}}, "version 0"},
		"a version < 0": {annals.Snapshot{StreamID: "tom", Version: -1, State: CatForm{Name: "secret"}}, "version -1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cat, err := Cats.FromSnapshot(c.snapshot)
			wantError(t, err, annals.ErrUndecodable, "Cat", `"tom"`, c.says)
			if cat != nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, %v", cat, err)
			}
		})
	}
}

// B8.
func TestSnapshotsOfEveryShapeBecomeThePresentOne(t *testing.T) {
	t.Parallel()
	typ := Cats.SnapshotType()
	if typ.Shape() != 4 || typ.GoType() != reflect.TypeFor[CatForm]() || typ.Name() != "Cat" {
		t.Fatalf("%s: shape %d, type %v", typ.Name(), typ.Shape(), typ.GoType())
	}
	for shape, text := range map[int]string{
		1: `{"Name":"Tom"}`, 2: `{"Name":"Tom","LastMeal":"fish"}`,
		3: `{"Name":"Tom","Meal":"fish"}`, 4: `{"Name":"Tom","Meals":{"fish":1}}`,
	} {
		state, err := typ.Decode(shape, []byte(text), json.Unmarshal)
		if err != nil {
			t.Fatal(err)
		}
		cat, err := Cats.FromSnapshot(annals.Snapshot{StreamID: "tom", Version: 2, State: state})
		if err != nil || cat.name != "Tom" || cat.meals["fish"] != 1 {
			t.Errorf("shape %d became %+v (%v)", shape, cat, err)
		}
	}
	_, err := typ.Decode(5, []byte(`{}`), json.Unmarshal)
	wantError(t, err, annals.ErrUnsupported, "5", "4")
}

// B33.
func TestSnapshotsAreDefinedOnce(t *testing.T) {
	t.Parallel()
	on, as := annals.On[Adopted]("Adopted"), annals.SnapshotAs((*Cat).form, (*Cat).restore)
	wantPanic(t, func() { annals.Define("Cat", on, as, as) }, "SnapshotAs", `"Cat"`)
	annals.Define("Cat", on, as)
	annals.Define("Tiger", as, on) // a part in a second Define
	evolve := annals.Evolve("Opened", func(s int, _ Opened) int { return s })
	state := annals.SnapshotStateAs(func(s int) string { return fmt.Sprint(s) }, func(string) int { return 0 })
	wantPanic(t, func() { annals.DefineState("Number", 0, evolve, state, state) }, "SnapshotAs", "DefineState", `"Number"`)

	pointer := annals.SnapshotAs(func(*Cat) *CatForm { return nil }, func(*Cat, *CatForm) {})
	wantPanic(t, func() { annals.Define("Cat", on, pointer) }, "SnapshotAs", "*annals_test.CatForm")
	anything := annals.SnapshotAs(func(*Cat) any { return nil }, func(*Cat, any) {})
	wantPanic(t, func() { annals.Define("Cat", on, anything) }, "SnapshotAs", "interface {}")
}

// markOf returns the mark of the snapshots of a state.
func markOf[S any](parts ...annals.Part[annals.State[S]]) string {
	var initial S
	event := annals.Evolve("Happened", func(s S, _ Opened) S { return s })
	return annals.DefineState("Marked", initial, append(parts, event)...).SnapshotType().Mark(1)
}

// texts encodes itself.
type texts struct{ s string }

func (t texts) MarshalText() ([]byte, error)  { return []byte(t.s), nil }
func (t *texts) UnmarshalText(b []byte) error { t.s = string(b); return nil }

// moreTexts encodes itself, and has another field.
type moreTexts struct{ s, t string }

func (t moreTexts) MarshalText() ([]byte, error) { return []byte(t.s + t.t), nil }

// otherTexts has the same fields, and encodes itself in another way.
type otherTexts struct{ s string }

func (t otherTexts) MarshalText() ([]byte, error) { return []byte("<" + t.s + ">"), nil }

// B33.
func TestMarksTellStatesApartThatDifferInWhatIsStored(t *testing.T) {
	t.Parallel()
	type (
		inner     struct{ A int }
		innerMore struct{ A, B int }
		base      struct{ Name string }
		added     struct{ Name, Town string }
		renamed   struct{ Title string }
		retagged  struct {
			Name string `json:"title"`
		}
		retyped    struct{ Name []byte }
		nested     struct{ In inner }
		nestedMore struct{ In innerMore }
		embedded   struct{ inner }
		pointed    struct{ In *inner }
		listed     struct{ In []inner }
		keyed      struct{ In map[string]inner }
		keyedInt   struct{ In map[int]inner }
		arrayed    struct{ In [2]inner }
		arrayed3   struct{ In [3]inner }
		hidden     struct{ name string }
		self       struct{ Next *texts }
		selfMore   struct{ Next *moreTexts }
		selfOther  struct{ Next *otherTexts }
	)
	_ = hidden{}.name
	marks := map[string]string{
		"base": markOf[base](), "a field is added": markOf[added](), "a field is renamed": markOf[renamed](),
		"a field has another tag": markOf[retagged](), "a field has another type": markOf[retyped](),
		"revision 1": markOf(annals.Revision[annals.State[base]](1)), "revision 2": markOf(annals.Revision[annals.State[base]](2)),
		"a field is not exported": markOf[hidden](),
		"nested":                  markOf[nested](), "a nested field is added": markOf[nestedMore](), "embedded": markOf[embedded](),
		"by pointer": markOf[pointed](), "a slice": markOf[listed](), "a map": markOf[keyed](), "a map with other keys": markOf[keyedInt](),
		"an array": markOf[arrayed](), "a longer array": markOf[arrayed3](),
		"a type with its own form": markOf[self](), "with one more field": markOf[selfMore](), "with another form": markOf[selfOther](),
		"no state": markOf[struct{}](), "a number": markOf[int64](), "a smaller number": markOf[int32](), "a text": markOf[string](),
		"a time": markOf[time.Time](), "a big number": markOf[big.Int](),
	}
	seen := make(map[string]string)
	for name, mark := range marks {
		if other, ok := seen[mark]; ok {
			t.Errorf("%q and %q have the same mark, %s", name, other, mark)
		}
		seen[mark] = name
	}
}

// B7, B33.
func TestMarksDoNotDependOnTheNamesOfGoTypes(t *testing.T) {
	t.Parallel()
	type inner struct{ A int }
	type state struct {
		Name string `json:"name"`
		In   []inner
		Next *state
	}
	one := markOf[state]()
	other := func() string {
		type renamedInner struct{ A int }
		type renamedState struct {
			Name string `json:"name"`
			In   []renamedInner
			Next *renamedState
		}
		return markOf[renamedState]()
	}()
	if one != other {
		t.Errorf("the mark was %s before the types were renamed, and is %s", one, other)
	}
	if a, b := Cats.SnapshotType().Mark(4), Cats.WithClock(time.Now).WithIDs(annals.NewID).SnapshotType().Mark(4); a != b {
		t.Errorf("another clock gives another mark, %s, not %s", b, a)
	}
}

// What is stored has these marks: they must not change by themselves.
//
// B33.
func TestMarksAreStable(t *testing.T) {
	t.Parallel()
	var cats []string
	for shape := 1; shape <= Cats.SnapshotType().Shape(); shape++ {
		cats = append(cats, Cats.SnapshotType().Mark(shape))
	}
	if want := []string{"3-b5a1c4bb78cfec43", "3-20a1f7d2211de382", "3-86562893ed0dd942", "3-3bce3efaea63304e"}; !slices.Equal(cats, want) {
		t.Errorf("the marks of cats are %q, want %q", cats, want)
	}
	type everything struct {
		Account

		Dog   Dog
		Time  time.Time
		Big   *big.Int
		Keys  map[string][2]uint8
		Any   any
		Named json.RawMessage `json:"raw"`
	}
	if got, want := markOf[everything](), "0-a2cb526d86305491"; got != want {
		t.Errorf("the mark is %s, want %s", got, want)
	}
}
