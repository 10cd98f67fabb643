package sqlite

import (
	"context"
	"errors"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/group"
	"github.com/annals-es/annals/persistence"
)

// maxGroup is the greatest number of requests that are committed together.
const maxGroup = 512

// result is what becomes of a batch.
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
	if b.Ledger != nil {
		b.OpenLedger(r.openLedger)
	}
	return r.writer.Record(ctx, &b)
}

// take takes the next group out of the queue. A batch with the caller's own
// statements is a group of its own: what these do to the transaction concerns
// nobody else.
func take(queue []*group.Request) (taken, rest []*group.Request) {
	n := 0
	for n < len(queue) && n < maxGroup {
		if queue[n].Batch.Do != nil {
			n = max(n, 1)
			break
		}
		n++
	}
	if n == len(queue) {
		return queue, nil
	}
	return queue[:n:n], queue[n:]
}

// commit stores the group in one transaction, and answers each request. If that
// fails because of one of them, each is tried in a transaction of its own.
func (r *Recorder) commit(reqs []*group.Request) {
	if r.store(reqs) {
		return
	}
	for _, req := range reqs {
		if !req.Answered() {
			r.store([]*group.Request{req})
		}
	}
}

// answer gives a request its result, once.
func (r *Recorder) answer(req *group.Request, res result) {
	if req.Answered() {
		return
	}
	if res.err != nil {
		if own, ok := res.err.(*doError); ok { //nolint:errorlint // it is what Do returned
			res.err = own.error
		} else {
			res.err = r.errorf(req.Context, "record", res.err)
		}
	}
	if res.fresh && res.err == nil && req.Batch.Fresh != nil {
		*req.Batch.Fresh = true
	}
	req.Answer(group.Result{Positions: res.positions, Err: res.err})
}

// store stores the group in one transaction, and answers each request. If a
// statement fails for another reason than a conflict, and there are several
// requests, it returns false: nothing is stored, and each is to be stored alone.
func (r *Recorder) store(reqs []*group.Request) bool {
	if len(reqs) == 1 && r.storeSingle(reqs[0]) {
		return true
	}
	w, reqs, err := r.begin(reqs)
	if err != nil {
		for _, req := range reqs {
			r.answer(req, result{err: err})
		}
		return true
	}
	if len(reqs) == 0 {
		return true
	}
	results := make([]result, len(reqs))
	stored := false
	for i, req := range reqs {
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
		if len(reqs) > 1 && !errors.Is(err, annals.ErrOutcomeUnknown) {
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
	for i, req := range reqs {
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
