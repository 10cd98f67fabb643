package main

import (
	"context"
	"errors"
	"sync"
	"time"

	eh "github.com/looplab/eventhorizon"
	"github.com/looplab/eventhorizon/aggregatestore/events"
	ehmemory "github.com/looplab/eventhorizon/eventstore/memory"
	"github.com/looplab/eventhorizon/uuid"
)

// eventhorizonLibrary is github.com/looplab/eventhorizon.
func eventhorizonLibrary() library {
	registerEventhorizon()
	return library{name: "eventhorizon", metric: "x-eventhorizon", on: map[kind]func(context.Context, string) (store, error){
		inMemory: func(context.Context, string) (store, error) {
			es, err := ehmemory.NewEventStore()
			if err != nil {
				return nil, err
			}
			as, err := events.NewAggregateStore(es)
			if err != nil {
				return nil, err
			}
			return &eventhorizonStore{as, es}, nil
		},
	}}
}

const (
	eventhorizonType   eh.AggregateType = "Account"
	eventhorizonOpened eh.EventType     = "AccountOpened"
	eventhorizonMoved  eh.EventType     = "AccountMoved"
)

type eventhorizonAccount struct {
	*events.AggregateBase

	s state
}

func newEventhorizonAccount(id uuid.UUID) *eventhorizonAccount {
	return &eventhorizonAccount{AggregateBase: events.NewAggregateBase(eventhorizonType, id)}
}

// HandleCommand is there because the library wants it.
func (a *eventhorizonAccount) HandleCommand(context.Context, eh.Command) error {
	return errors.New("the account has no commands")
}

// ApplyEvent returns no error: the interface wants one.
func (a *eventhorizonAccount) ApplyEvent(_ context.Context, event eh.Event) error { //nolint:unparam // as above
	switch e := event.Data().(type) {
	case *opened:
		a.s.open(e)
	case *moved:
		a.s.move(e)
	}
	return nil
}

// registerEventhorizon makes account and events known to the library's registries, of
// which there is one in the program.
var registerEventhorizon = sync.OnceFunc(func() {
	eh.RegisterAggregate(func(id uuid.UUID) eh.Aggregate { return newEventhorizonAccount(id) })
	eh.RegisterEventData(eventhorizonOpened, func() eh.EventData { return &opened{} })
	eh.RegisterEventData(eventhorizonMoved, func() eh.EventData { return &moved{} })
})

func (a *eventhorizonAccount) pay(e *moved)  { a.AppendEvent(eventhorizonMoved, e, time.Now()) }
func (a *eventhorizonAccount) state() *state { return &a.s }

type eventhorizonStore struct {
	accounts *events.AggregateStore
	events   *ehmemory.EventStore
}

func (s *eventhorizonStore) open(id string, e *opened) (account, error) {
	u, err := uuid.Parse(id)
	if err != nil {
		return nil, err
	}
	a := newEventhorizonAccount(u)
	a.AppendEvent(eventhorizonOpened, e, time.Now())
	return a, nil
}

func (s *eventhorizonStore) save(ctx context.Context, a account) error {
	return s.accounts.Save(ctx, a.(*eventhorizonAccount)) //nolint:forcetypeassert // it is an account of this store
}

func (s *eventhorizonStore) load(ctx context.Context, id string) (account, error) {
	u, err := uuid.Parse(id)
	if err != nil {
		return nil, err
	}
	a, err := s.accounts.Load(ctx, eventhorizonType, u)
	if err != nil {
		return nil, err
	}
	return a.(*eventhorizonAccount), nil //nolint:forcetypeassert // it is what was registered
}

func (s *eventhorizonStore) close() error { return s.events.Close() }
