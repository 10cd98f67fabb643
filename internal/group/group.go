// Package group is how recorders commit saves together: what waits at the same
// moment is one transaction, and each save has its own result. There is no timer:
// the time that a commit takes is what fills the queue for the next one.
package group

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

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

	// Batch.Do runs in the goroutine of its caller, when the writer says so.
	turn chan any
	did  chan error
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

func newRequest(ctx context.Context, b *persistence.Batch) *Request {
	req := &Request{Context: ctx, Batch: b, result: make(chan Result, 1)}
	if b.Do != nil {
		req.turn, req.did = make(chan any), make(chan error)
	}
	return req
}

// Do lets the caller of [Writer.Record] call Batch.Do, in its own goroutine, with the
// transaction, and returns its error. It is called by the commit function alone. The
// context of Batch.Do is not cancelled with that of the request.
func (req *Request) Do(tx any) error {
	req.turn <- tx
	return <-req.did
}

// do calls the caller's own function. If that panics, or ends its goroutine, the
// writer is told.
func (req *Request) do(tx any) {
	err := errNotReturned
	defer func() { req.did <- err }()
	err = req.Batch.Do(context.WithoutCancel(req.Context), tx)
}

var errNotReturned = errors.New("Batch.Do did not return")

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

// wait returns the result of the request. When its context is done it waits on if
// the writer has taken it, because then only the writer's answer says for certain
// whether it was stored.
func (req *Request) wait() ([]int64, error) {
	done := req.Context.Done()
	for {
		select {
		case res := <-req.result:
			return res.Positions, res.Err
		case tx := <-req.turn:
			req.do(tx)
		case <-done:
			if req.state.CompareAndSwap(waiting, abandoned) {
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

// Record queues the batch, and returns what became of it. Whoever finds nobody
// writing commits what is queued by then.
func (w *Writer) Record(ctx context.Context, b *persistence.Batch) ([]int64, error) {
	req := newRequest(ctx, b)
	lead, err := w.add(req)
	switch {
	case err != nil:
		return nil, err
	case lead && b.Do != nil:
		go w.write() // this goroutine is needed for Do
	case lead:
		w.lead()
	}
	return req.wait() //nolint:contextcheck // the request has it
}

// add puts the request into the queue. If nobody writes, lead is true, and its
// caller is to call lead or, in a goroutine, write.
func (w *Writer) add(req *Request) (lead bool, err error) {
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

// lead commits one group, in the goroutine of the caller whose request is the first
// in it: a single saver needs no other goroutine. What was queued meanwhile is left
// to one, so that the caller is not kept.
func (w *Writer) lead() {
	defer func() {
		if !w.release() {
			go w.write()
		}
	}()
	w.commit(w.take())
}

// write commits until the queue is empty.
func (w *Writer) write() {
	for {
		group := w.take()
		w.commit(group)
		w.gather(len(group))
		if w.release() {
			return
		}
	}
}

// Close makes [Writer.Record] return [annals.ErrClosed], and waits for what is queued.
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

// How long gather lets others run: at most so often in a row although nobody queues a
// save, which takes some 20 µs if there is nobody to run; and not for longer than this,
// where others keep the processors busy.
const (
	idle      = 100
	gathering = time.Millisecond
)

// gather lets those run who just got their results, as long as they queue new saves: the
// next group has them all then, beside those who wait already. If it went on without them,
// they would be the next group but one, for ever, and each group half as large.
func (w *Writer) gather(answered int) {
	queued := w.queued()
	want := queued + answered
	begin := time.Now()
	for still := 0; queued < want && still < idle && time.Since(begin) < gathering; still++ {
		runtime.Gosched()
		if n := w.queued(); n != queued {
			queued, still = n, 0
		}
	}
}

func (w *Writer) queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
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
