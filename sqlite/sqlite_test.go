package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/annals-es/annals/internal/projectiontest"
	"github.com/annals-es/annals/internal/systemtest"
	"github.com/annals-es/annals/recordertest"
	"github.com/annals-es/annals/sqlite"
)

// backend is the recorder as the conformance suite and the benchmarks see it. An
// address is the path of the file.
func backend() recordertest.Backend {
	return recordertest.Backend{
		Name:   "sqlite",
		Create: create,
		Open: func(ctx context.Context, path string) (recordertest.Recorder, error) {
			return sqlite.Open(ctx, path)
		},
		Features:   recordertest.Features{Durable: true, Processes: true, Transactions: true, Snapshots: true, Ledger: true, Joins: true},
		Statements: &recordertest.Statements{Insert: insertOwn, Count: countOwn, Begin: beginOwn},
		Bare:       newBare,
	}
}

func TestMain(m *testing.M) {
	if path := os.Getenv(envReadOnly); path != "" {
		if err := playReadOnly(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	projectiontest.Child(projections("sqlite", false))
	projectiontest.Child(projections("sqlite, one file", true))
	systemtest.Child(systems("systems", false))
	systemtest.Child(systems("systems, one file", true))
	recordertest.Main(m, backend())
}

func TestConformance(t *testing.T) {
	t.Parallel()
	recordertest.Run(t, backend())
}

// TestConformanceOfNew runs the suite on a recorder that uses its caller's own
// database.
func TestConformanceOfNew(t *testing.T) {
	t.Parallel()
	b := backend()
	b.Name = "sqlite.New"
	b.Open = func(ctx context.Context, path string) (recordertest.Recorder, error) {
		db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
		if err != nil {
			return nil, err
		}
		r, err := sqlite.New(ctx, db)
		if err != nil {
			return nil, fmt.Errorf("%w (close: %w)", err, db.Close())
		}
		return &ownDatabase{Recorder: r, db: db}, nil
	}
	recordertest.Run(t, b)
}

// ownDatabase closes the database with the recorder.
type ownDatabase struct {
	*sqlite.Recorder
	db *sql.DB
}

func (r *ownDatabase) Close() error {
	if err := r.Recorder.Close(); err != nil {
		return err
	}
	return r.db.Close()
}

// create makes an empty store, with a table of the caller's own.
func create(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "events.db")
	r, err := sqlite.Open(tb.Context(), path)
	if err != nil {
		tb.Fatal(err)
	}
	if err := r.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	_, err = r.Record(tb.Context(), ownStatement("CREATE TABLE own (key TEXT NOT NULL)"))
	if err != nil {
		tb.Fatal(err)
	}
	if err := r.Close(); err != nil {
		tb.Fatal(err)
	}
	return path
}

func insertOwn(ctx context.Context, tx any, key string) error {
	_, err := tx.(*sql.Tx).ExecContext(ctx, "INSERT INTO own (key) VALUES (?)", key)
	return err
}

// beginOwn begins a transaction of the user's own, with the write lock.
func beginOwn(ctx context.Context, path string) (tx any, commit, rollback func() error, err error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return nil, nil, nil, err
	}
	own, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, nil, nil, errors.Join(err, db.Close())
	}
	return own, func() error { return errors.Join(own.Commit(), db.Close()) },
		func() error { return errors.Join(own.Rollback(), db.Close()) }, nil
}

func countOwn(ctx context.Context, path, key string) (n int, err error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return 0, err
	}
	defer func() {
		if e := db.Close(); err == nil {
			err = e
		}
	}()
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM own WHERE key = ?", key).Scan(&n)
	return n, err
}
