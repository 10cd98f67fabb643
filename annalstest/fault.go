package annalstest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals"
)

// Fault is what goes wrong with one call of a recorder. It is made by the functions of
// this package that return one; its zero value is [Pass].
type Fault struct {
	name   string
	fits   kind
	gate   *Gate
	delay  time.Duration
	before error
	after  error
	yields int
}

// kind says of which calls a fault can be.
type kind int

const (
	anyCall kind = iota
	writes       // Record, RecordTx, RecordSnapshot
	reads        // ReadStream, ReadLog
)

// Pass is no fault: the call goes through.
func Pass() Fault { return Fault{} }

// Before fails a call with the error before anything is done.
func Before(err error) Fault { return Fault{name: "Before", before: given("Before", err)} }

// Instead stores nothing, and says that this is not known: the connection was lost
// before the commit. The error is [annals.ErrOutcomeUnknown]. It is a fault of writes.
func Instead() Fault {
	return Fault{name: "Instead", fits: writes, before: fmt.Errorf("annalstest: the connection was lost: %w", annals.ErrOutcomeUnknown)}
}

// LostAnswer stores everything, and says that this is not known: the connection was
// lost after the commit. The error is [annals.ErrOutcomeUnknown]. It is a fault of
// writes.
func LostAnswer() Fault {
	return Fault{name: "LostAnswer", fits: writes, after: fmt.Errorf("annalstest: the answer was lost: %w", annals.ErrOutcomeUnknown)}
}

// After stores everything, and then returns the error. It is a fault of writes, and
// no recorder does so that keeps its promises: [LostAnswer] is what they do.
func After(err error) Fault { return Fault{name: "After", fits: writes, after: given("After", err)} }

// BreakAfter ends a read with the error after it yielded n events, or all that there
// are if they are fewer. It is a fault of reads.
func BreakAfter(n int, err error) Fault {
	if n < 0 {
		panic(fmt.Sprintf("annalstest: BreakAfter(%d): negative", n))
	}
	return Fault{name: "BreakAfter", fits: reads, yields: n, after: given("BreakAfter", err)}
}

// Slow lets a call go through after a time, or fails it with the context's error, with
// nothing done. In a bubble of testing/synctest this takes no time.
func Slow(d time.Duration) Fault { return Fault{name: "Slow", delay: d} }

// Held lets a call go through once the gate is opened, or fails it with the context's
// error, with nothing done.
func Held(g *Gate) Fault {
	if g == nil {
		panic("annalstest: Held: the gate is nil")
	}
	return Fault{name: "Held", gate: g}
}

func given(what string, err error) error {
	if err == nil {
		panic("annalstest: " + what + ": the error is nil; a call without a fault is Pass")
	}
	return err
}

// Gate holds calls until it is opened: a latency that a test decides on. It is safe for
// concurrent use.
//
//	gate := annalstest.NewGate()
//	faults.OnRecord(annalstest.Held(gate))
//	go save()
//	<-gate.Reached() // the save is under way
//	gate.Open()
type Gate struct {
	reached, opened chan struct{}
	reach, open     sync.Once
}

// NewGate returns a gate that is shut.
func NewGate() *Gate { return &Gate{reached: make(chan struct{}), opened: make(chan struct{})} }

// Reached is closed when the first call has come to the gate.
func (g *Gate) Reached() <-chan struct{} { return g.reached }

// Open lets all calls through, also those that come later.
func (g *Gate) Open() { g.open.Do(func() { close(g.opened) }) }

