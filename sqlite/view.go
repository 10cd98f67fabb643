package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/ledger"
	"github.com/annals-es/annals/persistence"
)

// View returns the caller's own database, a file, as one of read models. It may be used
// through any driver of SQLite, and by a recorder as well. Of the options it heeds
// [WithTablePrefix], [WithBusyTimeout] and [WithErrorCode]; the rest is the caller's,
// as for [New].
//
// Each transaction takes the write lock at its beginning, so there is one at a time. Its
// function must not use the database but by the transaction, must return the errors
// of statements, and must not end the transaction. When the context has ended by the
// time it returns, it is undone.
//
// The first call of Update creates the table of the ledger, and returns
// [annals.ErrConfiguration] for a bad option and for a database that New refuses.
func View(db *sql.DB, opts ...Option) persistence.View[*sql.Tx] {
	cfg, err := configure(opts)
	if err != nil {
		return &view{wrong: &Error{Database: "database", Op: "open", Err: err}}
	}
	r := &Recorder{cfg: cfg, name: "database", writeDB: db}
	r.lock = r.text("UPDATE annals_ledger SET value = value WHERE 0")
	return &view{r: r}
}

// view is a database of read models.
type view struct {
	r     *Recorder // lends its lock, its patience and its errors; it was never started
	wrong error     // of the options

	readying sync.Mutex // of there, and of the name of r until it is true
	there    bool       // the ledger was seen
}

// Update calls f in a transaction.
func (v *view) Update(ctx context.Context, f func(context.Context, *sql.Tx, persistence.Ledger) error) error {
	if v.wrong != nil {
		return v.wrong
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := v.ready(ctx); err != nil {
		return v.failed(ctx, "open", err)
	}
	var w *writing
	err := v.r.patiently(ctx, func() (err error) { //nolint:contextcheck // a try waits for a moment only
		w, err = v.r.tryBegin()
		return err
	})
	if err != nil {
		return v.failed(ctx, "begin", err)
	}
	err = errors.New("f did not return")
	defer func() { w.end(err) }()
	if err = f(ctx, w.tx, ledger.New(ledgerTx{w.tx}, v.r.text("annals_ledger"))); err != nil {
		return v.handlers(ctx, err)
	}
	err = ctx.Err() // also for end
	if err != nil {
		return err
	}
	switch err = w.tx.Commit(); {
	case err == nil:
		return nil
	case v.r.cfg.isRefused(err):
		return v.failed(ctx, "commit", err)
	case errors.Is(err, sql.ErrTxDone):
		return fmt.Errorf("sqlite: %s: the function of Update ended the transaction, which is not its own: %w",
			v.r.name, annals.ErrConfiguration)
	default:
		return fmt.Errorf("sqlite: commit: %s: %w: the ledger tells: %w", v.r.name, annals.ErrOutcomeUnknown, err)
	}
}

// ready looks at the database and makes the table, once.
func (v *view) ready(ctx context.Context) error {
	v.readying.Lock()
	defer v.readying.Unlock()
	if v.there {
		return nil
	}
	return v.r.patiently(ctx, func() error {
		file, err := v.r.cfg.check(ctx, "View", v.r.writeDB)
		if err != nil {
			return err
		}
		v.r.name = file
		_, err = v.r.writeDB.ExecContext(ctx, v.r.text(createLedger))
		v.there = err == nil
		return err
	})
}

const createLedger = "CREATE TABLE IF NOT EXISTS annals_ledger (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID"

// openLedger returns the ledger in the transaction of a save. The table is made with it.
func (r *Recorder) openLedger(ctx context.Context, tx any) (persistence.Ledger, error) {
	own := ledgerTx{tx.(*sql.Tx)} //nolint:forcetypeassert // the recorder's own
	t := ledger.Errors(own, func(ctx context.Context, err error) error { return r.errorf(ctx, "ledger", err) })
	if _, err := t.Exec(ctx, r.text(createLedger)); err != nil {
		return nil, err
	}
	return ledger.New(t, r.text("annals_ledger")), nil
}

// failed says what could not be done.
func (v *view) failed(ctx context.Context, op string, err error) error {
	var wrapped *Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &wrapped):
		return err
	default:
		return &Error{Database: v.r.name, Op: op, Kind: v.r.kind(err), Err: err}
	}
}

// handlers says what kind of error the function of Update returned. It stays in it.
func (v *view) handlers(ctx context.Context, err error) error {
	kind := v.r.kind(err)
	switch {
	case ctx.Err() != nil && v.r.cfg.primaryCode(err) == codeInterrupt:
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case kind != nil && !errors.Is(err, kind):
		return &Error{Database: v.r.name, Op: "update", Kind: kind, Err: err}
	default:
		return err
	}
}

// ledgerTx is a transaction as the ledger uses it.
type ledgerTx struct{ *sql.Tx }

func (tx ledgerTx) Exec(ctx context.Context, statement string, args ...any) (int64, error) {
	res, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (tx ledgerTx) Entries(ctx context.Context, query string, args ...any) (entries []persistence.LedgerEntry, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e persistence.LedgerEntry
		if err := rows.Scan(&e.Key, &e.Value); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}
