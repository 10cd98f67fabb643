package system

import (
	"context"
	"iter"
	"reflect"
	"slices"
	"sync"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/projection"
)

// handover keeps the events that an application of this process saved last, so that those
// that follow it need not read and decode them again. What is not there, or not any more, is
// read from the log.
type handover struct {
	app *application.Application

	mu      sync.Mutex
	slots   [maxKept]slot // that of position p is p % maxKept
	lowest  int64         // no slot has a lower position
	head    int64         // the highest position that was saved
	size    int           // of all slots
	changed chan struct{} // closed and replaced when head grows
}

type slot struct {
	n    application.Notification
	size int
}

const (
	maxKept     = 4096
	maxKeptSize = 16 << 20 // bytes, encoded
)

func newHandover(a *application.Application) *handover {
	return &handover{app: a, changed: make(chan struct{})}
}

// saved is called after each save of the application.
func (h *handover) saved(_ context.Context, saved application.Saved) error {
	all, ok := saved.Notifications()
	h.mu.Lock()
	defer h.mu.Unlock()
	if each := saved.Size() / max(len(all), 1); ok && saved.Size() <= maxKeptSize {
		for i := range all {
			h.keep(all[i], each)
		}
	}
	if position := saved.Position(); position > h.head {
		h.head = position
		close(h.changed)
		h.changed = make(chan struct{})
	}
	return nil
}

func (h *handover) keep(n application.Notification, size int) {
	s := &h.slots[n.Position%maxKept]
	if n.Position <= s.n.Position {
		return // it was handed over late
	}
	h.size += size - s.size
	*s = slot{n, size}
	if h.lowest == 0 || n.Position < h.lowest {
		h.lowest = n.Position
	}
	for first := n.Position - maxKept + 1; h.lowest < first || h.size > maxKeptSize && h.lowest < n.Position; {
		if first-h.lowest > maxKept { // nothing of that is left but what is older than all slots are now
			h.clear(first)
			continue
		}
		old := &h.slots[h.lowest%maxKept]
		if old.n.Position == h.lowest {
			h.size -= old.size
			*old = slot{}
		}
		h.lowest++
	}
}

// clear removes what is below a position.
func (h *handover) clear(first int64) {
	for i := range h.slots {
		if s := &h.slots[i]; s.n.Position < first {
			h.size -= s.size
			*s = slot{}
		}
	}
	h.lowest = first
}

// at returns the event of a position, if it is kept.
func (h *handover) at(position int64) (application.Notification, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.slots[position%maxKept].n
	return n, n.Position == position
}

// now returns the highest position that was saved here, and what is closed when it is not
// that any more.
func (h *handover) now() (head int64, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.head, h.changed
}

// feed is the upstream of one follower, which calls its methods one after another.
type feed struct {
	*handover

	running context.Context //nolint:containedctx // as long as the runner runs
	waits   *sync.WaitGroup
	seen    int64      // the last position that the follower was told of
	logged  int64      // the last position that the log was seen to have: a replica may lag behind what was saved
	waiting chan error // nil if the log is not waited for; has room for the answer
}

var _ projection.Upstream = (*feed)(nil)

// Position returns the end of the log. What was saved here is at or before it; the log is
// asked when the follower has that.
func (f *feed) Position(ctx context.Context) (int64, error) {
	position, _ := f.now()
	if position <= f.seen {
		var err error
		if position, err = f.app.Position(ctx); err != nil {
			return 0, err
		}
		f.logged = max(f.logged, position)
	}
	f.seen = max(f.seen, position)
	return f.seen, nil
}

// Await returns when the log has an event after the position, whoever saved it.
//
// Who waits for the log is not called off when an event was saved here: it finds the event
// as well, by itself, and a query that is cut off costs a connection.
func (f *feed) Await(ctx context.Context, after int64) error {
	head, changed := f.now()
	if head > after {
		return nil
	}
	select {
	case err := <-f.waiting: // it was for an earlier position
		f.waiting = nil
		if err != nil {
			return err
		}
	default:
	}
	if f.waiting == nil {
		answer := make(chan error, 1)
		f.waiting = answer
		f.waits.Go(func() { answer <- f.app.Await(f.running, after) })
	}
	select {
	case err := <-f.waiting:
		f.waiting = nil
		return err
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Notifications yields the events of the log, those that are kept without reading them.
func (f *feed) Notifications(ctx context.Context, opts ...application.ReadOption) iter.Seq2[application.Notification, error] {
	q := application.Query(opts...)
	if q.UpTo <= 0 || q.Limit > 0 || q.CorrelationID != "" {
		return f.app.Notifications(ctx, opts...)
	}
	return func(yield func(application.Notification, error) bool) {
		for position := q.After + 1; position <= q.UpTo; position++ {
			n, ok := f.at(position)
			if !ok {
				if err := f.confirm(ctx, q.UpTo); err != nil {
					yield(application.Notification{}, err)
					return
				}
				f.app.Notifications(ctx, append(slices.Clip(opts), application.After(position-1))...)(yield)
				return
			}
			if err := ctx.Err(); err != nil {
				yield(application.Notification{}, err)
				return
			}
			if len(q.Topics) > 0 && !slices.Contains(q.Topics, n.Event.Topic) {
				continue
			}
			if !yield(n, nil) {
				return
			}
		}
	}
}

// confirm returns when the log has the position, where it is read from.
func (f *feed) confirm(ctx context.Context, position int64) error {
	for f.logged < position {
		logged, err := f.app.Position(ctx)
		if err != nil {
			return err
		}
		if f.logged = max(f.logged, logged); f.logged < position {
			if err := f.app.Await(ctx, f.logged); err != nil {
				return err
			}
		}
	}
	return nil
}

// TopicsOf returns the topics of types of events.
func (f *feed) TopicsOf(types ...reflect.Type) ([]string, error) { return f.app.TopicsOf(types...) }
