// Package group is how recorders commit saves together: what waits at the same
// moment is one transaction, and each save has its own result. There is no timer:
// the time that a commit takes is what fills the queue for the next one.
package group

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Request is a save on its way to the writer.
type Request struct {
	// Context is that of the caller.
	Context context.Context //nolint:containedctx // travels with the request to the writer
	// Batch is what is to be stored.
	Batch *persistence.Batch

	state    atomic.Int32 // waiting, then taken or abandoned
	answered bool         // of the writer
	result   chan Result  // has room for the one result
}

// Result is what becomes of a request.
type Result struct {
	Positions []int64
	Err       error
}

const (
	waiting = iota
	taken
	abandoned
)

// NewRequest returns a request.
func NewRequest(ctx context.Context, b *persistence.Batch) *Request {
	return &Request{Context: ctx, Batch: b, result: make(chan Result, 1)}
}

// Result is where the one result comes.
func (req *Request) Result() <-chan Result { return req.result }

// Abandon gives the request up, and reports whether it did: not if the writer has
// taken it, because then only the writer's answer says for certain whether it was
// stored.
func (req *Request) Abandon() bool { return req.state.CompareAndSwap(waiting, abandoned) }

// Answer gives the request its result. It is called by the commit function alone;
// a second answer changes nothing.
func (req *Request) Answer(res Result) {
	if !req.answered {
		req.answered = true
		req.result <- res
	}
}

// Answered reports whether the request has its result.
func (req *Request) Answered() bool { return req.answered }

// Wait returns the result of the request. When its context is done it waits on if
// the writer has taken it.
func (req *Request) Wait() ([]int64, error) {
	done := req.Context.Done()
	for {
		select {
		case res := <-req.result:
			return res.Positions, res.Err
		case <-done:
			if req.Abandon() {
				return nil, req.Context.Err()
			}
			done = nil
		}
	}
}

// Config says how a [Writer] commits.
type Config struct {
	// Take takes the next group out of the queue, which is not empty: at least the
	// first request. What it does not take keeps its order.
	Take func(queue []*Request) (group, rest []*Request)
	// Commit stores a group, and answers each of its requests. It is called by one
	// goroutine at a time.
	Commit func(group []*Request)
	// Lost is the answer to requests that Commit left without one, if it panics.
	Lost error
}

// Writer commits requests in groups, one group at a time. It is safe for concurrent
// use.
type Writer struct {
	cfg Config

	mu      sync.Mutex
	queue   []*Request
	writing bool // somebody commits what is queued
	closed  bool

	writers sync.WaitGroup // one while writing is true
}

// New returns a writer.
func New(cfg Config) *Writer { return &Writer{cfg: cfg} }

// Add puts the request into the queue. If nobody writes, lead is true, and its
// caller is to call [Writer.Lead] or, in a goroutine, [Writer.Write].
func (w *Writer) Add(req *Request) (lead bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false, annals.ErrClosed
	}
	w.queue = append(w.queue, req)
	if w.writing {
		return false, nil
	}
	w.writing = true
	w.writers.Add(1)
	return true, nil
}

// Lead commits one group, in the goroutine of the caller whose request is the first
// in it: a single saver needs no other goroutine. What was queued meanwhile is left
// to one, so that the caller is not kept.
func (w *Writer) Lead() {
	defer func() {
		if !w.release() {
			go w.Write()
		}
	}()
	w.commit(w.take())
}

// Write commits until the queue is empty.
func (w *Writer) Write() {
	for {
		group := w.take()
		w.commit(group)
		w.gather(len(group))
		if w.release() {
			return
		}
	}
}

// Close makes [Writer.Add] return [annals.ErrClosed], and waits for what is queued.
// It reports whether it was the first to be called.
func (w *Writer) Close() (first bool) {
	w.mu.Lock()
	first = !w.closed
	w.closed = true
	w.mu.Unlock()
	w.writers.Wait()
	return first
}

// release ends the writing, if the queue is empty.
func (w *Writer) release() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) > 0 {
		return false
	}
	w.writing = false
	w.writers.Done()
	return true
}

// gather lets those run who just got their results, as long as they queue new
// saves: the next group is then as large as the last one. It waits for nothing
// else.
func (w *Writer) gather(last int) {
	for queued := -1; ; {
		runtime.Gosched()
		w.mu.Lock()
		n := len(w.queue)
		w.mu.Unlock()
		if n == queued || n >= last {
			return
		}
		queued = n
	}
}

func (w *Writer) take() (group []*Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	group, w.queue = w.cfg.Take(w.queue)
	return group
}

// commit passes on what was not abandoned. Nobody waits for ever, also if the
// driver panics.
func (w *Writer) commit(group []*Request) {
	running := group[:0]
	for _, req := range group {
		if req.state.CompareAndSwap(waiting, taken) {
			running = append(running, req)
		}
	}
	defer func() {
		for _, req := range running {
			req.Answer(Result{Err: w.cfg.Lost})
		}
	}()
	if len(running) > 0 {
		w.cfg.Commit(running)
	}
}
