package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// A read is cut into queries of at most so many rows and bytes of state. Between
// them nothing is held: no transaction that would keep the WAL from being reused,
// no connection, no lock.
const (
	maxRows  = 1000
	maxBytes = 4 << 20
)

// ReadStream yields events of a stream.
func (r *Recorder) ReadStream(ctx context.Context, streamID string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	return func(yield func(persistence.StoredEvent, error) bool) {
		after, upTo, left := max(q.After, 0), bound(q.UpTo), bound(int64(q.Limit))
		next := func(ctx context.Context, limit int64) (*sql.Rows, error) {
			stmt := r.stmts.stream
			if q.Descending {
				stmt = r.stmts.streamDesc
			}
			return stmt.QueryContext(ctx, streamID, after, upTo, limit)
		}
		for n, err := range r.read(ctx, left, next) {
			if !yield(n.StoredEvent, err) {
				return
			}
			if q.Descending {
				upTo = n.Version - 1
			} else {
				after = n.Version
			}
		}
	}
}

// ReadLog yields notifications in ascending order.
func (r *Recorder) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	return func(yield func(persistence.Notification, error) bool) {
		after, upTo, left := max(q.After, 0), bound(q.UpTo), bound(int64(q.Limit))
		topics, err := json.Marshal(q.Topics)
		if err != nil {
			yield(persistence.Notification{}, r.errorf(ctx, "read", err))
			return
		}
		next := func(ctx context.Context, limit int64) (*sql.Rows, error) {
			if len(q.Topics) > 0 {
				return r.stmts.logTopics.QueryContext(ctx, after, upTo, string(topics), limit)
			}
			return r.stmts.log.QueryContext(ctx, after, upTo, limit)
		}
		for n, err := range r.read(ctx, left, next) {
			if !yield(*n, err) {
				return
			}
			after = n.Position
		}
	}
}

// bound returns a limit as a number that is one in SQL as well.
func bound(n int64) int64 {
	if n <= 0 {
		return math.MaxInt64
	}
	return n
}

// read yields the rows of query after query, until one has fewer rows than asked
// for. The notification that it yields is overwritten by the next one.
func (r *Recorder) read(
	ctx context.Context, left int64, next func(ctx context.Context, limit int64) (*sql.Rows, error),
) iter.Seq2[*persistence.Notification, error] {
	return func(yield func(*persistence.Notification, error) bool) {
		var chunk []persistence.Notification
		for left > 0 {
			err := r.usable(ctx)
			more := false
			if err == nil {
				chunk, more, err = r.readChunk(ctx, chunk[:0], min(left, maxRows), next)
			}
			if err != nil {
				yield(&persistence.Notification{}, r.errorf(ctx, "read", err))
				return
			}
			for i := range chunk {
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

// readChunk appends the rows of one query; more says whether there may be
// others.
func (r *Recorder) readChunk(
	ctx context.Context, chunk []persistence.Notification, limit int64,
	next func(ctx context.Context, limit int64) (*sql.Rows, error),
) (_ []persistence.Notification, more bool, err error) {
	rows, err := next(ctx, limit)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = e
		}
	}()
	var s scanner
	for size := 0; rows.Next(); {
		chunk = append(chunk, persistence.Notification{})
		n := &chunk[len(chunk)-1]
		if err := s.scan(rows, n); err != nil {
			return nil, false, err
		}
		if size += len(n.State); size > maxBytes {
			return chunk, true, nil
		}
	}
	return chunk, int64(len(chunk)) == limit, rows.Err()
}

// scanner scans rows, one after the other.
type scanner struct {
	time                         int64
	correlation, causation, tags sql.NullString
}

func (s *scanner) scan(rows *sql.Rows, n *persistence.Notification) error {
	if err := rows.Scan(
		&n.Position, &n.StreamID, &n.Version, &n.ID, &n.Topic, &s.time, &n.Format, &n.Shape, &n.Encoding, &n.State,
		&s.correlation, &s.causation, &n.Headers, &s.tags, &n.Hash,
	); err != nil {
		return err
	}
	n.Time = time.UnixMicro(s.time).UTC()
	n.CorrelationID, n.CausationID = s.correlation.String, s.causation.String
	if s.tags.Valid {
		if err := json.Unmarshal([]byte(s.tags.String), &n.Tags); err != nil {
			return fmt.Errorf("tags of position %d: %w: %w", n.Position, persistence.ErrCorrupt, err)
		}
	}
	return nil
}

// MaxPosition returns the greatest position.
func (r *Recorder) MaxPosition(ctx context.Context) (position int64, ok bool, err error) {
	if err := r.usable(ctx); err != nil {
		return 0, false, r.errorf(ctx, "max position", err)
	}
	var p sql.NullInt64
	if err := r.stmts.maxPosition.QueryRowContext(ctx).Scan(&p); err != nil {
		return 0, false, r.errorf(ctx, "max position", err)
	}
	return p.Int64, p.Valid, nil
}

// MaxTracking returns the tracked position.
func (r *Recorder) MaxTracking(ctx context.Context, name string) (position int64, ok bool, err error) {
	if err := r.usable(ctx); err != nil {
		return 0, false, r.errorf(ctx, "max tracking", err)
	}
	err = r.stmts.maxTracking.QueryRowContext(ctx, name).Scan(&position)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, r.errorf(ctx, "max tracking", err)
	}
	return position, true, nil
}

// Wait returns when there is an event after the position. Saves of this recorder
// wake it at once; for those of others it looks as often as [WithPollInterval]
// says.
func (r *Recorder) Wait(ctx context.Context, after int64) error {
	ticker := time.NewTicker(r.cfg.pollInterval)
	defer ticker.Stop()
	for {
		r.mu.Lock()
		closed, changed := r.closed, r.changed
		r.mu.Unlock()
		if closed {
			return annals.ErrClosed
		}
		if position, ok, err := r.MaxPosition(ctx); err != nil || ok && position > after {
			return err
		}
		select {
		case <-changed:
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
