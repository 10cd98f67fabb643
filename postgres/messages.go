package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// messages is how saves are sent: by the messages of the protocol, for statements that the
// connection has prepared. The driver's own calls do the same for any types, by many more
// allocations, and by a timer around what they write, which wakes the scheduler: a tenth of
// the time of a save, be it one event or fifty.
//
// It is used for one save after the other.
type messages struct {
	bind    pgproto3.Bind
	execute pgproto3.Execute
	sync    pgproto3.Sync
	data    []byte     // what parameters are parts of
	values  [12][]byte // those of insertOneText
}

// maxKept is how many bytes of a save's parameters are kept for those of the next.
const maxKept = 1 << 20

// isPlain reports whether the connections of the pool prepare statements, and nobody traces
// them: then some may be sent without the driver's calls.
func isPlain(pool *pgxpool.Pool) bool {
	cc := pool.Config().ConnConfig
	return cc.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement && cc.Tracer == nil
}

// call is a statement that is sent.
type call struct {
	name, text string                      // of the prepared statement
	values     [][]byte                    // its parameters, in the binary format
	row        func(values [][]byte) error // takes a row; nil: none is of interest
}

// send sends the calls at once, as one transaction. What the server refuses is its error;
// it has done nothing then.
func (m *messages) send(ctx context.Context, r *Recorder, conn *pgx.Conn, calls ...call) error {
	for tries := 1; ; tries++ {
		for i := range calls {
			if _, err := conn.Prepare(ctx, calls[i].name, calls[i].text); err != nil {
				if conn.IsClosed() {
					err = &lostError{err: err}
				}
				return err
			}
		}
		refused, err := m.exchange(ctx, conn.PgConn(), calls)
		if err != nil {
			r.giveUp(ctx, conn) // what comes later would be taken for the answer to what is asked next
			return &lostError{err: err, sent: true}
		}
		if tries > 1 || !isUnprepared(refused) {
			return refused
		}
		for i := range calls {
			if err := conn.Deallocate(ctx, calls[i].name); err != nil {
				return err
			}
		}
	}
}

// exchange sends the calls, and takes what the server answers, or why it refuses them. An
// error is one of the connection.
func (m *messages) exchange(ctx context.Context, conn *pgconn.PgConn, calls []call) (refused, err error) {
	frontend := conn.Frontend()
	binaries := []int16{pgx.BinaryFormatCode} // all of them
	for i := range calls {
		m.bind = pgproto3.Bind{
			PreparedStatement: calls[i].name, ParameterFormatCodes: binaries, Parameters: calls[i].values, ResultFormatCodes: binaries,
		}
		frontend.SendBind(&m.bind)
		frontend.SendExecute(&m.execute)
	}
	m.bind = pgproto3.Bind{}
	frontend.SendSync(&m.sync)
	if err := frontend.Flush(); err != nil {
		return nil, err
	}
	for answered := 0; ; {
		message, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return nil, err
		}
		switch message := message.(type) {
		case *pgproto3.DataRow:
			if row := calls[answered].row; row != nil && refused == nil {
				refused = row(message.Values)
			}
		case *pgproto3.CommandComplete:
			answered++
		case *pgproto3.ErrorResponse:
			refused = pgconn.ErrorResponseToPgError(message)
		case *pgproto3.ReadyForQuery:
			return refused, nil
		}
	}
}

// columns makes columns of events the parameters of a statement: arrays in the binary format.
func (m *messages) columns(columns []any) [][]byte {
	values := make([][]byte, len(columns))
	for i, column := range columns {
		begin := len(m.data)
		if m.data = appendColumn(m.data, column); len(m.data) > begin {
			values[i] = m.data[begin:]
		}
	}
	return values
}

// begin forgets the parameters of the save before.
func (m *messages) begin() {
	if m.data = m.data[:0]; cap(m.data) > maxKept {
		m.data = nil
	}
}

// appendColumn appends an array; nothing if the column is nil.
func appendColumn(data []byte, column any) []byte {
	switch column := column.(type) {
	case []int32:
		return appendArray(data, pgtype.Int4OID, column, func(data []byte, n int32) []byte {
			return binary.BigEndian.AppendUint32(appendLength(data, 4), uint32(n)) //nolint:gosec // the same bits
		})
	case []int64:
		return appendArray(data, pgtype.Int8OID, column, appendBigint)
	case []string:
		return appendArray(data, pgtype.TextOID, column, appendText)
	case []*string:
		return appendArray(data, pgtype.TextOID, column, func(data []byte, s *string) []byte {
			if s == nil {
				return appendLength(data, -1)
			}
			return appendText(data, *s)
		})
	case []time.Time:
		return appendArray(data, pgtype.TimestamptzOID, column, func(data []byte, t time.Time) []byte {
			return appendBigint(data, microsOf(t))
		})
	case [][]byte:
		return appendArray(data, pgtype.ByteaOID, column, func(data, b []byte) []byte {
			if b == nil {
				return appendLength(data, -1)
			}
			return append(appendLength(data, len(b)), b...)
		})
	default:
		panic(fmt.Sprintf("postgres: a column of type %T", column))
	}
}

// appendArray appends an array of one dimension, as array_recv of the server reads it.
func appendArray[T any](data []byte, element uint32, column []T, appendElement func([]byte, T) []byte) []byte {
	if column == nil {
		return data
	}
	const dimensions, someAreNull, lowerBound = 1, 1, 1
	for _, n := range []uint32{dimensions, someAreNull, element, uint32(len(column)), lowerBound} { //nolint:gosec // not so many
		data = binary.BigEndian.AppendUint32(data, n)
	}
	for _, e := range column {
		data = appendElement(data, e)
	}
	return data
}

func appendLength(data []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(data, uint32(n)) //nolint:gosec // -1 says that there is none
}

func appendText(data []byte, s string) []byte { return append(appendLength(data, len(s)), s...) }

func appendBigint(data []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(appendLength(data, 8), uint64(n)) //nolint:gosec // the same bits
}
