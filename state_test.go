package annals_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annals-es/annals"
)

// B1, B2, B9.
func TestAStateEvolvesByItsEvents(t *testing.T) {
	t.Parallel()
	then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	account := Accounts.Begin("a1")
	if got := account.Value(); got.Owner != "nobody" || account.Version() != 0 || account.ID() != "a1" {
		t.Errorf("it begins as %+v, version %d of %q", got, account.Version(), account.ID())
	}
	account.Trigger(Opened{Owner: "Ann"}, annals.At(then), annals.WithEventID("e1"))
	account.Trigger(&Deposited{Amount: 5}) // a pointer is the value, as with aggregates
	before := account.Value()
	account.Trigger(Deposited{Amount: 7})

	if want := (Account{Owner: "Ann", Balance: 12, Payments: []int64{5, 7}}); !cmp.Equal(account.Value(), want) {
		t.Errorf("the state is %+v, want %+v", account.Value(), want)
	}
	if want := (Account{Owner: "Ann", Balance: 5, Payments: []int64{5}}); !cmp.Equal(before, want) {
		t.Errorf("the state from before the last event has become %+v", before)
	}
	events := account.CollectEvents()
	if !slices.Equal(versions(events), []int64{1, 2, 3}) || topics(events) != "Account.Opened Account.Deposited" {
		t.Errorf("versions %v of %s", versions(events), topics(events))
	}
	if events[0].ID != "e1" || events[0].Time != then || account.CreatedAt() != then || events[1].Data != (Deposited{Amount: 5}) {
		t.Errorf("the events are %+v", events)
	}
	if again := account.CollectEvents(); len(again) != 0 {
		t.Errorf("%d events were collected twice", len(again))
	}
}

// B4, B9.
func TestReplayGivesAnEqualState(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		account := Accounts.Begin("a1")
		account.Trigger(Opened{Owner: rapid.String().Draw(t, "owner")})
		for _, amount := range rapid.SliceOf(rapid.Int64()).Draw(t, "amounts") {
			account.Trigger(Deposited{Amount: amount})
		}
		replayed, err := Accounts.Replay("a1", sequence(account.CollectEvents()...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(account.Value(), replayed.Value()); diff != "" {
			t.Fatalf("the replayed state differs (-triggered +replayed):\n%s", diff)
		}
		if replayed.Version() != account.Version() || replayed.CreatedAt() != account.CreatedAt() || replayed.ModifiedAt() != account.ModifiedAt() {
			t.Fatalf("version %d of %v to %v, want version %d of %v to %v", replayed.Version(), replayed.CreatedAt(),
				replayed.ModifiedAt(), account.Version(), account.CreatedAt(), account.ModifiedAt())
		}
	})
}

// B6, B9.
func TestADiscardedStateIsNotFound(t *testing.T) {
	t.Parallel()
	account := Accounts.Begin("a1")
	account.Trigger(Opened{Owner: "Ann"})
	account.Trigger(Closed{})
	wantPanic(t, func() { account.Trigger(Deposited{Amount: 1}) }, "discarded", `"a1"`)
	_, err := Accounts.Replay("a1", sequence(account.CollectEvents()...))
	wantError(t, err, annals.ErrNotFound, "Account", `"a1"`, "discarded")
}

// B9.
func TestTriggerOfAStatePanicsWhereTheProgramIsWrong(t *testing.T) {
	t.Parallel()
	account := Accounts.Begin("a1")
	wantPanic(t, func() { account.Trigger(Registered{}) }, "Registered", "Account")
	wantPanic(t, func() { account.Trigger(nil) }, "nil", "Account")
	wantPanic(t, func() { account.Trigger((*Opened)(nil)) }, "Opened")
	wantPanic(t, func() { new(annals.State[Account]).Trigger(Opened{}) }, "New", "Opened")
	if account.Version() != 0 || len(account.PendingEvents()) != 0 {
		t.Errorf("a panic left version %d and %d events", account.Version(), len(account.PendingEvents()))
	}
}

// A panic of the user's function is passed on, and the event has not happened.
func TestAStateIsAsBeforeWhenEvolvePanics(t *testing.T) {
	t.Parallel()
	typ := annals.DefineState("Account", Account{}, annals.Evolve("Deposited", func(a Account, e Deposited) Account {
		a.Payments = append(a.Payments, e.Amount)
		if e.Amount < 0 {
			panic("of the user")
		}
		return a
	}))
	account := typ.Begin("a1")
	account.Trigger(Deposited{Amount: 1})
	wantPanic(t, func() { account.Trigger(Deposited{Amount: -1}) }, "of the user")
	account.Trigger(Deposited{Amount: 2})
	if got := fmt.Sprint(account.Value().Payments, versions(account.CollectEvents())); got != "[1 2] [1 2]" {
		t.Errorf("payments and versions are %s", got)
	}
}

