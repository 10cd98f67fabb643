package main

import (
	"context"
	"fmt"
)

// kind is a kind of store.
type kind string

const (
	inMemory   kind = "memory"
	onSQLite   kind = "SQLite"
	onPostgres kind = "PostgreSQL"
)

// library is one of those that are compared.
type library struct {
	name   string
	metric string // of benchmarks: how many times as fast ours is; "": this is ours
	// on opens a store, which it may make ready first. What is not there, the library
	// does not have.
	on map[kind]func(ctx context.Context, address string) (store, error)
}

// libraries returns ours, then its peers.
func libraries() []library {
	return []library{annalsLibrary(), hallgrenLibrary(), eventhorizonLibrary()}
}

// store is a store of a library, with the library around it.
type store interface {
	// open returns a new account, with its first event.
	open(id string, e *opened) (account, error)
	// save stores what has happened to the account.
	save(ctx context.Context, a account) error
	// load returns the account that its events make.
	load(ctx context.Context, id string) (account, error)
	close() error
}

// account is an aggregate of a library.
type account interface {
	pay(e *moved)
	state() *state
}

// logged is a store whose events have an order beyond that of each aggregate.
type logged interface {
	store
	// follow returns a function that reads the log to its end, each time from behind
	// the last event that it has read before. The log has up to limit events.
	follow(limit int) func(ctx context.Context, seen func(position int64)) error
}

// scan reads a log of n events.
func scan(ctx context.Context, s logged, n int) error {
	count := 0
	err := s.follow(n)(ctx, func(int64) { count++ })
	if err == nil && count != n {
		err = fmt.Errorf("the log has %d events, want %d", count, n)
	}
	return err
}
