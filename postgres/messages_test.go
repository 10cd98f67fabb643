package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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

func (x *tracer) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.texts = nil
}

func (x *tracer) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return strings.Join(x.texts, "\n")
}

func (x *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	x.note(data.SQL)
	return ctx
}

func (x *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (x *tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (x *tracer) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	x.note(data.SQL)
}

func (x *tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// settled makes the connections of a pool those that a save that is alone needs, as Open does.
func settled(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["lock_timeout"] = "10s" }

func TestATracerSeesSaves(t *testing.T) {
	t.Parallel()
	seen := new(tracer)
	r := openOn(t, openPool(t, create(t), settled, func(c *pgxpool.Config) { c.ConnConfig.Tracer = seen }))
	for _, b := range []persistence.Batch{batch(event("a", 1)), batch(event("a", 2), event("b", 1))} {
		seen.forget()
		if _, err := r.Record(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if texts := seen.String(); !strings.Contains(texts, "INSERT INTO") {
			t.Errorf("no INSERT of %d events is among the statements that were traced:\n%s", len(b.Events), texts)
		}
	}
}

// Also of more than what the connection's two ends have room for.
func TestASaveIsOfAnySize(t *testing.T) {
	t.Parallel()
	ofEachKind(t, func(t *testing.T, saveOf func(int64) persistence.Batch, statements int) {
		t.Helper()
		r := open(t, create(t), postgres.WithPoolSize(1, 1))
		var want []persistence.StoredEvent
		for i, size := range []int{0, 1, 64 << 10, 2 << 20, 2} {
			b := saveOf(int64(i + 1))
			for j := range b.Events {
				b.Events[j].State = bytes.Repeat([]byte{byte(i + j)}, size+j)
			}
			if _, err := r.Record(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			want = append(want, b.Events...)
		}
		wantLog(t, r, want)
		if n := prepared(t, r); n != statements {
			t.Errorf("the statements of such a save are prepared %d times", n)
		}
	})
}

// A save that its connection has no room for, while the server waits for the lock and reads
// nothing.
func TestALargeSaveThatWaits(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		wait time.Duration // for the lock
		want error
	}{"for the lock": {10 * time.Second, nil}, "in vain": {100 * time.Millisecond, persistence.ErrBusy}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, application := create(t), annals.NewID()
			r := open(t, address, postgres.WithApplicationName(application), postgres.WithLockTimeout(test.wait))
			tx, commit, _, err := beginOwn(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			first := event("joined", 1)
			if _, err := r.RecordTx(t.Context(), tx, batch(first)); err != nil {
				t.Fatal(err)
			}
			b := batch(event("a", 1), event("b", 1))
			b.Events[0].State = make([]byte, 16<<20)
			saved := save(t.Context(), r, b)
			if test.want == nil {
				untilItWaits(t, connect(t, address), application, saved)
			} else {
				wantError(t, <-saved, test.want, "nothing was stored")
			}
			if err := commit(); err != nil {
				t.Fatal(err)
			}
			if test.want == nil {
				if err := <-saved; err != nil {
					t.Error(err)
				}
			} else if _, err := r.Record(t.Context(), b); err != nil {
				t.Error(err)
			}
			wantLog(t, r, append([]persistence.StoredEvent{first}, b.Events...))
		})
	}
}

// wantLog checks that the log has the events.
func wantLog(t *testing.T, r *postgres.Recorder, want []persistence.StoredEvent) {
	t.Helper()
	i := 0
	for n, err := range r.ReadLog(t.Context(), persistence.LogQuery{Hash: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if i == len(want) {
			t.Errorf("there are more than %d events", i)
			return
		}
		got, expected := n.StoredEvent, want[i]
		if !bytes.Equal(got.State, expected.State) {
			t.Errorf("event %d has a state of %d bytes, want %d, or others", i, len(got.State), len(expected.State))
		}
		got.State, expected.State = nil, nil // they may be too long for cmp
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("event %d (- want, + got):\n%s", i, diff)
		}
		i++
	}
	if i != len(want) {
		t.Errorf("there are %d events, want %d", i, len(want))
	}
}

// What only some of the events have is theirs.
func TestWhatOnlySomeEventsOfASaveHave(t *testing.T) {
	t.Parallel()
	r := open(t, create(t))
	var want []persistence.StoredEvent
	for with := range 3 {
		var b persistence.Batch
		for i := range 3 {
			e := event(fmt.Sprintf("%d-%d", with, i), 1)
			if i == with {
				e.CorrelationID, e.CausationID, e.Headers, e.Hash = "story", "cause", []byte(`{"a":"b"}`), []byte{1, 2}
			}
			b.Events = append(b.Events, e)
		}
		if _, err := r.Record(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		want = append(want, b.Events...)
	}
	wantLog(t, r, want)
}

// A notice of the server is given to the pool's own function, in the middle of a save. If that
// panics, what the server says further is not taken for the answer to another save.
func TestASaveThatPanicsIsTheLastOfItsConnection(t *testing.T) {
	t.Parallel()
	ofEachKind(t, func(t *testing.T, saveOf func(int64) persistence.Batch, _ int) {
		t.Helper()
		address := create(t)
		execute(t, address, `CREATE FUNCTION says() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''something''; RETURN NEW; END'`)
		execute(t, address, "CREATE TRIGGER says AFTER INSERT ON annals_events FOR EACH STATEMENT EXECUTE FUNCTION says()")
		panics := false
		r := openOn(t, openPool(t, address, settled, func(c *pgxpool.Config) {
			c.MaxConns = 1
			c.ConnConfig.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {
				if panics {
					panics = false
					panic("on notice")
				}
			}
		}))
		if _, err := r.Record(t.Context(), saveOf(1)); err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the save did not panic")
				}
			}()
			panics = true
			_, _ = r.Record(t.Context(), saveOf(2))
		}()
		if _, err := r.Record(t.Context(), saveOf(9)); !errors.Is(err, annals.ErrVersionConflict) {
			t.Errorf("a save that does not follow: error %v", err)
		}
		if _, err := r.Record(t.Context(), batch(event("c", 1))); err != nil {
			t.Error(err)
		}
	})
}

