package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/compare"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
	"github.com/annals-es/annals/recordertest"
)

func BenchmarkSave1(b *testing.B)        { recordertest.BenchmarkSave1(b, backend()) }
func BenchmarkLoad100(b *testing.B)      { recordertest.BenchmarkLoad100(b, backend()) }
func BenchmarkLoad1000(b *testing.B)     { recordertest.BenchmarkLoad1000(b, backend()) }
func BenchmarkScan(b *testing.B)         { recordertest.BenchmarkScan(b, backend()) }
func BenchmarkLoadSnapshot(b *testing.B) { recordertest.BenchmarkLoadSnapshot(b, backend()) }
func BenchmarkGetCached(b *testing.B)    { recordertest.BenchmarkGetCached(b, backend()) }
func BenchmarkWakeup(b *testing.B)       { recordertest.BenchmarkWakeup(b, backend()) }

const (
	eventColumns = "stream_id, version, event_id, topic, time, shape, encoding, state, correlation_id, causation_id, headers, hash"
	insertBare   = "INSERT INTO annals_events (" + eventColumns + ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
)

func values(e *persistence.StoredEvent) []any {
	return []any{e.StreamID, e.Version, e.ID, e.Topic, e.Time, e.Shape, e.Encoding, e.State, nil, nil, nil, nil}
}

// bare is the driver without Annals, on the same tables. Its statements are prepared
// when they are first used.
type bare struct{ conn *pgx.Conn }

func newBare(tb testing.TB) recordertest.Bare {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), create(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return &bare{conn}
}

func (x *bare) Close() error { return x.conn.Close(context.Background()) }

func (x *bare) Save(ctx context.Context, e *persistence.StoredEvent) error {
	_, err := x.conn.Exec(ctx, insertBare, values(e)...) // a statement on its own is a transaction
	return err
}

func (x *bare) Fill(ctx context.Context, events []persistence.StoredEvent) error {
	return copyEvents(ctx, x.conn, events)
}

func copyEvents(ctx context.Context, conn *pgx.Conn, events []persistence.StoredEvent) error {
	_, err := conn.CopyFrom(ctx, pgx.Identifier{"annals_events"}, []string{
		"stream_id", "version", "event_id", "topic", "time", "shape", "encoding", "state", "correlation_id", "causation_id", "headers", "hash",
	}, pgx.CopyFromSlice(len(events), func(i int) ([]any, error) { return values(&events[i]), nil }))
	return err
}

func (x *bare) Load(ctx context.Context, streamID string, row func(state []byte) error) error {
	rows, err := x.conn.Query(ctx, "SELECT state FROM annals_events WHERE stream_id = $1 ORDER BY version", streamID)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.RawValues()[0]); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (x *bare) Scan(ctx context.Context) (n int, err error) {
	rows, err := x.conn.Query(ctx, "SELECT position, stream_id, version, event_id, topic, time, shape, encoding, state, "+
		"correlation_id, causation_id, headers FROM annals_events ORDER BY position")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			position, version                  int64
			shape                              int32
			when                               time.Time
			streamID, eventID, topic, encoding string
			state, headers                     []byte
			correlationID, causationID         *string
		)
		if err := rows.Scan(&position, &streamID, &version, &eventID, &topic, &when, &shape, &encoding, &state,
			&correlationID, &causationID, &headers); err != nil {
			return n, err
		}
		n++
	}
	return n, rows.Err()
}

// savers is how many goroutines save.
const savers = 64

// saves makes the batches of a round: each saver saves a number of batches, of a
// number of events, to streams of ten events.
type saves struct {
	each, size int
	last       [savers]persistence.StoredEvent
	batches    [savers][]persistence.Batch
}

func (s *saves) events() int { return savers * s.each * s.size }

