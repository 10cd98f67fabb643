package annalstest_test

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/annalstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Dog is the aggregate of these tests.
type Dog struct {
	annals.Aggregate

	Name   string
	Tricks []string
	calls  int
}

type (
	Registered struct{ Name string }
	TrickAdded struct{ Trick string }
	Retired    struct{}
	Foreign    struct{}
)

func (e Registered) Apply(d *Dog) {
	if e.Name == "" {
		panic("a dog without a name")
	}
	d.Name = e.Name
}
func (e TrickAdded) Apply(d *Dog) { d.Tricks = append(d.Tricks, e.Trick) }
func (Retired) Apply(*Dog)        {}
func (Foreign) Apply(*Dog)        {}

var Dogs = annals.Define("Dog",
	annals.On[Registered]("Registered"),
	annals.On[TrickAdded]("TrickAdded"),
	annals.On[Retired]("Retired", annals.Discards()))

var errKnown = errors.New("trick known")

// RegisterDog is a constructor.
func RegisterDog(name string) (*Dog, error) {
	if name == "" {
		return nil, errNothing
	}
	return Dogs.New(annals.NewID(), Registered{name}), nil
}

// AddTrick is a command.
func (d *Dog) AddTrick(trick string) error {
	if slices.Contains(d.Tricks, trick) {
		return errKnown
	}
	annals.Trigger(d, TrickAdded{Trick: trick})
	return nil
}

func sit(d *Dog) error     { return d.AddTrick("sit") }
func nothing(*Dog) error   { return nil }
func failing(*Dog) error   { return errKnown }
func panicking(*Dog) error { panic("out of biscuits") }

func TestScenariosThatHold(t *testing.T) {
	t.Parallel()
	wantReported(t, func(tb *report) {
		annalstest.Given(tb, Dogs, Registered{"Fido"}).
			When(sit).Then(TrickAdded{"sit"}).
			When(sit).ThenError(errKnown).
			When(sit).ThenFailed(func(err error) {
			if !errors.Is(err, errKnown) {
				tb.Errorf("another error: %v", err)
			}
		}).
			When(func(d *Dog) error { return d.AddTrick("roll") }).
			When(func(d *Dog) error { return d.AddTrick("jump") }).
			ThenState(func(d *Dog) {
				if d.Version() != 4 || len(d.Tricks) != 3 || d.ID() != annalstest.GivenID {
					tb.Errorf("%+v", d)
				}
			}).
			Then(TrickAdded{"roll"}, &TrickAdded{"jump"}).
			When(nothing).ThenNothing()
		annalstest.New(tb, Dogs, func() (*Dog, error) { return RegisterDog("Fido") }).
			Then(Registered{"Fido"}).
			When(sit).Then(TrickAdded{"sit"})
		annalstest.New(tb, Dogs, func() (*Dog, error) { return RegisterDog("") }).ThenError(errNothing)
		annalstest.Given(tb, Dogs).When(sit).Then(TrickAdded{"sit"})
		annalstest.Given(tb, Dogs, Registered{"Fido"}, &TrickAdded{"sit"}).ThenState(func(d *Dog) {
			if d.Name != "Fido" || d.Version() != 2 {
				tb.Errorf("%+v", d)
			}
		})
		annalstest.Given(tb, Dogs).When(sit).ThenState(func(*Dog) {})
		annalstest.Given(tb, Dogs) // nothing is asked of it
	})
}

