package projection

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Inline runs a projection in the goroutine of whoever calls [Inline.CatchUp], and only
// then: for programs that begin, do their work and end, and for tests. It is safe for
// concurrent use.
type Inline[Tx any] struct {
	r       *Runner[Tx]
	running sync.Mutex  // held while CatchUp runs
	reader  *reader[Tx] // nil: the view has to be read first
}

// NewInline returns a runner that does nothing by itself. It takes the options of [Start],
// but that it holds no lease, and that [WithManualSwitch] is refused; it returns the errors
// of Start.
func NewInline[Tx any](ctx context.Context, up Upstream, p *Projection[Tx], v persistence.View[Tx], opts ...Option) (*Inline[Tx], error) {
	r, err := newRunner(ctx, up, p, v, append(slices.Clip(opts), WithLease(0)))
	if err != nil {
		return nil, err
	}
	if r.cfg.manual {
		return nil, wrong("%s: WithManualSwitch is for Start", p.what())
	}
	return &Inline[Tx]{r: r}, nil
}

// errCaughtUp says that the log has no more.
var errCaughtUp = errors.New("caught up")

// CatchUp handles what the log has, and what is added to it meanwhile. It returns the error
// that would end a [Runner], and what keeps it from reaching the view or the log: then it
// goes on where it was when it is called again.
func (i *Inline[Tx]) CatchUp(ctx context.Context) error {
	i.running.Lock()
	defer i.running.Unlock()
	for again := 0; ; {
		began := i.r.Status().Position
		err := i.read(ctx)
		if errors.Is(err, errCaughtUp) {
			i.r.count(func(s *Status) { s.Active, s.Trouble, s.Err = true, nil, nil })
			return nil
		}
		i.reader = nil
		if again++; i.r.Status().Position > began {
			again = 0 // whoever it was got on
		}
		// Somebody else was there, or what was written is there, or is not: the view tells.
		if isAny(err, errFenced, annals.ErrOutcomeUnknown) && again < maxAgain && ctx.Err() == nil {
			if err := sleep(ctx, (&config{firstPause: time.Millisecond, lastPause: 100 * time.Millisecond}).pause(again+1)); err != nil {
				return i.r.p.errorf("catch up", err)
			}
			continue
		}
		err = i.r.p.errorf("catch up", err)
		i.r.count(func(s *Status) {
			if s.Active = false; isOutside(err) {
				s.Trouble = err
			} else {
				s.Err = err
			}
		})
		return err
	}
}

// maxAgain is how often in a row CatchUp reads the view again.
const maxAgain = 20

// read reads and handles the log, until there is an error, errCaughtUp say.
func (i *Inline[Tx]) read(ctx context.Context) error {
	if i.reader == nil {
		start, err := i.r.load(ctx)
		if err != nil {
			return err
		}
		i.reader = &reader[Tx]{r: i.r, previous: start.previous, building: start.building, position: i.r.least(), inline: true}
	}
	for {
		if err := i.reader.step(ctx); err != nil {
			return err
		}
	}
}

// Reset has the next CatchUp read anew how far the view is, and what is parked.
func (i *Inline[Tx]) Reset() {
	i.running.Lock()
	defer i.running.Unlock()
	i.reader = nil
}

// Status returns how the runner was when it last caught up, or did not.
func (i *Inline[Tx]) Status() Status { return i.r.Status() }
