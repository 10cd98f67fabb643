package hashchain

import (
	"context"
	"fmt"
	"sync"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// maxHeads is how many streams a [Linker] remembers.
const maxHeads = 4096

// Linker gives events their hashes before they are recorded. It is safe for
// concurrent use.
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

// NewLinker returns a linker for what is recorded by r.
func NewLinker(r persistence.StreamRecorder) *Linker {
	return &Linker{recorder: r, heads: make(map[string]head)}
}

// Link sets the hashes of the events of one batch. The hash before the first one of
// a stream is read: what is stored does not change any more, and the recorder
// refuses the batch if somebody else was first. Where earlier events of the stream
// have no hash, because the chain was switched on later, they are hashed on the
// way.
//
// It returns an [*annals.VersionConflictError] if the event before is not stored.
func (l *Linker) Link(ctx context.Context, events []persistence.StoredEvent) error {
	last := make(map[string]head)
	var buf []byte
	for i := range events {
		e := &events[i]
		before, ok := last[e.StreamID]
		if !ok {
			var err error
			if before, err = l.head(ctx, e.StreamID, e.Version-1); err != nil {
				return err
			}
		}
		var sum0 []byte
		if before.version > 0 {
			sum0 = before.hash[:]
		}
		hash, b := sum(buf, sum0, e)
		buf = b
		e.Hash = hash[:]
		last[e.StreamID] = head{e.Version, hash}
	}
	return nil
}

// Stored remembers the heads of events that were linked, and are recorded.
func (l *Linker) Stored(events []persistence.StoredEvent) {
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

// head returns the hash of an event that is stored; zero for version 0.
func (l *Linker) head(ctx context.Context, stream string, version int64) (head, error) {
	if version <= 0 {
		return head{}, nil
	}
	l.mu.Lock()
	known := l.heads[stream]
	l.mu.Unlock()
	if known.version == version {
		return known, nil
	}
	found, err := l.read(ctx, stream, version)
	if err == nil && found.version != version {
		err = l.conflict(ctx, stream, version)
	}
	return found, err
}

// read returns the hash of the version, computed from the last one before it that
// is stored with its event.
func (l *Linker) read(ctx context.Context, stream string, version int64) (head, error) {
	for e, err := range l.recorder.ReadStream(ctx, stream, persistence.StreamQuery{After: version - 1, UpTo: version, Hash: true}) {
		if err != nil {
			return head{}, err
		}
		if len(e.Hash) == Size {
			return head{e.Version, [Size]byte(e.Hash)}, nil
		}
	}
	c := chain{}
	for e, err := range l.recorder.ReadStream(ctx, stream, persistence.StreamQuery{UpTo: version, Hash: true}) {
		if err != nil {
			return head{}, err
		}
		c.next(&e)
	}
	return head{c.version, c.hash}, nil
}

func (l *Linker) conflict(ctx context.Context, stream string, version int64) error {
	actual := int64(0)
	for e, err := range l.recorder.ReadStream(ctx, stream, persistence.StreamQuery{Descending: true, Limit: 1}) {
		if err != nil {
			return err
		}
		actual = e.Version
	}
	if actual >= version {
		return fmt.Errorf("hashchain: version %d of stream %q cannot be read, and the stream is at %d: %w",
			version, stream, actual, persistence.ErrCorrupt)
	}
	return &annals.VersionConflictError{StreamID: stream, Expected: version, Actual: actual}
}

// chain is the chain of one stream, as far as it was followed.
type chain struct {
	version int64
	hash    [Size]byte // as computed
	hashed  bool       // there was an event with a hash
	buf     []byte
}

// next follows the chain to the next event, and says what is wrong with it.
func (c *chain) next(e *persistence.StoredEvent) (wrong Kind) {
	var before []byte
	if c.version > 0 {
		before = c.hash[:]
	}
	var hash [Size]byte
	hash, c.buf = sum(c.buf, before, e)
	switch {
	case e.Version > c.version+1:
		wrong = Missing
	case e.Version <= c.version:
		wrong = Inserted
	case len(e.Hash) == 0 && c.hashed:
		wrong = Unhashed
	case len(e.Hash) > 0 && string(e.Hash) != string(hash[:]):
		wrong = Changed
	}
	c.version, c.hash = e.Version, hash
	if len(e.Hash) > 0 {
		c.hashed = true
		if wrong != "" && len(e.Hash) == Size {
			c.hash = [Size]byte(e.Hash) // what follows is told apart from what went before
		}
	}
	return wrong
}
