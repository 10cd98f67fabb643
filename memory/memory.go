// Package memory is the recorder that keeps everything in memory: for tests, for
// development, and as the model that the other recorders are compared with.
package memory

import (
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Recorder keeps events in memory; they are gone when the process ends. It gives
// every guarantee of a recorder but durability. It is safe for concurrent use.
type Recorder struct {
	saving    sync.Mutex // held by a save from begin to end; before mu
	mu        sync.Mutex // held shortly
	log       log
	streams   map[string]*stream
	last      *stream // the one that was found or made last
	tracking  map[string]int64
	snapshots map[string]persistence.StoredSnapshot
	ledger    map[string]string
	copier    copier        // of the log: what is in it stays
	changed   chan struct{} // if somebody waits: closed when log grows, and when the recorder is closed
	closed    bool
}

// stream says where in the log the events of a stream are. Its id is that of all of
// them, so that they share the memory of it.
type stream struct {
	id string
	at []int // the event of version v is log.at(at[v-1])
}

// log keeps the event of position p at p-1. It is only appended to, in blocks, so that
// nothing is copied when it grows; a copy of it is what it was then.
type log struct {
	blocks []*[blockLength]persistence.Notification
	length int
}

const blockLength = 64

func (l *log) at(i int) *persistence.Notification { return &l.blocks[i/blockLength][i%blockLength] }

// next returns the place of the next event, which is a part of the log from now on.
func (l *log) next() *persistence.Notification {
	if l.length == len(l.blocks)*blockLength {
		l.blocks = append(l.blocks, new([blockLength]persistence.Notification))
	}
	l.length++
	return l.at(l.length - 1)
}

// events returns where the events are. A nil stream has none.
func (s *stream) events() []int {
	if s == nil {
		return nil
	}
	return s.at
}

var (
	_ persistence.Recorder         = (*Recorder)(nil)
	_ persistence.SnapshotRecorder = (*Recorder)(nil)
)

// Driver is chosen by RECORDER=memory, and by default.
var Driver = persistence.Driver{
	Name: "memory",
	Recorder: func(_ context.Context, s *persistence.Settings) (persistence.Recorder, error) {
		return New(), s.Err()
	},
}

// New returns an empty recorder.
func New() *Recorder {
	return &Recorder{
		streams:   make(map[string]*stream),
		tracking:  make(map[string]int64),
		snapshots: make(map[string]persistence.StoredSnapshot),
		ledger:    make(map[string]string),
	}
}

// Close makes every later call return [annals.ErrClosed]. It always returns nil.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		if r.changed != nil {
			close(r.changed)
		}
	}
	return nil
}

// Record stores the batch. The transaction that it passes to Do is nil.
func (r *Recorder) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	r.saving.Lock()
	defer r.saving.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if positions, err := r.check(ctx, &b); err != nil || positions != nil {
		return positions, err
	}
	if b.Ledger != nil || b.Do != nil {
		if err := r.do(ctx, &b); err != nil {
			return nil, err
		}
	}
	if t := b.Tracking; t != nil {
		r.tracking[t.Name] = t.Position
	}
	if b.Fresh != nil {
		*b.Fresh = true
	}
	return r.append(b.Events), nil
}

// do calls the functions of the batch, while others may read, and saves wait. The lock mu
// is held, but while they run.
func (r *Recorder) do(ctx context.Context, b *persistence.Batch) error {
	entries := newDraft(r.ledger)
	if b.Ledger != nil {
		b.OpenLedger(func(context.Context, any) (persistence.Ledger, error) { return &ledger{entries}, nil })
	}
	if b.Do != nil {
		if err := r.unlocked(func() error { return b.Do(ctx, nil) }); err != nil {
			return err
		}
	}
	if r.closed {
		return annals.ErrClosed
	}
	entries.apply()
	return nil
}

func (r *Recorder) unlocked(f func() error) error {
	r.mu.Unlock()
	defer r.mu.Lock()
	return f()
}

