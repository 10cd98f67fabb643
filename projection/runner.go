package projection

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
)

// Upstream is the application whose events are projected: an [*application.Application],
// or what has one embedded.
type Upstream interface {
	Position(ctx context.Context) (int64, error)
	Await(ctx context.Context, after int64) error
	Notifications(ctx context.Context, opts ...application.ReadOption) iter.Seq2[application.Notification, error]
	TopicsOf(types ...reflect.Type) ([]string, error)
}

// Runner runs a projection in the background. It is safe for concurrent use.
type Runner[Tx any] struct {
	up      Upstream
	p       *Projection[Tx]
	view    persistence.View[Tx]
	outside func(*item) Tx // of a consumer
	cfg     config
	keys    ledgerKeys
	topics  []string

	cancel  context.CancelFunc
	ended   chan struct{}
	err     error // why it ended, once it has
	workers []*worker[Tx]

	differed bool // what is parked is not as it is known here, when it was last looked at

	mu       sync.Mutex
	status   Status
	began    time.Time // when this run began, at position from
	from     int64
	changed  chan struct{} // closed and replaced when the status changes
	switchIt chan switchRequest
	hooking  sync.Mutex // held while the hook is called; before mu
}

// Start runs a projection in the background, until the context ends or
// [Runner.Stop] is called. The first version of a projection begins with the first
// event, unless [StartAfter] says otherwise; afterwards it goes on where the view is.
//
// Of the runners of a projection, in whatever processes, one is active; the others wait
// to take over when it ends, see [WithLease]. While the view or the log cannot be
// reached, the runner tries again.
//
// It returns [annals.ErrConfiguration] for a wrong definition or option, and for a type of
// event that the application does not know.
func Start[Tx any](ctx context.Context, up Upstream, p *Projection[Tx], v persistence.View[Tx], opts ...Option) (*Runner[Tx], error) {
	r, err := newRunner(ctx, up, p, v, opts)
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	r.cancel = cancel
	go func() {
		defer close(r.ended)
		defer cancel()
		err := r.supervise(running)
		r.mu.Lock()
		r.err = err
		r.mu.Unlock()
		r.count(func(s *Status) { s.Active, s.Err = false, err })
	}()
	return r, nil
}

// newRunner returns a runner that does not run.
func newRunner[Tx any](ctx context.Context, up Upstream, p *Projection[Tx], v persistence.View[Tx], opts []Option) (*Runner[Tx], error) {
	if p.err != nil {
		return nil, p.err
	}
	r := &Runner[Tx]{
		up: up, p: p, view: v, keys: ledgerKeys{p.name, p.version},
		ended: make(chan struct{}), changed: make(chan struct{}), switchIt: make(chan switchRequest),
	}
	if c, ok := v.(deliverer[Tx]); ok {
		r.outside = func(it *item) Tx { return c.delivery(p.name, it) }
		opts = append([]Option{WithBatch(1, time.Minute)}, opts...)
	}
	var err error
	if r.cfg, err = configure(opts); err != nil {
		return nil, err
	}
	if v, ok := v.(limited); ok {
		if err := r.limit(v.limits(ctx)); err != nil {
			return nil, err
		}
	}
	if types := p.types(); types != nil {
		if r.topics, err = up.TopicsOf(types...); err != nil {
			return nil, p.errorf("start", err)
		}
	}
	r.status = Status{Projection: p.name, Version: p.version}
	return r, nil
}

// limit returns an error if more is asked for than the view can do.
func (r *Runner[Tx]) limit(l limits) error {
	if l.oneRow && (r.cfg.partitions > 1 || r.p.version > 1 || len(r.p.switched) > 0 || r.cfg.manual) {
		return wrong("%s: a view that is a recorder has one partition and one version: "+
			"no WithPartitions, Version, OnSwitch, WithManualSwitch", r.p.what())
	}
	if l.noLedger && r.cfg.then == Park {
		return wrong("%s: the recorder has no ledger, and can park nothing", r.p.what())
	}
	if l.noLedger {
		r.cfg.lease = 0
	}
	return nil
}

// Stop ends the runner and waits until it has: for the transaction that is being
// written, which it undoes if its handlers end with their context. It returns the error
// that had ended it before, if one had.
func (r *Runner[Tx]) Stop() error {
	r.cancel()
	<-r.ended
	return r.Err()
}

// Done is closed when the runner has ended.
func (r *Runner[Tx]) Done() <-chan struct{} { return r.ended }

// Err returns why the runner has ended, nil if it runs or was stopped: an [*EventError] of
// an event that could not be handled, or [ErrReplaced].
func (r *Runner[Tx]) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// ErrReplaced says that a newer version of the projection has become the active one.
var ErrReplaced = errors.New("a newer version of the projection is active")

