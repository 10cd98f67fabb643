package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
	"github.com/annals-es/annals/recordertest"
)

// openPool opens a pool of the user's own, until the test ends.
func openPool(tb testing.TB, address string, set ...func(*pgxpool.Config)) *pgxpool.Pool {
	tb.Helper()
	cfg, err := pgxpool.ParseConfig(address)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range set {
		f(cfg)
	}
	pool, err := pgxpool.NewWithConfig(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

func size(n int32) func(*pgxpool.Config) { return func(c *pgxpool.Config) { c.MaxConns = n } }

func mode(m pgx.QueryExecMode) func(*pgxpool.Config) {
	return func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = m }
}

const createRows = "CREATE TABLE own (key text PRIMARY KEY, value text NOT NULL)"

func createViews(tb testing.TB) string {
	tb.Helper()
	address := newSchema(tb)
	execute(tb, address, createRows)
	return address
}

func viewBackend(set ...func(*pgxpool.Config)) recordertest.ViewBackend[pgx.Tx] {
	return recordertest.ViewBackend[pgx.Tx]{
		Create: createViews,
		Open: func(tb testing.TB, address string) persistence.View[pgx.Tx] {
			tb.Helper()
			return postgres.View(openPool(tb, address, set...))
		},
		Put: func(ctx context.Context, tx pgx.Tx, key, value string) error {
			_, err := tx.Exec(ctx, "INSERT INTO own (key, value) VALUES ($1, $2)", key, value)
			return err
		},
		Rows: func(ctx context.Context, address string) (map[string]string, error) {
			conn, err := pgx.Connect(ctx, address)
			if err != nil {
				return nil, err
			}
			defer func() { _ = conn.Close(ctx) }()
			rows, err := conn.Query(ctx, "SELECT key, value FROM own")
			if err != nil {
				return nil, err
			}
			all := make(map[string]string)
			var key, value string
			_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error { all[key] = value; return nil })
			return all, err
		},
	}
}

func TestViewConformance(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]pgx.QueryExecMode{
		"prepared": pgx.QueryExecModeCacheStatement, "simple": pgx.QueryExecModeSimpleProtocol, "exec": pgx.QueryExecModeExec,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recordertest.RunView(t, viewBackend(mode(m), size(4)))
		})
	}
}

func nothing(context.Context, pgx.Tx, persistence.Ledger) error { return nil }

func update(t *testing.T, v persistence.View[pgx.Tx], f func(context.Context, pgx.Tx, persistence.Ledger) error) {
	t.Helper()
	if err := v.Update(t.Context(), f); err != nil {
		t.Fatalf("update: %v", err)
	}
}

// TestASwapWaitsForTheOneBefore has two transactions of which the second waits, which
// is looked for in the server.
func TestASwapWaitsForTheOneBefore(t *testing.T) {
	t.Parallel()
	failed := errors.New("undone")
	for name, test := range map[string]struct {
		before, first, second string
		end                   error
		want                  bool
	}{
		"insert and insert":           {"", "1", "2", nil, false},
		"insert that is undone":       {"", "1", "2", failed, true},
		"update and update":           {"0", "1", "2", nil, false},
		"update that is undone":       {"0", "1", "2", failed, true},
		"removal and update":          {"0", "", "2", nil, false},
		"removal that is undone":      {"0", "", "2", failed, true},
		"update and removal":          {"0", "1", "", nil, false},
		"nothing for nothing, insert": {"", "", "2", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := createViews(t)
			pool := openPool(t, address)
			v, w := postgres.View(pool), postgres.View(openPool(t, address))
			update(t, w, nothing)
			update(t, v, func(ctx context.Context, _ pgx.Tx, l persistence.Ledger) error {
				_, err := l.Swap(ctx, "key", "", test.before)
				return err
			})
			pid, done := make(chan uint32, 1), make(chan error, 1)
			swapped := false
			err := v.Update(t.Context(), func(ctx context.Context, _ pgx.Tx, l persistence.Ledger) error {
				if ok, err := l.Swap(ctx, "key", test.before, test.first); !ok || err != nil {
					t.Errorf("the first swap: %t, %v", ok, err)
				}
				go func() {
					done <- w.Update(ctx, func(ctx context.Context, tx pgx.Tx, l persistence.Ledger) (err error) {
						pid <- tx.Conn().PgConn().PID()
						swapped, err = l.Swap(ctx, "key", test.before, test.second)
						return err
					})
				}()
				waits, id := false, <-pid
				for !waits {
					err := pool.QueryRow(ctx, "SELECT cardinality(pg_blocking_pids($1)) > 0", int32(id)).Scan(&waits)
					if err != nil {
						return err
					}
				}
				return test.end
			})
			if !errors.Is(err, test.end) {
				t.Errorf("update: %v", err)
			}
			if err := <-done; err != nil || swapped != test.want {
				t.Errorf("the second swap: %t, %v; want %t", swapped, err, test.want)
			}
		})
	}
}

