//go:build unix

package recordertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// altered is a recorder of which some methods are replaced.
type altered struct {
	Recorder

	record      func(ctx context.Context, b persistence.Batch) ([]int64, error)
	readStream  func(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error]
	readLog     func(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error]
	maxPosition func(ctx context.Context) (int64, bool, error)
	wait        func(ctx context.Context, after int64) error
	close       func() error
}

func (a *altered) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	if a.record == nil {
		return a.Recorder.Record(ctx, b)
	}
	return a.record(ctx, b)
}

func (a *altered) ReadStream(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	if a.readStream == nil {
		return a.Recorder.ReadStream(ctx, id, q)
	}
	return a.readStream(ctx, id, q)
}

func (a *altered) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	if a.readLog == nil {
		return a.Recorder.ReadLog(ctx, q)
	}
	return a.readLog(ctx, q)
}

func (a *altered) MaxPosition(ctx context.Context) (int64, bool, error) {
	if a.maxPosition == nil {
		return a.Recorder.MaxPosition(ctx)
	}
	return a.maxPosition(ctx)
}

func (a *altered) Wait(ctx context.Context, after int64) error {
	if a.wait == nil {
		return a.Recorder.Wait(ctx, after)
	}
	return a.wait(ctx, after)
}

func (a *altered) Close() error {
	if a.close == nil {
		return a.Recorder.Close()
	}
	return a.close()
}

// each returns a ReadLog that yields what replace makes of each notification.
func each(r Recorder, replace func(n persistence.Notification) []persistence.Notification) Recorder {
	return &altered{Recorder: r, readLog: func(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
		return func(yield func(persistence.Notification, error) bool) {
			for n, err := range r.ReadLog(ctx, q) {
				if err != nil {
					yield(n, err)
					return
				}
				for _, n := range replace(n) {
					if !yield(n, nil) {
						return
					}
				}
			}
		}
	}}
}

func losesEvents(r Recorder) Recorder {
	return each(r, func(n persistence.Notification) []persistence.Notification {
		if n.Position%10 == 0 {
			return nil
		}
		return []persistence.Notification{n}
	})
}

func deliversTwice(r Recorder) Recorder {
	return each(r, func(n persistence.Notification) []persistence.Notification {
		if n.Position%10 == 0 {
			return []persistence.Notification{n, n}
		}
		return []persistence.Notification{n}
	})
}

func keepsMilliseconds(r Recorder) Recorder {
	return each(r, func(n persistence.Notification) []persistence.Notification {
		n.Time = n.Time.Truncate(time.Millisecond)
		return []persistence.Notification{n}
	})
}