// Wait returns when the view has whatever the events up to the position do to it:
//
//	recordings, _ := school.Save(ctx, dog)
//	err = runner.Wait(ctx, recordings.Position()) // then read your writes
//
// Events that are skipped or parked count as handled. It returns the error of the runner
// if that ends, and a [*LagError] if the context ends.
func (r *Runner[Tx]) Wait(ctx context.Context, position int64) error {
	const interval = 20 * time.Millisecond // to look at the view, while another process writes to it
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		r.mu.Lock()
		at, active, trouble, changed := r.status.Position, r.status.Active, r.status.Trouble, r.changed
		r.mu.Unlock()
		if at >= position && !errors.Is(trouble, ErrShortLog) {
			return nil
		}
		if !active {
			stored, err := r.stored(ctx)
			if err == nil && stored >= position {
				return nil
			}
			at = max(at, stored)
			timer.Reset(interval)
		}
		select {
		case <-changed:
		case <-timer.C:
		case <-r.ended:
			if err := r.Err(); err != nil {
				return err
			}
			return r.p.errorf("wait", annals.ErrClosed)
		case <-ctx.Done():
			return &LagError{Projection: r.p.name, Want: position, Position: at, Err: errors.Join(ctx.Err(), trouble), title: r.p.what()}
		}
	}
}

// stored returns how far the view is.
func (r *Runner[Tx]) stored(ctx context.Context) (position int64, err error) {
	err = r.view.Update(ctx, func(ctx context.Context, _ Tx, l persistence.Ledger) error {
		position = 0
		all, err := readRows(ctx, l, r.keys)
		if len(all) > 0 {
			position = all.least()
		}
		return err
	})
	return position, err
}

// LagError says that a view was not far enough in time.
type LagError struct {
	// Projection names the projection.
	Projection string
	// Want is the position that was waited for, Position that of the view.
	Want, Position int64
	// Err is the error of the context, with what the runner has trouble with, if it has.
	Err error

	title string // of the projection
}

// Error says who lags, and by how much.
func (e *LagError) Error() string {
	what := e.title
	if what == "" {
		what = "projection " + e.Projection
	}
	return fmt.Sprintf("%s: waited for position %d, and the view is at %d: %v", what, e.Want, e.Position, e.Err)
}

// Unwrap returns the context's error, and the trouble.
func (e *LagError) Unwrap() error { return e.Err }

// switchRequest is a call of Switch.
type switchRequest struct {
	ctx    context.Context //nolint:containedctx // of the caller
	answer chan error      // has room for the answer
}

// Switch makes the version of the projection the active one. It waits until the version
// has caught up with the one that is. If the context ends, it may have switched or not.
// See [WithManualSwitch].
func (r *Runner[Tx]) Switch(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case r.switchIt <- switchRequest{ctx, answer}:
	case <-r.ended:
		return r.p.errorf("switch", errors.Join(r.Err(), annals.ErrClosed))
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-r.ended:
		return r.p.errorf("switch", errors.Join(r.Err(), annals.ErrClosed))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// supervise holds the lease, and runs while it does, until the context ends or nothing
// can go on.
func (r *Runner[Tx]) supervise(ctx context.Context) error {
	lease := newLease(r.keys.lease(), r.cfg.lease)
	lease.update = func(ctx context.Context, f func(context.Context, persistence.Ledger) error) error {
		return r.view.Update(ctx, func(ctx context.Context, _ Tx, l persistence.Ledger) error { return f(ctx, l) })
	}
	failures := 0
	for ctx.Err() == nil {
		if held, err := r.acquire(ctx, lease); err != nil {
			return err
		} else if !held {
			continue
		}
		began := r.Status().Position
		err := r.holding(ctx, lease)
		if ctx.Err() != nil {
			break
		}
		switch {
		case errors.Is(err, errLostLease):
			r.count(func(s *Status) { s.Active = false })
			continue
		case errors.Is(err, errFenced) && (failures < tolerated || r.Status().Position > began):
			if failures++; r.Status().Position > began {
				failures = 0 // whoever it was got on
			}
			r.count(func(s *Status) { s.Active = false })
			continue
		case !isOutside(err):
			r.free(ctx, lease)
			return err
		}
		if failures++; r.Status().Position > began {
			failures = 1
		}
		r.count(func(s *Status) { s.Active, s.Trouble = false, err })
		_ = sleep(ctx, (&config{firstPause: 10 * time.Millisecond, lastPause: time.Second}).pause(failures))
	}
	r.free(ctx, lease)
	return nil //nolint:nilerr // it was stopped
}

// acquire tries to take the lease, and waits a little if it is not to be had.
func (r *Runner[Tx]) acquire(ctx context.Context, l *lease) (held bool, err error) {
	if r.cfg.lease == 0 {
		return true, nil
	}
	held, err = l.try(ctx)
	if errors.Is(err, annals.ErrUnsupported) && r.cfg.then != Park {
		r.cfg.lease = 0 // as was not found out at the start
		held = true
	}
	if held {
		return true, nil
	}
	if err == nil {
		err = r.standBy(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return false, nil
	case err != nil && !isOutside(err):
		return false, r.p.errorf("lease", err)
	}
	r.count(func(s *Status) { s.Active, s.Trouble = false, r.p.errorf("lease", err) })
	_ = sleep(ctx, l.interval())
	return false, nil
}

// tolerated is how often in a row a runner may find the ledger changed, before it pauses.
const tolerated = 3

func (r *Runner[Tx]) free(ctx context.Context, l *lease) {
	if r.cfg.lease == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.interval())
	defer cancel()
	_ = l.free(ctx) // it ends by itself
}

var errLostLease = errors.New("the lease was lost")

// holding runs while the lease is renewed.
func (r *Runner[Tx]) holding(parent context.Context, l *lease) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	if r.cfg.lease > 0 {
		wg.Go(func() {
			for last := time.Now(); ; {
				if sleep(ctx, l.interval()) != nil {
					return
				}
				held, err := l.try(ctx)
				switch {
				case held:
					last = time.Now()
					if err := r.look(ctx); errors.Is(err, ErrReplaced) || errors.Is(err, errFenced) {
						cancel(err)
						return
					}
				case err == nil || time.Since(last) > l.holds:
					cancel(errLostLease)
					return
				}
			}
		})
	}
	err := r.run(ctx)
	if cause := context.Cause(ctx); parent.Err() == nil && cause != nil {
		err = cause
	}
	cancel(nil)
	return err
}