func TestAViewWhoseConnectionIsLostIsUnavailable(t *testing.T) {
	t.Parallel()
	own := errors.New("own")
	for name, test := range map[string]struct {
		ends func(statement error) error
		want error
	}{
		"the function returns the error of the statement": {func(err error) error { return err }, persistence.ErrUnavailable},
		"the function returns another error":              {func(error) error { return own }, persistence.ErrUnavailable},
		"the function returns no error":                   {func(error) error { return nil }, persistence.ErrUnavailable},
		"the function made no statement":                  {nil, annals.ErrOutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := createViews(t)
			other := openPool(t, address)
			v := postgres.View(openPool(t, address))
			update(t, v, nothing)
			err := v.Update(t.Context(), func(ctx context.Context, tx pgx.Tx, _ persistence.Ledger) error {
				if _, err := tx.Exec(ctx, "INSERT INTO own (key, value) VALUES ('lost', '')"); err != nil {
					return err
				}
				kill(ctx, t, other, tx)
				if test.ends == nil {
					return nil
				}
				_, err := tx.Exec(ctx, "SELECT 1")
				return test.ends(err)
			})
			if !errors.Is(err, test.want) {
				t.Errorf("update: %v, want %v", err, test.want)
			}
			if test.ends != nil && errors.Is(test.ends(nil), own) && !errors.Is(err, own) {
				t.Errorf("the error of the function is not found in %v", err)
			}
			update(t, v, func(ctx context.Context, tx pgx.Tx, _ persistence.Ledger) error {
				var n int
				err := tx.QueryRow(ctx, "SELECT count(*) FROM own").Scan(&n)
				if n != 0 {
					t.Error("what a lost transaction wrote is there")
				}
				return err
			})
		})
	}
}

// kill ends the connection of a transaction, and waits until the server did.
func kill(ctx context.Context, t *testing.T, pool *pgxpool.Pool, tx pgx.Tx) {
	t.Helper()
	pid := int32(tx.Conn().PgConn().PID())
	var done bool
	if err := pool.QueryRow(ctx, "SELECT pg_terminate_backend($1, 60000)", pid).Scan(&done); err != nil || !done {
		t.Errorf("the connection was not killed: %v", err)
	}
}

func TestAViewWithoutAServerIsUnavailable(t *testing.T) {
	t.Parallel()
	v := postgres.View(openPool(t, "postgres://nobody@127.0.0.1:1/none?connect_timeout=5"))
	if err := v.Update(t.Context(), nothing); !errors.Is(err, persistence.ErrUnavailable) {
		t.Errorf("update: %v", err)
	}
}

func TestAViewWhosePoolIsFullIsBusy(t *testing.T) {
	t.Parallel()
	pool := openPool(t, createViews(t), size(1))
	update(t, postgres.View(pool), nothing) // it connects, for longer than the other waits
	v := postgres.View(pool, postgres.WithConnectTimeout(100*time.Millisecond))
	err := v.Update(t.Context(), func(ctx context.Context, _ pgx.Tx, _ persistence.Ledger) error { return v.Update(ctx, nothing) })
	if !errors.Is(err, persistence.ErrBusy) {
		t.Errorf("update: %v", err)
	}
}

func TestASwapThatWaitsTooLongIsBusyWhateverTheFunctionReturns(t *testing.T) {
	t.Parallel()
	pool := openPool(t, createViews(t))
	v, w := postgres.View(pool), postgres.View(pool, postgres.WithLockTimeout(10*time.Millisecond))
	own := errors.New("own")
	update(t, v, func(ctx context.Context, _ pgx.Tx, l persistence.Ledger) error {
		if ok, err := l.Swap(ctx, "key", "", "1"); !ok || err != nil {
			t.Errorf("swap: %t, %v", ok, err)
		}
		for _, want := range []error{nil, own} {
			err := w.Update(ctx, func(ctx context.Context, _ pgx.Tx, l persistence.Ledger) error {
				_, _ = l.Swap(ctx, "key", "", "2")
				return want
			})
			if !errors.Is(err, persistence.ErrBusy) || want != nil && !errors.Is(err, want) {
				t.Errorf("update: %v", err)
			}
		}
		return nil
	})
}

func TestAViewHasItsLedgerInItsSchema(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	pool := openPool(t, address)
	v := postgres.View(pool, postgres.WithSchema("views"), postgres.WithTablePrefix("my_"))
	update(t, v, func(ctx context.Context, _ pgx.Tx, l persistence.Ledger) error {
		_, err := l.Swap(ctx, "key", "", "value")
		return err
	})
	var value string
	if err := pool.QueryRow(t.Context(), "SELECT value FROM views.my_ledger").Scan(&value); err != nil || value != "value" {
		t.Errorf("the table has %q, %v", value, err)
	}
	for _, wrong := range []persistence.View[pgx.Tx]{postgres.View(pool, postgres.WithTablePrefix(`a"b`)), postgres.View(nil)} {
		if err := wrong.Update(t.Context(), nothing); !errors.Is(err, annals.ErrConfiguration) {
			t.Errorf("update: %v", err)
		}
	}
}