func (s *saves) prepare() {
	const streamLength = 10
	for i := range s.batches {
		s.batches[i] = nil
		for range s.each {
			var b persistence.Batch
			for range s.size {
				if s.last[i].Version%streamLength == 0 {
					s.last[i] = event(annals.NewID(), 1)
				} else {
					s.last[i] = event(s.last[i].StreamID, s.last[i].Version+1)
				}
				b.Events = append(b.Events, s.last[i])
			}
			s.batches[i] = append(s.batches[i], b)
		}
	}
}

// run has each saver save its batches.
func (s *saves) run(save func(saver int, b persistence.Batch) error) error {
	var wg sync.WaitGroup
	errs := make([]error, savers)
	for i := range s.batches {
		wg.Go(func() {
			for _, b := range s.batches[i] {
				if errs[i] = save(i, b); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// recorded is the recorder saving.
func recorded(b *testing.B, each, size int) compare.Side {
	b.Helper()
	r, err := postgres.Open(b.Context(), create(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := r.Close(); err != nil {
			b.Error(err)
		}
	})
	s := &saves{each: each, size: size}
	return compare.Side{Events: s.events(), Prepare: s.prepare, Round: func() error {
		return s.run(func(_ int, batch persistence.Batch) error {
			_, err := r.Record(b.Context(), batch)
			return err
		})
	}}
}

// BenchmarkSave64 measures saves of one event each by 64 goroutines, against the same
// saves by 64 connections of the plain driver, each of which sends LOCK TABLE … IN
// EXCLUSIVE MODE, INSERT and COMMIT in one round trip, which keeps the order of
// positions as well:
//
//   - x-locktable: the rate by that of the plain driver. Target: 8 or more.
//   - saves/s, allocs/event.
func BenchmarkSave64(b *testing.B) {
	address := create(b)
	pool, err := pgxpool.New(b.Context(), withParameter(b, address, "pool_max_conns", "64"))
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	conns := make([]*pgxpool.Conn, savers)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				conn.Release()
			}
		}
	}()
	for i := range conns {
		if conns[i], err = pool.Acquire(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	s := &saves{each: 2, size: 1}
	locked := compare.Side{Events: s.events(), Prepare: s.prepare, Round: func() error {
		return s.run(func(saver int, batch persistence.Batch) error {
			var pipeline pgx.Batch
			pipeline.Queue("BEGIN")
			pipeline.Queue("LOCK TABLE annals_events IN EXCLUSIVE MODE")
			pipeline.Queue(insertBare, values(&batch.Events[0])...)
			pipeline.Queue("COMMIT")
			return conns[saver].SendBatch(b.Context(), &pipeline).Close()
		})
	}}
	c := compare.Comparison{Ours: recorded(b, 32, 1), Bare: locked}
	o := c.Run(b, "x-locktable", compare.AsFast)
	b.ReportMetric(compare.PerSecond(compare.Median(o.PerEvent)), "saves/s")
}

// BenchmarkSave64x10 measures saves of ten events each by 64 goroutines, against one
// connection of the plain driver that copies the same rows in chunks of 1,000, which
// checks nothing:
//
//   - frac-copy: the events a second by those of the plain driver.
//   - events/s, allocs/event.
func BenchmarkSave64x10(b *testing.B) {
	conn, err := pgx.Connect(b.Context(), create(b))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(b.Context())) }()
	const chunk = 1000
	s := &saves{each: 8, size: 10}
	var rows []persistence.StoredEvent
	copied := compare.Side{Events: s.events(), Prepare: func() {
		s.prepare()
		rows = rows[:0]
		for _, batches := range &s.batches {
			for _, batch := range batches {
				rows = append(rows, batch.Events...)
			}
		}
	}, Round: func() error {
		for from := 0; from < len(rows); from += chunk {
			if err := copyEvents(b.Context(), conn, rows[from:min(from+chunk, len(rows))]); err != nil {
				return err
			}
		}
		return nil
	}}
	c := compare.Comparison{Ours: recorded(b, 8, 10), Bare: copied}
	o := c.Run(b, "frac-copy", compare.AsFast)
	b.ReportMetric(compare.PerSecond(compare.Median(o.PerEvent)), "events/s")
}
