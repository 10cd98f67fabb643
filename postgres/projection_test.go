package postgres_test

import (
	"context"
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
	return projectiontest.WithStatements(projectiontest.Backend[pgx.Tx]{
		Name:      "postgres",
		Processes: true,
		CreateLog: func(tb testing.TB) string { tb.Helper(); return named(tb, create(tb)) },
		OpenLog: func(ctx context.Context, address string) (projectiontest.Recorder, error) {
			return postgres.Open(ctx, address)
		},
		CreateView: func(tb testing.TB) string {
			tb.Helper()
			address := newSchema(tb)
			execute(tb, address, projectiontest.CreateBalances)
			return named(tb, address)
		},
		OpenView: func(ctx context.Context, address string) (persistence.View[pgx.Tx], func(), error) {
			pool, err := pgxpool.New(ctx, address)
			if err != nil {
				return nil, nil, err
			}
			return postgres.View(pool), pool.Close, nil
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
	}, statements)
}

var statements = projectiontest.Statements[pgx.Tx]{
	Exec: func(ctx context.Context, tx pgx.Tx, statement string, args ...any) error {
		_, err := tx.Exec(ctx, statement, args...)
		return err
	},
	Query: func(ctx context.Context, tx pgx.Tx, query string, args, dest []any, row func()) error {
		rows, err := tx.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, dest, func() error { row(); return nil })
		return err
	},
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
