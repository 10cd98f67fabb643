package postgres

import (
	"context"
	"encoding/binary"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals/persistence"
)

// maxSingle is how many bytes of an event storeOne sends at most: it writes all at once.
const maxSingle = 64 << 10

// single is how the one event of a save that is alone is sent: by the messages of the
// protocol, for a statement that the connection has prepared. The driver's own calls do the
// same for any types and sizes, by twice the allocations, and by a timer around what they
// write, which wakes the scheduler: a tenth of the time of such a save.
//
// It is used for one save after the other.
type single struct {
	bind    pgproto3.Bind
	execute pgproto3.Execute
	sync    pgproto3.Sync
	values  [12][]byte
	data    []byte // what values are parts of
}

// isPlain reports whether the connections of the pool prepare statements, and nobody traces
// them: then some may be sent without the driver's calls.
func isPlain(pool *pgxpool.Pool) bool {
	cc := pool.Config().ConnConfig
	return cc.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement && cc.Tracer == nil
}

// storeOne stores a batch of a single event by a statement that is a transaction of
// its own. It returns nothing if the batch is another, or does not fit to what was stored
// when the statement began. It says neither how long it waits nor how durable it is: where
// the connection does not say it, this is left to storeGroup.
func (s *saving) storeOne(ctx context.Context, conn *pgx.Conn, b *persistence.Batch) (positions []int64, err error) {
	if len(b.Events) != 1 || b.Tracking != nil || !s.sql.settled {
		return nil, nil
	}
	if e := &b.Events[0]; s.r.plain && len(e.State)+len(e.Headers) <= maxSingle {
		positions, err = s.sendOne(ctx, conn, e)
	} else {
		positions, err = s.queryOne(ctx, conn, e)
	}
	if isConflict(err) {
		return nil, nil
	}
	return positions, err
}

// queryOne has the driver send the statement.
func (s *saving) queryOne(ctx context.Context, conn *pgx.Conn, e *persistence.StoredEvent) ([]int64, error) {
	shape := int32(e.Shape) //nolint:gosec // shapes are few
	rows, err := conn.Query(ctx, s.sql.insertOne, s.r.mode, e.StreamID, e.Version, e.ID, e.Topic, e.Time, shape, e.Encoding,
		notNil(e.State), textOrNull(e.CorrelationID), textOrNull(e.CausationID), bytesOrNull(e.Headers), bytesOrNull(e.Hash))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// sendOne sends the statement itself.
func (s *saving) sendOne(ctx context.Context, conn *pgx.Conn, e *persistence.StoredEvent) ([]int64, error) {
	statement, err := conn.Prepare(ctx, s.sql.insertOneName, s.sql.insertOne)
	if err != nil {
		if conn.IsClosed() {
			err = &lostError{err: err}
		}
		return nil, err
	}
	answered := false
	defer func() {
		if !answered {
			s.r.giveUp(ctx, conn) // what comes later would be taken for the answer to what is asked next
		}
	}()
	single := &s.r.single
	single.take(statement.Name, e)
	positions, refused, err := single.exchange(ctx, conn.PgConn())
	if err != nil {
		return nil, &lostError{err: err, sent: true}
	}
	answered = true
	if isUnprepared(refused) {
		return nil, conn.Deallocate(ctx, s.sql.insertOneName) // it is prepared again for the next save
	}
	return positions, refused
}

// take makes the event the parameters of insertOneText.
func (x *single) take(statement string, e *persistence.StoredEvent) {
	data := x.data[:0]
	text := func(s string) []byte {
		data = append(data, s...)
		return data[len(data)-len(s):]
	}
	optional := func(s string) []byte {
		if s == "" {
			return nil
		}
		return text(s)
	}
	bigint := func(n int64) []byte {
		data = binary.BigEndian.AppendUint64(data, uint64(n)) //nolint:gosec // the same bits
		return data[len(data)-8:]
	}
	int4 := func(n int) []byte {
		data = binary.BigEndian.AppendUint32(data, uint32(n)) //nolint:gosec // shapes are few
		return data[len(data)-4:]
	}
	x.values = [...][]byte{
		text(e.StreamID), bigint(e.Version), text(e.ID), text(e.Topic), bigint(microsOf(e.Time)), int4(e.Shape), text(e.Encoding),
		notNil(e.State), optional(e.CorrelationID), optional(e.CausationID), bytesOrNull(e.Headers), bytesOrNull(e.Hash),
	}
	x.data = data
	binaries := []int16{pgx.BinaryFormatCode} // all of them
	x.bind = pgproto3.Bind{
		PreparedStatement: statement, ParameterFormatCodes: binaries, Parameters: x.values[:], ResultFormatCodes: binaries,
	}
}

// exchange sends the statement, and returns what the server answers: the position of the
// event, if it is stored, or why it is refused. An error is one of the connection.
func (x *single) exchange(ctx context.Context, conn *pgconn.PgConn) (positions []int64, refused, err error) {
	messages := conn.Frontend()
	messages.SendBind(&x.bind)
	messages.SendExecute(&x.execute)
	messages.SendSync(&x.sync)
	err = messages.Flush()
	clear(x.values[:]) // they are the caller's
	if err != nil {
		return nil, nil, err
	}
	for {
		message, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return nil, nil, err
		}
		switch m := message.(type) {
		case *pgproto3.DataRow:
			positions = []int64{integer(m.Values[0])}
		case *pgproto3.ErrorResponse:
			refused = pgconn.ErrorResponseToPgError(m)
		case *pgproto3.ReadyForQuery:
			return positions, refused, nil
		}
	}
}
