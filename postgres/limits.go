package postgres

import (
	"context"
	"net"
	"sync"
	"time"
)

// limits ends contexts after a time, as context.WithTimeout does, and what connections
// wait for, by one timer for all of them, which runs on when a call is over. A timer of
// its own for each call wakes the scheduler twice: a tenth of the time that a save takes.
type limits struct {
	mu      sync.Mutex
	running map[limit]time.Time // when each ends
	timer   *time.Timer         // nil until the first call
	fires   time.Time           // zero: the timer does not run
}

// limit is what ends at a time. Its pointer tells it from others.
type limit interface{ end() }

// limited is a context that ends with the others of its limits.
type limited struct {
	context.Context //nolint:containedctx // it is one
	cancel          context.CancelCauseFunc
}

func (c *limited) end() { c.cancel(context.DeadlineExceeded) }

// Err returns [context.DeadlineExceeded] after the time of the context.
func (c *limited) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == context.DeadlineExceeded { //nolint:errorlint // no other
		return context.DeadlineExceeded
	}
	return err
}

// guarded is a connection that waits for the server, which ends with the others of its
// limits. A context would do the same, at the price of being watched.
type guarded struct{ net.Conn }

func (c *guarded) end() { _ = c.SetDeadline(time.Unix(1, 0)) }

// within returns a context that ends after a time, or with ctx. Who calls it calls
// done afterwards.
func (l *limits) within(ctx context.Context, d time.Duration) (_ context.Context, done func()) {
	inner, cancel := context.WithCancelCause(ctx)
	c := &limited{Context: inner, cancel: cancel}
	l.begin(c, d)
	return c, func() {
		l.over(c)
		cancel(nil)
	}
}

// guard makes what the connection waits for after a time fail by a timeout. Who calls it
// calls done afterwards; a connection that was ended is of no use any more.
func (l *limits) guard(conn net.Conn, d time.Duration) (done func() (ended bool)) {
	c := &guarded{conn}
	l.begin(c, d)
	return func() bool { return l.over(c) }
}

func (l *limits) begin(c limit, d time.Duration) {
	until := time.Now().Add(d)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running == nil {
		l.running = make(map[limit]time.Time)
	}
	l.running[c] = until
	l.fireAt(until)
}

// over says that a call is over, and reports whether it was ended.
func (l *limits) over(c limit) (ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, running := l.running[c]
	delete(l.running, c)
	return !running
}

// fireAt has the timer fire at a time, or before. The lock is held.
func (l *limits) fireAt(t time.Time) {
	if !l.fires.IsZero() && !t.Before(l.fires) {
		return
	}
	l.fires = t
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Until(t), l.end)
		return
	}
	l.timer.Reset(time.Until(t))
}

// end ends the calls whose time is over.
func (l *limits) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fires = time.Time{}
	now := time.Now()
	for c, until := range l.running {
		if until.After(now) {
			l.fireAt(until)
			continue
		}
		delete(l.running, c)
		c.end()
	}
}

// stop stops the timer, when no call runs any more.
func (l *limits) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}