// check returns the positions of the batch if it is stored already, or the error that
// it does not fit to what is stored. That does not change until the save is done.
func (r *Recorder) check(ctx context.Context, b *persistence.Batch) ([]int64, error) {
	if err := r.usable(ctx); err != nil {
		return nil, err
	}
	if err := r.checkVersions(b.Events); err != nil {
		if positions, ok := r.stored(b.Events); ok && r.isTracked(b.Tracking) {
			return positions, nil
		}
		return nil, err
	}
	if t := b.Tracking; t != nil {
		if actual := r.tracking[t.Name]; !t.Follows(actual) {
			return nil, &annals.TrackingConflictError{Name: t.Name, Position: t.Position, Actual: actual}
		}
	}
	return nil, nil
}

func (r *Recorder) usable(ctx context.Context) error {
	if r.closed {
		return annals.ErrClosed
	}
	return ctx.Err()
}

// checkVersions looks at the first event of each stream: the others follow it.
func (r *Recorder) checkVersions(events []persistence.StoredEvent) error {
	var seen map[string]bool
	for i := range events {
		e := &events[i]
		if seen[e.StreamID] {
			continue
		}
		if len(events) > 1 {
			if seen == nil {
				seen = make(map[string]bool)
			}
			seen[e.StreamID] = true
		}
		if actual := int64(len(r.stream(e.StreamID).events())); actual != e.Version-1 {
			return &annals.VersionConflictError{StreamID: e.StreamID, Expected: e.Version - 1, Actual: actual}
		}
	}
	return nil
}

func (r *Recorder) isTracked(t *persistence.Tracking) bool {
	return t == nil || r.tracking[t.Name] >= t.Position
}

// stored returns the positions of the events if they are all stored already.
func (r *Recorder) stored(events []persistence.StoredEvent) ([]int64, bool) {
	positions := make([]int64, len(events))
	for i := range events {
		e := &events[i]
		stream := r.stream(e.StreamID).events()
		if e.Version > int64(len(stream)) || r.log.at(stream[e.Version-1]).ID != e.ID {
			return nil, false
		}
		positions[i] = r.log.at(stream[e.Version-1]).Position
	}
	return positions, true
}

// stream returns a stream; nil if it has no events. Streams are never removed, so the one
// that was found last is still it: a save asks twice for the same one.
func (r *Recorder) stream(id string) *stream {
	if r.last == nil || r.last.id != id {
		s := r.streams[id]
		if s == nil {
			return nil
		}
		r.last = s
	}
	return r.last
}

func (r *Recorder) append(events []persistence.StoredEvent) []int64 {
	positions := make([]int64, len(events))
	for i := range events {
		s := r.stream(events[i].StreamID)
		if s == nil {
			s = &stream{id: events[i].StreamID, at: make([]int, 0, 4)}
			r.streams[s.id], r.last = s, s
		}
		s.at = append(s.at, r.log.length)
		n := r.log.next()
		n.Position, n.StoredEvent = int64(r.log.length), events[i]
		n.StreamID = s.id
		r.copier.own(&n.StoredEvent, true)
		positions[i] = n.Position
	}
	if len(events) > 0 && r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
	return positions
}

// maxPiece is the most memory that a copier takes at a time for events that share it.
const maxPiece = 4 << 10

// copier gives events memory of their own, in pieces that become as long as the
// events are many.
type copier struct{ piece []byte }

// own gives a copy of an event bytes of its own: neither who records an event nor
// who reads one can change what is stored. The hash is left out unless it is asked
// for.
func (c *copier) own(e *persistence.StoredEvent, hash bool) {
	if !hash {
		e.Hash = nil
	}
	n := len(e.State) + len(e.Headers) + len(e.Hash)
	shared := n <= maxPiece/8 // of others, the rest of a piece would be too much to lose
	piece := c.piece
	switch {
	case !shared:
		piece = make([]byte, 0, n)
	case n > cap(piece)-len(piece):
		piece = make([]byte, 0, max(n, min(2*cap(piece), maxPiece)))
	}
	for _, part := range []*[]byte{&e.State, &e.Headers, &e.Hash} {
		switch {
		case *part == nil:
		case len(*part) == 0:
			*part = []byte{}
		default:
			from := len(piece)
			piece = append(piece, *part...)
			*part = piece[from:len(piece):len(piece)]
		}
	}
	if shared {
		c.piece = piece
	}
}

