package projection

import (
	"errors"
	"fmt"
	"time"
)

// Status is how a runner is. The counts are of this runner, since it was started.
type Status struct {
	// Projection and Version name what runs.
	Projection string
	Version    int
	// Active says that this runner is the one that writes to the view.
	Active bool
	// Building says that another version is the one that readers see: the view is built
	// anew beside it.
	Building bool

	// Position is how far the view is, Head the last position of the log that was seen.
	Position, Head int64
	// Lag is how old the oldest event is that is being handled; 0 if none is.
	Lag time.Duration
	// Remaining estimates how long it takes to reach Head, by the rate so far; 0 if that
	// is reached, or nothing is known.
	Remaining time.Duration

	// Handled, Retried and Skipped count events that were handled, attempts after the
	// first, and events that were left out.
	Handled, Retried, Skipped int64
	// Parked is how many events of the view are parked.
	Parked int

	// Failure is the last event that was skipped or parked here; nil if none was.
	Failure *EventError
	// Trouble is why the view or the log could not be reached; nil if they can be.
	Trouble error
	// Err is why the runner ended; nil if it runs or was stopped.
	Err error
}

// Behind is by how many positions the view lags. A log may lack positions: there are at
// most that many events.
func (s Status) Behind() int64 { return max(s.Head-s.Position, 0) }

// Progress is how much of the log the view has, from 0 to 1.
func (s Status) Progress() float64 {
	if s.Head == 0 {
		return 1
	}
	return min(float64(s.Position)/float64(s.Head), 1)
}

// Health returns nil if the projection is well: an error if its runner has ended with
// one, if the view or the log cannot be reached, or if the lag is greater than a bound.
// Parked events are not its business. A runner that is not the active one is well.
func (s Status) Health(longest time.Duration) error {
	switch {
	case s.Err != nil:
		return s.Err
	case s.Trouble != nil:
		return s.Trouble // it says whose
	case s.Lag > longest:
		return fmt.Errorf("projection %s lags by %v, and %d positions: %w", s.Projection, s.Lag, s.Behind(), ErrLag)
	default:
		return nil
	}
}

// ErrLag says that a view lags by more than it should.
var ErrLag = errors.New("the view lags")

// Status returns how the runner is.
func (r *Runner[Tx]) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now()
}

// now completes the status. The lock is held.
func (r *Runner[Tx]) now() Status {
	s := r.status
	if !s.Active {
		return s
	}
	if behind := s.Behind(); behind > 0 && s.Position > r.from {
		s.Remaining = time.Duration(float64(time.Since(r.began)) / float64(s.Position-r.from) * float64(behind))
	}
	for _, w := range r.workers {
		if since := w.since.Load(); since != 0 {
			s.Lag = max(s.Lag, time.Since(time.Unix(0, since)))
		}
	}
	return s
}

// count changes the status, and tells whoever wants to know.
func (r *Runner[Tx]) count(change func(*Status)) {
	if r.cfg.hook != nil {
		r.hooking.Lock()
		defer r.hooking.Unlock()
		defer func() { r.cfg.hook(r.Status()) }()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.status)
	if len(r.workers) > 0 {
		r.status.Position = r.least()
	}
	r.status.Head = max(r.status.Head, r.status.Position)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Runner[Tx]) least() int64 {
	least := r.workers[0].position.Load()
	for _, w := range r.workers[1:] {
		least = min(least, w.position.Load())
	}
	return least
}
