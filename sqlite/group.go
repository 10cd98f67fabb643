package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// maxGroup is the greatest number of requests that are committed together.
const maxGroup = 512

// request is a batch on its way to the writer.
type request struct {
	ctx      context.Context //nolint:containedctx // travels with the request to the writer
	batch    *persistence.Batch
	state    atomic.Int32 // waiting, then taken or abandoned
	answered bool         // of the writer
	result   chan result  // has room for the one result

	// Do runs in the goroutine of its caller, in the middle of the writer's
	// transaction.
	turn chan *sql.Tx
	did  chan error
}

const (
	waiting = iota
	taken
	abandoned
)

type result struct {
	positions []int64
	fresh     bool // they are those of events that were stored now
	err       error
}

// Record stores the batch. It waits while other saves are committed, and for the
// lock of another process as long as [WithBusyTimeout] says or until its context
// is done. The transaction that it passes to Do is a *sql.Tx. Do's context is not
// cancelled with ctx, because SQLite gives up a whole transaction when a statement
// of it is interrupted.
func (r *Recorder) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	if err := r.usable(ctx); err != nil {
		return nil, r.errorf(ctx, "record", err)
	}
	req := &request{ctx: ctx, batch: &b, result: make(chan result, 1)}
	if b.Do != nil {
		req.turn, req.did = make(chan *sql.Tx), make(chan error)
	}
	lead, err := r.enqueue(req)
	switch {
	case err != nil:
		return nil, err
	case lead && b.Do != nil:
		go r.write() //nolint:contextcheck // as below; this goroutine is needed for Do
	case lead:
		r.lead() //nolint:contextcheck // it commits for others, too, whatever becomes of this context
	}
	return req.wait() //nolint:contextcheck // the request has it
}

// wait returns the result of the request. When its context is done it waits on
// if the writer has taken it, because then only the writer's answer says for
// certain whether it was stored.
func (req *request) wait() ([]int64, error) {
	done := req.ctx.Done()
	for {
		select {
		case res := <-req.result:
			if res.fresh && res.err == nil && req.batch.Fresh != nil {
				*req.batch.Fresh = true
			}
			return res.positions, res.err
		case tx := <-req.turn:
			req.do(tx)
		case <-done:
			if req.state.CompareAndSwap(waiting, abandoned) {
				return nil, req.ctx.Err()
			}
			done = nil
		}
	}
}

// do calls the caller's own function. If that panics, or ends its goroutine, the
// writer is told, and gives up the transaction.
func (req *request) do(tx *sql.Tx) {
	err := errNotReturned
	defer func() { req.did <- err }()
	err = req.batch.Do(context.WithoutCancel(req.ctx), tx)
}

var errNotReturned = errors.New("Batch.Do did not return")

// enqueue puts the request into the queue. If nobody writes, its caller is to
// lead.
func (r *Recorder) enqueue(req *request) (lead bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false, annals.ErrClosed
	}
	r.queue = append(r.queue, req)
	if r.writing {
		return false, nil
	}
	r.writing = true
	r.writers.Add(1)
	return true, nil
}

// lead commits the queue as it is now, in the goroutine of the caller whose
// request is the first in it: a single saver needs no other goroutine. What was
// queued meanwhile is left to one, so that the caller is not kept.
func (r *Recorder) lead() {
	defer func() {
		if !r.release() {
			go r.write()
		}
	}()
	r.commit(r.take())
}

// write commits until the queue is empty. What waits is committed together: there
// is no timer, the time that a commit takes is what fills the queue for the next.
func (r *Recorder) write() {
	for {
		group := r.take()
		r.commit(group)
		r.gather(len(group))
		if r.release() {
			return
		}
	}
}

// release ends the writing, if the queue is empty.
func (r *Recorder) release() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) > 0 {
		return false
	}
	r.writing = false
	r.writers.Done()
	return true
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
func (r *Recorder) take() (group []*request) {
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
		return group
	}
	group, r.queue = r.queue[:n:n], r.queue[n:]
	return group
}

// commit stores the group in one transaction, and answers each request. If that
// fails because of one of them, each is tried in a transaction of its own.
func (r *Recorder) commit(group []*request) {
	running := group[:0]
	for _, req := range group {
		if req.state.CompareAndSwap(waiting, taken) {
			running = append(running, req)
		}
	}
	defer func() { // nobody waits for ever, also if the driver panics
		for _, req := range running {
			r.answer(req, result{err: r.unknown(errors.New("the writer did not return"))})
		}
	}()
	if len(running) == 0 || r.store(running) {
		return
	}
	for _, req := range running {
		if !req.answered {
			r.store([]*request{req})
		}
	}
}

// answer gives a request its result, once.
func (r *Recorder) answer(req *request, res result) {
	if req.answered {
		return
	}
	req.answered = true
	if res.err != nil {
		if own, ok := res.err.(*doError); ok { //nolint:errorlint // it is what Do returned
			res.err = own.error
		} else {
			res.err = r.errorf(req.ctx, "record", res.err)
		}
	}
	req.result <- res
}

// store stores the group in one transaction, and answers each request. If a
// statement fails for another reason than a conflict, and there are several
// requests, it returns false: nothing is stored, and each is to be stored alone.
func (r *Recorder) store(group []*request) bool {
	if len(group) == 1 && r.storeSingle(group[0]) {
		return true
	}
	w, group, err := r.begin(group)
	if err != nil {
		for _, req := range group {
			r.answer(req, result{err: err})
		}
		return true
	}
	if len(group) == 0 {
		return true
	}
	results := make([]result, len(group))
	stored := false
	for i, req := range group {
		if results[i], err = w.run(req); err != nil {
			break
		}
		stored = stored || len(results[i].positions) > 0
	}
	if err == nil {
		err = w.commit()
	}
	w.end(err)
	if err != nil {
		if len(group) > 1 && !errors.Is(err, annals.ErrOutcomeUnknown) {
			return false
		}
		for i := range results {
			if results[i].err == nil {
				results[i] = result{err: err}
			}
		}
	} else if stored {
		r.notify()
	}
	for i, req := range group {
		r.answer(req, results[i])
	}
	return true
}

// notify wakes those who wait for events.
func (r *Recorder) notify() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		close(r.changed)
		r.changed = make(chan struct{})
	}
}
