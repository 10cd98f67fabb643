package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/annals-es/annals"
)

// places is where stores are made.
type places struct {
	folder string // of files
	server string // the URL of a PostgreSQL server; "": there is none
}

// create makes room for a store of a kind: the path of a file that is not there yet, or
// the URL of an empty schema. Remove undoes it.
func (p places) create(ctx context.Context, k kind) (address string, remove func() error, err error) {
	name := "peers_" + strings.ReplaceAll(annals.NewID(), "-", "")
	switch k {
	case onSQLite:
		folder := filepath.Join(p.folder, name)
		if err := os.Mkdir(folder, 0o700); err != nil {
			return "", nil, err
		}
		return filepath.Join(folder, "events.db"), func() error { return os.RemoveAll(folder) }, nil
	case onPostgres:
		u, err := url.Parse(p.server)
		if err != nil {
			return "", nil, errors.New("the URL of the PostgreSQL server cannot be understood")
		}
		if err := execute(ctx, p.server, "CREATE SCHEMA "+name); err != nil {
			return "", nil, err
		}
		q := u.Query()
		q.Set("search_path", name)
		u.RawQuery = q.Encode()
		return u.String(), func() error {
			return execute(context.WithoutCancel(ctx), p.server, "DROP SCHEMA "+name+" CASCADE")
		}, nil
	default:
		return "", func() error { return nil }, nil
	}
}

// execute runs a statement on a connection of its own.
func execute(ctx context.Context, address, statement string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// openNew opens a new store of a library. Done closes and removes it.
func (p places) openNew(ctx context.Context, l library, k kind) (s store, done func() error, err error) {
	stores, done, err := p.openSeveral(ctx, l, k, 1)
	if err != nil {
		return nil, nil, err
	}
	return stores[0], done, nil
}

// openSeveral opens a new store of a library several times, as several processes would.
func (p places) openSeveral(ctx context.Context, l library, k kind, n int) (_ []store, done func() error, err error) {
	address, remove, err := p.create(ctx, k)
	if err != nil {
		return nil, nil, fmt.Errorf("%s on %s: %w", l.name, k, err)
	}
	var stores []store
	done = func() error {
		var errs []error
		for _, s := range stores {
			errs = append(errs, s.close())
		}
		return errors.Join(append(errs, remove())...)
	}
	for range n {
		s, err := l.on[k](ctx, address)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("%s on %s: %w", l.name, k, err), done())
		}
		stores = append(stores, s)
	}
	return stores, done, nil
}
