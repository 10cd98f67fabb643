package annalstest

import (
	"fmt"
	"sync"
	"time"
)

// Clock is a clock that a test sets. It is safe for concurrent use.
//
//	clock := annalstest.NewClock(time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC))
//	dogs := Dogs.WithClock(clock.Now)
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands still at a time.
func NewClock(now time.Time) *Clock { return &Clock{now: now} }

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Set sets the clock, also back.
func (c *Clock) Set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// Advance moves the clock on, and returns its time.
func (c *Clock) Advance(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return c.now
}

// IDs makes ids that are the same in every run: "dog-1", "dog-2". It is safe for
// concurrent use.
//
//	dogs := Dogs.WithIDs(annalstest.NewIDs("event").Next)
type IDs struct {
	prefix string

	mu sync.Mutex
	n  int
}

// NewIDs returns ids that begin with the prefix.
func NewIDs(prefix string) *IDs { return &IDs{prefix: prefix} }

// Next returns the next id.
func (i *IDs) Next() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.n++
	return fmt.Sprintf("%s-%d", i.prefix, i.n)
}
