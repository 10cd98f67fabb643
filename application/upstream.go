package application

import (
	"context"
	"fmt"
	"reflect"

	"github.com/annals-es/annals"
)

// Position returns the position of the last event of the application's log; 0 if it has
// none. Every event up to it is there: none appears later.
func (a *Application) Position(ctx context.Context) (int64, error) {
	if err := a.usable(); err != nil {
		return 0, a.errorf("position", err)
	}
	position, _, err := a.recorder.MaxPosition(ctx)
	return position, a.errorf("position", err)
}

// Await returns when the application's log has an event after the position: at once if
// it has one already. It may return sooner, for no reason. It returns the context's error
// when the context is done, and [annals.ErrClosed] when the application is closed.
func (a *Application) Await(parent context.Context, after int64) error {
	ctx, stop := a.untilClosed(parent)
	defer stop()
	err := a.usable()
	if err == nil {
		err = a.recorder.Wait(ctx, max(after, 0))
	}
	if err != nil && parent.Err() == nil && a.usable() != nil {
		err = annals.ErrClosed
	}
	return a.errorf("await", err)
}

// TopicsOf returns the topics of the events whose data is of one of the types. It
// returns [annals.ErrConfiguration] for a type that the application does not know.
func (a *Application) TopicsOf(types ...reflect.Type) ([]string, error) {
	var all []string
	for _, t := range types {
		topics := a.mapper.TopicsOf(t)
		if len(topics) == 0 {
			return nil, a.errorf("topics", fmt.Errorf("no event has data of the type %v: see NewRepository and WithTypes: %w",
				t, annals.ErrConfiguration))
		}
		all = append(all, topics...)
	}
	return all, nil
}
