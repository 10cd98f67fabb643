package main

import (
	"context"
	"errors"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/system"
)

var (
	schoolApp   = system.App("dogschool", openSchool)
	countersApp = system.App("counters", openTally)

	dogSchools = system.Define("dogschools",
		system.Pipe(schoolApp, countersApp)) // counters follows dogschool
)

// school is the application of the dogs.
type school struct {
	*application.Application
	dogs *application.Repository[Dog]
}

func openSchool(ctx context.Context, opts ...application.Option) (*school, error) {
	app, err := application.Open(ctx, "dogschool", opts...) // in memory unless told otherwise
	if err != nil {
		return nil, err
	}
	return &school{app, application.NewRepository(app, Dogs)}, nil
}

func (s *school) registerDog(ctx context.Context, name string) (string, error) {
	dog := RegisterDog(name)
	_, err := s.Save(ctx, dog)
	return dog.ID(), err
}

func (s *school) addTrick(ctx context.Context, id, trick string) error {
	// load, decide, save; decided again on a version conflict
	return s.dogs.Update(ctx, id, func(d *Dog) error { return d.AddTrick(trick) })
}

// tally is the application of the counters: it follows the school.
type tally struct {
	*application.Application
	counters *application.Repository[Counter]
}

func openTally(ctx context.Context, opts ...application.Option) (*tally, error) {
	app, err := application.Open(ctx, "counters", opts...)
	if err != nil {
		return nil, err
	}
	return &tally{app, application.NewRepository(app, Counters)}, nil
}

// Policy counts each trick that a dog has learned. What it collects is saved in one step
// with the fact that the event is processed: each is counted exactly once.
func (t *tally) Policy(ctx context.Context, n application.Notification, p *application.Processing) error {
	if e, ok := n.Event.Data.(TrickAdded); ok {
		id := CounterID(e.Trick)
		counter, err := t.counters.GetOrNew(ctx, id, func() *Counter { return Counters.New(id, Started{Of: e.Trick}) })
		if err != nil {
			return err
		}
		counter.Increment()
		p.Collect(counter)
	}
	return nil
}

// count returns how many dogs know a trick.
func (t *tally) count(ctx context.Context, trick string) (int, error) {
	counter, err := t.counters.Get(ctx, CounterID(trick))
	if errors.Is(err, annals.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return counter.Count, nil
}
