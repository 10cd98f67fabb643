package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals/internal/chunk"
	"github.com/annals-es/annals/persistence"
)

// ReadStream yields events of a stream.
func (r *Recorder) ReadStream(ctx context.Context, streamID string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	return r.readStream(ctx, r.by(ctx, r.pool), streamID, q)
}

// using calls a function with a connection.
type using func(f func(conn) error) error

// by uses connections of a pool.
func (r *Recorder) by(ctx context.Context, pool *pgxpool.Pool) using {
	return func(f func(conn) error) error {
		if err := r.usable(ctx); err != nil {
			return err
		}
		return r.patiently(ctx, pool, func(c *pgx.Conn) error { return f(c) })
	}
}

func (r *Recorder) readStream(
	ctx context.Context, use using, streamID string, q persistence.StreamQuery,
) iter.Seq2[persistence.StoredEvent, error] {
	return func(yield func(persistence.StoredEvent, error) bool) {
		after, upTo := max(q.After, 0), chunk.Bound(q.UpTo)
		query := func(s *statements, limit int64) (string, []any) {
			return s.streams[place(q.Hash)][place(q.Descending)], []any{streamID, after, upTo, limit}
		}
		for n, err := range r.read(ctx, use, &scanner{hash: q.Hash}, q.Limit, query) {
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

// ReadLog yields notifications in ascending order; from the replica, if there is one.
func (r *Recorder) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	return func(yield func(persistence.Notification, error) bool) {
		after, upTo := max(q.After, 0), chunk.Bound(q.UpTo)
		query := func(s *statements, limit int64) (string, []any) {
			args := []any{after, upTo, limit}
			if len(q.Topics) > 0 {
				args = append(args, q.Topics)
			}
			if q.CorrelationID != "" {
				args = append(args, q.CorrelationID)
			}
			return s.logs[place(q.Hash)][place(len(q.Topics) > 0)][place(q.CorrelationID != "")], args
		}
		for n, err := range r.read(ctx, r.by(ctx, r.logs), &scanner{log: true, hash: q.Hash}, q.Limit, query) {
			if !yield(*n, err) {
				return
			}
			after = n.Position
		}
	}
}

// place returns where a statement with, or without, something stands.
func place(with bool) int {
	if with {
		return 1
	}
	return 0
}

// read yields the rows of query after query. Each is asked again if its connection is
// lost: nothing of it was yielded then.
func (r *Recorder) read(
	ctx context.Context, use using, s *scanner, limit int, query func(s *statements, limit int64) (text string, args []any),
) iter.Seq2[*persistence.Notification, error] {
	fetch := func(dst []persistence.Notification, limit int64) (_ []persistence.Notification, more bool, err error) {
		err = use(func(c conn) error {
			sql, err := r.texts()
			if err != nil {
				return err
			}
			text, args := query(sql, limit)
			dst, more, err = s.rows(ctx, c, r.mode, text, args, dst[:0], limit)
			return err
		})
		return dst, more, r.errorf(ctx, "read", err)
	}
	return r.buffers.Read(ctx, chunk.Bound(int64(limit)), fetch)
}

// scanner scans the rows of queries for events, in the binary format.
type scanner struct {
	log  bool // rows begin with position and stream
	hash bool // rows end with the hash

	topic, encoding string // of the last row: most rows have the same
	texts           strings.Builder
	bytes           []byte
}

// slab is the memory that rows next to each other share: who keeps one of them keeps
// that much at most.
const slab = 4 << 10

// keep returns a copy of the bytes.
func (s *scanner) keep(raw []byte) []byte {
	if len(raw) == 0 {
		return []byte{}
	}
	if cap(s.bytes)-len(s.bytes) < len(raw) {
		if len(raw) > slab/4 {
			return append([]byte(nil), raw...)
		}
		s.bytes = make([]byte, 0, slab)
	}
	from := len(s.bytes)
	s.bytes = append(s.bytes, raw...)
	return s.bytes[from:len(s.bytes):len(s.bytes)]
}

// keepText returns a copy of the text.
func (s *scanner) keepText(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	if s.texts.Cap()-s.texts.Len() < len(raw) {
		s.texts.Reset() // what was written before stays with those who have it
		s.texts.Grow(max(slab, len(raw)))
	}
	from := s.texts.Len()
	_, _ = s.texts.Write(raw)
	return s.texts.String()[from:]
}

// rows appends the rows of one query; more says whether there may be others.
func (s *scanner) rows(
	ctx context.Context, c conn, mode pgx.QueryExecMode, text string, args []any, dst []persistence.Notification, limit int64,
) (_ []persistence.Notification, more bool, err error) {
	rows, err := c.Query(ctx, text, append([]any{mode, pgx.QueryResultFormats{pgx.BinaryFormatCode}}, args...)...)
	if err != nil {
		return dst, false, err
	}
	defer rows.Close()
	for size := 0; rows.Next(); {
		dst = append(dst, persistence.Notification{})
		n := &dst[len(dst)-1]
		if err := s.scan(rows.RawValues(), n); err != nil {
			return dst, false, err
		}
		if size += len(n.State); size > chunk.MaxBytes {
			return dst, true, nil
		}
	}
	return dst, int64(len(dst)) == limit, rows.Err()
}

var errColumns = errors.New("a row has other columns than were asked for")

// scan decodes a row. What it keeps is copied, and what most rows have in common is
// shared.
func (s *scanner) scan(raw [][]byte, n *persistence.Notification) error {
	want := 10
	if s.log {
		want += 2
	}
	if s.hash {
		want++
	}
	if len(raw) != want {
		return errColumns
	}
	if s.log {
		n.Position, n.StreamID = integer(raw[0]), s.keepText(raw[1])
		raw = raw[2:]
	}
	n.ID, n.CorrelationID, n.CausationID = s.keepText(raw[1]), s.keepText(raw[7]), s.keepText(raw[8])
	n.Version = integer(raw[0])
	n.Topic = shared(&s.topic, raw[2])
	n.Time = timeOf(integer(raw[3]))
	n.Shape = int(integer(raw[4]))
	n.Encoding = shared(&s.encoding, raw[5])
	n.State = s.keep(raw[6])
	if len(raw[9]) > 0 {
		n.Headers = s.keep(raw[9])
	}
	if s.hash && len(raw[10]) > 0 {
		n.Hash = s.keep(raw[10])
	}
	return nil
}

// shared returns the text, as the same memory as the last one if it is the same.
func shared(last *string, raw []byte) string {
	if string(raw) != *last {
		*last = string(raw)
	}
	return *last
}

func integer(raw []byte) int64 {
	switch len(raw) {
	case 8:
		return int64(binary.BigEndian.Uint64(raw)) //nolint:gosec // the same bits
	case 4:
		return int64(int32(binary.BigEndian.Uint32(raw))) //nolint:gosec // the same bits
	default:
		return 0
	}
}

// epoch is where PostgreSQL counts microseconds from.
const epoch = 946_684_800 // seconds

func microsOf(t time.Time) int64 { return t.UnixMicro() - epoch*1_000_000 }

func timeOf(micros int64) time.Time { return time.UnixMicro(micros + epoch*1_000_000).UTC() }

// MaxPosition returns the greatest position; of the replica, if there is one.
func (r *Recorder) MaxPosition(ctx context.Context) (position int64, ok bool, err error) {
	err = r.usable(ctx)
	var p *int64
	if err == nil {
		err = r.one(ctx, r.logs, func(s *statements) string { return s.maxPosition }, nil, &p)
	}
	if err != nil || p == nil {
		return 0, false, r.errorf(ctx, "max position", err)
	}
	return *p, true, nil
}

// MaxTracking returns the tracked position.
func (r *Recorder) MaxTracking(ctx context.Context, name string) (position int64, ok bool, err error) {
	err = r.usable(ctx)
	if err == nil {
		err = r.one(ctx, r.pool, func(s *statements) string { return s.maxTracking }, []any{name}, &position)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	return position, err == nil, r.errorf(ctx, "max tracking", err)
}

// one scans the one row of a query.
func (r *Recorder) one(ctx context.Context, pool *pgxpool.Pool, text func(*statements) string, args []any, dest ...any) error {
	return r.patiently(ctx, pool, func(conn *pgx.Conn) error {
		sql, err := r.texts()
		if err != nil {
			return err
		}
		return conn.QueryRow(ctx, text(sql), append([]any{r.mode}, args...)...).Scan(dest...)
	})
}

var _ persistence.SnapshotRecorder = (*Recorder)(nil)

// RecordSnapshot stores the snapshot, unless the stream has a later one. It does not
// wait for saves.
func (r *Recorder) RecordSnapshot(ctx context.Context, s persistence.StoredSnapshot) error {
	if err := s.Check(); err != nil {
		return err
	}
	err := r.usable(ctx)
	if err == nil {
		err = r.patiently(ctx, r.pool, func(conn *pgx.Conn) error {
			sql, err := r.texts()
			if err != nil {
				return err
			}
			_, err = conn.Exec(ctx, sql.recordSnapshot, r.mode, s.StreamID, s.Version, s.Topic, s.CreatedAt, s.ModifiedAt,
				int32(s.Shape), s.Mark, s.Encoding, notNil(s.State)) //nolint:gosec // shapes are few
			return err
		})
	}
	return r.errorf(ctx, "record snapshot", err)
}

// ReadSnapshot returns the snapshot of a stream.
func (r *Recorder) ReadSnapshot(ctx context.Context, streamID string) (s persistence.StoredSnapshot, ok bool, err error) {
	err = r.usable(ctx)
	if err == nil {
		err = r.one(ctx, r.pool, func(s *statements) string { return s.readSnapshot }, []any{streamID},
			&s.Version, &s.Topic, &s.CreatedAt, &s.ModifiedAt, &s.Shape, &s.Mark, &s.Encoding, &s.State)
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return persistence.StoredSnapshot{}, false, nil
	case err != nil:
		return persistence.StoredSnapshot{}, false, r.errorf(ctx, "read snapshot", err)
	}
	s.StreamID, s.CreatedAt, s.ModifiedAt = streamID, s.CreatedAt.UTC(), s.ModifiedAt.UTC()
	return s, true, nil
}
