package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/pgserver"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
)

// open opens a recorder until the test ends.
func open(tb testing.TB, address string, opts ...postgres.Option) *postgres.Recorder {
	tb.Helper()
	return untilEnd(tb)(postgres.Open(tb.Context(), address, opts...))
}

// openOn opens a recorder on a pool, until the test ends.
func openOn(tb testing.TB, pool *pgxpool.Pool, opts ...postgres.Option) *postgres.Recorder {
	tb.Helper()
	return untilEnd(tb)(postgres.New(tb.Context(), pool, opts...))
}

// untilEnd closes a recorder when the test ends.
func untilEnd(tb testing.TB) func(*postgres.Recorder, error) *postgres.Recorder {
	tb.Helper()
	return func(r *postgres.Recorder, err error) *postgres.Recorder {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() {
			if err := r.Close(); err != nil {
				tb.Error(err)
			}
		})
		return r
	}
}

// with returns the address with other parts.
func with(tb testing.TB, address string, change func(u *url.URL)) string {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	change(u)
	return u.String()
}

// withParameter returns the address with a parameter of the connection.
func withParameter(tb testing.TB, address, key, value string) string {
	tb.Helper()
	return with(tb, address, func(u *url.URL) {
		q := u.Query()
		q.Set(key, value)
		u.RawQuery = q.Encode()
	})
}

func event(stream string, version int64) persistence.StoredEvent {
	return persistence.StoredEvent{
		ID: annals.NewID(), StreamID: stream, Version: version, Topic: "Test.Happened", Time: time.Unix(0, 0).UTC(), Shape: 1,
		Encoding: "1:json", State: []byte(`{"secret":"state of the event"}`),
	}
}

func batch(events ...persistence.StoredEvent) persistence.Batch {
	return persistence.Batch{Events: events}
}

// wantError checks that an error is the sentinel, says the texts, and tells no secret.
func wantError(t *testing.T, err, want error, texts ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want one that is %q", err, want)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error %q does not say %q", err, text)
		}
	}
	for _, secret := range []string{"state of the event", "hunter2"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error %q tells %q", err, secret)
		}
	}
}

// count returns how many events the log has.
func count(t *testing.T, r *postgres.Recorder) (n int) {
	t.Helper()
	for _, err := range r.ReadLog(t.Context(), persistence.LogQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func TestAWrongAddressIsAnErrorThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	address := newSchema(t)
	tests := []struct {
		name, address string
		want          error
		says          []string
	}{
		{"no URL", "postgres://a:hunter2@[/x", annals.ErrConfiguration, []string{"postgres://user:password@host:5432/database"}},
		{"a bad port", "postgres://a:hunter2@localhost:999999/x", annals.ErrConfiguration, []string{"cannot be understood"}},
		{
			"a wrong password", with(t, address, func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "hunter2") }),
			annals.ErrConfiguration, []string{"check the URL, the user, the password"},
		},
		{
			"no such user", with(t, address, func(u *url.URL) { u.User = url.UserPassword("nobody_here", "hunter2") }),
			annals.ErrConfiguration, []string{"check the URL, the user, the password"},
		},
		{
			"no such database", with(t, address, func(u *url.URL) { u.Path = "/no_such_database" }),
			annals.ErrConfiguration, []string{"no_such_database"},
		},
		{
			"no such schema", withParameter(t, address, "search_path", "no_such_schema"),
			annals.ErrConfiguration, []string{"search_path", "WithSchema, or POSTGRES_SCHEMA"},
		},
		{
			"another isolation", withParameter(t, address, "default_transaction_isolation", "serializable"),
			annals.ErrConfiguration, []string{"default_transaction_isolation", "read committed"},
		},
		{
			"nobody listens", with(t, address, func(u *url.URL) { u.Host = "127.0.0.1:1" }),
			persistence.ErrUnavailable, []string{"127.0.0.1:1", "is the server up"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, err := postgres.Open(t.Context(), test.address, postgres.WithConnectTimeout(100*time.Millisecond))
			wantError(t, err, test.want, test.says...)
			if r != nil {
				t.Error("there is a recorder beside the error")
			}
		})
	}
}

