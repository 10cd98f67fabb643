package postgres

import (
	"context"
	"sync"
	"time"
)

// limits ends contexts after a time, as context.WithTimeout does, by one timer for
// all of them, which runs on when a call is over. A timer of its own for each call
// wakes the scheduler twice: a tenth of the time that a save takes.
type limits struct {
	mu      sync.Mutex
	running map[*limited]struct{}
	timer   *time.Timer // nil until the first call
	fires   time.Time   // zero: the timer does not run
}

// limited is a context that ends with the others of its limits.
type limited struct {
	context.Context //nolint:containedctx // it is one
	cancel          context.CancelCauseFunc
	until           time.Time
}

// Err returns [context.DeadlineExceeded] after the time of the context.
func (c *limited) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == context.DeadlineExceeded { //nolint:errorlint // no other
		return context.DeadlineExceeded
	}
	return err
}

// within returns a context that ends after a time, or with ctx. Who calls it calls
// done afterwards.
func (l *limits) within(ctx context.Context, d time.Duration) (_ context.Context, done func()) {
	inner, cancel := context.WithCancelCause(ctx)
	c := &limited{Context: inner, cancel: cancel, until: time.Now().Add(d)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running == nil {
		l.running = make(map[*limited]struct{})
	}
	l.running[c] = struct{}{}
	l.fireAt(c.until)
	return c, func() {
		l.mu.Lock()
		delete(l.running, c)
		l.mu.Unlock()
		cancel(nil)
	}
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

// end ends the contexts whose time is over.
func (l *limits) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fires = time.Time{}
	now := time.Now()
	for c := range l.running {
		if c.until.After(now) {
			l.fireAt(c.until)
			continue
		}
		delete(l.running, c)
		c.cancel(context.DeadlineExceeded)
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
