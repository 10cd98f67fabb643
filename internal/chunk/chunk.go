// Package chunk is how recorders read: in queries of a bounded size, between which
// nothing is held: no transaction, no connection, no lock.
package chunk

import (
	"context"
	"iter"
	"math"
	"sync"

	"github.com/annals-es/annals/persistence"
)

// The greatest number of rows, and of bytes of state, of one query.
const (
	MaxRows  = 1000
	MaxBytes = 4 << 20
)

// Bound returns a limit as a number that is one in SQL as well.
func Bound(n int64) int64 {
	if n <= 0 {
		return math.MaxInt64
	}
	return n
}

// Buffers keeps the memory of chunks for the next ones. It is safe for concurrent
// use.
type Buffers struct{ pool sync.Pool }

func (b *Buffers) get() *[]persistence.Notification {
	if buffer, ok := b.pool.Get().(*[]persistence.Notification); ok {
		return buffer
	}
	return new([]persistence.Notification)
}

// put takes a buffer back, of which so many places were used.
func (b *Buffers) put(buffer *[]persistence.Notification, used int) {
	clear((*buffer)[:used]) // what was read is the reader's
	b.pool.Put(buffer)
}

// Read yields the rows of query after query, until so many are read, or until fetch
// says that there are no more. Fetch appends the rows of one query, at most limit, to
// dst. The notification that is yielded is overwritten by a later one. Once the context
// has ended, nothing that was fetched before is yielded but its error.
func (b *Buffers) Read(
	ctx context.Context, left int64,
	fetch func(dst []persistence.Notification, limit int64) (_ []persistence.Notification, more bool, err error),
) iter.Seq2[*persistence.Notification, error] {
	return func(yield func(*persistence.Notification, error) bool) {
		buffer := b.get()
		used := 0
		defer func() { b.put(buffer, used) }()
		for left > 0 {
			chunk, more, err := fetch((*buffer)[:0], min(left, MaxRows))
			*buffer = chunk
			used = max(used, len(chunk))
			if err != nil {
				yield(&persistence.Notification{}, err)
				return
			}
			for i := range chunk {
				if err := ctx.Err(); i > 0 && err != nil {
					yield(&persistence.Notification{}, err)
					return
				}
				if !yield(&chunk[i], nil) {
					return
				}
			}
			if !more {
				return
			}
			left -= int64(len(chunk))
		}
	}
}