func TestABadOptionIsRefused(t *testing.T) {
	t.Parallel()
	address := newSchema(t)
	long := strings.Repeat("x", 33)
	for name, opt := range map[string]postgres.Option{
		"WithTablePrefix": postgres.WithTablePrefix(long), "WithSchema": postgres.WithSchema(long + long),
		`WithTablePrefix("")`: postgres.WithTablePrefix(""), "WithSchema(\"pg_x\")": postgres.WithSchema("pg_x"),
		`WithTablePrefix("a b")`: postgres.WithTablePrefix("a b"), `WithTablePrefix("1")`: postgres.WithTablePrefix("1"),
		`WithSchema("A")`: postgres.WithSchema("A"), "WithPoolSize(2, 1)": postgres.WithPoolSize(2, 1), "WithPoolSize(0, 0)": postgres.WithPoolSize(0, 0),
		"WithConnectionAge": postgres.WithConnectionAge(0, time.Hour), "WithPassword": postgres.WithPassword(nil), "WithTLS": postgres.WithTLS(nil),
		"WithConnectTimeout": postgres.WithConnectTimeout(0), "WithLockTimeout": postgres.WithLockTimeout(2 * time.Hour),
		"WithSaveTimeout": postgres.WithSaveTimeout(-1), "WithPollInterval": postgres.WithPollInterval(0),
	} {
		_, err := postgres.Open(t.Context(), address, opt)
		wantError(t, err, annals.ErrConfiguration, strings.TrimSuffix(name, `("")`))
	}
	_, err := postgres.New(t.Context(), nil)
	wantError(t, err, annals.ErrConfiguration, "pool is nil")
}