func TestScenariosThatDoNotHoldSayWhy(t *testing.T) {
	t.Parallel()
	given := func(tb *report) *annalstest.Scenario[Dog] {
		return annalstest.Given(tb, Dogs, Registered{"Fido"}, TrickAdded{"sit"})
	}
	roll := func(d *Dog) error { return d.AddTrick("roll") }
	for name, c := range map[string]struct {
		test func(tb *report)
		says []string
	}{
		"another event": {func(tb *report) { given(tb).When(roll).Then(TrickAdded{"beg"}) }, []string{"Dog.TrickAdded", `"roll"`, `"beg"`, "-want +got"}},
		"one too many":  {func(tb *report) { given(tb).When(roll).ThenNothing() }, []string{"Dog.TrickAdded", "roll"}},
		"none":          {func(tb *report) { given(tb).When(nothing).Then(TrickAdded{"beg"}) }, []string{"no events", "beg"}},
		"another order": {func(tb *report) {
			given(tb).When(roll).When(func(d *Dog) error { return d.AddTrick("beg") }).Then(TrickAdded{"beg"}, TrickAdded{"roll"})
		}, []string{"Dog.TrickAdded, Dog.TrickAdded", "beg", "roll"}},
		"an error":      {func(tb *report) { given(tb).When(sit).Then(TrickAdded{"sit"}) }, []string{"the command failed: trick known"}},
		"no error":      {func(tb *report) { given(tb).When(roll).ThenError(errKnown) }, []string{"did not fail", "triggered Dog.TrickAdded", "trick known"}},
		"another error": {func(tb *report) { given(tb).When(sit).ThenError(fs.ErrExist) }, []string{"trick known", "file already exists"}},
		"no error to look at": {
			func(tb *report) { given(tb).When(nothing).ThenFailed(func(error) { tb.Error("looked at") }) }, []string{"did not fail", "no events"},
		},
		"an error, and events": {func(tb *report) {
			given(tb).When(func(d *Dog) error { annals.Trigger(d, TrickAdded{"roll"}); return errKnown }).ThenError(errKnown)
		}, []string{"failed, and triggered Dog.TrickAdded before", "decide first"}},
		"an error, and another state": {func(tb *report) {
			given(tb).When(func(d *Dog) error { d.calls++; return errKnown }).ThenError(errKnown)
		}, []string{"failed, and changed the Dog", "calls"}},
		"an error behind events that nobody expected": {
			func(tb *report) { given(tb).When(roll).When(sit).ThenError(errKnown) }, []string{"commands before", "add a Then"},
		},
		"an error before the next command": {func(tb *report) { given(tb).When(sit).When(sit) }, []string{"the command before failed", "trick known"}},
		"an error before the state":        {func(tb *report) { given(tb).When(sit).ThenState(func(*Dog) { tb.Error("looked at") }) }, []string{"failed", "trick known"}},
		"state outside of Apply": {func(tb *report) {
			given(tb).When(func(d *Dog) error { d.calls++; return d.AddTrick("roll") }).Then(TrickAdded{"roll"})
		}, []string{"outside of Apply", "calls"}},
		"state outside of Apply that is only looked at": {func(tb *report) {
			given(tb).When(func(d *Dog) error { d.calls++; return nil }).ThenState(func(*Dog) {})
		}, []string{"outside of Apply", "calls"}},
		"a panic": {func(tb *report) { given(tb).When(panicking) }, []string{"the command panicked: out of biscuits", "scenario_test.go"}},
		"a panic of a constructor": {
			func(tb *report) { annalstest.New(tb, Dogs, func() (*Dog, error) { panic("no kennel") }) }, []string{"the constructor panicked"},
		},
		"a constructor that returns nothing": {
			func(tb *report) { annalstest.New(tb, Dogs, func() (none *Dog, err error) { return none, err }) }, []string{"the constructor returned nil"},
		},
		"a constructor that fails": {
			func(tb *report) {
				annalstest.New(tb, Dogs, func() (*Dog, error) { return RegisterDog("") }).Then(Registered{"Fido"})
			},
			[]string{"the command failed: nothing to deposit", "Fido"},
		},
		"a command behind a constructor that failed": {func(tb *report) {
			annalstest.New(tb, Dogs, func() (*Dog, error) { return RegisterDog("") }).ThenError(errNothing).When(sit)
		}, []string{"there is no Dog"}},
		"a foreign event given":     {func(tb *report) { annalstest.Given(tb, Dogs, Registered{"Fido"}, Foreign{}) }, []string{"given event 2", "Foreign", "Dog"}},
		"a nil given":               {func(tb *report) { annalstest.Given(tb, Dogs, nil, (*TrickAdded)(nil)) }, []string{"given event 1", "<nil>"}},
		"an event that is no event": {func(tb *report) { annalstest.Given(tb, Dogs, (*TrickAdded)(nil)) }, []string{"given event 1", "*annalstest_test.TrickAdded"}},
		"an Apply that panics":      {func(tb *report) { annalstest.Given(tb, Dogs, Registered{}) }, []string{"Apply panicked", "a dog without a name"}},
		"an event that is not defined": {
			func(tb *report) { given(tb).When(func(d *Dog) error { annals.Trigger(d, Foreign{}); return nil }) }, []string{"panicked", "Foreign"},
		},
		"a command to a discarded aggregate": {
			func(tb *report) { annalstest.Given(tb, Dogs, Registered{"Fido"}, Retired{}).When(sit) }, []string{"panicked", "discarded"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantReported(t, c.test, c.says...)
		})
	}
}

