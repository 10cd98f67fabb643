package main

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/pgserver"
	"github.com/annals-es/annals/internal/projectiontest"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
	"github.com/annals-es/annals/sqlite"
)

// The module that has both databases is where a view of the one follows a log of the
// other.

func sqliteFile(tb testing.TB) string { tb.Helper(); return filepath.Join(tb.TempDir(), "annals.db") }

// newSchema makes a schema, and returns a URL whose connections have it as their own.
func newSchema(tb testing.TB) string {
	tb.Helper()
	base := pgserver.Test(tb).URL("postgres")
	name := "s" + annals.NewID()
	conn, err := pgx.Connect(tb.Context(), base)
	if err != nil {
		tb.Fatal(err)
	}
	_, err = conn.Exec(tb.Context(), "CREATE SCHEMA "+pgx.Identifier{name}.Sanitize())
	if err = errors.Join(err, conn.Close(tb.Context())); err != nil {
		tb.Fatal(err)
	}
	u, err := url.Parse(base)
	if err != nil {
		tb.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", pgx.Identifier{name}.Sanitize())
	u.RawQuery = q.Encode()
	return u.String()
}

// migrated is a recorder whose tables are there.
func migrated[R interface {
	projectiontest.Recorder
	persistence.Migrator
}](ctx context.Context, r R, err error) (projectiontest.Recorder, error) {
	if err != nil {
		return nil, err
	}
	return r, r.Migrate(ctx)
}

func postgresLogSQLiteView() projectiontest.Backend[*sql.Tx] {
	return projectiontest.WithStatements(projectiontest.Backend[*sql.Tx]{
		Name: "log on PostgreSQL, view on SQLite", Processes: true,
		CreateLog: newSchema,
		OpenLog: func(ctx context.Context, address string) (projectiontest.Recorder, error) {
			r, err := postgres.Open(ctx, address)
			return migrated(ctx, r, err)
		},
		CreateView: sqliteFile,
		OpenView: func(ctx context.Context, path string) (persistence.View[*sql.Tx], func(), error) {
			db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_txlock=immediate")
			if err != nil {
				return nil, nil, err
			}
			_, err = db.ExecContext(ctx, projectiontest.CreateBalances)
			return sqlite.View(db, sqlite.WithBusyTimeout(time.Minute)), func() { _ = db.Close() }, err
		},
	}, projectiontest.SQL)
}

func sqliteLogPostgresView() projectiontest.Backend[pgx.Tx] {
	return projectiontest.WithStatements(projectiontest.Backend[pgx.Tx]{
		Name: "log on SQLite, view on PostgreSQL", Processes: true,
		CreateLog: sqliteFile,
		OpenLog: func(ctx context.Context, path string) (projectiontest.Recorder, error) {
			r, err := sqlite.Open(ctx, path, sqlite.WithBusyTimeout(time.Minute))
			return migrated(ctx, r, err)
		},
		CreateView: newSchema,
		OpenView: func(ctx context.Context, address string) (persistence.View[pgx.Tx], func(), error) {
			pool, err := pgxpool.New(ctx, address)
			if err != nil {
				return nil, nil, err
			}
			_, err = pool.Exec(ctx, projectiontest.CreateBalances)
			return postgres.View(pool), pool.Close, err
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

func TestAViewOnSQLiteOfALogOnPostgreSQL(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, postgresLogSQLiteView())
}

func TestAViewOnPostgreSQLOfALogOnSQLite(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, sqliteLogPostgresView())
}