// B9.
func TestStreamsDoNotShareTheInitialState(t *testing.T) {
	t.Parallel()
	type deep struct{ Rows [2][]Account }
	for name, define := range map[string]func(){
		"a slice":           func() { define(make([]int, 0, 1)) },
		"a slice in a slot": func() { define(Account{Payments: make([]int64, 1, 2)}) },
		"a slice far down":  func() { define(deep{[2][]Account{1: {{Payments: make([]int64, 0, 1)}}}}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantPanic(t, define, "spare capacity", "slices.Clip", "DefineState")
		})
	}
	define(make([]int, 3))
	define(deep{})
	define([]int(nil))

	typ := annals.DefineState("Account", Account{Payments: []int64{1}}, annals.Evolve("Deposited", deposit))
	one, two := typ.Begin("a1"), typ.Begin("a2")
	one.Trigger(Deposited{Amount: 2})
	two.Trigger(Deposited{Amount: 3})
	if got := fmt.Sprint(one.Value().Payments, two.Value().Payments); got != "[1 2] [1 3]" {
		t.Errorf("two streams have the payments %s", got)
	}
}

func define[S any](initial S) {
	annals.DefineState("X", initial, annals.Evolve("E", func(s S, _ Opened) S { return s }))
}

// B7, B9.
func TestDefineStatePanicsWhereTheProgramIsWrong(t *testing.T) {
	t.Parallel()
	evolve := func(s int, _ Opened) int { return s }
	for name, c := range map[string]struct {
		define func()
		says   []string
	}{
		"no events":            {func() { annals.DefineState[int]("Number", 0) }, []string{`DefineState("Number")`, "no events"}},
		"no name":              {func() { annals.DefineState("", 0, annals.Evolve("E", evolve)) }, []string{`DefineState("")`, "bad name"}},
		"no name of an event":  {func() { annals.DefineState("Number", 0, annals.Evolve("", evolve)) }, []string{"bad name"}},
		"an event twice":       {func() { annals.DefineState("Number", 0, annals.Evolve("E", evolve), annals.Evolve("F", evolve)) }, []string{"Opened", `"E"`, `"F"`}},
		"an event by pointer":  {func() { annals.DefineState("Number", 0, annals.Evolve("E", func(s int, _ *Opened) int { return s })) }, []string{"*annals_test.Opened"}},
		"an event of any type": {func() { annals.DefineState("Number", 0, annals.Evolve("E", func(s int, _ any) int { return s })) }, []string{"interface"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantPanic(t, c.define, c.says...)
		})
	}
}

// B9. What is kept of a state in snapshots can have a form of its own.
func TestAStateHasAFormForSnapshots(t *testing.T) {
	t.Parallel()
	type hidden struct{ total int64 }
	typ := annals.DefineState("Sum", hidden{},
		annals.Evolve("Deposited", func(h hidden, e Deposited) hidden { h.total += e.Amount; return h }),
		annals.SnapshotStateAs(
			func(h hidden) Account { return Account{Balance: h.total} },
			func(a Account) hidden { return hidden{a.Balance} },
			annals.Upcast(func(d Deposited) Account { return Account{Balance: d.Amount} })))
	sum := typ.Begin("s1")
	sum.Trigger(Deposited{Amount: 42})
	sum.CollectEvents()
	snapshot, err := typ.TakeSnapshot(sum)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Account{Balance: 42}); !cmp.Equal(snapshot.State, any(want)) || typ.SnapshotType().Shape() != 2 {
		t.Errorf("the snapshot is %+v, of shape %d", snapshot, typ.SnapshotType().Shape())
	}
	old, err := typ.SnapshotType().Decode(1, []byte(`{"Amount":42}`), json.Unmarshal)
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []any{snapshot.State, old} {
		snapshot.State = state
		back, err := typ.FromSnapshot(snapshot)
		if err != nil || back.Value().total != 42 || back.Version() != 1 || back.ID() != "s1" {
			t.Errorf("of %+v came %+v (%v)", state, back, err)
		}
	}
}

// B11.
func TestIDsAndTheClockOfAStateAreInjected(t *testing.T) {
	t.Parallel()
	now := time.Date(2001, 2, 3, 4, 5, 6, 7_999, time.FixedZone("", 3600))
	n := 0
	typ := Accounts.WithClock(func() time.Time { return now }).WithIDs(func() string { n++; return fmt.Sprint("id", n) })
	account := typ.Begin("a1")
	account.Trigger(Opened{Owner: "Ann"})
	loaded, err := typ.Replay("a1", sequence(account.CollectEvents()...))
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	loaded.Trigger(Deposited{Amount: 1}, annals.WithEventID("mine"))
	loaded.Trigger(Deposited{Amount: 1})
	events := loaded.CollectEvents()
	if got := fmt.Sprint(events[0].ID, " ", events[1].ID); got != "mine id2" {
		t.Errorf("the ids are %s, want mine id2", got)
	}
	if want := time.Date(2001, 2, 3, 4, 5, 6, 7_000, time.UTC); loaded.Value().Owner != "Ann" || events[1].Time != want {
		t.Errorf("the time is %v, want %v", events[1].Time, want)
	}
}
