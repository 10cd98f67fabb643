package postgres_test

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/projectiontest"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
)

// projections are a log and a view on PostgreSQL. The connections of an address have a
// name of their own, by which they are cut.
func projections() projectiontest.Backend[pgx.Tx] {
	named := func(tb testing.TB, address string) string {
		tb.Helper()
		return withParameter(tb, address, "application_name", annals.NewID())
	}
	return projectiontest.Backend[pgx.Tx]{
		Name:      "postgres",
		Processes: true,
		CreateLog: func(tb testing.TB) string { tb.Helper(); return named(tb, create(tb)) },
		OpenLog: func(ctx context.Context, address string) (projectiontest.Recorder, error) {
			return postgres.Open(ctx, address)
		},
		CreateView: func(tb testing.TB) string {
			tb.Helper()
			address := newSchema(tb)
			execute(tb, address, "CREATE TABLE balances (id text PRIMARY KEY, version bigint NOT NULL, balance bigint NOT NULL)")
			return named(tb, address)
		},
		OpenView: func(ctx context.Context, address string) (persistence.View[pgx.Tx], func(), error) {
			pool, err := pgxpool.New(ctx, address)
			if err != nil {
				return nil, nil, err
			}
			return postgres.View(pool), pool.Close, nil
		},
		Get: func(ctx context.Context, tx pgx.Tx, id string) (r projectiontest.Row, err error) {
			err = tx.QueryRow(ctx, "SELECT version, balance FROM balances WHERE id = $1", id).Scan(&r.Version, &r.Balance)
			if errors.Is(err, pgx.ErrNoRows) {
				err = nil
			}
			return r, err
		},
		Put: func(ctx context.Context, tx pgx.Tx, id string, r projectiontest.Row) error {
			_, err := tx.Exec(ctx, "INSERT INTO balances (id, version, balance) VALUES ($1, $2, $3) "+
				"ON CONFLICT (id) DO UPDATE SET version = excluded.version, balance = excluded.balance", id, r.Version, r.Balance)
			return err
		},
		Rows: func(ctx context.Context, v persistence.View[pgx.Tx]) (all map[string]projectiontest.Row, err error) {
			err = v.Update(ctx, func(ctx context.Context, tx pgx.Tx, _ persistence.Ledger) error {
				all = make(map[string]projectiontest.Row)
				rows, err := tx.Query(ctx, "SELECT id, version, balance FROM balances")
				if err != nil {
					return err
				}
				var id string
				var r projectiontest.Row
				_, err = pgx.ForEachRow(rows, []any{&id, &r.Version, &r.Balance}, func() error { all[id] = r; return nil })
				return err
			})
			return all, err
		},
		Cut: func(tb testing.TB, address string) {
			tb.Helper()
			u, err := url.Parse(address)
			if err != nil {
				tb.Fatal(err)
			}
			name := u.Query().Get("application_name")
			execute(tb, withParameter(tb, address, "application_name", "cutter"),
				"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '"+name+"'")
		},
	}
}

func TestProjections(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, projections())
}

func TestProjectionsWithTheLogInMemory(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, projectiontest.WithMemoryLog(projections()))
}

func TestProjectionsWithTheViewInMemory(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, projectiontest.WithMemoryView(projections()))
}

func BenchmarkCatchUp(b *testing.B)    { projectiontest.BenchmarkCatchUp(b, projections()) }
func BenchmarkSaveToView(b *testing.B) { projectiontest.BenchmarkSaveToView(b, projections()) }
