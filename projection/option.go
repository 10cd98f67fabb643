package projection

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/annals-es/annals"
)

// Option sets a property of a [Runner].
type Option interface{ apply(c *config) error }

type option func(*config) error

func (o option) apply(c *config) error { return o(c) }

type config struct {
	batch      int
	batchTime  time.Duration
	attempts   int
	firstPause time.Duration
	lastPause  time.Duration
	then       Failure
	partitions int
	lease      time.Duration // how long it holds; 0: no lease
	hook       func(Status)
	after      int64
	manual     bool
}

func configure(opts []Option) (config, error) {
	c := config{
		batch: 500, batchTime: 100 * time.Millisecond,
		attempts: 6, firstPause: 50 * time.Millisecond, lastPause: 5 * time.Second, then: Stop,
		partitions: 1, lease: 3 * time.Second,
	}
	for _, o := range opts {
		if err := o.apply(&c); err != nil {
			return config{}, err
		}
	}
	return c, nil
}

func wrong(format string, args ...any) error {
	return fmt.Errorf("projection: %s: %w", fmt.Sprintf(format, args...), annals.ErrConfiguration)
}

// WithBatch says how much is written in one transaction: up to so many events, from 1
// to 10,000, and no further event once it has lasted so long, from a millisecond to a
// minute. A runner does not wait for a batch to become full. Default: 500 events, 100
// milliseconds; of a [Consumer], whose batch is what may be delivered again after a
// crash, 1 event.
func WithBatch(events int, lasting time.Duration) Option {
	return option(func(c *config) error {
		if events < 1 || events > 10_000 || lasting < time.Millisecond || lasting > time.Minute {
			return wrong("WithBatch(%d, %v): not 1 to 10,000 events, and a millisecond to a minute", events, lasting)
		}
		c.batch, c.batchTime = events, lasting
		return nil
	})
}

// Failure says what becomes of an event whose handler fails each time that it is tried.
type Failure int

const (
	// Stop ends the runner, with the error. Nothing goes on until it is started again.
	Stop Failure = iota
	// Skip leaves the event out.
	Skip
	// Park keeps the event, and the later ones of its stream behind it, for [Retry] or
	// [Drop]. Other streams go on.
	Park
)

// String returns "stop", "skip" or "park".
func (f Failure) String() string {
	switch f {
	case Stop:
		return "stop"
	case Skip:
		return "skip"
	case Park:
		return "park"
	default:
		return fmt.Sprintf("Failure(%d)", int(f))
	}
}

// WithFailures says what is done when a handler fails: it is called again, alone, until
// it was called so many times, from 1 to 1,000; then the policy holds. Between the calls
// is a random pause, up to a bound that doubles from the first to the last. Meanwhile
// its partition waits, and the others once the runner has read two batches ahead of it.
// That a view cannot be reached, or is full, is no failure of an event: this is tried
// again for as long as it lasts. Default: 6 times, 50 milliseconds to 5 seconds, [Stop].
func WithFailures(attempts int, first, last time.Duration, then Failure) Option {
	return option(func(c *config) error {
		if attempts < 1 || attempts > 1000 || first < 0 || last < first || then < Stop || then > Park {
			return wrong("WithFailures(%d, %v, %v, %v): not 1 to 1,000 attempts, pauses from the shorter to the longer, and a policy",
				attempts, first, last, then)
		}
		c.attempts, c.firstPause, c.lastPause, c.then = attempts, first, last, then
		return nil
	})
}

// WithPartitions says how many goroutines handle events, each the events of some
// streams, in transactions of its own, from 1 to 1,000. The number may change from one
// start to the next: the partitions first catch up with the furthest of them. Default: 1.
func WithPartitions(n int) Option {
	return option(func(c *config) error {
		if n < 1 || n > 1000 {
			return wrong("WithPartitions(%d): not 1 to 1,000", n)
		}
		c.partitions = n
		return nil
	})
}

// WithLease says how long a runner may be silent before another process takes over, from
// 50 milliseconds to an hour. It is renewed three times as often. Zero is no lease: every
// runner runs, and all but one work in vain, without harm. Default: 3 seconds.
func WithLease(d time.Duration) Option {
	return option(func(c *config) error {
		if d != 0 && (d < 50*time.Millisecond || d > time.Hour) {
			return wrong("WithLease(%v): neither zero nor 50 milliseconds to an hour", d)
		}
		c.lease = d
		return nil
	})
}

// WithHook calls a function with the status of the runner when it has changed: after
// each transaction, each failure, and at the end. It is called by one goroutine at a
// time, which waits for it: it should be quick, and must not call Stop, Wait or Switch. It
// may be called before [Start] has returned. Default: none.
func WithHook(f func(Status)) Option {
	return option(func(c *config) error {
		if f == nil {
			return wrong("WithHook(nil)")
		}
		c.hook = f
		return nil
	})
}

// StartAfter says behind which position a projection that the view has never seen
// begins. Behind the end of the log it waits, and [ErrShortLog] says so, until the log is as
// far. Default: 0, with the first event.
func StartAfter(position int64) Option {
	return option(func(c *config) error {
		if position < 0 {
			return wrong("StartAfter(%d): a position is not negative", position)
		}
		c.after = position
		return nil
	})
}

// WithManualSwitch leaves it to [Runner.Switch] to make a new version of a projection
// the active one, once it has caught up. Default: it becomes so by itself.
func WithManualSwitch() Option {
	return option(func(c *config) error { c.manual = true; return nil })
}

// pause is how long to wait after a number of failures, counted from 1.
func (c *config) pause(failures int) time.Duration {
	longest := c.lastPause
	if shift := failures - 1; shift < 30 && c.firstPause<<shift < longest {
		longest = c.firstPause << shift
	}
	if longest <= 0 {
		return 0
	}
	return longest/2 + rand.N(longest/2+1) //nolint:gosec // jitter needs no secure randomness
}
