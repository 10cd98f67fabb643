package hashchain

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// maxHeads is how many streams a [Linker] remembers.
const maxHeads = 4096

// Linker gives events their hashes and records them. It is safe for concurrent
// use.
type Linker struct {
	recorder persistence.StreamRecorder

	mu    sync.Mutex
	heads map[string]head // of streams that were saved of late: spares a read
}

// head is a version of a stream and its hash.
type head struct {
	version int64
	hash    [Size]byte
}

// NewLinker returns a linker that records by r.
func NewLinker(r persistence.StreamRecorder) *Linker {
	return &Linker{recorder: r, heads: make(map[string]head)}
}

// Record records the batch as the recorder does, and sets the hashes of its events
// before. The hash before the first one of a stream is read: what is stored does
// not change any more, and the recorder refuses the batch if somebody else was
// first. Where earlier events of the stream have no hash, because the chain was
// switched on later, they are hashed on the way.
//
// It returns an [*annals.VersionConflictError] if the event before is not stored.
func (l *Linker) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	if err := l.link(ctx, l.recorder.ReadStream, b.Events); err != nil {
		return nil, err
	}
	fresh := false
	asked := b.Fresh
	b.Fresh = &fresh
	positions, err := l.recorder.Record(ctx, b)
	if err != nil || !fresh {
		return positions, err // what is stored of a repeat may have other hashes
	}
	l.remember(b.Events)
	if asked != nil {
		*asked = true
	}
	return positions, nil
}

// RecordTx is Record in the caller's own transaction. It reads in the transaction
// as well, and remembers nothing, because the caller may roll back. It returns
// [annals.ErrUnsupported] if the recorder is no [persistence.TxRecorder].
func (l *Linker) RecordTx(ctx context.Context, tx any, b persistence.Batch) ([]int64, error) {
	r, ok := l.recorder.(persistence.TxRecorder)
	if !ok {
		return nil, fmt.Errorf("hashchain: a %T cannot save in a transaction of the caller: %w", l.recorder, annals.ErrUnsupported)
	}
	read := func(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
		return r.ReadStreamTx(ctx, tx, id, q)
	}
	if err := l.link(ctx, read, b.Events); err != nil {
		return nil, err
	}
	return r.RecordTx(ctx, tx, b)
}

// link sets the hashes of the events of one batch.
func (l *Linker) link(ctx context.Context, read reader, events []persistence.StoredEvent) error {
	last := make(map[string]head)
	var buf []byte
	for i := range events {
		e := &events[i]
		before, ok := last[e.StreamID]
		if !ok {
			var err error
			if before, err = l.before(ctx, read, e); err != nil {
				return err
			}
		}
		var hash [Size]byte
		hash, buf = sum(buf, before.bytes(), e)
		e.Hash = hash[:]
		last[e.StreamID] = head{e.Version, hash}
	}
	return nil
}

// bytes returns the hash; nil before the first event of a stream.
func (h *head) bytes() []byte {
	if h.version <= 0 {
		return nil
	}
	return h.hash[:]
}

// before returns the head before an event.
func (l *Linker) before(ctx context.Context, read reader, e *persistence.StoredEvent) (head, error) {
	version := e.Version - 1
	if version <= 0 {
		return head{}, nil
	}
	l.mu.Lock()
	known := l.heads[e.StreamID]
	l.mu.Unlock()
	if known.version == version {
		return known, nil
	}
	return read.head(ctx, e.StreamID, version)
}

// remember keeps the heads of events that were stored as they are.
func (l *Linker) remember(events []persistence.StoredEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range events {
		e := &events[i]
		if _, ok := l.heads[e.StreamID]; !ok && len(l.heads) >= maxHeads {
			for forgotten := range l.heads { // any of them
				delete(l.heads, forgotten)
				break
			}
		}
		l.heads[e.StreamID] = head{e.Version, [Size]byte(e.Hash)}
	}
}

// reader reads events of a stream.
type reader func(ctx context.Context, streamID string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error]

// head returns the hash of an event: the one that is stored with it or, if it has
// none, the one that its hash would be.
func (read reader) head(ctx context.Context, stream string, version int64) (head, error) {
	for range 2 {
		h, err := read.chain(ctx, stream, version)
		if err != nil || h.version == version {
			return h, err
		}
		last, err := read.last(ctx, stream)
		if err != nil {
			return head{}, err
		}
		if last < version {
			return head{}, &annals.VersionConflictError{StreamID: stream, Expected: version, Actual: last}
		}
		// It was stored after the first look. Once more:
	}
	return head{}, fmt.Errorf("hashchain: version %d of stream %q is missing, and later ones are there: %w",
		version, stream, persistence.ErrCorrupt)
}

func (read reader) chain(ctx context.Context, stream string, version int64) (head, error) {
	for e, err := range read(ctx, stream, persistence.StreamQuery{After: version - 1, UpTo: version, Hash: true}) {
		if err != nil {
			return head{}, err
		}
		if len(e.Hash) == Size {
			return head{e.Version, [Size]byte(e.Hash)}, nil
		}
	}
	var c chain
	var buf []byte
	for e, err := range read(ctx, stream, persistence.StreamQuery{UpTo: version, Hash: true}) {
		if err != nil {
			return head{}, err
		}
		_, _, buf = c.next(buf, &e, c.hashed)
	}
	return head{c.version, c.hash}, nil
}

// last returns the version of the last event of a stream.
func (read reader) last(ctx context.Context, stream string) (version int64, err error) {
	for e, err := range read(ctx, stream, persistence.StreamQuery{Descending: true, Limit: 1}) {
		if err != nil {
			return 0, err
		}
		version = e.Version
	}
	return version, nil
}
