package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/annals-es/annals/internal/projectiontest"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/sqlite"
)

// projections are a log and a view on SQLite; with one file for both, on the same address.
func projections(name string, oneFile bool) projectiontest.Backend[*sql.Tx] {
	b := projectiontest.Backend[*sql.Tx]{
		Name:      name,
		Processes: true,
		CreateLog: create,
		OpenLog: func(ctx context.Context, path string) (projectiontest.Recorder, error) {
			return sqlite.Open(ctx, path, sqlite.WithBusyTimeout(time.Minute))
		},
		CreateView: func(tb testing.TB) string { tb.Helper(); return filepath.Join(tb.TempDir(), "view.db") },
		OpenView:   openBalances,
		Get:        getBalance,
		Put:        putBalance,
		Rows:       balances,
	}
	if oneFile {
		b.CreateView = nil
	}
	return b
}

func openBalances(ctx context.Context, path string) (persistence.View[*sql.Tx], func(), error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		return nil, nil, err
	}
	_, err = db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS balances (id TEXT PRIMARY KEY, version INTEGER NOT NULL, balance INTEGER NOT NULL)")
	return sqlite.View(db, sqlite.WithBusyTimeout(time.Minute)), func() { _ = db.Close() }, err
}

func getBalance(ctx context.Context, tx *sql.Tx, id string) (r projectiontest.Row, err error) {
	err = tx.QueryRowContext(ctx, "SELECT version, balance FROM balances WHERE id = ?", id).Scan(&r.Version, &r.Balance)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return r, err
}

const upsert = "INSERT INTO balances (id, version, balance) VALUES (?, ?, ?) " +
	"ON CONFLICT (id) DO UPDATE SET version = excluded.version, balance = excluded.balance"

func putBalance(ctx context.Context, tx *sql.Tx, id string, r projectiontest.Row) error {
	_, err := tx.ExecContext(ctx, upsert, id, r.Version, r.Balance)
	return err
}

func balances(ctx context.Context, v persistence.View[*sql.Tx]) (all map[string]projectiontest.Row, err error) {
	err = v.Update(ctx, func(ctx context.Context, tx *sql.Tx, _ persistence.Ledger) (err error) {
		all = make(map[string]projectiontest.Row)
		rows, err := tx.QueryContext(ctx, "SELECT id, version, balance FROM balances")
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
}

func TestProjections(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, projections("sqlite", false))
}

func TestProjectionsInTheFileOfTheLog(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, projections("sqlite, one file", true))
}

func TestProjectionsWithTheLogInMemory(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, projectiontest.WithMemoryLog(projections("sqlite", false)))
}

func TestProjectionsWithTheViewInMemory(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, projectiontest.WithMemoryView(projections("sqlite", false)))
}

func BenchmarkCatchUp(b *testing.B) { projectiontest.BenchmarkCatchUp(b, projections("sqlite", false)) }
func BenchmarkSaveToView(b *testing.B) {
	projectiontest.BenchmarkSaveToView(b, projections("sqlite", false))
}

// BenchmarkCatchUpInMemory has its log on SQLite.
func BenchmarkCatchUpInMemory(b *testing.B) {
	projectiontest.BenchmarkFracScan(b, create, func(ctx context.Context, path string) (projectiontest.Recorder, error) {
		return sqlite.Open(ctx, path)
	})
}