// A save that fails in its commit is not repeated with what the try before was told.
func TestASaveThatFailsInItsCommit(t *testing.T) {
	t.Parallel()
	ofEachKind(t, func(t *testing.T, saveOf func(int64) persistence.Batch, _ int) {
		t.Helper()
		address := create(t)
		execute(t, address, "CREATE SEQUENCE calls")
		execute(t, address, `CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS '
			BEGIN IF nextval(''calls'') = 1 THEN RAISE feature_not_supported; END IF; RETURN NEW; END'`)
		execute(t, address, `CREATE CONSTRAINT TRIGGER refuses AFTER INSERT ON annals_events
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuses()`)
		other := open(t, address)
		r := openOn(t, openPool(t, address, settled, func(c *pgxpool.Config) {
			c.ConnConfig.OnPgError = func(*pgconn.PgConn, *pgconn.PgError) bool {
				if _, err := other.Record(t.Context(), saveOf(1)); err != nil {
					t.Error(err)
				}
				return true
			}
		}))
		_, err := r.Record(t.Context(), saveOf(1))
		if refused, ok := errors.AsType[*pgconn.PgError](err); !ok || refused.Code != "0A000" {
			t.Errorf("error %v", err)
		}
		if n, want := count(t, other), len(saveOf(1).Events); n != want {
			t.Errorf("there are %d events, want the %d that were acknowledged", n, want)
		}
	})
}

