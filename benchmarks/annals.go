package main

import (
	"context"
	"errors"
	"io"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
	"github.com/annals-es/annals/sqlite"
)

// annalsLibrary is ours, as it is without options.
func annalsLibrary() library {
	return library{name: "Annals", on: map[kind]func(context.Context, string) (store, error){
		inMemory: func(ctx context.Context, _ string) (store, error) {
			return openAnnals(ctx, memory.New(), nil)
		},
		onSQLite: func(ctx context.Context, path string) (store, error) {
			r, err := sqlite.Open(ctx, path)
			if err != nil {
				return nil, err
			}
			return openAnnals(ctx, r, r.Migrate)
		},
		onPostgres: func(ctx context.Context, url string) (store, error) {
			r, err := postgres.Open(ctx, url)
			if err != nil {
				return nil, err
			}
			return openAnnals(ctx, r, r.Migrate)
		},
	}}
}

type annalsAccount struct {
	annals.Aggregate

	s state
}

func (e opened) Apply(a *annalsAccount) { a.s.open(&e) }
func (e moved) Apply(a *annalsAccount)  { a.s.move(&e) }

func (a *annalsAccount) pay(e *moved)  { annals.Trigger(a, *e) }
func (a *annalsAccount) state() *state { return &a.s }

var annalsAccounts = annals.Define("Account", annals.On[opened]("Opened"), annals.On[moved]("Moved"))

type annalsStore struct {
	recorder io.Closer
	app      *application.Application
	accounts *application.Repository[annalsAccount]
}

// openAnnals opens an application on the recorder, which the store closes.
func openAnnals(ctx context.Context, r interface {
	persistence.Recorder
	io.Closer
}, migrate func(context.Context) error,
) (store, error) {
	if migrate != nil {
		if err := migrate(ctx); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	app, err := application.Open(ctx, "peers", application.WithRecorder(r))
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &annalsStore{r, app, application.NewRepository(app, annalsAccounts)}, nil
}

func (s *annalsStore) open(id string, e *opened) (account, error) {
	return annalsAccounts.New(id, *e), nil
}

func (s *annalsStore) save(ctx context.Context, a account) error {
	_, err := s.app.Save(ctx, a.(*annalsAccount)) //nolint:forcetypeassert // it is an account of this store
	return err
}

func (s *annalsStore) load(ctx context.Context, id string) (account, error) {
	return s.accounts.Get(ctx, id)
}

func (s *annalsStore) follow(int) func(context.Context, func(int64)) error {
	var last int64
	return func(ctx context.Context, seen func(int64)) error {
		for n, err := range s.app.Notifications(ctx, application.After(last)) {
			if err != nil {
				return err
			}
			last = n.Position
			seen(last)
		}
		return nil
	}
}

func (s *annalsStore) close() error { return errors.Join(s.app.Close(), s.recorder.Close()) }
