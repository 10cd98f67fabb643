package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/chunk"
	"github.com/annals-es/annals/persistence"
)

// ReadStream yields events of a stream.
func (r *Recorder) ReadStream(ctx context.Context, streamID string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	return r.readStream(ctx, streamID, &q, nil)
}

// readStream reads a stream, in the caller's transaction if there is one.
func (r *Recorder) readStream(
	ctx context.Context, streamID string, q *persistence.StreamQuery, tx *sql.Tx,
) iter.Seq2[persistence.StoredEvent, error] {
	return func(yield func(persistence.StoredEvent, error) bool) {
		after, upTo, left := max(q.After, 0), chunk.Bound(q.UpTo), chunk.Bound(int64(q.Limit))
		next := func(ctx context.Context, limit int64) (*sql.Rows, error) {
			args := []any{streamID, after, upTo, limit}
			if tx != nil { // whose statements are not to be interrupted
				return tx.QueryContext(context.WithoutCancel(ctx), r.text(streamText(q.Hash, q.Descending)), args...)
			}
			return r.stmts.streams[place(q.Hash)][place(q.Descending)].QueryContext(ctx, args...)
		}
		for n, err := range r.read(ctx, newScanner(colVersion, q.Hash), left, source{tx: tx, brief: true}, next) {
			n.StreamID = streamID
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

// ReadLog yields notifications in ascending order. From the first on, it also yields
// what somebody else put at positions below 1: it is there for those who read the
// stream, and a verification must see it.
func (r *Recorder) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	return func(yield func(persistence.Notification, error) bool) {
		after, upTo, left := q.After, chunk.Bound(q.UpTo), chunk.Bound(int64(q.Limit))
		if after <= 0 {
			after = math.MinInt64
		}
		topics, err := json.Marshal(q.Topics)
		if err != nil {
			yield(persistence.Notification{}, r.errorf(ctx, "read", err))
			return
		}
		next := func(ctx context.Context, limit int64) (*sql.Rows, error) {
			args := []any{after, upTo}
			if len(q.Topics) > 0 {
				args = append(args, string(topics))
			}
			if q.CorrelationID != "" {
				return r.readDB.QueryContext(ctx, r.storyText(&q), append(args, q.CorrelationID, limit)...)
			}
			return r.stmts.logs[place(q.Hash)][place(len(q.Topics) > 0)].QueryContext(ctx, append(args, limit)...)
		}
		for n, err := range r.read(ctx, newScanner(colPosition, q.Hash), left, source{}, next) {
			if !yield(*n, err) {
				return
			}
			after = n.Position
		}
	}
}

// storyText returns the query for the events of a story, which are few: it is not
// prepared.
func (r *Recorder) storyText(q *persistence.LogQuery) string {
	text := "SELECT position, stream_id, " + selection(q.Hash) + ofLog
	if len(q.Topics) > 0 {
		text += ofTopics
	}
	return r.text(text + " AND correlation_id = ?" + inOrder)
}

// place returns where a statement with, or without, something stands.
func place(with bool) int {
	if with {
		return 1
	}
	return 0
}

// source is where rows are read from.
type source struct {
	tx    *sql.Tx // the caller's transaction; no other connection is then used. Nil: the recorder's own connections
	brief bool    // each query is over soon, see [Recorder.reading]
}

// read yields the rows of query after query, until one has fewer rows than asked
// for. The notification that it yields is overwritten by a later one.
func (r *Recorder) read(
	ctx context.Context, s *scanner, left int64, from source, next func(ctx context.Context, limit int64) (*sql.Rows, error),
) iter.Seq2[*persistence.Notification, error] {
	usable := func() error { return r.usable(ctx) }
	errorf := func(err error) error { return r.errorf(ctx, "read", err) }
	if tx := from.tx; tx != nil {
		usable = func() error { return r.usableTx(ctx, tx) }
		errorf = func(err error) error { return r.errorfOn(ctx, tx, "read", err) }
	}
	fetch := func(dst []persistence.Notification, limit int64) (_ []persistence.Notification, more bool, err error) {
		if err = usable(); err == nil {
			dst, more, err = r.readChunk(ctx, s, dst, limit, from, next)
		}
		if err != nil {
			return dst, false, errorf(err)
		}
		return dst, more, nil
	}
	return r.buffers.Read(ctx, left, fetch)
}

// readChunk appends the rows of one query; more says whether there may be
// others.
func (r *Recorder) readChunk(
	ctx context.Context, s *scanner, dst []persistence.Notification, limit int64, from source,
	next func(ctx context.Context, limit int64) (*sql.Rows, error),
) (_ []persistence.Notification, more bool, err error) {
	if from.tx == nil {
		ctx, err = r.reading(ctx, from.brief)
		if err != nil {
			return dst, false, err
		}
		defer r.readingDone()
	}
	rows, err := next(ctx, limit)
	if err != nil {
		return dst, false, err
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = e
		}
	}()
	for size := 0; rows.Next(); {
		dst = append(dst, persistence.Notification{})
		n := &dst[len(dst)-1]
		if err := s.scan(rows, n); err != nil {
			return dst, false, err
		}
		if size += len(n.State); size > chunk.MaxBytes {
			return dst, true, nil
		}
	}
	return dst, int64(len(dst)) == limit, rows.Err()
}

// reading waits for a connection, until readingDone is called, and returns the
// context to read with. For a brief query, one of a few rows by an index, it does
// not end with ctx: to watch a context costs database/sql and the driver a goroutine
// each, two fifths of what a query takes that finds nothing. Connections of the
// caller's own, see [New], may be held by others: there the context stays as it is.
func (r *Recorder) reading(ctx context.Context, brief bool) (context.Context, error) {
	if r.readers == nil {
		return ctx, nil
	}
	select {
	case r.readers <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if brief {
		ctx = context.WithoutCancel(ctx)
	}
	return ctx, nil
}

func (r *Recorder) readingDone() {
	if r.readers != nil {
		<-r.readers
	}
}

// scanner scans rows, one after the other. It scans into values of any type: for
// those database/sql does nothing but to copy bytes, where it would convert a
// number by way of its text.
type scanner struct {
	values [13]any
	room   [13]any
	dest   []any // pointers to the values that a row has; in room
}

// The places in values. The rows of a stream begin with the version.
const (
	colPosition = iota
	colStreamID
	colVersion
	colEventID
	colTopic
	colTime
	colShape
	colEncoding
	colState
	colCorrelationID
	colCausationID
	colHeaders
	colHash
)

// newScanner returns a scanner of rows that begin with the column, and have a hash
// or not.
func newScanner(first int, hash bool) *scanner {
	s := new(scanner)
	s.dest = s.room[:0]
	for i := first; i < colHash+place(hash); i++ {
		s.dest = append(s.dest, &s.values[i])
	}
	return s
}

func (s *scanner) scan(rows *sql.Rows, n *persistence.Notification) error {
	if err := rows.Scan(s.dest...); err != nil {
		return err
	}
	n.Position = s.integer(colPosition)
	n.StreamID = s.text(colStreamID)
	n.Version = s.integer(colVersion)
	n.ID = s.text(colEventID)
	n.Topic = s.text(colTopic)
	n.Time = time.UnixMicro(s.integer(colTime)).UTC()
	n.Shape = int(s.integer(colShape))
	n.Encoding = s.text(colEncoding)
	n.State = s.bytes(colState)
	n.CorrelationID = s.text(colCorrelationID)
	n.CausationID = s.text(colCausationID)
	n.Headers = s.bytes(colHeaders)
	n.Hash = s.bytes(colHash)
	return nil
}

// The columns are declared with their types, and written by this package alone:
// a value of another type is absent, and refused where it matters, because
// nothing is stored with the version, topic or encoding that is then left.

func (s *scanner) integer(col int) int64 {
	n, _ := s.values[col].(int64)
	return n
}

func (s *scanner) text(col int) string {
	switch v := s.values[col].(type) {
	case string:
		return v
	case []byte: // what some drivers make of text
		return string(v)
	default:
		return ""
	}
}

func (s *scanner) bytes(col int) []byte {
	switch v := s.values[col].(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	default:
		return nil
	}
}

// MaxPosition returns the greatest position.
func (r *Recorder) MaxPosition(ctx context.Context) (position int64, ok bool, err error) {
	if err := r.usable(ctx); err != nil {
		return 0, false, r.errorf(ctx, "max position", err)
	}
	var p sql.NullInt64
	brief, err := r.reading(ctx, true)
	if err == nil {
		defer r.readingDone()
		err = r.stmts.maxPosition.QueryRowContext(brief).Scan(&p)
	}
	return p.Int64, p.Valid, r.errorf(ctx, "max position", err)
}

// MaxTracking returns the tracked position.
func (r *Recorder) MaxTracking(ctx context.Context, name string) (position int64, ok bool, err error) {
	if err := r.usable(ctx); err != nil {
		return 0, false, r.errorf(ctx, "max tracking", err)
	}
	brief, err := r.reading(ctx, true)
	if err == nil {
		defer r.readingDone()
		err = r.stmts.maxTracking.QueryRowContext(brief, name).Scan(&position)
	}
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
