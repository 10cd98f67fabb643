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

// maxSingle is how many bytes of state storeOne sends at most: what a socket takes at once.
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
// its own. It returns nil if the batch is another, or does not fit to what was stored
// when the statement began. It says neither how long it waits nor how durable it is: where
// the connection does not say it, this is left to storeGroup.
func (s *saving) storeOne(ctx context.Context, conn *pgx.Conn, b *persistence.Batch) ([]int64, error) {
	if len(b.Events) != 1 || b.Tracking != nil || !s.sql.settled || len(b.Events[0].State) > maxSingle {
		return nil, nil
	}
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
			_ = conn.Close(ctx) // what came by it later would be taken for the answer to what is asked next
		}
	}()
	single := &s.r.single
	single.take(statement.Name, &b.Events[0])
	positions, refused, err := single.exchange(ctx, conn.PgConn())
	answered = err == nil
	switch {
	case err != nil:
		return nil, &lostError{err: err, sent: true}
	case refused == nil:
		return positions, nil
	case isConflict(refused):
		return nil, nil
	default:
		_ = conn.Deallocate(ctx, s.sql.insertOneName) // it may be the statement that is of no use any more
		return nil, refused
	}
}

// take makes the event the parameters of insertOneText.
func (x *single) take(statement string, e *persistence.StoredEvent) {
	data := x.data[:0]
	text := func(s string) []byte {
		data = append(data, s...)
		return data[len(data)-len(s):]
	}
	textOrNull := func(s string) []byte {
		if s == "" {
			return nil
		}
		return text(s)
	}
	bigint := func(n int64) []byte {
		data = binary.BigEndian.AppendUint64(data, uint64(n)) //nolint:gosec // the same bits
		return data[len(data)-8:]
	}
	integer := func(n int) []byte {
		data = binary.BigEndian.AppendUint32(data, uint32(n)) //nolint:gosec // shapes are few
		return data[len(data)-4:]
	}
	x.values = [...][]byte{
		text(e.StreamID), bigint(e.Version), text(e.ID), text(e.Topic), bigint(microsOf(e.Time)), integer(e.Shape), text(e.Encoding),
		notNil(e.State), textOrNull(e.CorrelationID), textOrNull(e.CausationID), bytesOrNull(e.Headers), bytesOrNull(e.Hash),
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
	if err := messages.Flush(); err != nil {
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
