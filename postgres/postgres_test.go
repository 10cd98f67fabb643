package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/projectiontest"
	"github.com/annals-es/annals/internal/systemtest"
	"github.com/annals-es/annals/postgres"
	"github.com/annals-es/annals/recordertest"
)

// backend is the recorder as the conformance suite and the benchmarks see it. Each
// store is a schema of its own; an address is a URL with its search_path.
func backend() recordertest.Backend {
	return recordertest.Backend{
		Name:   "postgres",
		Create: create,
		Open: func(ctx context.Context, address string) (recordertest.Recorder, error) {
			return postgres.Open(ctx, address)
		},
		Features:   recordertest.Features{Durable: true, Processes: true, Transactions: true, Snapshots: true, Ledger: true, Joins: true, Server: true},
		Statements: &recordertest.Statements{Insert: insertOwn, Count: countOwn, Begin: beginOwn},
		Server:     newServer,
		Bare:       newBare,
	}
}

func TestMain(m *testing.M) {
	projectiontest.Child(projections())
	systemtest.Child(systems())
	recordertest.Main(m, backend())
}

func TestConformance(t *testing.T) {
	t.Parallel()
	recordertest.Run(t, backend())
}

// TestConformanceOfNew runs the suite on a recorder that uses its caller's own pool.
func TestConformanceOfNew(t *testing.T) {
	t.Parallel()
	b := backend()
	b.Name = "postgres.New"
	b.Open = func(ctx context.Context, address string) (recordertest.Recorder, error) {
		pool, err := pgxpool.New(ctx, address)
		if err != nil {
			return nil, err
		}
		r, err := postgres.New(ctx, pool)
		if err != nil {
			pool.Close()
			return nil, err
		}
		return &ownPool{Recorder: r, pool: pool}, nil
	}
	recordertest.Run(t, b)
}

// ownPool closes the pool with the recorder.
type ownPool struct {
	*postgres.Recorder
	pool *pgxpool.Pool
}

func (r *ownPool) Close() error {
	err := r.Recorder.Close()
	r.pool.Close()
	return err
}

var schemas atomic.Int64

// newSchema makes a schema, and returns a URL whose connections have it as their own.
func newSchema(tb testing.TB) string {
	tb.Helper()
	base := serverURL(tb)
	name := fmt.Sprintf("t%d_%s", schemas.Add(1), strings.ReplaceAll(annals.NewID()[24:], "-", ""))
	execute(tb, base, "CREATE SCHEMA "+name)
	tb.Cleanup(func() { execute(tb, base, "DROP SCHEMA "+name+" CASCADE") })
	u, err := url.Parse(base)
	if err != nil {
		tb.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String()
}

// execute runs a statement on a connection of its own.
func execute(tb testing.TB, address, statement string) {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context())
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		tb.Fatal(err)
	}
	_, err = conn.Exec(ctx, statement)
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		tb.Fatal(err)
	}
}

// create makes an empty store, with a table of the caller's own.
func create(tb testing.TB) string {
	tb.Helper()
	address := newSchema(tb)
	migrate(tb, address)
	return address
}

// migrate makes the tables, and one of the caller's own.
func migrate(tb testing.TB, address string) {
	tb.Helper()
	r, err := postgres.Open(tb.Context(), address)
	if err != nil {
		tb.Fatal(err)
	}
	if err := r.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	if err := r.Close(); err != nil {
		tb.Fatal(err)
	}
	execute(tb, address, "CREATE TABLE own (key text NOT NULL)")
}

func insertOwn(ctx context.Context, tx any, key string) error {
	_, err := tx.(pgx.Tx).Exec(ctx, "INSERT INTO own (key) VALUES ($1)", key)
	return err
}

// beginOwn begins a transaction of the user's own.
func beginOwn(ctx context.Context, address string) (tx any, commit, rollback func() error, err error) {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return nil, nil, nil, err
	}
	own, err := conn.Begin(ctx)
	if err != nil {
		return nil, nil, nil, errors.Join(err, conn.Close(ctx))
	}
	end := func(end func(context.Context) error) func() error {
		return func() error { return errors.Join(end(ctx), conn.Close(ctx)) }
	}
	return own, end(own.Commit), end(own.Rollback), nil
}

func countOwn(ctx context.Context, address, key string) (n int, err error) {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return 0, err
	}
	err = conn.QueryRow(ctx, "SELECT count(*) FROM own WHERE key = $1", key).Scan(&n)
	return n, errors.Join(err, conn.Close(ctx))
}
