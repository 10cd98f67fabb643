package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

var _ persistence.TxRecorder = (*Recorder)(nil)

// doError carries the error of the caller's own function to the caller.
type doError struct{ error }

func (e *doError) Unwrap() error { return e.error }

// recordWithDo stores a batch in a transaction of its own, in which the caller's
// function runs. The log is locked meanwhile.
func (r *Recorder) recordWithDo(ctx context.Context, b *persistence.Batch) (positions []int64, err error) {
	r.running.RLock()
	defer r.running.RUnlock()
	if err := r.isOpen(); err != nil {
		return nil, err
	}
	p := r.patience()
	for {
		d := &doing{r: r, batch: b}
		err := r.try(ctx, r.pool, func(conn *pgx.Conn) error { return d.run(ctx, conn) })
		_, lost := isLost(err)
		switch {
		case d.committing && err != nil:
			return nil, r.unknown(err)
		case lost && !d.called && p.again(ctx):
			continue // nothing is stored: the transaction ended with its connection
		}
		return d.positions, err
	}
}

// doing is one try to store a batch with a function of the caller.
type doing struct {
	r          *Recorder
	batch      *persistence.Batch
	positions  []int64
	called     bool // the function was called
	committing bool // the transaction may be committed
}

func (d *doing) run(ctx context.Context, conn *pgx.Conn) error {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit it does nothing
	sql, err := d.r.texts()
	if err != nil {
		return err
	}
	s := &saving{r: d.r, sql: sql, lock: sql.lock, conn: tx}
	outcomes, err := s.storeGroup(ctx, []*persistence.Batch{d.batch}, "")
	if err != nil {
		return err
	}
	if refused := outcomes[0].refused; refused != nil {
		d.positions, err = s.explain(ctx, d.batch, refused)
		return err
	}
	d.called = true
	if err := callDo(ctx, tx, d.batch); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.r.cfg.saveTimeout)
	defer cancel()
	d.committing = true
	if err := tx.Commit(commit); err != nil {
		d.committing = conn.IsClosed() // if the server says no, it is no
		return err
	}
	d.committing = false
	d.positions = outcomes[0].positions
	markFresh(d.batch)
	if len(d.positions) > 0 {
		d.r.watcher.saved()
	}
	return nil
}

// callDo calls the caller's own function with a transaction that it cannot end.
func callDo(ctx context.Context, tx pgx.Tx, b *persistence.Batch) error {
	if err := b.Do(ctx, lentTx{tx}); err != nil {
		return &doError{err}
	}
	if conn := tx.Conn(); !conn.IsClosed() && conn.PgConn().TxStatus() != 'T' {
		return fmt.Errorf("Batch.Do ended the transaction, which is not its own, or ignored the error of a statement: %w",
			annals.ErrConfiguration)
	}
	return nil
}

// lentTx is a transaction that is somebody else's to end.
type lentTx struct{ pgx.Tx }

var errLent = fmt.Errorf("postgres: the transaction of a save is not Do's to end: %w", annals.ErrConfiguration)

// Commit returns an error, and does nothing.
func (lentTx) Commit(context.Context) error { return errLent }

// Rollback returns an error, and does nothing.
func (lentTx) Rollback(context.Context) error { return errLent }

// RecordTx stores the batch in the caller's own transaction, a pgx.Tx on the same
// database: what it stores is there when the caller commits. Do is called with the
// same transaction.
//
// From then on until the transaction ends, all other saves to the log wait: save last,
// and commit soon. How long the save itself waits for others is the caller's
// lock_timeout, and how durable the commit is, the caller's synchronous_commit. In a
// transaction that is not READ COMMITTED, a save conflicts with whatever others saved
// since it began.
func (r *Recorder) RecordTx(ctx context.Context, tx any, b persistence.Batch) ([]int64, error) {
	if err := check(&b); err != nil {
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
	return positions, r.errorf(ctx, "record", err)
}

// ReadStreamTx yields events of a stream as the caller's transaction sees it, a pgx.Tx.
func (r *Recorder) ReadStreamTx(
	ctx context.Context, tx any, streamID string, q persistence.StreamQuery,
) iter.Seq2[persistence.StoredEvent, error] {
	t, err := r.callers("read", tx)
	if err != nil {
		return func(yield func(persistence.StoredEvent, error) bool) { yield(persistence.StoredEvent{}, err) }
	}
	return r.readStream(ctx, func(f func(conn) error) error {
		err := r.usableTx(ctx, t)
		if err == nil {
			err = f(t)
		}
		return err
	}, streamID, q)
}

// callers returns the caller's transaction.
func (r *Recorder) callers(op string, tx any) (pgx.Tx, error) {
	t, ok := tx.(pgx.Tx)
	if !ok || t == nil {
		return nil, &Error{Database: r.name, Op: op, Kind: annals.ErrUnsupported, Err: fmt.Errorf(
			"the transaction to join is a %T, not a pgx.Tx", tx)}
	}
	return t, nil
}

// usableTx is usable by the caller's transaction alone: the caller may hold the only
// connection.
func (r *Recorder) usableTx(ctx context.Context, tx pgx.Tx) error {
	if err := r.isOpen(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil || r.sql.Load() != nil {
		return err
	}
	return r.prepare(ctx, tx)
}

// join stores the batch. What fails is undone, and leaves the rest of the transaction
// as it was.
func (r *Recorder) join(ctx context.Context, tx pgx.Tx, b *persistence.Batch) (positions []int64, err error) {
	sql, err := r.texts()
	if err != nil {
		return nil, err
	}
	s := &saving{r: r, sql: sql, lock: sql.lockJoined, conn: tx}
	var refused *refusal
	outcomes, err := s.storeGroup(ctx, []*persistence.Batch{b}, "SAVEPOINT annals_join")
	if err == nil {
		positions, refused = outcomes[0].positions, outcomes[0].refused
		if refused == nil && b.Do != nil {
			err = callDo(ctx, tx, b)
		}
	}
	switch {
	case err == nil && refused == nil:
		_, err = tx.Exec(ctx, "RELEASE SAVEPOINT annals_join")
		return positions, err
	case tx.Conn().IsClosed():
		return nil, err
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.saveTimeout)
	defer cancel()
	for _, statement := range []string{"ROLLBACK TO SAVEPOINT annals_join", "RELEASE SAVEPOINT annals_join"} {
		if _, e := tx.Exec(undo, statement); e != nil {
			return nil, errors.Join(err, e)
		}
	}
	switch {
	case isConflict(err):
		return s.conflict(ctx, b)
	case err != nil:
		return nil, err
	default:
		return s.explain(ctx, b, refused)
	}
}

// conflict says why a batch met what its transaction does not see: an event that was
// saved after its snapshot, or without the lock.
func (s *saving) conflict(ctx context.Context, b *persistence.Batch) ([]int64, error) {
	refused := &refusal{actual: make(map[string]int64)}
	for i := range b.Events {
		e := &b.Events[i]
		if _, ok := refused.actual[e.StreamID]; ok {
			continue
		}
		var version int64
		if err := s.conn.QueryRow(ctx, s.sql.maxVersion, s.r.mode, e.StreamID).Scan(&version); err != nil {
			return nil, err
		}
		if version != e.Version-1 {
			refused.actual[e.StreamID] = version
		}
	}
	if len(refused.actual) == 0 { // what is in the way is not seen
		e := &b.Events[0]
		return nil, &annals.VersionConflictError{StreamID: e.StreamID, Expected: e.Version - 1, Actual: e.Version}
	}
	return s.explain(ctx, b, refused)
}