// givesPositionsEarly gives positions as a sequence of a database does: before the
// commit, so that they become visible in another order.
func givesPositionsEarly(r Recorder) Recorder {
	var next atomic.Int64
	var mu sync.Mutex
	var visible model
	changed := make(chan struct{})
	a := &altered{Recorder: r}
	a.record = func(ctx context.Context, b persistence.Batch) ([]int64, error) {
		positions := make([]int64, len(b.Events))
		end := next.Add(int64(len(b.Events)))
		for i := range positions {
			positions[i] = end - int64(len(positions)-1-i)
		}
		runtime.Gosched()
		if _, err := r.Record(ctx, b); err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		visible.log = append(visible.log, notifications(positions, b.Events)...)
		slices.SortFunc(visible.log, func(a, b persistence.Notification) int { return cmp.Compare(a.Position, b.Position) })
		close(changed)
		changed = make(chan struct{})
		return positions, nil
	}
	a.readLog = func(_ context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
		return func(yield func(persistence.Notification, error) bool) {
			mu.Lock()
			log := visible.readLog(q)
			mu.Unlock()
			for _, n := range log {
				if !yield(n, nil) {
					return
				}
			}
		}
	}
	a.maxPosition = func(context.Context) (int64, bool, error) {
		mu.Lock()
		defer mu.Unlock()
		return visible.head(), len(visible.log) > 0, nil
	}
	a.wait = func(ctx context.Context, after int64) error {
		for {
			mu.Lock()
			there, more := visible.head() > after, changed
			mu.Unlock()
			if there {
				return nil
			}
			select {
			case <-more:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return a
}

func limitsBeforeFiltering(r Recorder) Recorder {
	return &altered{Recorder: r, readLog: func(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
		topics := q.Topics
		q.Topics = nil
		return each(r, func(n persistence.Notification) []persistence.Notification {
			if len(topics) > 0 && !slices.Contains(topics, n.Topic) {
				return nil
			}
			return []persistence.Notification{n}
		}).ReadLog(ctx, q)
	}}
}

func limitsBeforeTurning(r Recorder) Recorder {
	return &altered{Recorder: r, readStream: func(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
		return func(yield func(persistence.StoredEvent, error) bool) {
			descending := q.Descending
			q.Descending = false
			events, err := collect(r.ReadStream(ctx, id, q))
			if descending {
				slices.Reverse(events)
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(persistence.StoredEvent{}, err)
			}
		}
	}}
}

// foldsNames takes names for equal that differ in case only.
func foldsNames(r Recorder) Recorder {
	return &altered{
		Recorder: r,
		record: func(ctx context.Context, b persistence.Batch) ([]int64, error) {
			b.Events = slices.Clone(b.Events)
			for i := range b.Events {
				b.Events[i].StreamID = strings.ToLower(b.Events[i].StreamID)
			}
			return r.Record(ctx, b)
		},
		readStream: func(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
			return r.ReadStream(ctx, strings.ToLower(id), q)
		},
	}
}

func hasPositionZero(r Recorder) Recorder {
	return &altered{Recorder: r, maxPosition: func(ctx context.Context) (int64, bool, error) {
		position, _, err := r.MaxPosition(ctx)
		return position, true, err
	}}
}

func sharesMemory(r Recorder) Recorder {
	var states sync.Map
	a := each(r, func(n persistence.Notification) []persistence.Notification {
		state, _ := states.Load(n.ID)
		n.State = state.([]byte)
		return []persistence.Notification{n}
	}).(*altered)
	a.record = func(ctx context.Context, b persistence.Batch) ([]int64, error) {
		for _, e := range b.Events {
			states.Store(e.ID, e.State)
		}
		return r.Record(ctx, b)
	}
	return a
}

// locksWhileYielding holds its only connection while it yields, and for ever when
// the loop is left early.
func locksWhileYielding(r Recorder) Recorder {
	connection := make(chan struct{}, 1)
	connection <- struct{}{}
	acquire := func(ctx context.Context) error {
		select {
		case <-connection:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return &altered{
		Recorder: r,
		record: func(ctx context.Context, b persistence.Batch) ([]int64, error) {
			if err := acquire(ctx); err != nil {
				return nil, err
			}
			defer func() { connection <- struct{}{} }()
			return r.Record(ctx, b)
		},
		readLog: func(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
			return func(yield func(persistence.Notification, error) bool) {
				if err := acquire(ctx); err != nil {
					yield(persistence.Notification{}, err)
					return
				}
				for n, err := range r.ReadLog(ctx, q) {
					if !yield(n, err) {
						return
					}
				}
				connection <- struct{}{}
			}
		},
	}
}

func storesHalf(r Recorder) Recorder {
	return &altered{Recorder: r, record: func(ctx context.Context, b persistence.Batch) ([]int64, error) {
		positions, err := r.Record(ctx, b)
		if err != nil && len(b.Events) > 1 {
			_, _ = r.Record(ctx, batch(b.Events[:len(b.Events)/2]...))
		}
		return positions, err
	}}
}

// storesInPieces commits n events at a time.
func storesInPieces(n int) func(Recorder) Recorder {
	return func(r Recorder) Recorder {
		return &altered{Recorder: r, record: func(ctx context.Context, b persistence.Batch) (all []int64, err error) {
			for piece := range slices.Chunk(b.Events, n) {
				positions, err := r.Record(ctx, batch(piece...))
				if err != nil {
					return nil, err
				}
				all = append(all, positions...)
				runtime.Gosched()
			}
			b.Events = nil
			_, err = r.Record(ctx, b)
			return all, err
		}}
	}
}

// altersBatch records what alter makes of each batch.
func altersBatch(alter func(ctx context.Context, b *persistence.Batch) error) func(Recorder) Recorder {
	return func(r Recorder) Recorder {
		return &altered{Recorder: r, record: func(ctx context.Context, b persistence.Batch) ([]int64, error) {
			if err := alter(ctx, &b); err != nil {
				return nil, err
			}
			return r.Record(ctx, b)
		}}
	}
}

func forgetsTracking(_ context.Context, b *persistence.Batch) error {
	b.Tracking = nil
	return nil
}

func forgetsHashes(_ context.Context, b *persistence.Batch) error {
	b.Events = slices.Clone(b.Events)
	for i := range b.Events {
		b.Events[i].Hash = nil
	}
	return nil
}

// readsOutside sees in a transaction of the caller what all others see.
type readsOutside struct{ *file }

func (r readsOutside) ReadStreamTx(
	ctx context.Context, _ any, id string, q persistence.StreamQuery,
) iter.Seq2[persistence.StoredEvent, error] {
	return r.ReadStream(ctx, id, q)
}

func followsAny(_ context.Context, b *persistence.Batch) error {
	if b.Tracking != nil {
		b.Tracking = &persistence.Tracking{Name: b.Tracking.Name, Position: b.Tracking.Position}
	}
	return nil
}

func hasOneTracking(_ context.Context, b *persistence.Batch) error {
	if b.Tracking != nil {
		b.Tracking = &persistence.Tracking{Name: "all", Position: b.Tracking.Position}
	}
	return nil
}

func refusesNothing(_ context.Context, b *persistence.Batch) error {
	if len(b.Events) == 0 && b.Tracking == nil {
		return annals.ErrUnsupported
	}
	return nil
}

func callsDoEarly(ctx context.Context, b *persistence.Batch) error {
	do := b.Do
	if b.Do = nil; do == nil {
		return nil
	}
	return do(ctx, nil)
}

// altersResult answers what alter makes of each result.
func altersResult(
	alter func(ctx context.Context, b persistence.Batch, positions []int64, err error) ([]int64, error),
) func(Recorder) Recorder {
	return func(r Recorder) Recorder {
		return &altered{Recorder: r, record: func(ctx context.Context, b persistence.Batch) ([]int64, error) {
			positions, err := r.Record(ctx, b)
			return alter(ctx, b, positions, err)
		}}
	}
}

func wrapsErrors(_ context.Context, _ persistence.Batch, positions []int64, err error) ([]int64, error) {
	if err != nil {
		err = fmt.Errorf("record: %w", err)
	}
	return positions, err
}

func quotesData(_ context.Context, b persistence.Batch, positions []int64, err error) ([]int64, error) {
	if err != nil && len(b.Events) > 0 {
		err = fmt.Errorf("%s: %w", b.Events[0].State, err)
	}
	return positions, err
}

func acceptsInvalid(_ context.Context, _ persistence.Batch, positions []int64, err error) ([]int64, error) {
	if errors.Is(err, annals.ErrInvalidID) {
		return nil, nil
	}
	return positions, err
}

func deniesCommits(ctx context.Context, _ persistence.Batch, positions []int64, err error) ([]int64, error) {
	if err == nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return positions, err
}

func answersVersions(_ context.Context, b persistence.Batch, positions []int64, err error) ([]int64, error) {
	for i := range positions {
		positions[i] = b.Events[i].Version
	}
	return positions, err
}

func callsDoLate(r Recorder) Recorder {
	return &altered{Recorder: r, record: func(ctx context.Context, b persistence.Batch) ([]int64, error) {
		do := b.Do
		b.Do = nil
		positions, err := r.Record(ctx, b)
		if err == nil && do != nil {
			err = do(ctx, new([]string))
		}
		return positions, err
	}}
}

func ignoresContext(r Recorder) Recorder {
	return &altered{
		Recorder: r,
		record: func(ctx context.Context, b persistence.Batch) ([]int64, error) {
			return r.Record(context.WithoutCancel(ctx), b)
		},
		readLog: func(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
			return r.ReadLog(context.WithoutCancel(ctx), q)
		},
		maxPosition: func(ctx context.Context) (int64, bool, error) { return r.MaxPosition(context.WithoutCancel(ctx)) },
	}
}

func versionOf(ctx context.Context, r Recorder, stream string) int64 {
	last, err := collect(r.ReadStream(ctx, stream, persistence.StreamQuery{Descending: true, Limit: 1}))
	if err != nil || len(last) == 0 {
		return 0
	}
	return last[0].Version
}

func ignoresVersions(r Recorder) Recorder {
	var mu sync.Mutex
	return &altered{Recorder: r, record: func(ctx context.Context, b persistence.Batch) ([]int64, error) {
		mu.Lock()
		defer mu.Unlock()
		b.Events = slices.Clone(b.Events)
		versions := make(map[string]int64)
		for i := range b.Events {
			e := &b.Events[i]
			if versions[e.StreamID] == 0 {
				versions[e.StreamID] = versionOf(ctx, r, e.StreamID)
			}
			versions[e.StreamID]++
			e.Version = versions[e.StreamID]
		}
		return r.Record(ctx, b)
	}}
}

// onRepeat calls f when a batch was recognised as a repeat.
func onRepeat(r Recorder, f func(ctx context.Context, b persistence.Batch, positions []int64) ([]int64, error)) Recorder {
	var mu sync.Mutex
	return &altered{Recorder: r, record: func(ctx context.Context, b persistence.Batch) ([]int64, error) {
		mu.Lock()
		defer mu.Unlock()
		before, _, _ := r.MaxPosition(context.WithoutCancel(ctx))
		positions, err := r.Record(ctx, b)
		if err != nil || len(positions) == 0 || positions[0] > before {
			return positions, err
		}
		return f(ctx, b, positions)
	}}
}

func storesRepeats(r Recorder) Recorder {
	return onRepeat(r, func(ctx context.Context, b persistence.Batch, positions []int64) ([]int64, error) {
		_, err := ignoresVersions(r).Record(ctx, batch(b.Events...))
		return positions, err
	})
}

func tellsRepeatsAreFresh(_ context.Context, b persistence.Batch, positions []int64, err error) ([]int64, error) {
	if err == nil && b.Fresh != nil {
		*b.Fresh = true
	}
	return positions, err
}

func tellsNothingIsFresh(_ context.Context, b *persistence.Batch) error {
	b.Fresh = nil
	return nil
}

func refusesRepeats(r Recorder) Recorder {
	return onRepeat(r, func(ctx context.Context, b persistence.Batch, _ []int64) ([]int64, error) {
		e := b.Events[0]
		return nil, &annals.VersionConflictError{StreamID: e.StreamID, Expected: e.Version - 1, Actual: versionOf(ctx, r, e.StreamID)}
	})
}

func looksAtFirstEvent(r Recorder) Recorder {
	return &altered{Recorder: r, record: func(ctx context.Context, b persistence.Batch) ([]int64, error) {
		positions, err := r.Record(ctx, b)
		if !errors.Is(err, annals.ErrVersionConflict) {
			return positions, err
		}
		e := b.Events[0]
		stored, readErr := collect(r.ReadStream(ctx, e.StreamID, persistence.StreamQuery{After: e.Version - 1, Limit: 1}))
		if readErr == nil && len(stored) > 0 && stored[0].ID == e.ID {
			return make([]int64, len(b.Events)), nil
		}
		return positions, err
	}}
}

// blamesNeighbours gives the error of a save to the one after it as well.
func blamesNeighbours(r Recorder) Recorder {
	var last atomic.Pointer[error]
	return &altered{Recorder: r, record: func(ctx context.Context, b persistence.Batch) ([]int64, error) {
		if err := last.Swap(nil); err != nil {
			return nil, *err
		}
		positions, err := r.Record(ctx, b)
		if err != nil {
			last.Store(&err)
		}
		return positions, err
	}}
}

func doesNotWake(r Recorder) Recorder {
	return &altered{Recorder: r, wait: func(ctx context.Context, after int64) error {
		if position, _, err := r.MaxPosition(ctx); err != nil || position > after {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}}
}

// waitsForNext waits for a save that begins after it, as one who listens for a
// push, and does not look at what is there.
func waitsForNext(r Recorder) Recorder {
	return &altered{Recorder: r, wait: func(ctx context.Context, _ int64) error {
		now, _, err := r.MaxPosition(ctx)
		if err != nil {
			return err
		}
		return r.Wait(ctx, now)
	}}
}

func doesNotClose(r Recorder) Recorder {
	return &altered{Recorder: r, close: func() error { return nil }}
}

func endsSilently(r Recorder) Recorder {
	var closed atomic.Bool
	return &altered{
		Recorder: r,
		close:    func() error { closed.Store(true); return r.Close() },
		readLog: func(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
			return func(yield func(persistence.Notification, error) bool) {
				for n, err := range r.ReadLog(ctx, q) {
					if closed.Load() || !yield(n, err) {
						return
					}
				}
			}
		},
	}
}

func acknowledgesEarly(r *file) Recorder {
	var waiting [][]byte
	r.write = func(f *os.File, line []byte) error {
		if waiting = append(waiting, line); len(waiting) < 3 {
			return nil
		}
		all := slices.Concat(waiting...)
		waiting = nil
		return writeDurably(f, all)
	}
	return r
}

func loadsOnce(r *file) Recorder {
	r.load = sync.OnceValue(r.loadNew)
	return r
}

func keepsLock(r *file) Recorder {
	r.release = func() {}
	return r
}