// look returns ErrReplaced if a newer version is active, and errFenced if others have
// changed what is parked.
func (r *Runner[Tx]) look(ctx context.Context) error {
	before := r.parkedNow()
	all, err := r.standing(ctx)
	if err != nil || before == nil || !slices.Equal(before, r.parkedNow()) || len(all) != len(before) {
		return err // it was changed here meanwhile, or there is nothing to compare
	}
	differs := false
	for i := range all {
		differs = differs || int64(all[i].Parked) != before[i]
	}
	twice := differs && r.differed // once may be a step of our own, about to be counted
	if r.differed = differs; twice {
		r.differed = false
		return errFenced
	}
	return nil
}

// parkedNow returns how many events of each partition are parked, as far as is known here.
func (r *Runner[Tx]) parkedNow() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []int64
	for _, w := range r.workers {
		all = append(all, w.parked.Load())
	}
	return all
}

// standing returns how far the view is, or ErrReplaced.
func (r *Runner[Tx]) standing(ctx context.Context) (all rows, err error) {
	err = r.view.Update(ctx, func(ctx context.Context, _ Tx, l persistence.Ledger) error {
		if err := r.checkActive(ctx, l); err != nil {
			return err
		}
		all, err = readRows(ctx, l, r.keys)
		return err
	})
	return all, err
}

// standBy notes how far the view is that another runner writes to.
func (r *Runner[Tx]) standBy(ctx context.Context) error {
	all, err := r.standing(ctx)
	if err != nil {
		return err
	}
	head, err := r.up.Position(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.workers = nil // they know nothing of it
	r.mu.Unlock()
	r.count(func(s *Status) {
		s.Head = max(s.Head, head)
		if len(all) > 0 {
			s.Position, s.Parked = all.least(), 0
		}
		for _, row := range all {
			s.Parked += row.Parked
		}
	})
	return nil
}

func (r *Runner[Tx]) checkActive(ctx context.Context, l persistence.Ledger) error {
	active, err := readActive(ctx, l, r.keys)
	if err == nil && active > r.p.version {
		err = fmt.Errorf("%s: version %d is active, this is version %d: %w", r.p.what(), active, r.p.version, ErrReplaced)
	}
	return err
}

// run reads the log and has the workers handle it, until the context or a worker ends.
func (r *Runner[Tx]) run(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	start, err := r.load(ctx)
	if err != nil {
		return r.p.errorf("start", err)
	}
	var wg sync.WaitGroup
	work := func(f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil {
				cancel(err)
			}
		})
	}
	for _, w := range r.workers {
		work(w.run)
	}
	work((&reader[Tx]{r: r, previous: start.previous, building: start.building}).run)
	wg.Wait()
	if parent.Err() != nil {
		return parent.Err()
	}
	return r.p.errorf("run", context.Cause(ctx))
}

// start is what a run begins with.
type start struct {
	rows     rows
	parked   []ParkedEvent
	previous rows // of the version that was active before: what it has handled is replayed
	building bool // it is the active one still
}

