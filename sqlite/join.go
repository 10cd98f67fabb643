package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

var _ persistence.TxRecorder = (*Recorder)(nil)

// RecordTx stores the batch in the caller's own transaction, a *sql.Tx of any
// driver on the same file: what it stores is there when the caller commits. It uses
// no other connection. Do is called with the same transaction.
//
// The transaction needs SQLite's write lock. Begin it with BEGIN IMMEDIATE, or
// write before reading: a transaction that has read, and after which others have
// saved, cannot write any more, and gets [persistence.ErrBusy]. Saves of others
// wait until it ends. Subscriptions see its events by their next poll.
func (r *Recorder) RecordTx(ctx context.Context, tx any, b persistence.Batch) ([]int64, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	t, err := r.callers("record", tx)
	if err != nil {
		return nil, err
	}
	err = r.usableTx(ctx, t)
	if b.Ledger != nil {
		b.OpenLedger(r.openLedger)
	}
	var positions []int64
	if err == nil {
		positions, err = r.join(ctx, t, &b)
	}
	if own, ok := errors.AsType[*doError](err); ok {
		return nil, own.error
	}
	if err != nil && r.isBusy(err) {
		err = fmt.Errorf("the caller's transaction did not get the write lock; "+
			"begin it with BEGIN IMMEDIATE, or write before reading: %w", err)
	}
	return positions, r.errorfOn(ctx, t, "record", err)
}

// ReadStreamTx yields events of a stream as the caller's own transaction sees it, a
// *sql.Tx of any driver on the same file. It uses no other connection.
func (r *Recorder) ReadStreamTx(
	ctx context.Context, tx any, streamID string, q persistence.StreamQuery,
) iter.Seq2[persistence.StoredEvent, error] {
	t, err := r.callers("read", tx)
	if err != nil {
		return func(yield func(persistence.StoredEvent, error) bool) { yield(persistence.StoredEvent{}, err) }
	}
	return r.readStream(ctx, streamID, &q, t)
}

// callers returns the caller's transaction.
func (r *Recorder) callers(op string, tx any) (*sql.Tx, error) {
	t, ok := tx.(*sql.Tx)
	if !ok || t == nil {
		return nil, &Error{Database: r.name, Op: op, Kind: annals.ErrUnsupported, Err: fmt.Errorf(
			"the transaction to join is a %T, not a *sql.Tx", tx)}
	}
	return t, nil
}

// usableTx is usable by the caller's transaction alone: the caller may hold the
// only connection.
func (r *Recorder) usableTx(ctx context.Context, tx *sql.Tx) error {
	if err := r.isOpen(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil || r.ready.Load() {
		return err
	}
	have, err := r.schemaVersion(ctx, tx)
	if err == nil && have != r.cfg.schema {
		err = r.schemaError(have)
	}
	return err
}

// join stores the batch. What fails is undone, and leaves the rest of the
// transaction as it was.
//
//nolint:contextcheck // a statement that is interrupted would end the caller's whole transaction
func (r *Recorder) join(ctx context.Context, tx *sql.Tx, b *persistence.Batch) (positions []int64, err error) {
	w := &writing{r: r, tx: tx, joined: true}
	defer func() {
		for _, stmt := range w.stmts {
			if stmt != nil {
				err = errors.Join(err, stmt.Close())
			}
		}
	}()
	if err := w.exec("SAVEPOINT annals_join"); err != nil {
		return nil, err
	}
	positions, err = w.store(b)
	if err == nil && b.Do != nil {
		if err = b.Do(context.WithoutCancel(ctx), tx); err != nil {
			err = &doError{err}
		}
	}
	if err == nil {
		return positions, w.exec("RELEASE annals_join")
	}
	if e := errors.Join(w.exec("ROLLBACK TO annals_join"), w.exec("RELEASE annals_join")); e != nil {
		return nil, errors.Join(err, e)
	}
	if !errors.Is(err, errConflict) {
		return nil, err
	}
	res, err := w.explain(b)
	if err != nil {
		return nil, err
	}
	return res.positions, res.err
}