func (g *Gate) pass(ctx context.Context) error {
	g.reach.Do(func() { close(g.reached) })
	select {
	case <-g.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Calls are how often the methods of a recorder were called, with a fault or without.
type Calls struct {
	// Record counts RecordTx as well.
	Record, ReadStream, ReadLog, MaxPosition, Wait, MaxTracking, RecordSnapshot, ReadSnapshot int
}

// Faults are what goes wrong with a recorder. Each method of it has a queue, with the
// faults of its next calls, one for each; a call that finds its queue empty goes
// through. Faults that no call has met when the test ends fail it: what it wanted to
// see did not happen. It is safe for concurrent use.
type Faults struct {
	mu       sync.Mutex
	queues   [methods][]Fault
	calls    [methods]int
	down     error
	waiting  map[int]context.CancelCauseFunc // the calls of Wait
	nextWait int
}

// method is a method of a recorder.
type method int

const (
	record method = iota
	readStream
	readLog
	maxPosition
	wait
	maxTracking
	recordSnapshot
	readSnapshot
	methods // how many there are
)

var methodNames = [methods]string{
	"Record", "ReadStream", "ReadLog", "MaxPosition", "Wait", "MaxTracking", "RecordSnapshot", "ReadSnapshot",
}

// OnRecord queues faults for the next calls of Record and RecordTx. It panics, as the
// other methods do, for a fault that such a call cannot have.
func (f *Faults) OnRecord(faults ...Fault) { f.queue(record, writes, faults) }

// OnReadStream queues faults for the next reads of streams.
func (f *Faults) OnReadStream(faults ...Fault) { f.queue(readStream, reads, faults) }

// OnReadLog queues faults for the next reads of the log.
func (f *Faults) OnReadLog(faults ...Fault) { f.queue(readLog, reads, faults) }

// OnMaxPosition queues faults for the next calls of MaxPosition, which application.Open
// and subscriptions make.
func (f *Faults) OnMaxPosition(faults ...Fault) { f.queue(maxPosition, anyCall, faults) }

// OnWait queues faults for the next calls of Wait, which subscriptions make when they
// have caught up.
func (f *Faults) OnWait(faults ...Fault) { f.queue(wait, anyCall, faults) }

// OnMaxTracking queues faults for the next calls of MaxTracking.
func (f *Faults) OnMaxTracking(faults ...Fault) { f.queue(maxTracking, anyCall, faults) }

// OnRecordSnapshot queues faults for the next calls of RecordSnapshot.
func (f *Faults) OnRecordSnapshot(faults ...Fault) { f.queue(recordSnapshot, writes, faults) }

// OnReadSnapshot queues faults for the next calls of ReadSnapshot.
func (f *Faults) OnReadSnapshot(faults ...Fault) { f.queue(readSnapshot, anyCall, faults) }

// Down fails every call with the error until [Faults.Up], and ends reads and waits that
// are under way: the database is not to be reached. Queues stay as they are.
func (f *Faults) Down(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = given("Down", err)
	for _, cancel := range f.waiting {
		cancel(err)
	}
}

// Up ends what [Faults.Down] began.
func (f *Faults) Up() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = nil
}

// Calls returns how often each method was called.
func (f *Faults) Calls() Calls {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &f.calls
	return Calls{
		Record: c[record], ReadStream: c[readStream], ReadLog: c[readLog], MaxPosition: c[maxPosition], Wait: c[wait],
		MaxTracking: c[maxTracking], RecordSnapshot: c[recordSnapshot], ReadSnapshot: c[readSnapshot],
	}
}

func (f *Faults) queue(m method, k kind, faults []Fault) {
	for _, fault := range faults {
		if fault.fits != anyCall && fault.fits != k {
			panic(fmt.Sprintf("annalstest: On%s(%s): no such call ends so", methodNames[m], fault.name))
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queues[m] = append(f.queues[m], faults...)
}

// report fails a test that ends before all faults were met.
func (f *Faults) report(tb testing.TB) {
	tb.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for m, q := range f.queues {
		if len(q) > 0 && !tb.Failed() && !tb.Skipped() {
			tb.Errorf("annalstest: faults that no call met: %d of %s; number of its calls: %d", len(q), methodNames[m], f.calls[m])
		}
	}
}

// next returns the fault of a call that may go on: its gate is open, its time is over,
// and it does not fail before anything is done.
func (f *Faults) next(ctx context.Context, m method) (Fault, error) {
	f.mu.Lock()
	f.calls[m]++
	if err := f.down; err != nil {
		f.mu.Unlock()
		return Fault{}, err
	}
	var fault Fault
	if q := f.queues[m]; len(q) > 0 {
		fault, f.queues[m] = q[0], q[1:]
	}
	f.mu.Unlock()
	switch {
	case fault.gate != nil:
		return fault, fault.gate.pass(ctx)
	case fault.delay > 0:
		timer := time.NewTimer(fault.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fault, ctx.Err()
		}
	}
	return fault, fault.before
}

func (f *Faults) isDown() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}

// untilDown returns a context that also ends when Down is called, with its error as
// the cause.
func (f *Faults) untilDown(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		cancel(f.down)
	}
	n := f.nextWait
	f.nextWait++
	if f.waiting == nil {
		f.waiting = make(map[int]context.CancelCauseFunc)
	}
	f.waiting[n] = cancel
	return ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.waiting, n)
		cancel(nil)
	}
}
