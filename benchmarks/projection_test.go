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

const (
	createBalances = "CREATE TABLE IF NOT EXISTS balances (id text PRIMARY KEY, version bigint NOT NULL, balance bigint NOT NULL)"
	readBalance    = "SELECT version, balance FROM balances WHERE id = $1"
	readBalances   = "SELECT id, version, balance FROM balances"
	writeBalance   = "INSERT INTO balances (id, version, balance) VALUES ($1, $2, $3) " +
		"ON CONFLICT (id) DO UPDATE SET version = excluded.version, balance = excluded.balance"
)

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
	return projectiontest.Backend[*sql.Tx]{
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
			_, err = db.ExecContext(ctx, createBalances)
			return sqlite.View(db, sqlite.WithBusyTimeout(time.Minute)), func() { _ = db.Close() }, err
		},
		Get: func(ctx context.Context, tx *sql.Tx, id string) (r projectiontest.Row, err error) {
			err = tx.QueryRowContext(ctx, readBalance, id).Scan(&r.Version, &r.Balance)
			if errors.Is(err, sql.ErrNoRows) {
				err = nil
			}
			return r, err
		},
		Put: func(ctx context.Context, tx *sql.Tx, id string, r projectiontest.Row) error {
			_, err := tx.ExecContext(ctx, writeBalance, id, r.Version, r.Balance)
			return err
		},
		Rows: func(ctx context.Context, v persistence.View[*sql.Tx]) (map[string]projectiontest.Row, error) {
			all := make(map[string]projectiontest.Row)
			err := v.Update(ctx, func(ctx context.Context, tx *sql.Tx, _ persistence.Ledger) (err error) {
				rows, err := tx.QueryContext(ctx, readBalances)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, rows.Close()) }()
				for rows.Next() {
					var id string
					var r projectiontest.Row
					if err := rows.Scan(&id, &r.Version, &r.Balance); err != nil {
						return err
					}
					all[id] = r
				}
				return rows.Err()
			})
			return all, err
		},
	}
}

func sqliteLogPostgresView() projectiontest.Backend[pgx.Tx] {
	return projectiontest.Backend[pgx.Tx]{
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
			_, err = pool.Exec(ctx, createBalances)
			return postgres.View(pool), pool.Close, err
		},
		Get: func(ctx context.Context, tx pgx.Tx, id string) (r projectiontest.Row, err error) {
			err = tx.QueryRow(ctx, readBalance, id).Scan(&r.Version, &r.Balance)
			if errors.Is(err, pgx.ErrNoRows) {
				err = nil
			}
			return r, err
		},
		Put: func(ctx context.Context, tx pgx.Tx, id string, r projectiontest.Row) error {
			_, err := tx.Exec(ctx, writeBalance, id, r.Version, r.Balance)
			return err
		},
		Rows: func(ctx context.Context, v persistence.View[pgx.Tx]) (map[string]projectiontest.Row, error) {
			all := make(map[string]projectiontest.Row)
			err := v.Update(ctx, func(ctx context.Context, tx pgx.Tx, _ persistence.Ledger) error {
				rows, err := tx.Query(ctx, readBalances)
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
	}
}

func TestAViewOnSQLiteOfALogOnPostgreSQL(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, postgresLogSQLiteView())
}

func TestAViewOnPostgreSQLOfALogOnSQLite(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, sqliteLogPostgresView())
}
