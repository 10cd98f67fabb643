package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/sqlite"
)

// open opens a recorder, and closes it at the end of the test.
func open(t *testing.T, path string, opts ...sqlite.Option) *sqlite.Recorder {
	t.Helper()
	r, err := sqlite.Open(t.Context(), path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, r) })
	return r
}

// openDB opens a database by the bare driver, and closes it at the end of the
// test.
func openDB(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, db) })
	return db
}

func closing(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func event(stream string, version int64) persistence.StoredEvent {
	return persistence.StoredEvent{
		ID: annals.NewID(), StreamID: stream, Version: version, Topic: "Dog.Registered", Time: time.Unix(1, 0).UTC(),
		Shape: 1, Encoding: "1:json", State: []byte(`{"Name":"Fido"}`),
	}
}

func batch(events ...persistence.StoredEvent) persistence.Batch {
	return persistence.Batch{Events: events}
}

// ownStatement is a batch that only runs a statement.
func ownStatement(statement string) persistence.Batch {
	return persistence.Batch{Do: func(ctx context.Context, tx any) error {
		_, err := tx.(*sql.Tx).ExecContext(ctx, statement)
		return err
	}}
}

func count(t *testing.T, r persistence.LogRecorder) (n int) {
	t.Helper()
	for _, err := range r.ReadLog(t.Context(), persistence.LogQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// wantError checks that err is the sentinel and that its text names each of the
// things.
func wantError(t *testing.T, err, sentinel error, names ...string) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Fatalf("got error %v, want one that is %q", err, sentinel)
	}
	for _, name := range names {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("error %q does not name %q", err, name)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("This is not a database. ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		opts []sqlite.Option
		want error
		says string
	}{
		"a file that is no database":           {path: text, want: persistence.ErrNotDatabase, says: "notes.txt"},
		"a folder that does not exist":         {path: filepath.Join(dir, "no", "x.db"), want: annals.ErrConfiguration, says: "x.db"},
		"a path that is a folder":              {path: dir, want: annals.ErrConfiguration, says: dir},
		"no path":                              {path: "", want: annals.ErrConfiguration, says: "path"},
		"a database in memory":                 {path: ":memory:", want: annals.ErrConfiguration, says: "package memory"},
		"a URI":                                {path: "file:x.db?mode=rwc", want: annals.ErrConfiguration, says: "a URI is not taken, only the path of a file"},
		"a prefix with a quote":                {path: "x", opts: []sqlite.Option{sqlite.WithTablePrefix(`a"b`)}, want: annals.ErrConfiguration, says: `a\"b`},
		"a prefix of SQLite's own":             {path: "x", opts: []sqlite.Option{sqlite.WithTablePrefix("sqlite_x")}, want: annals.ErrConfiguration, says: "sqlite_"},
		"a prefix that is too long":            {path: "x", opts: []sqlite.Option{sqlite.WithTablePrefix(strings.Repeat("a", 33))}, want: annals.ErrConfiguration, says: "32"},
		"an unknown synchronous":               {path: "x", opts: []sqlite.Option{sqlite.WithSynchronous("OFF")}, want: annals.ErrConfiguration, says: "OFF"},
		"a timeout that is not positive":       {path: "x", opts: []sqlite.Option{sqlite.WithBusyTimeout(0)}, want: annals.ErrConfiguration, says: "WithBusyTimeout"},
		"a poll interval that is not positive": {path: "x", opts: []sqlite.Option{sqlite.WithPollInterval(-1)}, want: annals.ErrConfiguration, says: "WithPollInterval"},
		"a negative mmap size":                 {path: "x", opts: []sqlite.Option{sqlite.WithMmapSize(-1)}, want: annals.ErrConfiguration, says: "WithMmapSize"},
		"no readers":                           {path: "x", opts: []sqlite.Option{sqlite.WithReaders(0)}, want: annals.ErrConfiguration, says: "WithReaders"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := sqlite.Open(t.Context(), c.path, c.opts...)
			wantError(t, err, c.want, c.says)
		})
	}
	if b, err := os.ReadFile(text); err != nil || !strings.HasPrefix(string(b), "This is not") {
		t.Errorf("the file that is no database was changed: %q, %v", b[:20], err)
	}
}

func TestMissingTablesAreNamed(t *testing.T) {
	t.Parallel()
	r := open(t, filepath.Join(t.TempDir(), "school.db"))
	_, err := r.Record(t.Context(), batch(event("a", 1)))
	wantError(t, err, persistence.ErrSchema, "school.db", "Migrate", "MIGRATE=true", "this is another file, schema or table prefix")
	for _, err := range r.ReadLog(t.Context(), persistence.LogQuery{}) {
		wantError(t, err, persistence.ErrSchema, "school.db", "Migrate")
	}
	_, _, err = r.MaxPosition(t.Context())
	wantError(t, err, persistence.ErrSchema)
	_, _, err = r.MaxTracking(t.Context(), "x")
	wantError(t, err, persistence.ErrSchema)
	wantError(t, r.Wait(t.Context(), 0), persistence.ErrSchema)

	if err := r.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Fatalf("after Migrate: %v", err)
	}
}

func TestMigrateAgainChangesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	r, other := open(t, path), open(t, path)
	errs := make(chan error)
	for _, r := range []*sqlite.Recorder{r, other, r} {
		go func() { errs <- r.Migrate(context.WithoutCancel(t.Context())) }()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Fatal(err)
	}
	if err := other.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, other); n != 1 {
		t.Errorf("%d events after a second Migrate, want 1", n)
	}
}

func TestMigrateOfCurrentTablesDoesNotWaitForTheLock(t *testing.T) {
	t.Parallel()
	path := create(t)
	r := open(t, path, sqlite.WithBusyTimeout(time.Millisecond))
	release := holdLock(t, path)
	defer release()
	if err := r.Migrate(t.Context()); err != nil {
		t.Errorf("there is nothing to migrate: %v", err)
	}
	wantError(t, open(t, path, sqlite.WithBusyTimeout(time.Millisecond), sqlite.WithTablePrefix("cats_")).Migrate(t.Context()), persistence.ErrBusy)
}

func TestSchemaThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ change, says string }{
		"newer":             {"UPDATE annals_schema SET version = 7", "newer version of Annals"},
		"no version":        {"DELETE FROM annals_schema", "WithTablePrefix"},
		"two versions":      {"INSERT INTO annals_schema VALUES (1)", "WithTablePrefix"},
		"a version below 1": {"UPDATE annals_schema SET version = -1", "WithTablePrefix"},
		"a table dropped":   {"DROP TABLE annals_tracking", "some tables are missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := create(t)
			before := open(t, path)
			if _, err := before.Record(t.Context(), batch(event("a", 1))); err != nil {
				t.Fatal(err)
			}
			if _, err := before.Record(t.Context(), ownStatement(c.change)); err != nil {
				t.Fatal(err)
			}
			r := open(t, path)
			_, err := r.Record(t.Context(), batch(event("a", 2)))
			wantError(t, err, persistence.ErrSchema, path, c.says)
			wantError(t, r.Migrate(t.Context()), persistence.ErrSchema, path)
			if n := count(t, before); n != 1 {
				t.Errorf("%d events, want the 1 of before", n)
			}
		})
	}
}

