package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
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
// It is used by what the writer commits alone, which is one save, or group, after the other.
type messages struct {
	bind    pgproto3.Bind
	execute pgproto3.Execute
	sync    pgproto3.Sync
	data    []byte     // what parameters are parts of
	values  [12][]byte // those of insertOneText
	row     [][]byte   // that came back
}

// maxKept is how many bytes for parameters are kept for the next save.
const maxKept = 1 << 20

// end forgets the parameters of a save: they are the caller's.
func (m *messages) end() {
	m.bind = pgproto3.Bind{}
	clear(m.values[:])
	clear(m.row)
	if m.data = m.data[:0]; cap(m.data) > maxKept {
		m.data = nil
	}
}

// isPlain reports whether the connections of the pool, as it is configured, prepare statements,
// and nobody traces them: then some may be sent without the driver's calls.
func isPlain(pool *pgxpool.Pool) bool {
	cc := pool.Config().ConnConfig
	return cc.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement && cc.Tracer == nil
}

// call is a statement that is sent.
type call struct {
	statement

	values [][]byte // its parameters, in the binary format
	// row takes the row that comes back, if there is one, once the transaction is committed;
	// nil: it is of no interest.
	row func(fields []pgconn.FieldDescription, values [][]byte) error

	fields []pgconn.FieldDescription
}

// send sends the calls at once, as one transaction. If the error is not a [*lostError], then
// nothing was done.
func (m *messages) send(ctx context.Context, r *Recorder, conn *pgx.Conn, calls ...call) error {
	defer m.end()
	for tries := 1; ; tries++ {
		for i := range calls {
			c := &calls[i]
			prepared, err := conn.Prepare(ctx, c.name, c.text)
			if err != nil {
				return notSent(conn, err)
			}
			c.fields = prepared.Fields
		}
		unprepared, err := m.exchange(ctx, r, conn, calls)
		if tries > 1 || !unprepared {
			return err
		}
		for i := range calls {
			if err := conn.Deallocate(ctx, calls[i].name); err != nil {
				return notSent(conn, err)
			}
		}
	}
}

// notSent returns the error of what goes ahead of a save.
func notSent(conn *pgx.Conn, err error) error {
	if conn.IsClosed() {
		return &lostError{err: err}
	}
	return err
}

// binaries is the format of all parameters and results.
var binaries = []int16{pgx.BinaryFormatCode}

// exchange sends the calls, and takes what the server answers. Unprepared says that it has one
// of the statements no more.
func (m *messages) exchange(ctx context.Context, r *Recorder, conn *pgx.Conn, calls []call) (unprepared bool, err error) {
	answered := false
	defer func() {
		if !answered { // also by a panic of the pool's own functions, for notices, say
			r.giveUp(ctx, conn) // what comes later would be taken for the answer to what is asked next
		}
	}()
	frontend := conn.PgConn().Frontend()
	for i := range calls {
		m.bind = pgproto3.Bind{
			PreparedStatement:    calls[i].name,
			ParameterFormatCodes: binaries, Parameters: calls[i].values, ResultFormatCodes: binaries,
		}
		frontend.SendBind(&m.bind)
		frontend.SendExecute(&m.execute)
	}
	frontend.SendSync(&m.sync)
	if err := frontend.Flush(); err != nil {
		return false, &lostError{err: err} // what is missing has the Sync at its end: the server does not commit
	}
	var refused error
	m.row = m.row[:0]
	for next := 0; ; {
		message, err := conn.PgConn().ReceiveMessage(ctx)
		if err != nil {
			return false, &lostError{err: errors.Join(refused, err), sent: true}
		}
		switch message := message.(type) {
		case *pgproto3.DataRow:
			if next < len(calls) && calls[next].row != nil {
				m.row = m.row[:0]
				for _, value := range message.Values {
					m.row = append(m.row, bytes.Clone(value))
				}
			}
		case *pgproto3.CommandComplete:
			next++
		case *pgproto3.ErrorResponse:
			refused = pgconn.ErrorResponseToPgError(message)
			unprepared = next < len(calls) && isUnprepared(refused) // and not an error of the commit
		case *pgproto3.ReadyForQuery:
			if refused != nil {
				answered = true
				return unprepared, refused
			}
			if next != len(calls) || message.TxStatus != idleStatus {
				return false, &lostError{err: errors.New("what the server answers is not the answer to a save"), sent: true}
			}
			answered = true
			if err := m.took(calls); err != nil {
				return false, &lostError{err: err, sent: true}
			}
			return false, nil
		}
	}
}

// idleStatus is that of a connection that is in no transaction.
const idleStatus = 'I'

// took gives the row that came back to the call that wants one.
func (m *messages) took(calls []call) error {
	for i := range calls {
		if c := &calls[i]; c.row != nil && len(m.row) > 0 {
			return c.row(c.fields, m.row)
		}
	}
	return nil
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
