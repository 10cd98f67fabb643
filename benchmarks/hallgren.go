package main

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/hallgren/eventsourcing"
	"github.com/hallgren/eventsourcing/aggregate"
	"github.com/hallgren/eventsourcing/core"
	hallgrenmemory "github.com/hallgren/eventsourcing/eventstore/memory"
	hallgrensql "github.com/hallgren/eventsourcing/eventstore/sql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver named "pgx"
	_ "modernc.org/sqlite"             // the driver named "sqlite"
)

// hallgrenLibrary is github.com/hallgren/eventsourcing, with what makes it fastest and
// does not make it lose anything that is saved.
func hallgrenLibrary() library {
	registerHallgren()
	return library{name: "hallgren", metric: "x-hallgren", on: map[kind]func(context.Context, string) (store, error){
		inMemory: func(context.Context, string) (store, error) {
			s := hallgrenmemory.Create()
			return &hallgrenStore{
				events: s, closes: s.Close,
				all: func(limit int) core.Fetcher { return s.All(1, uint64(limit)) }, //nolint:gosec // not negative
			}, nil
		},
		onSQLite: func(_ context.Context, path string) (store, error) {
			// The settings of our own recorder, and the mode that is meant for several
			// goroutines.
			db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)"+
				"&_pragma=synchronous(FULL)&_pragma=mmap_size(1073741824)&_pragma=wal_autocheckpoint(4000)&_pragma=cache_size(-64000)")
			if err != nil {
				return nil, err
			}
			s, err := hallgrensql.NewSQLiteSingelWriter(db)
			if err != nil {
				return nil, errors.Join(err, db.Close())
			}
			return &hallgrenStore{events: s, closes: s.Close, all: func(int) core.Fetcher { return s.All(1) }}, nil
		},
		onPostgres: func(_ context.Context, url string) (store, error) {
			db, err := sql.Open("pgx", url)
			if err != nil {
				return nil, err
			}
			db.SetMaxOpenConns(hallgrenConns) // without limits, connections would come and go all the time
			db.SetMaxIdleConns(hallgrenConns)
			s, err := hallgrensql.NewPostgres(db)
			if err != nil {
				return nil, errors.Join(err, db.Close())
			}
			return &hallgrenStore{events: s, closes: s.Close, all: func(int) core.Fetcher { return s.All(1) }}, nil
		},
	}}
}

// hallgrenConns is how many connections to PostgreSQL it has. With 64 goroutines that
// save, 32 connections were the fastest of 4, 8, 16, 32 and 64.
const hallgrenConns = 32

type hallgrenAccount struct {
	aggregate.Root

	s state
}

func (a *hallgrenAccount) Transition(event eventsourcing.Event) {
	switch e := event.Data().(type) {
	case *opened:
		a.s.open(e)
	case *moved:
		a.s.move(e)
	}
}

func (a *hallgrenAccount) Register(r aggregate.RegisterFunc) { r(&opened{}, &moved{}) }

// registerHallgren makes the account known to the library's registry, of which there
// is one in the program.
var registerHallgren = sync.OnceFunc(func() { aggregate.Register(&hallgrenAccount{}) })

func (a *hallgrenAccount) pay(e *moved)  { aggregate.TrackChange(a, e) }
func (a *hallgrenAccount) state() *state { return &a.s }

type hallgrenStore struct {
	events core.EventStore
	all    func(limit int) core.Fetcher
	closes func()
}

func (s *hallgrenStore) open(id string, e *opened) (account, error) {
	a := &hallgrenAccount{}
	if err := a.SetID(id); err != nil {
		return nil, err
	}
	aggregate.TrackChange(a, e)
	return a, nil
}

func (s *hallgrenStore) save(_ context.Context, a account) error {
	return aggregate.Save(s.events, a.(*hallgrenAccount)) //nolint:forcetypeassert // it is an account of this store
}

func (s *hallgrenStore) load(ctx context.Context, id string) (account, error) {
	a := &hallgrenAccount{}
	return a, aggregate.Load(ctx, s.events, id, a)
}

func (s *hallgrenStore) follow(limit int) func(context.Context, func(int64)) error {
	var seen func(int64)
	p := eventsourcing.NewProjection(s.all(limit), func(e eventsourcing.Event) error {
		seen(int64(e.GlobalVersion())) //nolint:gosec // a version is a count
		return nil
	})
	return func(ctx context.Context, f func(int64)) error {
		seen = f
		return p.RunToEnd(ctx).Error
	}
}

func (s *hallgrenStore) close() error {
	s.closes()
	return nil
}
