package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
)

// item is an event that is to be handled; with an error, one that cannot be read.
type item struct {
	application.Notification
	err      error
	replayed bool
}

// feed is what the reader passes to a worker: all of the events of its partition up to
// a position.
type feed struct {
	items []item
	upTo  int64
}

// worker handles the events of a partition.
type worker[Tx any] struct {
	r    *Runner[Tx]
	key  string // of its row
	row  row    // as the ledger has it
	held map[string]bool
	feed chan feed

	position atomic.Int64
	parked   atomic.Int64
	since    atomic.Int64 // nanoseconds: the time of the first event that is being handled; 0: none
}

// handlerError says that a handler failed, and of which item.
type handlerError struct {
	at  int
	err error
}

func (e *handlerError) Error() string { return e.err.Error() }
func (e *handlerError) Unwrap() error { return e.err }

// isOutside reports whether an error is one that may be over when it is tried again: the
// database was not to be had, or somebody else was there.
func isOutside(err error) bool {
	return isAny(err, persistence.ErrUnavailable, persistence.ErrBusy, annals.ErrOutcomeUnknown, errFenced, ErrShortLog,
		persistence.ErrFull, persistence.ErrIO, persistence.ErrReadOnly)
}

// isOfEvent reports whether an error is that of an event: not one of the database, nor of
// the ledger.
func isOfEvent(err error) bool {
	_, ofLedger := errors.AsType[*ledgerError](err)
	return err != nil && !ofLedger && !isOutside(err) &&
		!isAny(err, persistence.ErrPermission, persistence.ErrCorrupt, persistence.ErrNotDatabase, annals.ErrClosed)
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// ledgerError is an error of what the runner itself writes.
type ledgerError struct{ err error }

func (e *ledgerError) Error() string { return e.err.Error() }
func (e *ledgerError) Unwrap() error { return e.err }

func ofLedger(err error) error {
	if err == nil {
		return nil
	}
	return &ledgerError{err}
}

// run handles feeds until the context ends.
func (w *worker[Tx]) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-w.feed:
			if err := w.handle(ctx, f); err != nil {
				return err
			}
		}
	}
}

// handle handles a feed: in one transaction if nothing fails.
func (w *worker[Tx]) handle(ctx context.Context, f feed) error {
	items := f.items
	for len(items) > 0 && items[0].Position <= w.row.Position {
		items = items[1:] // another start of the reader had them
	}
	defer w.since.Store(0)
	for len(items) > 0 || f.upTo > w.row.Position {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(items) > 0 {
			w.since.Store(items[0].Event.Time.UnixNano())
		}
		done, err := w.together(ctx, items, f.upTo)
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		if len(items) > 0 && isOfEvent(err) {
			done, err = w.apart(ctx, items, err)
		}
		if err != nil {
			return err
		}
		items = items[done:]
	}
	return nil
}

// apart handles some of the items of a transaction that failed: those before the one that
// failed, or the first alone, if it was that one, or if this is not known.
func (w *worker[Tx]) apart(ctx context.Context, items []item, failure error) (done int, err error) {
	failed, known := errors.AsType[*handlerError](failure)
	if known && failed.at == 0 {
		return w.alone(ctx, items[0], failed.err)
	}
	if known {
		done, err = w.together(ctx, items[:failed.at], items[failed.at-1].Position)
		if err == nil || ctx.Err() != nil || !isOfEvent(err) {
			return done, err
		}
	}
	return w.alone(ctx, items[0], nil)
}

// alone handles one item, again and again, until it is handled or its attempts are used
// up. With an error, the first has failed already.
func (w *worker[Tx]) alone(ctx context.Context, it item, failure error) (done int, err error) {
	for attempts := 1; ; attempts++ {
		if failure == nil {
			_, failure = w.together(ctx, []item{it}, it.Position)
			if failure != nil && ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if !isOfEvent(failure) {
				return 1, failure
			}
		}
		if attempts >= w.r.cfg.attempts || it.err != nil {
			return 1, w.giveUp(ctx, it, attempts, failure)
		}
		w.r.count(func(s *Status) { s.Retried++ })
		if err := sleep(ctx, w.r.cfg.pause(attempts)); err != nil {
			return 0, err
		}
		failure = nil
	}
}

// giveUp does what the policy says of an event whose attempts are used up.
func (w *worker[Tx]) giveUp(ctx context.Context, it item, attempts int, failure error) error {
	e := &EventError{
		Projection: w.r.p.name, Position: it.Position, Topic: it.Event.Topic, StreamID: it.Event.StreamID,
		Attempts: attempts, Err: failure, title: w.r.p.what(),
	}
	switch w.r.cfg.then {
	case Skip:
		nothing := func(context.Context, Tx, persistence.Ledger, *row) error { return nil }
		return w.commit(ctx, it.Position, nothing, func(s *Status) { s.Skipped++; s.Failure = e })
	case Park:
		parked := parkedOf(it, attempts, failure)
		return w.commit(ctx, it.Position, func(ctx context.Context, _ Tx, l persistence.Ledger, r *row) error {
			return w.park(ctx, l, r, parked)
		}, func(s *Status) { w.held[it.Event.StreamID] = true; s.Failure = e })
	default:
		return e
	}
}

