package application

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Notifications yields the events of the application's log that are there now,
// in commit order. An error is the last that it yields: the context's error,
// [annals.ErrClosed], or [annals.ErrUndecodable] or [annals.ErrUnknownTopic],
// yielded with the position of the event that cannot be read, so that one can go
// on after it.
func (a *Application) Notifications(ctx context.Context, opts ...ReadOption) iter.Seq2[Notification, error] {
	return a.read(ctx, "notifications", opts, a.recorder.ReadLog)
}

// Subscribe yields the events of the application's log in commit order, each
// once, and goes on with new ones as they are saved, by whatever process. It ends
// as [Application.Notifications] does, with an error, which is the last that it
// yields: that of the context, also when it is cancelled, [annals.ErrClosed], or
// that of an event that cannot be read. To go on after a restart, keep the last
// position with what was made of the events, and pass it to [After].
func (a *Application) Subscribe(ctx context.Context, opts ...ReadOption) iter.Seq2[Notification, error] {
	follow := func(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
		return persistence.Follow(ctx, a.recorder, q)
	}
	return a.read(ctx, "subscribe", opts, follow)
}

func (a *Application) read(
	parent context.Context, op string, opts []ReadOption,
	source func(context.Context, persistence.LogQuery) iter.Seq2[persistence.Notification, error],
) iter.Seq2[Notification, error] {
	q := Query(opts...)
	return func(yield func(Notification, error) bool) {
		ctx, stop := a.untilClosed(parent)
		defer stop()
		if err := a.usable(); err != nil {
			yield(Notification{}, a.errorf(op, err))
			return
		}
		q := q
		left := q.Limit
		q.Topics = a.mapper.Topics(q.Topics)
		if a.unknown == persistence.SkipUnknown {
			q.Limit = 0 // the recorder would count what is skipped
		}
		for stored, err := range source(ctx, q) {
			n, err := a.notification(ctx, &stored, err)
			if a.skips(&n.Event) {
				continue
			}
			if err != nil {
				if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), annals.ErrClosed) {
					err = annals.ErrClosed
				}
				yield(n, a.errorf(op, err))
				return
			}
			if left--; !yield(n, nil) || left == 0 {
				return
			}
			if err := a.over(parent); err != nil { // whatever the recorder has read ahead
				yield(Notification{}, a.errorf(op, err))
				return
			}
		}
	}
}

// over returns an error if the application is closed or the context done.
func (a *Application) over(ctx context.Context) error {
	if err := a.usable(); err != nil {
		return err
	}
	return ctx.Err()
}

// skips reports whether readers do not get the event, see [persistence.SkipUnknown].
func (a *Application) skips(e *annals.Event) bool {
	return a.unknown == persistence.SkipUnknown && isUnknown(e)
}

func isUnknown(e *annals.Event) bool {
	_, unknown := e.Data.(annals.Unknown)
	return unknown
}

// untilClosed returns a context that also ends, with [annals.ErrClosed] as its
// cause, when the application is closed.
func (a *Application) untilClosed(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	unregister := context.AfterFunc(a.closing, func() { cancel(annals.ErrClosed) })
	return ctx, func() {
		unregister()
		cancel(nil)
	}
}

func (a *Application) notification(ctx context.Context, stored *persistence.Notification, err error) (Notification, error) {
	if err != nil {
		return Notification{}, err
	}
	e, err := a.mapper.Decode(ctx, &stored.StoredEvent)
	if err != nil {
		return Notification{Position: stored.Position}, fmt.Errorf("position %d: %w", stored.Position, err)
	}
	return Notification{Position: stored.Position, Event: e}, nil
}
