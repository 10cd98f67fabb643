package projection

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
)

// ErrShortLog says that the log ends before what was handled of it: it is another log, or
// an older backup of it, whose next events will count as handled; or it is read from a
// replica that lags. It is the [Status.Trouble] of a runner for as long as the log is shorter.
var ErrShortLog = errors.New("the log ends before what was handled: is it another one, or an older backup, or does a replica lag?")

// maxShort is how long CatchUp waits for a log that is too short.
const maxShort = 2 * time.Second

// reader reads the log, once for all workers.
type reader[Tx any] struct {
	r        *Runner[Tx]
	previous rows
	building bool
	position int64
	short    time.Time      // when the log was seen to be too short; zero: it is not
	inline   bool           // it handles the feeds itself
	asked    *switchRequest // nil if nobody waits for a switch
	tries    int            // of switches, in vain
}

// isShort says so, and waits a little.
func (d *reader[Tx]) isShort(ctx context.Context, done, head int64) error {
	err := fmt.Errorf("position %d is handled, and the log ends at %d: %w", done, head, ErrShortLog)
	if d.short.IsZero() {
		d.short = time.Now()
		d.r.count(func(s *Status) { s.Trouble = d.r.p.errorf("read", err) })
	}
	if d.inline && time.Since(d.short) > maxShort {
		return err
	}
	return sleep(ctx, buildInterval)
}

func (d *reader[Tx]) isLong() {
	if !d.short.IsZero() {
		d.short = time.Time{}
		d.r.count(func(s *Status) { s.Trouble = nil })
	}
}

// run feeds the workers until the context ends. A worker has room for two feeds: the
// reader waits for the slowest of them.
func (d *reader[Tx]) run(ctx context.Context) (err error) {
	defer func() {
		if d.asked != nil {
			d.asked.answer <- d.r.p.errorf("switch", err)
		}
	}()
	d.position = d.r.least()
	for err == nil {
		err = d.step(ctx)
	}
	return err
}

// step reads on, or waits for what goes ahead of that.
func (d *reader[Tx]) step(ctx context.Context) error {
	head, err := d.r.up.Position(ctx)
	if err != nil {
		return err
	}
	if d.furthest() > head { // it may have been an answer of before
		if head, err = d.r.up.Position(ctx); err != nil {
			return err
		}
	}
	d.sees(head)
	if done := d.furthest(); done > head {
		return d.isShort(ctx, done, head)
	}
	d.isLong()
	resizing := len(d.r.workers) != d.r.cfg.partitions
	bound, furthest := head, d.furthest()
	if resizing {
		// The partitions catch up with the furthest of them; then there can be others.
		bound = min(bound, furthest)
	}
	if d.building {
		if bound, err = d.bound(ctx, bound); err != nil {
			return err
		}
	}
	switch {
	case d.position < bound:
		return d.pass(ctx, min(bound, d.position+maxPass))
	case resizing && d.r.least() >= furthest:
		return fmt.Errorf("the number of partitions changes: %w", errFenced)
	case resizing && d.r.least() >= d.position:
		return sleep(ctx, buildInterval) // the log, or the active version, is not as far
	case resizing:
		return d.changes(ctx)
	case d.building:
		return d.build(ctx, head)
	case d.inline:
		return errCaughtUp
	default:
		return d.await(ctx)
	}
}

func (d *reader[Tx]) sees(head int64) {
	d.r.mu.Lock()
	known := d.r.status.Head
	d.r.mu.Unlock()
	if head > known {
		d.r.count(func(s *Status) { s.Head = head })
	}
}

func (d *reader[Tx]) furthest() int64 {
	furthest := int64(0)
	for _, w := range d.r.workers {
		furthest = max(furthest, w.position.Load())
	}
	return furthest
}

// pass feeds what the log has up to a position. No position at or below it appears
// later: what is not found there, is not there.
func (d *reader[Tx]) pass(ctx context.Context, upTo int64) error {
	feeds := make([]feed, len(d.r.workers))
	send := func(i int, upTo int64) error {
		f := feeds[i]
		f.upTo, feeds[i] = upTo, feed{}
		if d.inline {
			return d.r.workers[i].handle(ctx, f)
		}
		select {
		case d.r.workers[i].feed <- f:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for d.position < upTo {
		after := d.position
		d.position = upTo
		opts := []application.ReadOption{application.After(after), application.UpTo(upTo), application.Topics(d.r.topics...)}
		for n, err := range d.r.up.Notifications(ctx, opts...) {
			it := item{Notification: n}
			if err != nil {
				if it, err = unreadable(n.Position, err); err != nil {
					return err
				}
				d.position = it.Position // it goes on behind it
			}
			it.replayed = d.building || d.previous.has(it.Position, it.Event.StreamID)
			i := partitionOf(it.Event.StreamID, len(feeds))
			if feeds[i].items = append(feeds[i].items, it); len(feeds[i].items) == d.r.cfg.batch {
				if err := send(i, it.Position); err != nil {
					return err
				}
			}
		}
	}
	for i := range feeds {
		if err := send(i, upTo); err != nil {
			return err
		}
	}
	return nil
}

// unreadable returns an event that cannot be read, as an item that fails; or the error,
// if that is not about an event.
func unreadable(position int64, err error) (item, error) {
	if position == 0 || !errors.Is(err, annals.ErrUndecodable) && !errors.Is(err, annals.ErrUnknownTopic) ||
		errors.Is(err, persistence.ErrUnavailable) {
		return item{}, err
	}
	it := item{err: err}
	it.Position = position
	if e, ok := errors.AsType[*persistence.DecodeError](err); ok {
		it.Event.StreamID, it.Event.Topic, it.Event.Version = e.StreamID, e.Topic, e.Version
	} else if e, ok := errors.AsType[*annals.UnknownTopicError](err); ok {
		it.Event.StreamID, it.Event.Topic, it.Event.Version = e.StreamID, e.Topic, e.Version
	}
	return it, nil
}

// await waits until the log has more. Whoever asks for a switch learns that there is
// nothing to switch.
func (d *reader[Tx]) await(parent context.Context) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- d.r.up.Await(ctx, d.position) }()
	for {
		select {
		case err := <-ended:
			return err
		case asked := <-d.r.switchIt:
			asked.answer <- nil // it is the active one
		}
	}
}