// An application throws the aggregate of a failed command away; so does a scenario, and
// reports the failure alone.
func TestAScenarioGoesOnAsIfAFailedCommandHadNotBeen(t *testing.T) {
	t.Parallel()
	got := reported(t, func(tb *report) {
		annalstest.Given(tb, Dogs, Registered{"Fido"}).
			When(func(d *Dog) error { annals.Trigger(d, TrickAdded{"roll"}); return errKnown }).ThenError(errKnown).
			When(sit).Then(TrickAdded{"sit"}).
			ThenState(func(d *Dog) {
				if d.Version() != 2 || !slices.Equal(d.Tricks, []string{"sit"}) {
					tb.Errorf("%+v", d)
				}
			})
	})
	if strings.Count(got, "\n") > 0 || !strings.Contains(got, "decide first") {
		t.Errorf("it is reported:\n%s", got)
	}
}

// What a scenario does not look at is not tested: it must not pass.
func TestAScenarioThatExpectsNothingFails(t *testing.T) {
	t.Parallel()
	given := func(tb *report) *annalstest.Scenario[Dog] { return annalstest.Given(tb, Dogs) }
	for name, c := range map[string]struct {
		test func(tb *report)
		says []string
	}{
		"no Then":                {func(tb *report) { given(tb).When(sit) }, []string{"the scenario at scenario_test.go:", "add a Then"}},
		"no Then behind another": {func(tb *report) { given(tb).When(sit).Then(TrickAdded{"sit"}).When(nothing) }, []string{"add a Then"}},
		"no Then behind a ThenState": {
			func(tb *report) { given(tb).When(sit).ThenState(func(*Dog) {}).When(nothing) }, []string{"add a Then"},
		},
		"an error that is not looked at": {func(tb *report) { given(tb).When(failing) }, []string{"failed, and nothing expects that: trick known"}},
		"no Then behind a constructor": {
			func(tb *report) { annalstest.New(tb, Dogs, func() (*Dog, error) { return RegisterDog("Fido") }) },
			[]string{"the scenario at scenario_test.go:", "add a Then"},
		},
		"a Then without a When":       {func(tb *report) { given(tb).Then() }, []string{"Then without a command", "add a When"}},
		"a Then twice":                {func(tb *report) { given(tb).When(sit).Then(TrickAdded{"sit"}).Then(TrickAdded{"sit"}) }, []string{"Then without a command"}},
		"a ThenError without a When":  {func(tb *report) { given(tb).ThenError(errKnown) }, []string{"ThenError without a command"}},
		"a ThenFailed without a When": {func(tb *report) { given(tb).ThenFailed(func(error) {}) }, []string{"ThenFailed without a command"}},
		"a ThenError of nothing":      {func(tb *report) { given(tb).When(nothing).ThenError(nil) }, []string{"use ThenNothing"}},
		"a state of no aggregate": {
			func(tb *report) {
				annalstest.New(tb, Dogs, func() (*Dog, error) { return RegisterDog("") }).ThenError(errNothing).ThenState(func(*Dog) { tb.Error("looked at") })
			},
			[]string{"there is no Dog"},
		},
		"a decider that nobody looks at": {
			func(tb *report) { annalstest.GivenState(tb, Accounts, Decide).When(7) }, []string{"the scenario at scenario_test.go:", "add a Then"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantReported(t, c.test, c.says...)
		})
	}
	wantReported(t, func(tb *report) { given(tb).When(func(*Dog) error { tb.Skip(); return nil }) })
	if got := reported(t, func(tb *report) { given(tb).When(func(*Dog) error { tb.Fatal("the test's own"); return nil }) }); got != "the test's own" {
		t.Errorf("a test that failed for another reason: %s", got)
	}
}

// The functional model of these tests. B9.
type (
	Account struct {
		Balance int
		Days    map[string]int
	}
	Deposit int
	Event   interface{ isEvent() }
	Opened  struct{}
	Paid    struct{ Cents int }
	Noted   struct{ Day string }
	Stray   struct{}
)

func (Opened) isEvent() {}
func (Paid) isEvent()   {}
func (Noted) isEvent()  {}
func (Stray) isEvent()  {}

func accounts(note func(Account, Noted) Account) *annals.Type[annals.State[Account]] {
	return annals.DefineState("Account", Account{},
		annals.Evolve("Opened", func(a Account, _ Opened) Account { a.Days = map[string]int{}; return a }),
		annals.Evolve("Paid", func(a Account, e Paid) Account { a.Balance += e.Cents; return a }),
		annals.Evolve("Noted", note))
}

var Accounts = accounts(func(a Account, e Noted) Account {
	a.Days = maps.Clone(a.Days)
	a.Days[e.Day]++
	return a
})

var errNothing = errors.New("nothing to deposit")