// together handles items in one transaction, and says how many it has handled: all, or
// fewer when it lasted too long.
func (w *worker[Tx]) together(ctx context.Context, items []item, upTo int64) (done int, err error) {
	if w.r.outside != nil {
		return w.deliver(ctx, items, upTo)
	}
	handled := 0
	err = w.commit(ctx, upTo, func(ctx context.Context, tx Tx, l persistence.Ledger, r *row) error {
		done, handled = len(items), 0
		var until time.Time
		for i := range items {
			it := &items[i]
			ok, err := w.one(ctx, tx, l, r, it)
			if err != nil {
				return &handlerError{i, err}
			}
			if i == 0 { // without the wait for the transaction, and for the turn of others
				until = time.Now().Add(w.r.cfg.batchTime)
			}
			if ok {
				handled++
			}
			if i+1 < len(items) && time.Now().After(until) {
				done, r.Position = i+1, it.Position
				break
			}
		}
		return nil
	}, func(s *Status) { s.Handled += int64(handled) })
	return done, err
}

// one handles an item in a transaction, or parks it behind those of its stream.
func (w *worker[Tx]) one(ctx context.Context, tx Tx, l persistence.Ledger, r *row, it *item) (handled bool, err error) {
	if w.held[it.Event.StreamID] {
		return false, w.park(ctx, l, r, parkedOf(*it, 0, nil))
	}
	if it.err != nil {
		return false, it.err
	}
	if it.replayed {
		ctx = withReplaying(ctx)
	}
	return true, w.r.p.handle(ctx, tx, &it.Notification)
}

// deliver is together for a consumer: what the handlers do is done before the
// transaction, and done again if that fails.
func (w *worker[Tx]) deliver(ctx context.Context, items []item, upTo int64) (done int, err error) {
	if err := w.look(ctx); err != nil {
		return 0, err
	}
	until := time.Now().Add(w.r.cfg.batchTime)
	handled := 0
	var failed error
	var behind []ParkedEvent
	for i := range items {
		it := &items[i]
		if w.held[it.Event.StreamID] {
			behind = append(behind, parkedOf(*it, 0, nil))
		} else {
			tx := w.r.outside(it)
			if _, err := w.one(ctx, tx, nil, nil, it); err != nil {
				failed, upTo = &handlerError{0, err}, 0
				if i > 0 {
					upTo = items[i-1].Position
				}
				break
			}
			handled++
		}
		if done++; done < len(items) && (time.Now().After(until) || ctx.Err() != nil) {
			upTo = it.Position
			break
		}
	}
	if failed != nil && done == 0 {
		return 0, failed
	}
	return done, ofLedger(w.commit(context.WithoutCancel(ctx), upTo, func(ctx context.Context, _ Tx, l persistence.Ledger, r *row) error {
		for _, p := range behind {
			if err := w.park(ctx, l, r, p); err != nil {
				return err
			}
		}
		return nil
	}, func(s *Status) { s.Handled += int64(handled) }))
}

// look returns errFenced if somebody has changed the row, before anything is delivered in
// vain.
func (w *worker[Tx]) look(ctx context.Context) error {
	return ofLedger(w.r.view.Update(ctx, func(ctx context.Context, _ Tx, l persistence.Ledger) error {
		text, ok, err := l.Get(ctx, w.key)
		if err == nil && ok && text != w.row.encode() {
			err = errFenced
		}
		return err
	}))
}

// commit runs f in a transaction that moves the row to a position, or to where f
// moves it.
func (w *worker[Tx]) commit(
	ctx context.Context, upTo int64,
	f func(ctx context.Context, tx Tx, l persistence.Ledger, r *row) error, count func(*Status),
) error {
	var next row
	err := w.r.view.Update(ctx, func(ctx context.Context, tx Tx, l persistence.Ledger) error {
		next = w.row.changed()
		next.Position = max(upTo, next.Position)
		fence := next
		if err := put(ctx, l, w.key, w.row, fence); err != nil {
			return ofLedger(err)
		}
		if err := f(ctx, tx, l, &next); err != nil {
			return err
		}
		if next == fence {
			return nil
		}
		return ofLedger(put(ctx, l, w.key, fence, next))
	})
	if err != nil {
		return err
	}
	parked := next.Parked - w.row.Parked
	w.row = next
	w.position.Store(next.Position)
	w.parked.Store(int64(next.Parked))
	w.r.count(func(s *Status) {
		count(s)
		s.Parked += parked
	})
	return nil
}

// park writes a parked event to the ledger.
func (w *worker[Tx]) park(ctx context.Context, l persistence.Ledger, r *row, p ParkedEvent) error {
	r.Parked++
	return ofLedger(swapped(l.Swap(ctx, w.r.keys.parkedAt(p.Position), "", p.encode())))
}

// sleep waits, unless the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// PanicError says that a handler, or a policy, panicked.
type PanicError struct {
	// Value is what it panicked with.
	Value any
	// Stack is where, for a log.
	Stack []byte
}

// Error says what it panicked with.
func (e *PanicError) Error() string { return fmt.Sprintf("the handler panicked: %v", e.Value) }

// Unwrap returns what it panicked with, if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// heldStreams returns the streams of a partition of which events are parked.
func heldStreams(parked []ParkedEvent, partition, of int) map[string]bool {
	held := make(map[string]bool)
	for _, p := range parked {
		if partitionOf(p.StreamID, of) == partition {
			held[p.StreamID] = true
		}
	}
	return held
}
