package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// tryCommit runs the requests in one transaction. The results are valid if it
// returns nil.
func (r *Recorder) tryCommit(group []*request, results []result) (err error) {
	if len(group) == 0 {
		return nil
	}
	if len(group) == 1 && group[0].isSingle() {
		if results[0], err = r.insertAlone(group[0]); !errors.Is(err, errConflict) {
			return err
		}
	}
	ctx := context.Background() // a request's context must not end the others' transaction
	conn, err := r.writeDB.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // gives it back to the pool, unless it was discarded
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && tx.Rollback() != nil {
			// The transaction may still be open, after a failed commit, say. It
			// ends with its connection.
			discard(conn)
		}
	}()
	w := newWriting(tx, r)
	for i, req := range group {
		results[i], err = w.run(req)
		if err != nil {
			results[i].err = err
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		if r.cfg.isRefused(err) {
			return err
		}
		return r.unknown(err)
	}
	return nil
}

// isSingle reports whether the batch is one statement.
func (req *request) isSingle() bool {
	return len(req.batch.Events) == 1 && req.batch.Tracking == nil && req.batch.Do == nil
}

// insertAlone stores a single event by a statement that is a transaction of its
// own, which costs less than to begin and to commit one. It returns errConflict
// if the event does not fit to what is stored.
func (r *Recorder) insertAlone(req *request) (result, error) {
	if err := req.ctx.Err(); err != nil {
		return result{}, err
	}
	w := &writing{r: r, insertFirst: r.stmts.insertFirst, insertNext: r.stmts.insertNext}
	position, err := w.insert(&req.batch.Events[0])
	switch {
	case err == nil:
		return result{positions: []int64{position}}, nil
	case !errors.Is(err, errConflict) && r.cfg.mayBeStored(err):
		return result{}, r.unknown(err)
	default:
		return result{}, err
	}
}

func (r *Recorder) unknown(err error) error {
	return &Error{Database: r.name, Op: "commit", Kind: annals.ErrOutcomeUnknown, Err: err}
}

// discard closes a connection for good.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

// notify wakes those who wait for events.
func (r *Recorder) notify(results []result) {
	for i := range results {
		if len(results[i].positions) > 0 {
			r.mu.Lock()
			if !r.closed {
				close(r.changed)
				r.changed = make(chan struct{})
			}
			r.mu.Unlock()
			return
		}
	}
}

// writing is one transaction of the writer.
type writing struct {
	r                              *Recorder
	tx                             *sql.Tx
	insertFirst, insertNext, track *sql.Stmt
	args                           [11]any
}

func newWriting(tx *sql.Tx, r *Recorder) *writing {
	w := &writing{r: r, tx: tx}
	w.insertFirst, w.insertNext, w.track = w.stmt(r.stmts.insertFirst), w.stmt(r.stmts.insertNext), w.stmt(r.stmts.track)
	return w
}

// stmt returns a prepared statement for use in the transaction.
func (w *writing) stmt(s *sql.Stmt) *sql.Stmt {
	return w.tx.StmtContext(context.Background(), s)
}

// errConflict is returned inside of this file by a statement that changed
// nothing because of what is stored.
var errConflict = errors.New("conflict")

// run stores one batch. Its own failure (a conflict, the error of its Do, its
// context) is in the result, and has changed nothing; an error means that the
// transaction is to be given up.
func (w *writing) run(req *request) (res result, err error) {
	if res.err = req.ctx.Err(); res.err != nil {
		return res, nil //nolint:nilerr // the error is the batch's own, in res
	}
	b := req.batch
	statements := len(b.Events)
	if b.Tracking != nil {
		statements++
	}
	nested := statements > 1 // a single statement that fails undoes itself
	if nested {
		if err := w.exec("SAVEPOINT batch"); err != nil {
			return result{}, err
		}
	}
	positions, err := w.store(b)
	if errors.Is(err, errConflict) {
		if nested {
			if err := w.exec("ROLLBACK TO batch"); err != nil {
				return result{}, err
			}
		}
		res, err = w.explain(b)
	} else if err == nil {
		if b.Do != nil {
			return w.do(req, positions)
		}
		res.positions = positions
	}
	if err == nil && nested {
		err = w.exec("RELEASE batch")
	}
	return res, err
}

func (w *writing) exec(statement string) error {
	_, err := w.tx.ExecContext(context.Background(), statement)
	return err
}

