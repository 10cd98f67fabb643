package postgres

import (
	"context"
	"encoding/binary"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annals-es/annals/persistence"
)

// storeOne stores a batch of a single event by a statement that is a transaction of
// its own. It returns nothing if the batch is another, or does not fit to what was stored
// when the statement began. It says neither how long it waits nor how durable it is: where
// the connection does not say it, this is left to storeGroup.
func (s *saving) storeOne(ctx context.Context, b *persistence.Batch) (positions []int64, err error) {
	if len(b.Events) != 1 || b.Tracking != nil || !s.sql.settled {
		return nil, nil
	}
	if e := &b.Events[0]; s.plain != nil {
		positions, err = s.sendOne(ctx, e)
	} else {
		positions, err = s.queryOne(ctx, e)
	}
	if isConflict(err) {
		return nil, nil
	}
	return positions, err
}

// queryOne has the driver send the statement.
func (s *saving) queryOne(ctx context.Context, e *persistence.StoredEvent) ([]int64, error) {
	shape := int32(e.Shape) //nolint:gosec // shapes are few
	rows, err := s.conn.Query(ctx, s.sql.insertOne.text, s.r.mode, e.StreamID, e.Version, e.ID, e.Topic, e.Time, shape, e.Encoding,
		notNil(e.State), textOrNull(e.CorrelationID), textOrNull(e.CausationID), bytesOrNull(e.Headers), bytesOrNull(e.Hash))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// sendOne sends the statement itself.
func (s *saving) sendOne(ctx context.Context, e *persistence.StoredEvent) (positions []int64, err error) {
	m := &s.r.messages
	m.event(e)
	err = m.send(ctx, s.r, s.plain, call{
		statement: s.sql.insertOne, values: m.values[:],
		row: func(_ []pgconn.FieldDescription, values [][]byte) error {
			positions = []int64{integer(values[0])}
			return nil
		},
	})
	return positions, err
}

// event makes the event the parameters of insertOneText.
func (m *messages) event(e *persistence.StoredEvent) {
	text := func(s string) []byte {
		m.data = append(m.data, s...)
		return m.data[len(m.data)-len(s):]
	}
	optional := func(s string) []byte {
		if s == "" {
			return nil
		}
		return text(s)
	}
	bigint := func(n int64) []byte {
		m.data = binary.BigEndian.AppendUint64(m.data, uint64(n)) //nolint:gosec // the same bits
		return m.data[len(m.data)-8:]
	}
	int4 := func(n int) []byte {
		m.data = binary.BigEndian.AppendUint32(m.data, uint32(n)) //nolint:gosec // shapes are few
		return m.data[len(m.data)-4:]
	}
	m.values = [...][]byte{
		text(e.StreamID), bigint(e.Version), text(e.ID), text(e.Topic), bigint(microsOf(e.Time)), int4(e.Shape), text(e.Encoding),
		notNil(e.State), optional(e.CorrelationID), optional(e.CausationID), bytesOrNull(e.Headers), bytesOrNull(e.Hash),
	}
}