func TestTablesThatDoNotFitAreRefusedWithWhatToDo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		statements string
		says       string
		migrates   bool
	}{
		{"no tables", "", "call Migrate once to create them, or set MIGRATE=true", true},
		{"older tables", "UPDATE annals_schema SET version = 0", "do not say their schema version", false},
		{"newer tables", "UPDATE annals_schema SET version = 1000", "use a newer version of Annals", false},
		{"no version", "DELETE FROM annals_schema", "do not say their schema version", false},
		{"two versions", "INSERT INTO annals_schema VALUES (1)", "do not say their schema version", false},
		{"a table is missing", "DROP TABLE annals_tracking", "some tables are missing", false},
		{"a table of another tool", "DROP TABLE annals_schema, annals_events, annals_tracking, annals_snapshots; CREATE TABLE annals_events (id int)",
			"choose another prefix", false},
		{"tables of another tool", "DROP TABLE annals_schema; CREATE TABLE annals_schema (version text)", "choose another prefix", false},
		{"a view of another tool", "DROP TABLE annals_schema; CREATE VIEW annals_schema AS SELECT 1 AS version, 2 AS other UNION SELECT 3, 4",
			"choose another prefix", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address := newSchema(t)
			if test.statements != "" {
				migrate(t, address)
				execute(t, address, test.statements)
			}
			r := open(t, address)
			_, err := r.Record(t.Context(), batch(event("a", 1)))
			wantError(t, err, persistence.ErrSchema, test.says)
			for _, err = range r.ReadLog(t.Context(), persistence.LogQuery{}) {
				wantError(t, err, persistence.ErrSchema, test.says)
			}
			wantError(t, r.Wait(t.Context(), 0), persistence.ErrSchema, test.says)
			switch err := r.Migrate(t.Context()); {
			case !test.migrates:
				wantError(t, err, persistence.ErrSchema, test.says)
			case err != nil:
				t.Error(err)
			default: // the same recorder goes on
				if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestTablesThatDisappearInUseAreTold(t *testing.T) {
	t.Parallel()
	address := create(t)
	r := open(t, address)
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Fatal(err)
	}
	execute(t, address, "DROP TABLE annals_events, annals_schema, annals_tracking, annals_snapshots")
	_, err := r.Record(t.Context(), batch(event("a", 2)))
	wantError(t, err, persistence.ErrSchema, "call Migrate once")
	if err := r.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Error(err)
	}
}

func TestMigrateMayBeCalledByManyAtOnce(t *testing.T) {
	t.Parallel()
	address := newSchema(t)
	schema := "own_" + strings.ReplaceAll(annals.NewID()[24:], "-", "")
	t.Cleanup(func() { execute(t, address, "DROP SCHEMA "+schema+" CASCADE") })
	errs := make(chan error, 8)
	for range cap(errs) {
		r := open(t, address, postgres.WithSchema(schema), postgres.WithPoolSize(0, 1))
		go func() { errs <- r.Migrate(t.Context()) }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestSeveralApplicationsShareADatabase(t *testing.T) {
	t.Parallel()
	address := create(t)
	one, two := open(t, address), open(t, address, postgres.WithTablePrefix("cats_"))
	if err := two.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := two.Record(t.Context(), batch(event(annals.NewID(), 1))); err != nil {
			t.Fatal(err)
		}
	}
	if n, m := count(t, one), count(t, two); n != 0 || m != 2 {
		t.Errorf("the logs have %d and %d events, want 0 and 2", n, m)
	}
}

// newRole makes a role that may log in, and returns its address.
func newRole(t *testing.T, address string) (role, roleAddress string) {
	t.Helper()
	role = "r_" + strings.ReplaceAll(annals.NewID()[24:], "-", "")
	execute(t, address, "CREATE ROLE "+role+" LOGIN PASSWORD 'hunter2'")
	t.Cleanup(func() { execute(t, address, "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	return role, with(t, address, func(u *url.URL) { u.User = url.UserPassword(role, "hunter2") })
}

func TestAUserWithoutPermissionIsTold(t *testing.T) {
	t.Parallel()
	address := create(t)
	role, restricted := newRole(t, address)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	schema := u.Query().Get("search_path")
	execute(t, address, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON ALL TABLES IN SCHEMA %[1]s TO %s", schema, role, role))
	r := open(t, restricted)
	_, err = r.Record(t.Context(), batch(event("a", 1)))
	wantError(t, err, persistence.ErrPermission, "grant the user")
	wantError(t, open(t, restricted, postgres.WithTablePrefix("other_")).Migrate(t.Context()), persistence.ErrPermission)
	if n := count(t, r); n != 0 {
		t.Errorf("there are %d events", n)
	}
	// What the page says is enough, is enough.
	execute(t, address, fmt.Sprintf("GRANT INSERT ON annals_events TO %s; GRANT INSERT, UPDATE ON annals_tracking, annals_snapshots TO %s", role, role))
	b := batch(event("a", 1))
	b.Tracking = &persistence.Tracking{Name: "upstream", Position: 1}
	if _, err := r.Record(t.Context(), b); err != nil {
		t.Error(err)
	}
	// And so it is for the ledger, which somebody else makes.
	b = batch(event("a", 2))
	b.Ledger = func(ctx context.Context, l persistence.Ledger) error {
		for _, value := range [][2]string{{"", "1"}, {"1", "2"}, {"2", ""}} {
			if ok, err := l.Swap(ctx, "key", value[0], value[1]); err != nil || !ok {
				return fmt.Errorf("swap to %q: %t, %w", value[1], ok, err)
			}
		}
		return nil
	}
	_, err = r.Record(t.Context(), b)
	wantError(t, err, persistence.ErrPermission, "ledger", "grant the user")
	if n := count(t, r); n != 1 {
		t.Errorf("there are %d events", n)
	}
	execute(t, address, fmt.Sprintf("CREATE TABLE %s.annals_ledger (key text COLLATE \"C\" PRIMARY KEY, value text NOT NULL);"+
		"GRANT SELECT, INSERT, UPDATE, DELETE ON %[1]s.annals_ledger TO %s", schema, role))
	if _, err := r.Record(t.Context(), b); err != nil {
		t.Error(err)
	}
}

func TestADatabaseThatIsReadOnlyIsTold(t *testing.T) {
	t.Parallel()
	r := open(t, withParameter(t, create(t), "default_transaction_read_only", "on"))
	_, err := r.Record(t.Context(), batch(event("a", 1)))
	wantError(t, err, persistence.ErrReadOnly, "connect to the primary")
}

func TestASaveThatDoesNotGetTheLockIsBusy(t *testing.T) {
	t.Parallel()
	address := create(t)
	r := open(t, address, postgres.WithLockTimeout(10*time.Millisecond))
	tx, commit, _, err := beginOwn(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.RecordTx(t.Context(), tx, batch(event("joined", 1))); err != nil {
		t.Fatal(err)
	}
	do := batch(event("a", 1))
	do.Do = func(context.Context, any) error { t.Error("Do was called"); return nil }
	for _, b := range []persistence.Batch{batch(event("a", 1)), batch(event("a", 1), event("b", 1)), do} {
		_, err := r.Record(t.Context(), b)
		wantError(t, err, persistence.ErrBusy, "WithLockTimeout", "POSTGRES_LOCK_TIMEOUT")
	}
	if err := commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Error(err)
	}
	if n := count(t, r); n != 2 {
		t.Errorf("there are %d events, want 2", n)
	}
}

func TestASaveThatTheServerGivesUpIsBusy(t *testing.T) {
	t.Parallel()
	address := create(t)
	r := open(t, withParameter(t, address, "statement_timeout", "1s"))
	tx, _, rollback, err := beginOwn(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.RecordTx(t.Context(), tx, batch(event("joined", 1))); err != nil {
		t.Fatal(err)
	}
	_, err = r.Record(t.Context(), batch(event("a", 1)))
	wantError(t, err, persistence.ErrBusy)
	if err := rollback(); err != nil {
		t.Fatal(err)
	}
}

func TestAFullPoolIsBusy(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), withParameter(t, create(t), "pool_max_conns", "1"))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	r, err := postgres.New(t.Context(), pool, postgres.WithConnectTimeout(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Record(t.Context(), batch(event("a", 1)))
	wantError(t, err, persistence.ErrBusy, "all 1 connections are in use", "WithPoolSize")
	for _, err := range r.ReadStream(t.Context(), "a", persistence.StreamQuery{}) {
		wantError(t, err, persistence.ErrBusy, "all 1 connections are in use")
	}
	conn.Release()
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Error(err)
	}
}

func TestASaveMeetsAMigrationAndWaits(t *testing.T) {
	t.Parallel()
	address := create(t)
	r := open(t, address, postgres.WithLockTimeout(10*time.Millisecond))
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "ALTER TABLE annals_events ADD COLUMN later text"); err != nil {
		t.Fatal(err)
	}
	_, err = r.Record(t.Context(), batch(event("a", 1)))
	wantError(t, err, persistence.ErrBusy)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for v := range int64(3) { // prepared statements survive it, too
		if _, err := r.Record(t.Context(), batch(event("a", v+1))); err != nil {
			t.Error(err)
		}
	}
	if n := count(t, r); n != 3 {
		t.Errorf("there are %d events, want 3", n)
	}
}

func TestAServerThatIsStoppedAndStartedAgain(t *testing.T) {
	t.Parallel()
	server := pgserver.TestPrivate(t, pgserver.Config{})
	address := server.URL("postgres")
	migrate(t, address)
	r := open(t, address, postgres.WithConnectTimeout(2*time.Second))
	patient := open(t, address, postgres.WithConnectTimeout(time.Minute))
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	save := batch(event("a", 2))
	for range 2 {
		_, err := r.Record(t.Context(), save)
		if !errors.Is(err, persistence.ErrUnavailable) && !errors.Is(err, annals.ErrOutcomeUnknown) {
			t.Errorf("got error %v, want one that is unavailable, or of unknown outcome", err)
		}
	}
	_, _, err := r.MaxPosition(t.Context())
	wantError(t, err, persistence.ErrUnavailable, "is the server up", "WithConnectTimeout, or POSTGRES_CONNECT_TIMEOUT")
	saved := make(chan error)
	go func() {
		_, err := patient.Record(t.Context(), batch(event("b", 1))) // it waits until the server is back
		saved <- err
	}()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-saved; err != nil {
		t.Error(err)
	}
	if _, err := patient.Record(t.Context(), save); err != nil {
		t.Error(err)
	}
	if n := count(t, patient); n != 3 {
		t.Errorf("there are %d events, want 3", n)
	}
}