// store inserts events and tracking. It returns errConflict if one of them does
// not fit to what is stored; the batch is then half stored.
func (w *writing) store(b *persistence.Batch) (positions []int64, err error) {
	positions = make([]int64, len(b.Events))
	for i := range b.Events {
		e := &b.Events[i]
		if positions[i], err = w.insert(e); err != nil {
			return nil, err
		}
	}
	if t := b.Tracking; t != nil {
		res, err := w.track.ExecContext(context.Background(), t.Name, t.Position)
		if err != nil {
			return nil, err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return nil, errors.Join(err, errConflict)
		}
	}
	return positions, nil
}

func (w *writing) insert(e *persistence.StoredEvent) (position int64, err error) {
	stmt := w.insertNext
	if e.Version == 1 {
		stmt = w.insertFirst
	}
	state := e.State
	if state == nil {
		state = []byte{}
	}
	w.args = [...]any{
		e.StreamID, e.Version, e.ID, e.Topic, e.Time.UnixMicro(), int64(e.Shape), e.Encoding, state,
		nullable(e.CorrelationID), nullable(e.CausationID), nullableBytes(e.Headers),
	}
	res, err := stmt.ExecContext(context.Background(), w.args[:]...)
	if err != nil {
		if w.r.cfg.isConflict(err) {
			return 0, errConflict
		}
		return 0, err
	}
	return res.LastInsertId()
}

// explain says why a batch does not fit: it is stored already, or one of its
// streams is at another version, or its tracking is not new.
func (w *writing) explain(b *persistence.Batch) (result, error) {
	positions, stored, err := w.stored(b.Events)
	if err != nil {
		return result{}, err
	}
	if stored {
		return result{positions: positions}, nil
	}
	ctx := context.Background()
	seen := make(map[string]bool)
	for i := range b.Events {
		e := &b.Events[i]
		if seen[e.StreamID] {
			continue
		}
		seen[e.StreamID] = true
		var actual int64
		if err := w.stmt(w.r.stmts.maxVersion).QueryRowContext(ctx, e.StreamID).Scan(&actual); err != nil { //nolint:sqlclosecheck // by tx
			return result{}, err
		}
		if actual != e.Version-1 {
			return result{err: &annals.VersionConflictError{StreamID: e.StreamID, Expected: e.Version - 1, Actual: actual}}, nil
		}
	}
	if t := b.Tracking; t != nil {
		var actual int64
		if err := w.stmt(w.r.stmts.storedTracking).QueryRowContext(ctx, t.Name).Scan(&actual); err != nil { //nolint:sqlclosecheck // by tx
			return result{}, err
		}
		return result{err: &annals.TrackingConflictError{Name: t.Name, Position: t.Position, Actual: actual}}, nil
	}
	return result{}, fmt.Errorf("the batch was refused, and nothing stored explains it: %w", persistence.ErrCorrupt)
}

// stored returns the positions of the events if each is stored already.
func (w *writing) stored(events []persistence.StoredEvent) ([]int64, bool, error) {
	if len(events) == 0 {
		return nil, false, nil
	}
	ctx := context.Background()
	stmt := w.stmt(w.r.stmts.storedEvent) //nolint:sqlclosecheck // by tx
	positions := make([]int64, len(events))
	for i := range events {
		e := &events[i]
		var id string
		err := stmt.QueryRowContext(ctx, e.StreamID, e.Version).Scan(&positions[i], &id)
		if errors.Is(err, sql.ErrNoRows) || err == nil && id != e.ID {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
	}
	return positions, true, nil
}

// do calls the caller's own function. Its error gives up the transaction, which
// holds nothing else; a panic does too, and goes on in the caller's goroutine.
func (w *writing) do(req *request, positions []int64) (result, error) {
	done := make(chan result, 1)
	go func() { // of its own, so that runtime.Goexit ends nothing else
		res := result{err: errExit}
		defer func() {
			if p := recover(); p != nil {
				res.panicked = fmt.Sprintf("%v\n\nin Batch.Do:\n%s", p, debug.Stack())
			}
			done <- res
		}()
		if res.err = req.batch.Do(req.ctx, w.tx); res.err != nil {
			res.err = &doError{res.err}
		}
	}()
	res := <-done
	if res.err == nil {
		res.positions = positions
	}
	return res, res.err
}

// errExit is the result of a Do that neither returned nor is known to have
// panicked with a value.
var errExit = errors.New("Batch.Do did not return: it panicked, or called runtime.Goexit")

// doError carries the error of the caller's own function to the caller.
type doError struct{ error }

func (e *doError) Unwrap() error { return e.error }

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func nullableBytes(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}
