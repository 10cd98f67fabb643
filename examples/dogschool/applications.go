package main

import (
	"context"
	"errors"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/system"
)

var (
	// SchoolApp is the node of the school, CountersApp that of the counters.
	SchoolApp   = system.App("dogschool", OpenSchool)
	CountersApp = system.App("counters", OpenTally)

	// DogSchools is the system.
	DogSchools = system.Define("dogschools",
		system.Pipe(SchoolApp, CountersApp)) // counters follows dogschool
)

// School is the application of the dogs.
type School struct {
	*application.Application
	dogs *application.Repository[Dog]
}

// OpenSchool opens the application.
func OpenSchool(ctx context.Context, opts ...application.Option) (*School, error) {
	app, err := application.Open(ctx, "dogschool", opts...) // in memory unless told otherwise
	if err != nil {
		return nil, err
	}
	return &School{app, application.NewRepository(app, Dogs)}, nil
}

// RegisterDog saves a new dog, and returns its id.
func (s *School) RegisterDog(ctx context.Context, name string) (string, error) {
	dog := RegisterDog(name)
	_, err := s.Save(ctx, dog)
	return dog.ID(), err
}

// AddTrick teaches a dog a trick.
func (s *School) AddTrick(ctx context.Context, id, trick string) error {
	// Load, decide, save; decided again on a version conflict.
	return s.dogs.Update(ctx, id, func(d *Dog) error { return d.AddTrick(trick) })
}

// Tally is the application of the counters: it follows the school.
type Tally struct {
	*application.Application
	counters *application.Repository[Counter]
}

// OpenTally opens the application.
func OpenTally(ctx context.Context, opts ...application.Option) (*Tally, error) {
	app, err := application.Open(ctx, "counters", opts...)
	if err != nil {
		return nil, err
	}
	return &Tally{app, application.NewRepository(app, Counters)}, nil
}

// Policy counts each trick that a dog has learned. What it collects is saved in one step
// with the fact that the event is processed: each is counted exactly once.
func (t *Tally) Policy(ctx context.Context, n application.Notification, p *application.Processing) error {
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

// Count returns how many dogs know a trick.
func (t *Tally) Count(ctx context.Context, trick string) (int, error) {
	counter, err := t.counters.Get(ctx, CounterID(trick))
	if errors.Is(err, annals.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return counter.Count, nil
}
