package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/recordertest"
	"github.com/annals-es/annals/sqlite"
)

// openOwn opens a database of the user's own, until the test ends.
func openOwn(tb testing.TB, path, query string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?"+query)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return db
}

const wal = "_pragma=busy_timeout(50)&_pragma=journal_mode(WAL)"

func createRows(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "views.db")
	db := openOwn(tb, path, wal)
	if _, err := db.ExecContext(tb.Context(), "CREATE TABLE own (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)"); err != nil {
		tb.Fatal(err)
	}
	return path
}

func TestViewConformance(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"with BEGIN IMMEDIATE": wal + "&_txlock=immediate",
		"with plain BEGIN":     wal,
		"without WAL":          "_pragma=busy_timeout(50)",
		"no busy timeout":      "_pragma=journal_mode(WAL)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recordertest.RunView(t, recordertest.ViewBackend[*sql.Tx]{
				Create: createRows,
				Open: func(tb testing.TB, path string) persistence.View[*sql.Tx] {
					tb.Helper()
					return sqlite.View(openOwn(tb, path, query), sqlite.WithBusyTimeout(time.Minute))
				},
				Put: func(ctx context.Context, tx *sql.Tx, key, value string) error {
					_, err := tx.ExecContext(ctx, "INSERT INTO own (key, value) VALUES (?, ?)", key, value)
					return err
				},
				Rows: readRows,
			})
		})
	}
}

func readRows(ctx context.Context, path string) (_ map[string]string, err error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(60000)")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, "SELECT key, value FROM own")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	all := make(map[string]string)
	for rows.Next() {
		var key, value string
		if err := rows.Scan(&key, &value); err != nil {
			return nil, err
		}
		all[key] = value
	}
	return all, rows.Err()
}

type handler = func(context.Context, *sql.Tx, persistence.Ledger) error

func nothing(context.Context, *sql.Tx, persistence.Ledger) error { return nil }

// notCalled is a function that must not be called.
func notCalled(t *testing.T) handler {
	t.Helper()
	return func(context.Context, *sql.Tx, persistence.Ledger) error {
		t.Error("the function was called")
		return nil
	}
}

func TestAViewIsBusyWhileAnotherConnectionHoldsTheWriteLock(t *testing.T) {
	t.Parallel()
	for name, begun := range map[string]bool{"before the ledger is there": false, "afterwards": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := createRows(t)
			v := sqlite.View(openOwn(t, path, "_pragma=journal_mode(WAL)"), sqlite.WithBusyTimeout(time.Millisecond))
			if begun {
				if err := v.Update(t.Context(), nothing); err != nil {
					t.Fatal(err)
				}
			}
			other, err := openOwn(t, path, "_txlock=immediate").BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			wantError(t, v.Update(t.Context(), notCalled(t)), persistence.ErrBusy, "views.db")
			if err := other.Rollback(); err != nil {
				t.Fatal(err)
			}
			if err := v.Update(t.Context(), nothing); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAViewIsBusyWhileAllConnectionsAreInUse(t *testing.T) {
	t.Parallel()
	db := openOwn(t, createRows(t), wal)
	db.SetMaxOpenConns(1)
	v := sqlite.View(db, sqlite.WithBusyTimeout(time.Millisecond))
	err := v.Update(t.Context(), func(ctx context.Context, _ *sql.Tx, _ persistence.Ledger) error {
		return v.Update(ctx, notCalled(t))
	})
	wantError(t, err, persistence.ErrBusy, "all connections are in use")
}

func TestAViewHoldsTheWriteLockFromItsBeginning(t *testing.T) {
	t.Parallel()
	path := createRows(t)
	v := sqlite.View(openOwn(t, path, wal)) // a plain BEGIN
	err := v.Update(t.Context(), func(ctx context.Context, _ *sql.Tx, _ persistence.Ledger) error {
		_, err := openOwn(t, path, "_pragma=journal_mode(WAL)").ExecContext(ctx, "DELETE FROM own")
		if err == nil || !strings.Contains(err.Error(), "locked") {
			t.Errorf("another connection wrote: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAViewHasItsLedgerUnderItsPrefix(t *testing.T) {
	t.Parallel()
	db := openOwn(t, createRows(t), wal)
	for _, prefix := range []string{"one_", "two_"} {
		v := sqlite.View(db, sqlite.WithTablePrefix(prefix))
		err := v.Update(t.Context(), func(ctx context.Context, tx *sql.Tx, l persistence.Ledger) error {
			if ok, err := l.Swap(ctx, "key", "", prefix); !ok || err != nil {
				t.Errorf("swap: %t, %v", ok, err)
			}
			var value string
			err := tx.QueryRowContext(ctx, "SELECT value FROM "+prefix+"ledger WHERE key = 'key'").Scan(&value)
			if value != prefix {
				t.Errorf("the table has %q", value)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestAViewRefusesWhatNewRefuses(t *testing.T) {
	t.Parallel()
	memory := openOwn(t, ":memory:", "")
	for name, v := range map[string]persistence.View[*sql.Tx]{
		"a prefix with a quote": sqlite.View(openOwn(t, createRows(t), wal), sqlite.WithTablePrefix(`a"b`)),
		"nil":                   sqlite.View(nil),
		"in memory":             sqlite.View(memory),
	} {
		for range 2 {
			if err := v.Update(t.Context(), notCalled(t)); !errors.Is(err, annals.ErrConfiguration) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestAFunctionThatEndsTheTransactionOfAViewIsTold(t *testing.T) {
	t.Parallel()
	v := sqlite.View(openOwn(t, createRows(t), wal))
	err := v.Update(t.Context(), func(_ context.Context, tx *sql.Tx, _ persistence.Ledger) error { return tx.Rollback() })
	wantError(t, err, annals.ErrConfiguration, "ended the transaction")
	if err := v.Update(t.Context(), nothing); err != nil {
		t.Error(err)
	}
}

// TestACommitThatIsRefusedIsUndone has a constraint that is checked at the end.
func TestACommitThatIsRefusedIsUndone(t *testing.T) {
	t.Parallel()
	path := createRows(t)
	db := openOwn(t, path, wal+"&_pragma=foreign_keys(1)")
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(),
		"CREATE TABLE later (key TEXT REFERENCES own (key) DEFERRABLE INITIALLY DEFERRED)"); err != nil {
		t.Fatal(err)
	}
	v := sqlite.View(db)
	err := v.Update(t.Context(), func(ctx context.Context, tx *sql.Tx, l persistence.Ledger) error {
		if ok, err := l.Swap(ctx, "key", "", "value"); !ok || err != nil {
			t.Errorf("swap: %t, %v", ok, err)
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO later (key) VALUES ('absent')")
		return err
	})
	if err == nil || errors.Is(err, annals.ErrOutcomeUnknown) {
		t.Errorf("update: %v", err)
	}
	err = v.Update(t.Context(), func(ctx context.Context, _ *sql.Tx, l persistence.Ledger) error {
		if _, ok, err := l.Get(ctx, "key"); ok || err != nil {
			t.Errorf("get: %t, %v", ok, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
