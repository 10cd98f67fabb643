package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// maxGroup is the greatest number of requests that are committed together.
const maxGroup = 512

// request is a batch on its way to the writer.
type request struct {
	ctx    context.Context //nolint:containedctx // travels with the request to the writer
	batch  *persistence.Batch
	state  atomic.Int32 // waiting, then taken or abandoned
	result chan result  // has room for the one result
}

const (
	waiting = iota
	taken
	abandoned
)

type result struct {
	positions []int64
	err       error
	panicked  any // what the caller's own function panicked with
}

// Record stores the batch. It waits while other saves are committed, at most as
// long as [WithBusyTimeout] says for the lock of another process. The transaction
// that it passes to Do is a *sql.Tx.
func (r *Recorder) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	if err := r.usable(ctx); err != nil {
		return nil, r.errorf(ctx, "record", err)
	}
	req := &request{ctx: ctx, batch: &b, result: make(chan result, 1)}
	if err := r.enqueue(req); err != nil {
		return nil, err
	}
	select {
	case res := <-req.result:
		return res.get()
	case <-ctx.Done():
		if req.state.CompareAndSwap(waiting, abandoned) {
			return nil, ctx.Err()
		}
		// The writer has it: its answer says for certain whether it was stored.
		res := <-req.result
		return res.get()
	}
}

func (res *result) get() ([]int64, error) {
	if res.panicked != nil {
		panic(res.panicked)
	}
	return res.positions, res.err
}

func (r *Recorder) enqueue(req *request) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return annals.ErrClosed
	}
	r.queue = append(r.queue, req)
	r.mu.Unlock()
	r.wakeWriter()
	return nil
}

func (r *Recorder) wakeWriter() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// write is the goroutine that alone writes events. What waits in the queue is
// committed together: there is no timer, the time that a commit takes is what
// fills the queue for the next one. It ends when the recorder is closed and the
// queue is empty.
func (r *Recorder) write() {
	defer close(r.done)
	for {
		group, closed := r.take()
		if len(group) == 0 {
			if closed {
				return
			}
			<-r.wake
			continue
		}
		r.commit(group)
		r.gather(len(group))
	}
}

// gather lets those run who just got their results, as long as they queue new
// saves: the next group is then as large as the last one. It waits for nothing
// else.
func (r *Recorder) gather(last int) {
	for queued := -1; ; {
		runtime.Gosched()
		r.mu.Lock()
		n := len(r.queue)
		r.mu.Unlock()
		if n == queued || n >= last {
			return
		}
		queued = n
	}
}

// take takes the next group out of the queue. A batch with the caller's own
// statements is a group of its own: what these do to the transaction concerns
// nobody else.
func (r *Recorder) take() (group []*request, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.queue) && n < maxGroup {
		if r.queue[n].batch.Do != nil {
			n = max(n, 1)
			break
		}
		n++
	}
	if n == len(r.queue) {
		group, r.queue = r.queue, nil
		return group, r.closed
	}
	group, r.queue = r.queue[:n:n], r.queue[n:]
	return group, r.closed
}

// commit stores the group in one transaction, and answers each request. If the
// transaction fails before its commit, each request is tried in a transaction of
// its own, so that each gets its own result.
func (r *Recorder) commit(group []*request) {
	running := group[:0]
	for _, req := range group {
		if req.state.CompareAndSwap(waiting, taken) {
			running = append(running, req)
		}
	}
	results := make([]result, len(running))
	if err := r.tryCommit(running, results); err != nil {
		for i, req := range running {
			if len(running) > 1 && !errors.Is(err, annals.ErrOutcomeUnknown) {
				results[i] = result{}
				results[i].fail(r.tryCommit([]*request{req}, results[i:i+1]))
			} else {
				results[i].fail(err)
			}
		}
	}
	r.notify(results)
	for i, req := range running {
		if err := results[i].err; err != nil {
			if own, ok := err.(*doError); ok { //nolint:errorlint // it is what do returned
				results[i].err = own.error
			} else {
				results[i].err = r.errorf(req.ctx, "record", err)
			}
		}
		req.result <- results[i]
	}
}

// fail sets the error of a request whose transaction failed. The error that it
// has already, if any, is its own reason.
func (res *result) fail(err error) {
	if err != nil && res.err == nil {
		*res = result{err: err, panicked: res.panicked}
	}
}

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
	args                           [14]any
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
	var tags any
	if len(e.Tags) > 0 {
		b, err := json.Marshal(e.Tags)
		if err != nil {
			return 0, err
		}
		tags = string(b)
	}
	w.args = [...]any{
		e.StreamID, e.Version, e.ID, e.Topic, e.Time.UnixMicro(), int64(e.Format), int64(e.Shape), e.Encoding, state,
		nullable(e.CorrelationID), nullable(e.CausationID), nullableBytes(e.Headers), tags, nullableBytes(e.Hash),
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
func (w *writing) do(req *request, positions []int64) (res result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errPanic
			res = result{panicked: fmt.Sprintf("%v\n\nin Batch.Do:\n%s", p, debug.Stack())}
		}
	}()
	if err := req.batch.Do(req.ctx, w.tx); err != nil {
		return result{}, &doError{err}
	}
	return result{positions: positions}, nil
}

var errPanic = errors.New("the caller's own function panicked")

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