func Decide(d Deposit, a Account) ([]Event, error) {
	switch {
	case d < 0:
		a.Days["spoilt"]++ // what no decider may do
		return nil, nil
	case d == 0:
		return []Event{Paid{}}, errNothing // the event does not happen
	case d > 1000:
		return []Event{Stray{}}, nil
	case d == 13:
		return []Event{Paid{13}, Noted{"Friday"}}, nil
	default:
		return []Event{Paid{int(d)}}, nil
	}
}

// B9.
func TestScenariosOfStates(t *testing.T) {
	t.Parallel()
	wantReported(t, func(tb *report) {
		annalstest.GivenState(tb, Accounts, Decide, Opened{}, Paid{5}, Noted{"Monday"}).
			When(7).Then(Paid{7}).
			ThenState(Account{Balance: 12, Days: map[string]int{"Monday": 1}}).
			When(0).ThenError(errNothing).
			When(0).ThenFailed(func(err error) {
			if !errors.Is(err, errNothing) {
				tb.Errorf("another error: %v", err)
			}
		}).
			When(13).ThenState(Account{Balance: 25, Days: map[string]int{"Monday": 1, "Friday": 1}}).Then(Paid{13}, Noted{"Friday"})
		annalstest.GivenState(tb, Accounts, func(Deposit, Account) ([]Event, error) { return nil, nil }).When(7).ThenNothing()
	})
	inPlace := accounts(func(a Account, e Noted) Account { a.Days[e.Day]++; return a })
	for name, c := range map[string]struct {
		test func(tb *report)
		says []string
	}{
		"another event": {func(tb *report) { annalstest.GivenState(tb, Accounts, Decide).When(7).Then(Paid{8}) }, []string{"Account.Paid", "7", "8"}},
		"another state": {func(tb *report) {
			annalstest.GivenState(tb, Accounts, Decide).When(7).ThenState(Account{Balance: 8})
		}, []string{"Balance", "7", "8"}},
		"no error":       {func(tb *report) { annalstest.GivenState(tb, Accounts, Decide).When(7).ThenError(errNothing) }, []string{"did not fail", "Account.Paid"}},
		"an error":       {func(tb *report) { annalstest.GivenState(tb, Accounts, Decide).When(0).ThenNothing() }, []string{"the command failed: nothing to deposit"}},
		"a stray event":  {func(tb *report) { annalstest.GivenState(tb, Accounts, Decide).When(1001) }, []string{"panicked", "Stray"}},
		"a foreign past": {func(tb *report) { annalstest.GivenState(tb, Accounts, Decide, Opened{}, Stray{}) }, []string{"given event 2", "Stray"}},
		"an evolve function that writes into its state": {
			func(tb *report) {
				annalstest.GivenState(tb, inPlace, Decide, Opened{}).When(13).Then(Paid{13}, Noted{"Friday"})
			},
			[]string{"evolving Account.Noted changes the state", "Friday"},
		},
		"one that does so with what is given": {
			func(tb *report) { annalstest.GivenState(tb, inPlace, Decide, Opened{}, Noted{"Monday"}) }, []string{"evolving Account.Noted", "Monday"},
		},
		"a decider that writes into its state": {
			func(tb *report) { annalstest.GivenState(tb, Accounts, Decide, Opened{}).When(-1).ThenNothing() }, []string{"outside of Evolve", "spoilt"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantReported(t, c.test, c.says...)
		})
	}
}

// B11.
func TestClockAndIDs(t *testing.T) {
	t.Parallel()
	start := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	clock := annalstest.NewClock(start)
	dogs := Dogs.WithClock(clock.Now).WithIDs(annalstest.NewIDs("event").Next)
	fido := dogs.New("fido", Registered{"Fido"})
	clock.Advance(time.Hour)
	annals.Trigger(fido, TrickAdded{"sit"})
	clock.Set(start)
	annals.Trigger(fido, TrickAdded{"roll"})
	var got []string
	for _, e := range fido.CollectEvents() {
		got = append(got, e.ID+" "+e.Time.Format(time.TimeOnly))
	}
	if want := []string{"event-1 12:00:00", "event-2 13:00:00", "event-3 12:00:00"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// B11.
func TestGivenEventsHappenedAtTheTimeOfTheClock(t *testing.T) {
	t.Parallel()
	start := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	clock := annalstest.NewClock(start)
	s := annalstest.Given(t, Dogs.WithClock(clock.Now), Registered{"Fido"})
	clock.Advance(30 * 24 * time.Hour)
	s.When(sit).Then(TrickAdded{"sit"}).ThenState(func(d *Dog) {
		if !d.CreatedAt().Equal(start) || d.ModifiedAt().Sub(start) != 30*24*time.Hour {
			t.Errorf("created at %v, modified at %v", d.CreatedAt(), d.ModifiedAt())
		}
	})
}