// load reads how far the view is, creates the rows of a version that is new, and changes
// the number of partitions.
func (r *Runner[Tx]) load(ctx context.Context) (start, error) {
	var s start
	err := r.view.Update(ctx, func(ctx context.Context, tx Tx, l persistence.Ledger) (err error) {
		s, err = r.begin(ctx, tx, l)
		return err
	})
	if err != nil {
		return start{}, err
	}
	workers := make([]*worker[Tx], len(s.rows))
	parked := 0
	for i, row := range s.rows {
		w := &worker[Tx]{
			r: r, key: r.keys.row(i), row: row, held: heldStreams(s.parked, i, len(s.rows)), feed: make(chan feed, 2),
		}
		w.position.Store(row.Position)
		w.parked.Store(int64(row.Parked))
		parked += row.Parked
		workers[i] = w
	}
	r.mu.Lock()
	r.workers = workers
	r.began, r.from = time.Now(), s.rows.least()
	r.mu.Unlock()
	r.count(func(st *Status) {
		st.Active, st.Trouble, st.Parked, st.Building = true, nil, parked, s.building
	})
	return s, nil
}

// begin is load in a transaction.
func (r *Runner[Tx]) begin(ctx context.Context, tx Tx, l persistence.Ledger) (s start, err error) {
	if err := r.checkActive(ctx, l); err != nil {
		return start{}, err
	}
	active, err := readActive(ctx, l, r.keys)
	if err != nil {
		return start{}, err
	}
	// The rows come first: a view that is a recorder does not read both at one moment, and
	// whoever parks or retries in between changes the row, which the first commit notices.
	if s.rows, err = readRows(ctx, l, r.keys); err != nil {
		return start{}, err
	}
	if s.parked, err = readParked(ctx, l, r.keys); err != nil {
		return start{}, err
	}
	if s.rows, err = r.ensureRows(ctx, l, active, s.rows, s.parked); err != nil {
		return start{}, err
	}
	if active == 0 {
		return s, r.activate(ctx, tx, l)
	}
	s.building = active < r.p.version
	previous, err := r.previousOf(ctx, l)
	if err == nil && previous > 0 {
		s.previous, err = readRows(ctx, l, ledgerKeys{r.p.name, previous})
	}
	return s, err
}

// ensureRows returns the partitions: as they are, in another number, or new ones.
func (r *Runner[Tx]) ensureRows(ctx context.Context, l persistence.Ledger, active int, all rows, parked []ParkedEvent) (rows, error) {
	switch {
	case len(all) == 0 && active == 0:
		return r.create(ctx, l, r.cfg.after, nil)
	case len(all) == 0: // what is built anew is built from the beginning
		return r.create(ctx, l, 0, nil)
	case len(all) != r.cfg.partitions && all.least() == all.greatest():
		return r.resize(ctx, l, all, parked)
	default:
		return all, nil
	}
}

// activate makes the first version of a projection the active one.
func (r *Runner[Tx]) activate(ctx context.Context, tx Tx, l persistence.Ledger) error {
	for _, f := range r.p.switched {
		if err := f(ctx, tx); err != nil {
			return fmt.Errorf("OnSwitch: %w", err)
		}
	}
	return swapped(l.Swap(ctx, r.keys.active(), "", strconv.Itoa(r.p.version)))
}

// create writes rows of the version, at a position, with what is parked.
func (r *Runner[Tx]) create(ctx context.Context, l persistence.Ledger, position int64, parked []ParkedEvent) (rows, error) {
	all := make(rows, r.cfg.partitions)
	for i := range all {
		all[i] = row{Position: position, Of: len(all)}
	}
	for _, e := range parked {
		all[partitionOf(e.StreamID, len(all))].Parked++
	}
	for i := range all {
		if err := swapped(l.Swap(ctx, r.keys.row(i), "", all[i].encode())); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// resize changes the number of partitions, all of which are at one position.
func (r *Runner[Tx]) resize(ctx context.Context, l persistence.Ledger, old rows, parked []ParkedEvent) (rows, error) {
	for i := range old {
		if err := swapped(l.Swap(ctx, r.keys.row(i), old[i].encode(), "")); err != nil {
			return nil, err
		}
	}
	return r.create(ctx, l, old.least(), parked)
}

// previousOf returns the version that was the active one before this one; 0 if there is
// none.
func (r *Runner[Tx]) previousOf(ctx context.Context, l persistence.Ledger) (int, error) {
	for version := r.p.version - 1; version > 0; version-- {
		all, err := readRows(ctx, l, ledgerKeys{r.p.name, version})
		if err != nil || len(all) > 0 && all[0].Replaced {
			return version, err
		}
	}
	return 0, nil
}