// B28: the tables of the first version, with an event in them.
func TestOlderSchemaIsRefusedUntilItIsMigrated(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "old.db")
	first, err := os.ReadFile("migrations/0001_initial.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		string(first), "INSERT INTO annals_schema (version) VALUES (1)",
		`INSERT INTO annals_events (stream_id, version, event_id, topic, time, shape, encoding, state, correlation_id)
			VALUES ('a', 1, 'e1', 'Account.Opened', 1700000000000000, 1, '1:json', x'7b7d', 'story')`,
	} {
		if _, err := openDB(t, path).ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	r, other := open(t, path), open(t, path)
	_, err = r.Record(t.Context(), batch(event("a", 2)))
	wantError(t, err, persistence.ErrSchema, path, "version 1", "needs 2", "Migrate")
	older := begin(t, openDB(t, path))
	_, err = r.RecordTx(t.Context(), older, batch(event("a", 2)))
	wantError(t, err, persistence.ErrSchema, path, "version 1", "needs 2", "Migrate")
	for _, err := range r.ReadStreamTx(t.Context(), older, "a", persistence.StreamQuery{}) {
		wantError(t, err, persistence.ErrSchema, path, "version 1", "needs 2", "Migrate")
	}
	errs := make(chan error)
	for _, one := range []*sqlite.Recorder{r, other} { // two programs at one moment
		go func() { errs <- one.Migrate(t.Context()) }()
	}
	if err := errors.Join(<-errs, <-errs); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Record(t.Context(), batch(event("a", 2))); err != nil {
		t.Errorf("after Migrate: %v", err)
	}
	for n, err := range other.ReadLog(t.Context(), persistence.LogQuery{CorrelationID: "story", Hash: true}) {
		if err != nil || n.ID != "e1" || n.Hash != nil {
			t.Errorf("the old event: %+v, %v", n, err)
		}
	}
	_, err = open(t, path, sqlite.WithSchemaVersion(1)).Record(t.Context(), batch(event("a", 3))) // by the older code
	wantError(t, err, persistence.ErrSchema, path, "newer version of Annals")
	if n := count(t, r); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

// begin begins a transaction that is rolled back at the end of the test.
func begin(t *testing.T, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

// B26: with a single connection, which the caller's transaction has.
func TestJoinUsesNoOtherConnection(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	db := openDB(t, path)
	db.SetMaxOpenConns(1)
	r, err := sqlite.New(t.Context(), db) // which finds no tables yet
	if err != nil {
		t.Fatal(err)
	}
	if err := open(t, path).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	tx := begin(t, db)
	if _, err := r.RecordTx(t.Context(), tx, batch(event("a", 1), event("a", 2))); err != nil {
		t.Fatal(err)
	}
	_, err = r.RecordTx(t.Context(), tx, batch(event("a", 2)))
	wantError(t, err, annals.ErrVersionConflict)
	versions := 0
	for e, err := range r.ReadStreamTx(t.Context(), tx, "a", persistence.StreamQuery{}) {
		if versions++; err != nil || e.Version != int64(versions) {
			t.Errorf("event %d is read as %+v: %v", versions, e, err)
		}
	}
	if versions != 2 {
		t.Errorf("%d events are read, want 2", versions)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, r); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = r.RecordTx(t.Context(), tx, batch(event("a", 3)))
	wantError(t, err, annals.ErrClosed)
	for _, err := range r.ReadStreamTx(t.Context(), tx, "a", persistence.StreamQuery{}) {
		wantError(t, err, annals.ErrClosed)
	}
}

// B26: a transaction that has read before others wrote says what to do.
func TestJoinOfATransactionThatCannotWriteAnyMore(t *testing.T) {
	t.Parallel()
	path := create(t)
	r := open(t, path)
	tx := begin(t, openDB(t, path))
	var n int
	if err := tx.QueryRowContext(t.Context(), "SELECT count(*) FROM annals_events").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Fatal(err)
	}
	_, err := r.RecordTx(t.Context(), tx, batch(event("b", 1)))
	wantError(t, err, persistence.ErrBusy, "BEGIN IMMEDIATE")
	if n := count(t, r); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func TestTablesDroppedWhileInUseAreNamed(t *testing.T) {
	t.Parallel()
	path := create(t)
	r := open(t, path)
	if _, err := r.Record(t.Context(), ownStatement("DROP TABLE annals_events")); err != nil {
		t.Fatal(err)
	}
	_, err := r.Record(t.Context(), batch(event("a", 1)))
	wantError(t, err, persistence.ErrSchema, path, "some tables are missing")
	_, err = r.Record(t.Context(), batch(event("a", 1), event("b", 1)))
	wantError(t, err, persistence.ErrSchema, path)
	_, _, err = r.MaxPosition(t.Context())
	wantError(t, err, persistence.ErrSchema, path)
}

func TestTablesOfAnotherToolAreLeftAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	const theirs = "CREATE TABLE annals_events (x TEXT); INSERT INTO annals_events VALUES ('theirs')"
	if _, err := openDB(t, path).ExecContext(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	r := open(t, path)
	wantError(t, r.Migrate(t.Context()), persistence.ErrSchema, path, "WithTablePrefix")
	_, err := r.Record(t.Context(), batch(event("a", 1)))
	wantError(t, err, persistence.ErrSchema)
	if n, err := countRows(t, path, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"); err != nil || n != 1 {
		t.Errorf("%d tables (error %v), want theirs alone", n, err)
	}
}

func countRows(t *testing.T, path, query string) (n int, err error) {
	t.Helper()
	db := openDB(t, path)
	err = db.QueryRowContext(t.Context(), query).Scan(&n)
	return n, err
}

// B28.
func TestSeveralApplicationsShareOneFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	dogs := open(t, path, sqlite.WithTablePrefix("dogs_"))
	cats := open(t, path, sqlite.WithTablePrefix("cats_"))
	for _, r := range []*sqlite.Recorder{dogs, cats} {
		if err := r.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for n := range int64(10) {
		if _, err := dogs.Record(t.Context(), batch(event("a", n+1))); err != nil {
			t.Fatal(err)
		}
	}
	positions, err := cats.Record(t.Context(), batch(event("a", 1)))
	if err != nil || len(positions) != 1 || positions[0] != 1 {
		t.Errorf("the first save of the second application: positions %v, error %v; want [1]", positions, err)
	}
	if d, c := count(t, dogs), count(t, cats); d != 10 || c != 1 {
		t.Errorf("%d and %d events, want 10 and 1", d, c)
	}
}

// The database is limited to few pages, so that SQLite itself reports that it is
// full.
func TestFullDatabase(t *testing.T) {
	t.Parallel()
	path := create(t)
	db := openDB(t, "file:"+path+"?_pragma=max_page_count(40)")
	db.SetMaxOpenConns(1) // the limit is one of the connection
	r, err := sqlite.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, r)
	stored := int64(0)
	for {
		e := event("a", stored+1)
		e.State = make([]byte, 3000)
		if _, err = r.Record(t.Context(), batch(e)); err != nil {
			break
		}
		stored++
	}
	wantError(t, err, persistence.ErrFull, "space")
	if errors.Is(err, annals.ErrOutcomeUnknown) {
		t.Errorf("the outcome is known: %v", err)
	}
	if n := count(t, r); int64(n) != stored || stored == 0 {
		t.Errorf("%d events stored, %d acknowledged", n, stored)
	}
	// A large save and small ones at the same moment: each has its own result.
	if _, err := db.ExecContext(t.Context(), "PRAGMA max_page_count = 60"); err != nil {
		t.Fatal(err)
	}
	results := make(chan error)
	for n := range int64(8) {
		go func() {
			e := event(annals.NewID(), 1)
			if n == 3 {
				e.State = make([]byte, 1<<20)
			}
			_, err := r.Record(context.WithoutCancel(t.Context()), batch(e))
			results <- err
		}()
	}
	failed := 0
	for range 8 {
		if err := <-results; err != nil {
			wantError(t, err, persistence.ErrFull)
			failed++
		}
	}
	if n := count(t, r); failed != 1 || int64(n) != stored+7 {
		t.Errorf("%d saves failed, %d events are stored; want 1 and %d", failed, n, stored+7)
	}
}

// holdLock takes the write lock, until release is called.
func holdLock(t *testing.T, path string) (release func()) {
	t.Helper()
	tx, err := openDB(t, "file:"+path+"?_txlock=immediate").BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

func TestLockHeldByOthersIsBusy(t *testing.T) {
	t.Parallel()
	path := create(t)
	r := open(t, path, sqlite.WithBusyTimeout(time.Millisecond))
	release := holdLock(t, path)
	errs := make(chan error)
	const savers = 64
	for range savers {
		go func() {
			_, err := r.Record(context.WithoutCancel(t.Context()), batch(event(annals.NewID(), 1), event(annals.NewID(), 1)))
			errs <- err
		}()
	}
	for range savers {
		wantError(t, <-errs, persistence.ErrBusy, path, "WithBusyTimeout, or SQLITE_BUSY_TIMEOUT")
	}
	_, err := r.Record(t.Context(), batch(event("a", 1)))
	wantError(t, err, persistence.ErrBusy, path)
	release()
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Errorf("once the lock is free: %v", err)
	}
}

// The busy timeout is so long that the test would not end if the contexts were
// not looked at.
func TestContextEndsTheWaitForTheLock(t *testing.T) {
	t.Parallel()
	path := create(t)
	r := open(t, path, sqlite.WithBusyTimeout(time.Hour))
	release := holdLock(t, path)
	errs := make(chan error)
	for n := range 16 {
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Millisecond)
			defer cancel()
			_, err := r.Record(ctx, batch(event(annals.NewID(), 1), event(annals.NewID(), 1))) // several statements
			if n%2 == 0 && err == nil {
				_, err = r.Record(ctx, batch(event(annals.NewID(), 1))) // one statement
			}
			errs <- err
		}()
	}
	for range 16 {
		wantError(t, <-errs, context.DeadlineExceeded)
	}
	release()
	if n := count(t, r); n != 0 {
		t.Errorf("%d events of saves that ended with their context", n)
	}
}

