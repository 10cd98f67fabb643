package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/group"
	"github.com/annals-es/annals/persistence"
)

// lockWait is how long to wait for the write lock, or for a connection, before
// looking at who still wants to.
const lockWait = 50 * time.Millisecond

// begin waits for the write lock. Meanwhile it answers the requests whose context
// is done; left are the others.
func (r *Recorder) begin(reqs []*group.Request) (w *writing, left []*group.Request, err error) {
	start := time.Now()
	for {
		w, err = r.tryBegin()
		if err == nil || !r.isBusy(err) || time.Since(start) >= r.cfg.busyTimeout {
			return w, reqs, err
		}
		left = nil
		for _, req := range reqs {
			if req.Context.Err() != nil {
				r.answer(req, result{err: req.Context.Err()})
			} else {
				left = append(left, req)
			}
		}
		if reqs = left; len(reqs) == 0 {
			return nil, nil, nil
		}
		<-time.After(time.Millisecond) // for databases without a busy timeout
	}
}

// patiently calls f until it finds the database free, for as long as the busy
// timeout says: the writing connection itself waits for [lockWait] only.
func (r *Recorder) patiently(ctx context.Context, f func() error) error {
	start := time.Now()
	for {
		err := f()
		if err == nil || !r.isBusy(err) || time.Since(start) >= r.cfg.busyTimeout || ctx.Err() != nil {
			return err
		}
		<-time.After(time.Millisecond)
	}
}

func (r *Recorder) tryBegin() (*writing, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	conn, err := r.writeDB.Conn(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, &Error{Database: r.name, Op: "record", Kind: persistence.ErrBusy, Err: errNoConnection}
	}
	if err != nil {
		return nil, err
	}
	// No request's context ends the transaction, which is others' as well.
	tx, err := conn.BeginTx(context.Background(), nil)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	w := &writing{r: r, conn: conn, tx: tx}
	if r.lock != "" {
		if err := w.exec(r.lock); err != nil {
			w.end(err)
			return nil, err
		}
	}
	return w, nil
}

var errNoConnection = errors.New("all connections are in use")

// storeSingle stores a batch of a single event by a statement that is a
// transaction of its own, which costs less than to begin and to commit one. It
// returns false if the batch is another, or if it has to wait or does not fit to
// what is stored.
func (r *Recorder) storeSingle(req *group.Request) bool {
	b := req.Batch
	if len(b.Events) != 1 || b.Tracking != nil || b.Do != nil || r.lock != "" || req.Context.Err() != nil {
		return false
	}
	w := &writing{r: r, stmts: r.stmts.writer}
	position, err := w.insert(&b.Events[0])
	switch {
	case err == nil:
		r.notify()
		r.answer(req, result{positions: []int64{position}, fresh: true})
	case errors.Is(err, errConflict), r.isBusy(err):
		return false
	case r.cfg.mayBeStored(err):
		r.answer(req, result{err: r.unknown(err)})
	default:
		r.answer(req, result{err: err})
	}
	return true
}

func (r *Recorder) unknown(err error) error {
	return &Error{Database: r.name, Op: "commit", Kind: annals.ErrOutcomeUnknown, Err: err}
}

// writing is one transaction of the writer.
type writing struct {
	r      *Recorder
	conn   *sql.Conn
	tx     *sql.Tx
	joined bool                        // the transaction is the caller's
	stmts  [writerStatements]*sql.Stmt // those that are ready
	args   [12]any
}

func (w *writing) commit() error {
	err := w.tx.Commit()
	if err == nil || w.r.cfg.isRefused(err) {
		return err
	}
	return w.r.unknown(err)
}

