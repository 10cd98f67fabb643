package persistence

import (
	"context"
	"iter"
)

// Follow yields the notifications that q selects, in order, each once, and goes
// on with new ones as they are saved, by whatever process. It ends when the
// context is done, or on an error, which is then the last it yields; a limit or
// an upper bound of q end it as well.
func Follow(ctx context.Context, r LogRecorder, q LogQuery) iter.Seq2[Notification, error] {
	return func(yield func(Notification, error) bool) {
		q := q
		q.After = max(q.After, 0) // to wait behind a position that no event has would not wait
		for {
			for n, err := range catchUp(ctx, r, &q) {
				if !yield(n, err) || err != nil {
					return
				}
				if q.Limit > 0 {
					if q.Limit--; q.Limit == 0 {
						return
					}
				}
			}
			if q.UpTo > 0 && q.After >= q.UpTo {
				return
			}
			if err := r.Wait(ctx, q.After); err != nil {
				yield(Notification{}, err)
				return
			}
		}
	}
}

// catchUp yields what q selects up to the present head of the log, and then moves
// q behind that head, whether or not something was selected: what follows is
// waited for there.
func catchUp(ctx context.Context, r LogRecorder, q *LogQuery) iter.Seq2[Notification, error] {
	return func(yield func(Notification, error) bool) {
		// The head is read first: what is then found up to it is complete,
		// because no position at or below a visible one appears later.
		head, ok, err := r.MaxPosition(ctx)
		if err != nil {
			yield(Notification{}, err)
			return
		}
		if !ok || head <= q.After {
			return
		}
		next := *q
		if next.UpTo <= 0 || next.UpTo > head {
			next.UpTo = head
		}
		for n, err := range r.ReadLog(ctx, next) {
			if !yield(n, err) || err != nil {
				return
			}
		}
		q.After = head
	}
}