// The driver's own statements are not those of saves.
func TestADoFindsItsStatementsGone(t *testing.T) {
	t.Parallel()
	r := open(t, create(t), postgres.WithPoolSize(1, 1))
	version := int64(0)
	saveWithDo := func() error {
		b := batch(event("a", version+1), event("a", version+2))
		b.Do = func(context.Context, any) error { return nil }
		_, err := r.Record(t.Context(), b)
		if err == nil {
			version += 2
		}
		return err
	}
	if _, err := r.Record(t.Context(), batch(event("b", 1), event("b", 2))); err != nil {
		t.Fatal(err)
	}
	if err := saveWithDo(); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.PoolOf(r).Exec(t.Context(), "DEALLOCATE ALL", pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	_ = saveWithDo() // may find out
	if err := saveWithDo(); err != nil {
		t.Error(err)
	}
}

// A save that no statement has room for says so, at once.
func TestASaveThatIsTooLarge(t *testing.T) {
	t.Parallel()
	r := open(t, create(t))
	for _, b := range []persistence.Batch{batch(event("a", 1)), batch(event("a", 1), event("b", 1))} {
		b.Events[0].State = make([]byte, 1<<30) // nobody reads it
		_, err := r.Record(t.Context(), b)
		wantError(t, err, annals.ErrUnencodable, "takes up to 1056964608")
	}
}

// Recorders that wait for different times share a pool.
func TestRecordersShareAPool(t *testing.T) {
	t.Parallel()
	ofEachKind(t, func(t *testing.T, saveOf func(int64) persistence.Batch, _ int) {
		t.Helper()
		pool := openPool(t, create(t), func(c *pgxpool.Config) { c.MaxConns = 1 })
		for i, d := range []time.Duration{10 * time.Second, 20 * time.Second} {
			r := openOn(t, pool, postgres.WithLockTimeout(d))
			if _, err := r.Record(t.Context(), saveOf(int64(i+1))); err != nil {
				t.Error(err)
			}
		}
	})
}

// What could not be sent is not stored, and is not of unknown outcome.
func TestASaveThatCannotBeSentIsNotStored(t *testing.T) {
	t.Parallel()
	ofEachKind(t, func(t *testing.T, saveOf func(int64) persistence.Batch, _ int) {
		t.Helper()
		address := create(t)
		var conn atomic.Pointer[net.TCPConn] // the last
		var gone atomic.Bool
		r := openOn(t, openPool(t, address, settled, func(c *pgxpool.Config) {
			c.MaxConns = 1
			c.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
			c.ConnConfig.DialFunc = func(ctx context.Context, network, host string) (net.Conn, error) {
				if gone.Load() {
					return nil, errors.New("the network is gone")
				}
				dialed, err := new(net.Dialer).DialContext(ctx, network, host)
				if tcp, ok := dialed.(*net.TCPConn); ok {
					conn.Store(tcp)
				}
				return dialed, err
			}
		}), postgres.WithConnectTimeout(time.Second))
		if _, err := r.Record(t.Context(), saveOf(1)); err != nil {
			t.Fatal(err)
		}
		if err := conn.Load().CloseWrite(); err != nil {
			t.Fatal(err)
		}
		gone.Store(true)
		_, err := r.Record(t.Context(), saveOf(2))
		wantError(t, err, persistence.ErrUnavailable, "nothing was stored", "the network is gone")
		gone.Store(false)
		if _, err := r.Record(t.Context(), saveOf(2)); err != nil {
			t.Error(err)
		}
	})
}

// A column is what the server takes for an array.
func TestColumnsAreArraysOfTheServer(t *testing.T) {
	t.Parallel()
	conn := connect(t, serverURL(t))
	text, empty := "Käse", ""
	when := time.Date(1999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	for _, c := range []struct {
		of           string
		column, read any
	}{
		{"integer", []int32{0, -1, math.MaxInt32}, new([]int32)},
		{"bigint", []int64{0, -1, math.MinInt64}, new([]int64)},
		{"text", []string{text, empty}, new([]string)},
		{"text", []*string{nil, &text, &empty, nil}, new([]*string)},
		{"timestamptz", []time.Time{when, when.AddDate(0, 0, 1)}, new([]time.Time)},
		{"bytea", [][]byte{{0, 1}, nil, {}}, new([][]byte)},
		{"bytea", [][]byte{}, new([][]byte)},
		{"bytea", [][]byte(nil), new([][]byte)},
	} {
		binaries := []int16{pgx.BinaryFormatCode}
		result := conn.PgConn().ExecParams(t.Context(), "SELECT $1::"+c.of+"[]",
			[][]byte{postgres.AppendColumn(nil, c.column)}, nil, binaries, binaries).Read()
		if result.Err != nil {
			t.Errorf("%v: %v", c.column, result.Err)
			continue
		}
		if err := conn.TypeMap().Scan(result.FieldDescriptions[0].DataTypeOID, pgx.BinaryFormatCode, result.Rows[0][0], c.read); err != nil {
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
			if refused, ok := errors.AsType[*pgconn.PgError](err); !ok || refused.Code != "23514" {
				t.Errorf("error %v", err)
			}
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