// ReadStream yields events of a stream, as they were when the iteration began.
func (r *Recorder) ReadStream(ctx context.Context, streamID string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	return func(yield func(persistence.StoredEvent, error) bool) {
		r.mu.Lock()
		err := r.usable(ctx)
		log, stream := r.log, r.streams[streamID].events()
		r.mu.Unlock()
		if err != nil {
			yield(persistence.StoredEvent{}, err)
			return
		}
		first, last := max(q.After, 0), int64(len(stream)) // the versions after first, up to last
		if q.UpTo > 0 {
			last = min(last, q.UpTo)
		}
		if first >= last {
			return
		}
		stream = stream[first:last]
		var c copier
		for i := range stream {
			if q.Limit > 0 && i == q.Limit {
				return
			}
			if q.Descending {
				i = len(stream) - 1 - i
			}
			if err := ctx.Err(); err != nil {
				yield(persistence.StoredEvent{}, err)
				return
			}
			e := log.at(stream[i]).StoredEvent
			c.own(&e, q.Hash)
			if !yield(e, nil) {
				return
			}
		}
	}
}

// ReadLog yields notifications, as they were when the iteration began.
func (r *Recorder) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	return func(yield func(persistence.Notification, error) bool) {
		r.mu.Lock()
		err := r.usable(ctx)
		log := r.log
		r.mu.Unlock()
		if err != nil {
			yield(persistence.Notification{}, err)
			return
		}
		var c copier
		yielded := 0
		for i := max(q.After, 0); i < int64(log.length) && (q.UpTo <= 0 || i < q.UpTo); i++ {
			stored := log.at(int(i))
			if len(q.Topics) > 0 && !slices.Contains(q.Topics, stored.Topic) {
				continue
			}
			if q.CorrelationID != "" && q.CorrelationID != stored.CorrelationID {
				continue
			}
			if err := ctx.Err(); err != nil {
				yield(persistence.Notification{}, err)
				return
			}
			n := *stored
			c.own(&n.StoredEvent, q.Hash)
			if !yield(n, nil) {
				return
			}
			if yielded++; yielded == q.Limit {
				return
			}
		}
	}
}

// MaxPosition returns the number of events.
func (r *Recorder) MaxPosition(ctx context.Context) (int64, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(ctx); err != nil {
		return 0, false, err
	}
	return int64(r.log.length), r.log.length > 0, nil
}

// MaxTracking returns the tracked position.
func (r *Recorder) MaxTracking(ctx context.Context, name string) (int64, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(ctx); err != nil {
		return 0, false, err
	}
	position, ok := r.tracking[name]
	return position, ok, nil
}

// RecordSnapshot stores the snapshot, unless the stream has a later one.
func (r *Recorder) RecordSnapshot(ctx context.Context, s persistence.StoredSnapshot) error {
	if err := s.Check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(ctx); err != nil {
		return err
	}
	if s.Version >= r.snapshots[s.StreamID].Version {
		s.State = slices.Clone(s.State)
		r.snapshots[s.StreamID] = s
	}
	return nil
}

// ReadSnapshot returns the snapshot of a stream.
func (r *Recorder) ReadSnapshot(ctx context.Context, streamID string) (persistence.StoredSnapshot, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(ctx); err != nil {
		return persistence.StoredSnapshot{}, false, err
	}
	s, ok := r.snapshots[streamID]
	s.State = slices.Clone(s.State)
	return s, ok, nil
}

// Wait returns when there is an event after the position.
func (r *Recorder) Wait(ctx context.Context, after int64) error {
	for {
		r.mu.Lock()
		err := r.usable(ctx)
		there := int64(r.log.length) > after
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		if err != nil || there {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
