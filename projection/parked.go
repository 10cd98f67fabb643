package projection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
)

// EventError says that the handlers of an event failed each time that it was tried.
type EventError struct {
	// Projection names the projection.
	Projection string
	// Position, Topic and StreamID are those of the event.
	Position        int64
	Topic, StreamID string
	// Attempts is how often it was tried.
	Attempts int
	// Err is the last error.
	Err error

	title string // of the projection
}

// Error names the event and the reason.
func (e *EventError) Error() string {
	what := e.title
	if what == "" {
		what = "projection " + e.Projection
	}
	return what + ": " + e.reason()
}

func (e *EventError) reason() string {
	times := "once"
	if e.Attempts != 1 {
		times = fmt.Sprintf("%d times", e.Attempts)
	}
	return fmt.Sprintf("%s at position %d, of %s, failed %s: %v", e.Topic, e.Position, e.StreamID, times, e.Err)
}

// Unwrap returns the last error.
func (e *EventError) Unwrap() error { return e.Err }

// ParkedEvent is an event that a projection has put aside, see [Park].
type ParkedEvent struct {
	// Position, EventID, Topic and StreamID are those of the event.
	Position int64  `json:"position"`
	EventID  string `json:"event"`
	Topic    string `json:"topic"`
	StreamID string `json:"stream"`
	// Reason is the error of the last attempt. It is empty for an event that was never
	// tried: one of its stream is parked before it.
	Reason string `json:"reason,omitempty"`
	// Attempts is how often it was tried.
	Attempts int `json:"attempts,omitempty"`
	// Replayed says that another version of the projection has handled it, see [Replaying].
	Replayed bool `json:"replayed,omitempty"`
	// At is when it was parked.
	At time.Time `json:"at"`

	text string // as it was read: newer code may write more
}

func parkedOf(it item, attempts int, reason error) ParkedEvent {
	p := ParkedEvent{
		Position: it.Position, EventID: it.Event.ID, Topic: it.Event.Topic, StreamID: it.Event.StreamID,
		Attempts: attempts, Replayed: it.replayed, At: time.Now().UTC(),
	}
	if reason != nil {
		p.Reason = reasonOf(reason)
	}
	return p
}

func reasonOf(err error) string {
	const longest = 4000
	text := err.Error()
	if panicked, ok := errors.AsType[*PanicError](err); ok {
		text += "\n" + string(panicked.Stack)
	}
	return strings.ToValidUTF8(text[:min(len(text), longest)], "")
}

func (p ParkedEvent) encode() string {
	if p.text != "" {
		return p.text
	}
	text, _ := json.Marshal(p) //nolint:errchkjson // a time of now can be encoded
	return string(text)
}

func readParked(ctx context.Context, l persistence.Ledger, k ledgerKeys) ([]ParkedEvent, error) {
	entries, err := l.List(ctx, k.parked(), 0)
	if err != nil {
		return nil, err
	}
	all := make([]ParkedEvent, len(entries))
	for i, e := range entries {
		if err := json.Unmarshal([]byte(e.Value), &all[i]); err != nil {
			return nil, fmt.Errorf("the ledger says %q of %s: %w", e.Value, e.Key, persistence.ErrCorrupt)
		}
		all[i].text = e.Value
	}
	return all, nil
}

// Parked returns the parked events of a projection, in the order of the log. It can be
// called by any process.
func Parked[Tx any](ctx context.Context, p *Projection[Tx], v persistence.View[Tx]) ([]ParkedEvent, error) {
	all, err := p.parked(ctx, v)
	return all, p.errorf("parked", err)
}

func (p *Projection[Tx]) parked(ctx context.Context, v persistence.View[Tx]) (all []ParkedEvent, err error) {
	err = v.Update(ctx, func(ctx context.Context, _ Tx, l persistence.Ledger) error {
		all, err = readParked(ctx, l, ledgerKeys{p.name, p.version})
		return err
	})
	return all, err
}

// Retry handles the parked events of a stream, in order, each in a transaction of its
// own, until one fails again; it says how many were handled. Once none is left, the
// stream goes on by itself. It can be called by any process, also while the projection
// runs. The error of an event that fails again is an [*EventError]; the event stays
// parked, with the new reason.
func Retry[Tx any](ctx context.Context, up Upstream, p *Projection[Tx], v persistence.View[Tx], streamID string) (handled int, err error) {
	const most = 100 // times in a row that somebody else was there
	for fenced := 0; ; {
		n, more, err := retryOne(ctx, up, p, v, streamID)
		handled += n
		if fenced++; n > 0 {
			fenced = 0
		}
		if err == nil && fenced == most {
			err = p.errorf("retry", errFenced)
		}
		if err != nil || !more {
			return handled, err
		}
	}
}

