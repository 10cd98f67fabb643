package system_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/system"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A school, whose dogs learn tricks, and counters, which count the dogs that know a trick.

type dog struct {
	annals.Aggregate

	Name   string
	Tricks []string
}

type (
	registered struct{ Name string }
	trickAdded struct{ Trick string }
)

func (e registered) Apply(d *dog) { d.Name = e.Name }
func (e trickAdded) Apply(d *dog) { d.Tricks = append(d.Tricks, e.Trick) }

var dogs = annals.Define("Dog", annals.On[registered]("Registered"), annals.On[trickAdded]("TrickAdded"))

type counter struct {
	annals.Aggregate

	Count int
}

type (
	began       struct{}
	incremented struct{}
)

func (began) Apply(*counter)         {}
func (incremented) Apply(c *counter) { c.Count++ }

var counters = annals.Define("Counter", annals.On[began]("Began"), annals.On[incremented]("Incremented"))

type school struct {
	*application.Application

	dogs *application.Repository[dog]
}

func openSchool(ctx context.Context, opts ...application.Option) (*school, error) {
	app, err := application.Open(ctx, "dogschool", opts...)
	if err != nil {
		return nil, err
	}
	return &school{app, application.NewRepository(app, dogs)}, nil
}

func (s *school) register(ctx context.Context, name string) (string, error) {
	d := dogs.New(annals.NewID(), registered{name})
	_, err := s.Save(ctx, d)
	return d.ID(), err
}

func (s *school) addTrick(ctx context.Context, id, trick string) error {
	return s.dogs.Update(ctx, id, func(d *dog) error {
		annals.Trigger(d, trickAdded{trick})
		return nil
	})
}

type counting struct {
	*application.Application

	counters *application.Repository[counter]
	fail     func(n application.Notification) error
}

func openCounting(ctx context.Context, opts ...application.Option) (*counting, error) {
	app, err := application.Open(ctx, "counters", opts...)
	if err != nil {
		return nil, err
	}
	return &counting{Application: app, counters: application.NewRepository(app, counters)}, nil
}

func counterID(trick string) string { return annals.NamedID("/counters", trick) }

func (c *counting) Policy(ctx context.Context, n application.Notification, p *application.Processing) error {
	if c.fail != nil {
		if err := c.fail(n); err != nil {
			return err
		}
	}
	if e, ok := n.Event.Data.(trickAdded); ok {
		id := counterID(e.Trick)
		one, err := c.counters.GetOrNew(ctx, id, func() *counter { return counters.New(id, began{}) })
		if err != nil {
			return err
		}
		annals.Trigger(one, incremented{})
		p.Collect(one)
	}
	return nil
}

func (c *counting) count(ctx context.Context, trick string) (int, error) {
	one, err := c.counters.Get(ctx, counterID(trick))
	if errors.Is(err, annals.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return one.Count, nil
}

var (
	schoolApp   = system.App("dogschool", openSchool)
	countersApp = system.App("counters", openCounting)
	dogSchools  = system.Define("dogschools", system.Pipe(schoolApp, countersApp))
)

// B47.
func TestWhenSaveReturnsTheEffectsAreThere(t *testing.T) {
	t.Parallel()
	r, err := system.RunSync(t.Context(), dogSchools)
	if err != nil {
		t.Fatal(err)
	}
	use(t, r, func(i int) {
		if n, err := countersApp.In(r).count(t.Context(), "sit"); n != i || err != nil {
			t.Fatalf("%d times sit, %v; want %d", n, err, i)
		}
	})
}

// B48.
func TestTheEffectsAreThereInTheBackground(t *testing.T) {
	t.Parallel()
	r, err := system.RunAsync(t.Context(), dogSchools)
	if err != nil {
		t.Fatal(err)
	}
	use(t, r, func(int) {})
}

func use(t *testing.T, r *system.Runner, each func(i int)) {
	t.Helper()
	ctx := t.Context()
	s := schoolApp.In(r)
	id, err := s.register(ctx, "Fido")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := s.addTrick(ctx, id, "sit"); err != nil {
			t.Fatal(err)
		}
		if err := s.addTrick(ctx, id, fmt.Sprint("trick ", i)); err != nil {
			t.Fatal(err)
		}
		each(i + 1)
	}
	if err := r.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := countersApp.In(r).count(ctx, "sit"); n != 100 || err != nil {
		t.Errorf("%d times sit, %v", n, err)
	}
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
}