// end gives the connection back. After an error it rolls back; where the
// transaction may still be open, after a failed commit, say, it ends with its
// connection.
func (w *writing) end(err error) {
	if err != nil && w.tx.Rollback() != nil {
		_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	_ = w.conn.Close()
}

// stmt returns a statement of the writer for use in the transaction.
func (w *writing) stmt(statement int) (*sql.Stmt, error) {
	s := &w.stmts[statement]
	if *s != nil {
		return *s, nil
	}
	if !w.joined {
		*s = w.tx.StmtContext(context.Background(), w.r.stmts.writer[statement])
		return *s, nil
	}
	stmt, err := w.tx.PrepareContext(context.Background(), w.r.text(writerTexts[statement]))
	*s = stmt
	return stmt, err
}

// query scans the one row of a statement of the writer.
func (w *writing) query(statement int, args []any, dest ...any) error {
	stmt, err := w.stmt(statement) //nolint:sqlclosecheck // with the recorder, or by join
	if err != nil {
		return err
	}
	return stmt.QueryRowContext(context.Background(), args...).Scan(dest...)
}

// errConflict is returned inside of this file by a statement that changed
// nothing because of what is stored.
var errConflict = errors.New("conflict")

// run stores one batch. Its own failure (a conflict, the error of its Do, its
// context) is in the result, and has changed nothing; an error means that the
// transaction is to be given up.
func (w *writing) run(req *group.Request) (res result, err error) {
	if res.err = req.Context.Err(); res.err != nil {
		return res, nil //nolint:nilerr // the error is the batch's own, in res
	}
	b := req.Batch
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
	}
	if err == nil && nested {
		err = w.exec("RELEASE batch")
	}
	if err != nil || positions == nil {
		return res, err
	}
	res.positions, res.fresh = positions, true
	if b.Do != nil {
		err = w.do(req)
	}
	return res, err
}

// do lets the caller run its own function. Its error gives up the transaction,
// which holds nothing else.
func (w *writing) do(req *group.Request) error {
	if err := w.exec("SAVEPOINT do"); err != nil {
		return err
	}
	if err := req.Do(w.tx); err != nil {
		return &doError{err}
	}
	if err := w.exec("RELEASE do"); err != nil {
		return &Error{Database: w.r.name, Op: "record", Kind: annals.ErrConfiguration, Err: fmt.Errorf(
			"Batch.Do ended the transaction, which is not its own: whether the batch is stored is not known: %w", err)}
	}
	return nil
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
	if b.Tracking != nil {
		if err := w.track(b.Tracking); err != nil {
			return nil, err
		}
	}
	return positions, nil
}

func (w *writing) track(t *persistence.Tracking) error {
	statement, args := track, []any{t.Name, t.Position}
	switch {
	case t.After == nil:
	case *t.After == 0:
		statement = trackFirst
	default:
		statement, args = trackNext, append(args, *t.After)
	}
	stmt, err := w.stmt(statement) //nolint:sqlclosecheck // with the recorder, or by join
	if err != nil {
		return err
	}
	res, err := stmt.ExecContext(context.Background(), args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, errConflict)
	}
	return nil
}

func (w *writing) insert(e *persistence.StoredEvent) (position int64, err error) {
	statement := insertNext
	if e.Version == 1 {
		statement = insertFirst
	}
	stmt, err := w.stmt(statement) //nolint:sqlclosecheck // with the recorder, or by join
	if err != nil {
		return 0, err
	}
	state := e.State
	if state == nil {
		state = []byte{}
	}
	w.args = [...]any{
		e.StreamID, e.Version, e.ID, e.Topic, e.Time.UnixMicro(), int64(e.Shape), e.Encoding, state,
		nullable(e.CorrelationID), nullable(e.CausationID), nullableBytes(e.Headers), nullableBytes(e.Hash),
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
	tracked := int64(0)
	if t := b.Tracking; t != nil {
		err := w.query(storedTracking, []any{t.Name}, &tracked)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return result{}, err
		}
	}
	if stored && (b.Tracking == nil || b.Tracking.Position <= tracked) {
		return result{positions: positions}, nil
	}
	seen := make(map[string]bool)
	for i := range b.Events {
		e := &b.Events[i]
		if seen[e.StreamID] {
			continue
		}
		seen[e.StreamID] = true
		var actual int64
		if err := w.query(maxVersion, []any{e.StreamID}, &actual); err != nil {
			return result{}, err
		}
		if actual != e.Version-1 {
			return result{err: &annals.VersionConflictError{StreamID: e.StreamID, Expected: e.Version - 1, Actual: actual}}, nil
		}
	}
	if t := b.Tracking; t != nil {
		return result{err: &annals.TrackingConflictError{Name: t.Name, Position: t.Position, Actual: tracked}}, nil
	}
	return result{}, fmt.Errorf("the batch was refused, and nothing stored explains it: %w", persistence.ErrCorrupt)
}

// stored returns the positions of the events if each is stored already.
func (w *writing) stored(events []persistence.StoredEvent) ([]int64, bool, error) {
	if len(events) == 0 {
		return nil, false, nil
	}
	positions := make([]int64, len(events))
	for i := range events {
		e := &events[i]
		var id string
		err := w.query(storedEvent, []any{e.StreamID, e.Version}, &positions[i], &id)
		if errors.Is(err, sql.ErrNoRows) || err == nil && id != e.ID {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
	}
	return positions, true, nil
}

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
