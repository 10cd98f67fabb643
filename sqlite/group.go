package sqlite

import (
	"context"
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
	lead, err := r.enqueue(req)
	if err != nil {
		return nil, err
	}
	if lead {
		r.lead() //nolint:contextcheck // it commits for others, too, whatever becomes of this context
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
	r.commit(r.take())
	if !r.release() {
		go r.write()
	}
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