// changes waits until a worker has done something.
func (d *reader[Tx]) changes(ctx context.Context) error {
	d.r.mu.Lock()
	changed := d.r.changed
	d.r.mu.Unlock()
	if d.r.least() >= d.position {
		return nil
	}
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bound returns how far a version that is built may go: as far as the active one, so
// that of each event one of them, and only one, has the effects of a live one.
func (d *reader[Tx]) bound(ctx context.Context, bound int64) (int64, error) {
	err := d.r.view.Update(ctx, func(ctx context.Context, _ Tx, l persistence.Ledger) error {
		return d.readPrevious(ctx, l)
	})
	if err == nil && len(d.previous) > 0 {
		bound = min(bound, d.previous.least())
	}
	return bound, err
}

func (d *reader[Tx]) readPrevious(ctx context.Context, l persistence.Ledger) error {
	if err := d.r.checkActive(ctx, l); err != nil {
		return err
	}
	active, err := readActive(ctx, l, d.r.keys)
	if err == nil {
		d.previous, err = readRows(ctx, l, ledgerKeys{d.r.p.name, active})
	}
	return err
}

// build waits until the workers have caught up with the active version, and switches to
// this one.
func (d *reader[Tx]) build(ctx context.Context, head int64) error {
	if d.r.least() < d.position {
		return d.changes(ctx)
	}
	if d.asked != nil && d.asked.ctx.Err() != nil {
		d.asked = nil // whoever asked has gone
	}
	if d.r.cfg.manual && d.asked == nil {
		timer := time.NewTimer(buildInterval)
		defer timer.Stop()
		select {
		case asked := <-d.r.switchIt:
			d.asked = &asked
		case <-timer.C: // the active version may have gone on
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}
	switched, err := d.switchOver(ctx, head)
	switch {
	case err != nil && !errors.Is(err, errFenced):
		return err
	case !switched: // the active version has gone on
		d.tries++
		return sleep(ctx, buildInterval)
	}
	d.building = false
	d.r.count(func(s *Status) { s.Building = false })
	if d.asked != nil {
		d.asked.answer <- nil
		d.asked = nil
	}
	return nil
}

const (
	// buildInterval is how often a version that has caught up looks whether the active one
	// has gone on.
	buildInterval = 50 * time.Millisecond
	// exactTries is how often it tries to switch where the active one is. If that goes on
	// all the time, it then switches a batch before: what the other has handled beyond
	// that is replayed behind the switch.
	exactTries = 10
	// maxPass is how many positions are read before their end is noted in the view.
	maxPass = 10_000
)

// switchOver makes this version the active one, if it is as far as the one that is. The
// rows of that one are marked: its workers find out, and stop.
func (d *reader[Tx]) switchOver(ctx context.Context, head int64) (switched bool, err error) {
	gap := int64(0)
	if d.tries >= exactTries {
		gap = int64(d.r.cfg.batch)
	}
	err = d.r.view.Update(ctx, func(ctx context.Context, tx Tx, l persistence.Ledger) error {
		switched = false
		if err := d.readPrevious(ctx, l); err != nil {
			return err
		}
		active, err := readActive(ctx, l, d.r.keys)
		if err != nil || len(d.previous) > 0 && min(d.previous.least(), head) > d.position+gap {
			return err
		}
		k := ledgerKeys{d.r.p.name, active}
		for i, r := range d.previous {
			replaced := r.changed()
			replaced.Replaced = true
			if err := put(ctx, l, k.row(i), r, replaced); err != nil {
				return err
			}
		}
		for _, f := range d.r.p.switched {
			if err := f(ctx, tx); err != nil {
				return fmt.Errorf("OnSwitch: %w", err)
			}
		}
		switched = true
		return swapped(l.Swap(ctx, d.r.keys.active(), strconv.Itoa(active), strconv.Itoa(d.r.p.version)))
	})
	return switched && err == nil, err
}
