package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/pgserver"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
)

// connect returns a connection for the test to look by.
func connect(tb testing.TB, address string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.WithoutCancel(tb.Context())) })
	return conn
}

// numbers returns what a query gives.
func numbers(tb testing.TB, conn *pgx.Conn, text string, args ...any) []int {
	tb.Helper()
	rows, _ := conn.Query(tb.Context(), text, args...)
	all, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// save saves in the background.
func save(ctx context.Context, r *postgres.Recorder, b persistence.Batch) <-chan error {
	saved := make(chan error, 1)
	go func() {
		_, err := r.Record(ctx, b)
		saved <- err
	}()
	return saved
}

// untilItWaits returns when a connection with the name waits for a lock, for the save.
func untilItWaits(t *testing.T, conn *pgx.Conn, name string, saved <-chan error) {
	t.Helper()
	for len(numbers(t, conn, "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'", name)) == 0 {
		select {
		case err := <-saved:
			t.Fatalf("the save did not wait: %v", err)
		default:
		}
	}
}

// A save that waits for the lock meets, behind it, what its snapshot does not have.
func TestASaveThatWaitedMeetsItsVersion(t *testing.T) {
	t.Parallel()
	same, other, next := event("a", 1), event("a", 1), event("a", 2)
	for name, test := range map[string]struct {
		save     persistence.StoredEvent
		conflict bool
	}{"another event": {other, true}, "the same event": {same, false}, "the event behind it": {next, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := create(t)
			application := annals.NewID()
			r := open(t, address, postgres.WithApplicationName(application))
			tx, commit, _, err := beginOwn(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			first, err := r.RecordTx(t.Context(), tx, batch(same))
			if err != nil {
				t.Fatal(err)
			}
			saved := save(t.Context(), r, batch(test.save))
			untilItWaits(t, connect(t, address), application, saved)
			if err := commit(); err != nil {
				t.Fatal(err)
			}
			err = <-saved
			if conflict, ok := errors.AsType[*annals.VersionConflictError](err); ok != test.conflict || ok && conflict.Actual != 1 {
				t.Errorf("got error %v", err)
			}
			switch {
			case test.conflict:
			case err != nil:
				t.Error(err)
			default:
				positions, err := r.Record(t.Context(), batch(test.save)) // they are known
				if err != nil || test.save.Version == 1 && positions[0] != first[0] || test.save.Version == 2 && positions[0] <= first[0] {
					t.Errorf("it is at %d, and the first at %d (%v)", positions, first, err)
				}
			}
		})
	}
}

// A save that was sent, and whose server is gone then, may be stored.
func TestASaveIsOfUnknownOutcomeWhenTheServerIsKilled(t *testing.T) {
	t.Parallel()
	server := pgserver.TestPrivate(t, pgserver.Config{})
	address := server.URL("postgres")
	migrate(t, address)
	const name = "killed"
	r := open(t, address, postgres.WithApplicationName(name), postgres.WithConnectTimeout(2*time.Second))
	for _, b := range []persistence.Batch{batch(event("a", 1)), batch(event("b", 1), event("b", 2))} {
		tx, _, rollback, err := beginOwn(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.RecordTx(t.Context(), tx, batch(event("joined", 1))); err != nil {
			t.Fatal(err)
		}
		saved := save(t.Context(), r, b)
		untilItWaits(t, connect(t, address), name, saved)
		if err := server.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantError(t, <-saved, annals.ErrOutcomeUnknown, "repeat the same save")
		_ = rollback() // until here the transaction holds the lock: nobody closes what is still to be called
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// tracer notes the statements that are run.
type tracer struct {
	mu    sync.Mutex
	texts []string
}

func (x *tracer) note(text string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.texts = append(x.texts, text)
}

func (x *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	x.note(data.SQL)
	return ctx
}

func (x *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestATracerSeesASaveThatIsAlone(t *testing.T) {
	t.Parallel()
	seen := new(tracer)
	r := openOn(t, openPool(t, create(t), func(c *pgxpool.Config) {
		c.ConnConfig.Tracer = seen
		c.ConnConfig.RuntimeParams["lock_timeout"] = "10s" // as Open has it
	}))
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Fatal(err)
	}
	if texts := strings.Join(seen.texts, "\n"); !strings.Contains(texts, "INSERT INTO") {
		t.Errorf("no INSERT is among the statements that were traced:\n%s", texts)
	}
}

func TestASaveThatIsAloneIsOfAnySize(t *testing.T) {
	t.Parallel()
	r := open(t, create(t), postgres.WithPoolSize(1, 1))
	var want []persistence.StoredEvent
	for i, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20} {
		e := event(fmt.Sprint("of ", size), 1)
		e.State = bytes.Repeat([]byte{byte(i)}, size)
		if _, err := r.Record(t.Context(), batch(e)); err != nil {
			t.Fatal(err)
		}
		want = append(want, e)
	}
	i := 0
	for n, err := range r.ReadLog(t.Context(), persistence.LogQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n.ID != want[i].ID || !bytes.Equal(n.State, want[i].State) {
			t.Errorf("event %d is %q of %d bytes, want %q of %d", i, n.ID, len(n.State), want[i].ID, len(want[i].State))
		}
		i++
	}
	if i != len(want) {
		t.Errorf("there are %d events, want %d", i, len(want))
	}
	if n := prepared(t, r); n != 1 {
		t.Errorf("the statement of such a save is prepared %d times", n)
	}
}

// A column is sent as the driver would read it.
func TestColumnsAreThoseOfTheDriver(t *testing.T) {
	t.Parallel()
	types := pgtype.NewMap()
	text, empty := "Käse", ""
	when := time.Date(1999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	for _, c := range []struct {
		oid          uint32
		column, read any
	}{
		{pgtype.Int4ArrayOID, []int32{0, -1, math.MaxInt32}, new([]int32)},
		{pgtype.Int8ArrayOID, []int64{0, -1, math.MinInt64}, new([]int64)},
		{pgtype.TextArrayOID, []string{text, empty}, new([]string)},
		{pgtype.TextArrayOID, []*string{nil, &text, &empty, nil}, new([]*string)},
		{pgtype.TimestamptzArrayOID, []time.Time{when, when.AddDate(0, 0, 1)}, new([]time.Time)},
		{pgtype.ByteaArrayOID, [][]byte{{0, 1}, nil, {}}, new([][]byte)},
		{pgtype.ByteaArrayOID, [][]byte{}, new([][]byte)},
		{pgtype.ByteaArrayOID, [][]byte(nil), new([][]byte)},
	} {
		if err := types.Scan(c.oid, pgx.BinaryFormatCode, postgres.AppendColumn(nil, c.column), c.read); err != nil {
			t.Errorf("%v: %v", c.column, err)
			continue
		}
		if diff := cmp.Diff(c.column, reflect.ValueOf(c.read).Elem().Interface()); diff != "" {
			t.Errorf("%T (- sent, + read):\n%s", c.column, diff)
		}
	}
}

// prepared returns how many statements the one connection of a recorder has for saves.
func prepared(t *testing.T, r *postgres.Recorder) (n int) {
	t.Helper()
	const text = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'annals\\_%'"
	if err := postgres.PoolOf(r).QueryRow(t.Context(), text).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// ofEachKind runs the test with saves that are sent in different ways, and how many
// statements those need.
func ofEachKind(t *testing.T, test func(t *testing.T, saveOf func(version int64) persistence.Batch, statements int)) {
	t.Helper()
	for name, kind := range map[string]struct {
		statements int
		save       func(version int64) persistence.Batch
	}{
		"alone": {1, func(v int64) persistence.Batch { return batch(event("a", v)) }},
		"two":   {2, func(v int64) persistence.Batch { return batch(event("a", v), event("b", v)) }},
		"tracking": {2, func(v int64) persistence.Batch {
			b := batch(event("a", v))
			b.Tracking = &persistence.Tracking{Name: "other", Position: v}
			return b
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, kind.save, kind.statements)
		})
	}
}

// A statement that is not there any more, behind a pooler's reset, is prepared again.
func TestASaveFindsItsStatementGone(t *testing.T) {
	t.Parallel()
	ofEachKind(t, func(t *testing.T, saveOf func(int64) persistence.Batch, statements int) {
		t.Helper()
		r := open(t, create(t), postgres.WithPoolSize(1, 1))
		events := 0
		for v := range int64(4) {
			b := saveOf(v + 1)
			events += len(b.Events)
			if _, err := r.Record(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			if v == 1 {
				if _, err := postgres.PoolOf(r).Exec(t.Context(), "DEALLOCATE ALL", pgx.QueryExecModeSimpleProtocol); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := count(t, r); n != events || prepared(t, r) != statements {
			t.Errorf("there are %d events, want %d, and %d statements", n, events, prepared(t, r))
		}
	})
}

// What the server refuses leaves the connection as it was.
func TestASaveThatIsRefused(t *testing.T) {
	t.Parallel()
	ofEachKind(t, func(t *testing.T, saveOf func(int64) persistence.Batch, statements int) {
		t.Helper()
		address := create(t)
		execute(t, address, "ALTER TABLE annals_events ADD CHECK (topic <> 'Test.Refused')")
		r := open(t, address, postgres.WithPoolSize(1, 1))
		events := 0
		for v := range int64(3) {
			b := saveOf(v + 1)
			b.Events[0].Topic = "Test.Refused"
			_, err := r.Record(t.Context(), b)
			wantError(t, err, err, "violates check constraint")
			b.Events[0].Topic = "Test.Happened"
			events += len(b.Events)
			if _, err := r.Record(t.Context(), b); err != nil {
				t.Error(err)
			}
		}
		if n := count(t, r); n != events || prepared(t, r) != statements {
			t.Errorf("there are %d events, want %d, and %d statements", n, events, prepared(t, r))
		}
	})
}

// One saver, whose connection the server ends in every save, has each event stored once.
func TestASaveThatIsAloneLosesItsConnection(t *testing.T) {
	t.Parallel()
	address := create(t)
	application := annals.NewID()
	r := open(t, address, postgres.WithApplicationName(application), postgres.WithPoolSize(0, 1))
	watch := connect(t, address)
	const n = 200
	saved := make(chan error, 1)
	var acknowledged []int64
	var saving atomic.Int64 // the version
	go func() {
		for v := range int64(n) {
			saving.Store(v + 1)
			positions, err := r.Record(t.Context(), batch(event("a", v+1)))
			if err != nil {
				saved <- fmt.Errorf("version %d: %w", v+1, err)
				return
			}
			acknowledged = append(acknowledged, positions...)
		}
		saved <- nil
	}()
	ended, last := 0, int64(0)
	for done := false; !done; {
		if v := saving.Load(); v > last { // once in each: a save that is cut off again and again gives up
			for _, pid := range numbers(t, watch, "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND state = 'active'", application) {
				ended += len(numbers(t, watch, "SELECT 1 WHERE pg_terminate_backend($1)", pid))
				last = v
			}
		}
		select {
		case err := <-saved:
			done = true
			if err != nil {
				t.Fatal(err)
			}
		default:
		}
	}
	var stored []int64
	for e, err := range r.ReadLog(t.Context(), persistence.LogQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, e.Position)
		if e.Version != int64(len(stored)) {
			t.Errorf("event %d has version %d", len(stored), e.Version)
		}
	}
	if !slices.Equal(stored, acknowledged) || len(stored) != n {
		t.Errorf("%d events are stored, and %d acknowledged, at other positions", len(stored), len(acknowledged))
	}
	if t.Logf("%d connections were ended in a save", ended); ended == 0 {
		t.Error("no connection was lost")
	}
}
