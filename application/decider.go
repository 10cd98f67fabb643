package application

import (
	"context"

	"github.com/annals-es/annals"
)

// Decider handles commands by a pure function: from a command and a state it
// decides on events. It is the application side of the functional style, as a
// [Repository] is that of aggregates, with the same snapshots and the same cache.
// It is safe for concurrent use if the function is. The idea is Jérémie
// Chassaing's decider.
type Decider[C, S any] struct {
	repository *Repository[annals.State[S]]
	decide     func(command C, state S) ([]any, error)
}

// NewDecider returns a decider, and makes the events of the type known to the
// application. E is the user's own interface of events, or any. It panics as
// [NewRepository] does.
func NewDecider[C, S, E any](
	app *Application, t *annals.Type[annals.State[S]], decide func(command C, state S) ([]E, error),
) *Decider[C, S] {
	return &Decider[C, S]{
		repository: NewRepository(app, t),
		decide: func(command C, state S) ([]any, error) {
			events, err := decide(command, state)
			all := make([]any, len(events))
			for i, e := range events {
				all[i] = e
			}
			return all, err
		},
	}
}

// Handle decides on a command, saves the events, and returns the state after them.
// For an id that is new the command meets the initial state. On a version
// conflict it decides again, as [Repository.Update] does, and treats an unknown
// outcome in the same way. An error of the function is returned as it is, and
// nothing is saved. Further sources, such as [Do], are part of the save.
//
// It returns an [*annals.NotFoundError] for a state that was discarded. It panics if
// the function decides on an event that the type does not have.
func (d *Decider[C, S]) Handle(ctx context.Context, id string, command C, with ...Source) (S, error) {
	r := d.repository
	load := func() (*annals.State[S], error) {
		return r.GetOrNew(ctx, id, func() *annals.State[S] { return r.typ.Begin(id) })
	}
	state, err := r.update(ctx, load, func(s *annals.State[S]) error {
		events, err := d.decide(command, s.Value())
		if err != nil {
			return err
		}
		for _, e := range events {
			s.Trigger(e)
		}
		return nil
	}, with)
	if err != nil {
		var none S
		return none, err
	}
	return state.Value(), nil
}

// Get returns the state. It returns the errors of [Repository.Get].
func (d *Decider[C, S]) Get(ctx context.Context, id string) (S, error) {
	s, err := d.repository.Get(ctx, id)
	if err != nil {
		var none S
		return none, err
	}
	return s.Value(), nil
}

// Repository returns the repository of the states: for their versions, their
// events and their snapshots.
func (d *Decider[C, S]) Repository() *Repository[annals.State[S]] { return d.repository }