// retryOne handles the first parked event of a stream, if there is one.
func retryOne[Tx any](
	ctx context.Context, up Upstream, p *Projection[Tx], v persistence.View[Tx], streamID string,
) (handled int, more bool, err error) {
	k := ledgerKeys{p.name, p.version}
	first, err := firstParked(ctx, p, v, streamID)
	if err != nil || first == nil {
		return 0, false, err
	}
	failed := &EventError{
		Projection: p.name, Position: first.Position, Topic: first.Topic, StreamID: streamID, Attempts: first.Attempts + 1, title: p.what(),
	}
	// It is read before the transaction, which may have the only connection.
	e, err := eventAt(ctx, up, first.Position)
	if err != nil {
		if _, err := unreadable(first.Position, err); err != nil {
			return 0, false, p.errorf("retry", err)
		}
		failed.Err = err
		return 0, false, errors.Join(failed, note(ctx, p, v, first, failed))
	}
	if first.Replayed {
		ctx = withReplaying(ctx)
	}
	handle := func(ctx context.Context, tx Tx) error {
		failed.Err = p.handle(ctx, tx, &e)
		return failed.Err
	}
	if c, ok := v.(deliverer[Tx]); ok { // outside, as the runner does it
		err = handle(ctx, c.delivery(p.name, &item{Notification: e}))
		handle = func(context.Context, Tx) error { return nil }
	}
	if err == nil {
		err = v.Update(ctx, func(ctx context.Context, tx Tx, l persistence.Ledger) error {
			if err := lockParked(ctx, l, k, first, -1); err != nil {
				return err
			}
			if err := handle(ctx, tx); err != nil {
				return err
			}
			return swapped(l.Swap(ctx, k.parkedAt(first.Position), first.encode(), ""))
		})
	}
	switch {
	case err == nil:
		return 1, true, nil
	case errors.Is(err, errFenced):
		return 0, true, nil // somebody else changed what is parked
	case failed.Err == nil || ctx.Err() != nil || !isOfEvent(err):
		return 0, false, p.errorf("retry", err)
	default:
		return 0, false, errors.Join(failed, note(ctx, p, v, first, failed))
	}
}

// firstParked returns the first parked event of a stream; nil if there is none.
func firstParked[Tx any](ctx context.Context, p *Projection[Tx], v persistence.View[Tx], streamID string) (*ParkedEvent, error) {
	all, err := p.parked(ctx, v)
	for i := range all {
		if all[i].StreamID == streamID {
			return &all[i], p.errorf("retry", err)
		}
	}
	return nil, p.errorf("retry", err)
}

// note writes why an event failed again.
func note[Tx any](ctx context.Context, p *Projection[Tx], v persistence.View[Tx], e *ParkedEvent, failed *EventError) error {
	k := ledgerKeys{p.name, p.version}
	again := *e
	again.text = ""
	again.Attempts, again.Reason = failed.Attempts, reasonOf(failed.Err)
	err := v.Update(ctx, func(ctx context.Context, _ Tx, l persistence.Ledger) error {
		if err := lockParked(ctx, l, k, e, 0); err != nil {
			return err
		}
		return swapped(l.Swap(ctx, k.parkedAt(e.Position), e.encode(), again.encode()))
	})
	return p.errorf("retry", err)
}

// Drop removes a parked event, which is never handled then; the ones behind it stay
// parked until [Retry]. It returns [annals.ErrNotFound] if none is parked at the
// position. It can be called by any process, also while the projection runs.
func Drop[Tx any](ctx context.Context, p *Projection[Tx], v persistence.View[Tx], position int64) error {
	k := ledgerKeys{p.name, p.version}
	return p.errorf("drop", v.Update(ctx, func(ctx context.Context, _ Tx, l persistence.Ledger) error {
		all, err := readParked(ctx, l, k)
		if err != nil {
			return err
		}
		for i := range all {
			if e := &all[i]; e.Position == position {
				if err := lockParked(ctx, l, k, e, -1); err != nil {
					return err
				}
				return swapped(l.Swap(ctx, k.parkedAt(position), e.encode(), ""))
			}
		}
		return fmt.Errorf("no event is parked at position %d: %w", position, annals.ErrNotFound)
	}))
}

// lockParked changes the row of the partition that a parked event is of, so that nobody
// else changes what is parked there until the transaction ends. It returns errFenced if
// the event is not parked as it was.
func lockParked(ctx context.Context, l persistence.Ledger, k ledgerKeys, e *ParkedEvent, change int) error {
	const tries = 100 // while the runner goes on
	for range tries {
		partitions, err := readRows(ctx, l, k)
		if err != nil {
			return err
		}
		if len(partitions) == 0 {
			return errFenced
		}
		i := partitionOf(e.StreamID, len(partitions))
		next := partitions[i].changed()
		next.Parked += change
		ok, err := l.Swap(ctx, k.row(i), partitions[i].encode(), next.encode())
		if err != nil {
			return err
		}
		if ok {
			return swapped(l.Swap(ctx, k.parkedAt(e.Position), e.encode(), e.encode()))
		}
	}
	return errFenced
}

// eventAt reads an event of the log.
func eventAt(ctx context.Context, up Upstream, position int64) (application.Notification, error) {
	for n, err := range up.Notifications(ctx, application.After(position-1), application.UpTo(position)) {
		return n, err
	}
	return application.Notification{}, fmt.Errorf("the log has no event at position %d: %w", position, annals.ErrNotFound)
}

func (p *Projection[Tx]) errorf(op string, err error) error {
	if _, ok := errors.AsType[*EventError](err); ok || err == nil {
		return err
	}
	return fmt.Errorf("%s: %s: %w", p.what(), op, err)
}