func TestDoThatEndsTheTransactionIsAnError(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(tx *sql.Tx) error{
		"commit":      func(tx *sql.Tx) error { return tx.Commit() },
		"rollback":    func(tx *sql.Tx) error { return tx.Rollback() },
		"a statement": func(tx *sql.Tx) error { _, err := tx.ExecContext(t.Context(), "ROLLBACK"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := open(t, create(t))
			b := batch(event("a", 1), event("a", 2))
			b.Do = func(_ context.Context, tx any) error { return end(tx.(*sql.Tx)) }
			_, err := r.Record(t.Context(), b)
			wantError(t, err, annals.ErrConfiguration, "Batch.Do ended the transaction")
			if _, err := r.Record(t.Context(), batch(event("b", 1))); err != nil {
				t.Errorf("the next save: %v", err)
			}
		})
	}
}

func TestPanicOfDoGoesOnInItsCaller(t *testing.T) {
	t.Parallel()
	r := open(t, create(t))
	own := errors.New("own")
	func() {
		defer func() {
			if p := recover(); p != any(own) {
				t.Errorf("recovered %v, want what Do panicked with", p)
			}
		}()
		b := batch(event("a", 1))
		b.Do = func(context.Context, any) error { panic(own) }
		_, err := r.Record(t.Context(), b)
		t.Errorf("no panic, but error %v", err)
	}()
	if n := count(t, r); n != 0 {
		t.Errorf("%d events of a save whose Do panicked", n)
	}
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Errorf("the next save: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	path := create(t)
	for name, c := range map[string]struct {
		db   *sql.DB
		opts []sqlite.Option
		says string
	}{
		"no database":                    {nil, nil, "nil"},
		"a database in memory":           {openDB(t, ":memory:"), nil, "memory"},
		"errors that it cannot tell":     {openDB(t, path), []sqlite.Option{sqlite.WithErrorCode(func(error) (int, bool) { return 0, false })}, "WithErrorCode"},
		"no function to tell them apart": {openDB(t, path), []sqlite.Option{sqlite.WithErrorCode(nil)}, "WithErrorCode"},
	} {
		_, err := sqlite.New(t.Context(), c.db, c.opts...)
		if !errors.Is(err, annals.ErrConfiguration) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}

// The caller's pool has one connection, and the caller holds it.
func TestNewWaitsForAConnectionNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	db := openDB(t, create(t))
	db.SetMaxOpenConns(1)
	r, err := sqlite.New(t.Context(), db, sqlite.WithBusyTimeout(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, r)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = r.Record(ctx, batch(event("a", 1)))
	wantError(t, err, context.DeadlineExceeded)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Errorf("once there is a connection: %v", err)
	}
}

// A constraint of the caller's own tables may be checked by the commit only.
func TestACommitThatAConstraintRefusesIsNoUnknownOutcome(t *testing.T) {
	t.Parallel()
	path := create(t)
	db := openDB(t, "file:"+path+"?_pragma=foreign_keys(1)")
	r, err := sqlite.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, r)
	for _, statement := range []string{
		"CREATE TABLE kennels (id INTEGER PRIMARY KEY)",
		"CREATE TABLE places (kennel INTEGER REFERENCES kennels (id) DEFERRABLE INITIALLY DEFERRED)",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	refused := ownStatement("INSERT INTO places (kennel) VALUES (7)")
	refused.Events = batch(event("a", 1)).Events
	_, err = r.Record(t.Context(), refused)
	if err == nil || errors.Is(err, annals.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "FOREIGN KEY") {
		t.Errorf("got %v, want what the constraint says", err)
	}
	if positions, err := r.Record(t.Context(), batch(event("a", 1))); err != nil || len(positions) != 1 {
		t.Errorf("the next save: %v, %v", positions, err)
	}
	if n := count(t, r); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}
