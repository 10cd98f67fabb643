package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/ledger"
	"github.com/annals-es/annals/persistence"
)

// View returns the database of the caller's own pool as one of read models. It may be
// one that a recorder uses as well. Of the options it heeds [WithSchema] and
// [WithTablePrefix], which say where the table of the ledger is, and
//
//   - [WithConnectTimeout]: how long Update waits for a connection while all are in use;
//   - [WithLockTimeout]: how long a statement of a transaction waits for others;
//   - [WithSaveTimeout]: how long it waits for the server's answer to a commit.
//
// Transactions are READ COMMITTED, and hold for nothing beyond their end, so that a
// PgBouncer may pool them if the pool does not prepare statements. Their functions
// must return the errors of statements. When the context has ended by the time one
// returns, all is undone.
//
// The first call of Update creates the table of the ledger, and the schema that
// WithSchema names, if they are not there. It returns [annals.ErrConfiguration] for a
// bad option.
func View(pool *pgxpool.Pool, opts ...Option) persistence.View[pgx.Tx] {
	cfg, err := configure(opts)
	if err == nil && pool == nil {
		err = fmt.Errorf("View: the pool is nil: %w", annals.ErrConfiguration)
	}
	if err != nil {
		return &view{wrong: &Error{Database: "database", Op: "open", Err: err}}
	}
	return &view{
		r: &Recorder{cfg: cfg, name: nameOf(pool), pool: pool, mode: modeOf(pool), closing: context.Background()},
		tx: pgx.TxOptions{BeginQuery: fmt.Sprintf("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = %d",
			cfg.lockTimeout.Milliseconds())},
	}
}

// view is a database of read models.
type view struct {
	r     *Recorder // lends its connections and its errors; it was never started
	wrong error     // of the options
	tx    pgx.TxOptions

	readying sync.Mutex // of table
	table    string     // that of the ledger, with its schema; "" until it was seen
}

// Update calls f in a transaction.
func (v *view) Update(ctx context.Context, f func(context.Context, pgx.Tx, persistence.Ledger) error) error {
	if v.wrong != nil {
		return v.wrong
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	table, err := v.ready(ctx)
	if err != nil {
		return v.failed(ctx, "open", err)
	}
	u := &updating{view: v, f: f, table: table}
	err = v.r.try(ctx, v.r.pool, func(conn *pgx.Conn) error { return u.run(ctx, conn) })
	lost, isLost := isLost(err)
	switch {
	case u.committing && isLost && lost.sent:
		return fmt.Errorf("postgres: commit: %s: %w: the ledger tells: %w", v.r.name, annals.ErrOutcomeUnknown, err)
	case err != nil && u.failed != nil && !errors.Is(err, u.failed) && !isLost: // f hid what the ledger had said
		err = fmt.Errorf("%w: %w", err, u.failed)
	}
	return v.failed(ctx, "update", err)
}

// updating is one transaction.
type updating struct {
	*view

	f          func(context.Context, pgx.Tx, persistence.Ledger) error
	table      string
	failed     error // the first error of the ledger
	committing bool
}

func (u *updating) run(ctx context.Context, conn *pgx.Conn) error {
	tx, err := conn.BeginTx(ctx, u.tx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit it does nothing
	if err := u.f(ctx, lentTx{tx}, ledger.New(ledgerTx{tx, &u.failed}, u.table)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !conn.IsClosed() && conn.PgConn().TxStatus() != 'T' {
		return fmt.Errorf("the function of Update ended the transaction, which is not its own, or ignored the error of a statement: %w",
			annals.ErrConfiguration)
	}
	u.committing = true
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.r.cfg.saveTimeout)
	defer cancel()
	return tx.Commit(commit)
}

// ready makes the table of the ledger, once, and returns its name.
func (v *view) ready(ctx context.Context) (string, error) {
	v.readying.Lock()
	defer v.readying.Unlock()
	if v.table != "" {
		return v.table, nil
	}
	var table string
	err := v.r.try(ctx, v.r.pool, func(conn *pgx.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, v.tx, func(tx pgx.Tx) error {
			schema, err := v.r.schemaOf(ctx, tx)
			if err != nil && !errors.Is(err, errNoSchema) {
				return err
			}
			table = v.r.ledgerTable(schema)
			return v.r.createLedger(ctx, tx, schema, table)
		})
	})
	if err == nil {
		v.table = table
	}
	return v.table, err
}

func (r *Recorder) ledgerTable(schema string) string { return r.tables(schema) + "ledger" }

// createLedger makes the table if it is not there, and the schema too if that is missing.
// Who may make neither can use a table that is there.
func (r *Recorder) createLedger(ctx context.Context, tx pgx.Tx, schema, table string) error {
	var there bool
	const look = "SELECT to_regclass($1) IS NOT NULL"
	if err := tx.QueryRow(ctx, look, r.mode, table).Scan(&there); err != nil || there {
		return err
	}
	const lock = "SELECT pg_advisory_xact_lock($1)" // others who make tables wait here
	if _, err := tx.Exec(ctx, lock, r.mode, lockKey("migrate", "")); err != nil {
		return err
	}
	if _, err := r.schemaOf(ctx, tx); errors.Is(err, errNoSchema) {
		if _, err := tx.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{schema}.Sanitize()); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS "+table+` (key text COLLATE "C" PRIMARY KEY, value text NOT NULL)`)
	return err
}

// openLedger returns the ledger in the transaction of a save.
func (r *Recorder) openLedger(ctx context.Context, tx any) (persistence.Ledger, error) {
	t := tx.(pgx.Tx) //nolint:forcetypeassert // the recorder's own
	schema, err := r.schemaOf(ctx, t)
	table := r.ledgerTable(schema)
	if err == nil {
		err = r.createLedger(ctx, t, schema, table)
	}
	if err != nil {
		return nil, r.errorf(ctx, "ledger", err)
	}
	own := ledgerTx{t, new(error)}
	return ledger.New(ledger.Errors(own, func(ctx context.Context, err error) error { return r.errorf(ctx, "ledger", err) }), table), nil
}

// failed says what could not be done. The error of the function of Update stays in it.
func (v *view) failed(ctx context.Context, op string, err error) error {
	lost, isLost := isLost(err)
	wrap := func(kind error) error { return &Error{Database: v.r.name, Op: op, Kind: kind, Err: err} }
	switch kind := kind(err); {
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return err
	case ctx.Err() != nil && isLost:
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case isLost:
		return wrap(kindOfLost(lost))
	case kind != nil && !errors.Is(err, kind), op == "open":
		return wrap(kind)
	default:
		return err
	}
}

// ledgerTx is a transaction as the ledger uses it.
type ledgerTx struct {
	tx     pgx.Tx
	failed *error // set to the first error
}

func (l ledgerTx) note(err error) {
	if *l.failed == nil {
		*l.failed = err
	}
}

func (l ledgerTx) Exec(ctx context.Context, statement string, args ...any) (int64, error) {
	tag, err := l.tx.Exec(ctx, statement, args...)
	l.note(err)
	return tag.RowsAffected(), err
}

func (l ledgerTx) Entries(ctx context.Context, query string, args ...any) ([]persistence.LedgerEntry, error) {
	rows, err := l.tx.Query(ctx, query, args...)
	if err != nil {
		l.note(err)
		return nil, err
	}
	entries, err := pgx.CollectRows(rows, pgx.RowToStructByPos[persistence.LedgerEntry])
	l.note(err)
	return entries, err
}
