package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/recordertest"
	"github.com/annals-es/annals/sqlite"
)

func BenchmarkSave64(b *testing.B)   { recordertest.BenchmarkSave64(b, backend()) }
func BenchmarkSave1(b *testing.B)    { recordertest.BenchmarkSave1(b, backend()) }
func BenchmarkLoad1000(b *testing.B) { recordertest.BenchmarkLoad1000(b, backend()) }
func BenchmarkScan(b *testing.B)     { recordertest.BenchmarkScan(b, backend()) }

// bare is the driver without Annals, on the same tables and with the same
// settings of the database.
type bare struct {
	db                 *sql.DB
	insert, load, scan *sql.Stmt
}

func newBare(tb testing.TB) recordertest.Bare {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "bare.db")
	r, err := sqlite.Open(tb.Context(), path) // makes the tables
	if err != nil {
		tb.Fatal(err)
	}
	if err := r.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	if err := r.Close(); err != nil {
		tb.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)"+
		"&_pragma=synchronous(FULL)&_pragma=mmap_size(1073741824)&_pragma=wal_autocheckpoint(4000)&_pragma=cache_size(-64000)")
	if err != nil {
		tb.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	x := &bare{db: db}
	for stmt, text := range map[**sql.Stmt]string{
		&x.insert: "INSERT INTO annals_events (stream_id, version, event_id, topic, time, shape, encoding, state, " +
			"correlation_id, causation_id, headers) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
		&x.load: "SELECT state FROM annals_events WHERE stream_id = ? ORDER BY version",
		&x.scan: "SELECT position, stream_id, version, event_id, topic, time, shape, encoding, state, " +
			"correlation_id, causation_id, headers FROM annals_events ORDER BY position",
	} {
		if *stmt, err = db.PrepareContext(tb.Context(), text); err != nil { //nolint:sqlclosecheck // with the database
			tb.Fatal(err)
		}
	}
	return x
}

func (x *bare) Close() error { return x.db.Close() }

func (x *bare) Save(ctx context.Context, e *persistence.StoredEvent) error {
	return save(ctx, x.insert, e) // a statement on its own is a transaction
}

func save(ctx context.Context, insert *sql.Stmt, e *persistence.StoredEvent) error {
	_, err := insert.ExecContext(ctx, e.StreamID, e.Version, e.ID, e.Topic, e.Time.UnixMicro(), e.Shape,
		e.Encoding, e.State, nil, nil, nil)
	return err
}

func (x *bare) Fill(ctx context.Context, events []persistence.StoredEvent) error {
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	insert := tx.StmtContext(ctx, x.insert)
	for i := range events {
		if err := save(ctx, insert, &events[i]); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (x *bare) Load(ctx context.Context, streamID string, row func(state []byte) error) error {
	rows, err := x.load.QueryContext(ctx, streamID)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var state sql.RawBytes
		if err := rows.Scan(&state); err != nil {
			return err
		}
		if err := row(state); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (x *bare) Scan(ctx context.Context) (n int, err error) {
	rows, err := x.scan.QueryContext(ctx)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			position, version, time, shape     int64
			streamID, eventID, topic, encoding string
			state, headers                     []byte
			correlationID, causationID         sql.NullString
		)
		if err := rows.Scan(&position, &streamID, &version, &eventID, &topic, &time, &shape, &encoding, &state,
			&correlationID, &causationID, &headers); err != nil {
			return n, err
		}
		n++
	}
	return n, rows.Err()
}

func BenchmarkLoadSnapshot(b *testing.B) { recordertest.BenchmarkLoadSnapshot(b, backend()) }
func BenchmarkGetCached(b *testing.B)    { recordertest.BenchmarkGetCached(b, backend()) }

func BenchmarkSaveHashed(b *testing.B) { recordertest.BenchmarkSaveHashed(b, backend()) }
func BenchmarkVerify(b *testing.B)     { recordertest.BenchmarkVerify(b, backend()) }
