package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/pgserver"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
)

// query returns the numbers that a query gives, by a connection of its own.
func query(tb testing.TB, address, text string, args ...any) []int {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), address)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(tb.Context()) }()
	rows, _ := conn.Query(tb.Context(), text, args...)
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		tb.Fatal(err)
	}
	return numbers
}

// backendsOf are the server's processes for connections with a name.
func backendsOf(tb testing.TB, address, name, where string) []int {
	tb.Helper()
	return query(tb, address, "SELECT pid FROM pg_stat_activity WHERE application_name = $1"+where, name)
}

// waiting selects those that wait for a lock.
const waiting = " AND wait_event_type = 'Lock'"

func waitUntil(holds func() bool) {
	for !holds() {
		runtime.Gosched()
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
			var positions []int64
			saved := make(chan error)
			go func() {
				var err error
				positions, err = r.Record(t.Context(), batch(test.save))
				saved <- err
			}()
			waitUntil(func() bool { return len(backendsOf(t, address, application, waiting)) > 0 })
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
			case test.save.Version == 1 && positions[0] != first[0], test.save.Version == 2 && positions[0] <= first[0]:
				t.Errorf("it is at %d, and the first at %d", positions, first)
			}
		})
	}
}

// signal sends the processes a signal.
func signal(t *testing.T, s syscall.Signal, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, s); err != nil {
			t.Errorf("%v to %d: %v", s, pid, err)
		}
	}
}

// A process of the server that does not answer is left, and the save is repeated by
// another. That it goes on later stores nothing twice.
func TestASaveIsRepeatedWhenTheServerFallsSilent(t *testing.T) {
	t.Parallel()
	address := pgserver.TestPrivate(t, pgserver.Config{}).URL("postgres")
	migrate(t, address)
	const name = "silent"
	r := open(t, address, postgres.WithApplicationName(name), postgres.WithPoolSize(1, 2),
		postgres.WithLockTimeout(50*time.Millisecond), postgres.WithSaveTimeout(50*time.Millisecond), postgres.WithConnectTimeout(time.Minute))
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Fatal(err)
	}
	silent := backendsOf(t, address, name, "")
	signal(t, syscall.SIGSTOP, silent...)
	_, err := r.Record(t.Context(), batch(event("a", 2)))
	signal(t, syscall.SIGCONT, silent...)
	if err != nil {
		t.Errorf("got error %v", err)
	}
	waitUntil(func() bool {
		return len(query(t, address, "SELECT pid FROM pg_stat_activity WHERE pid = ANY ($1)", silent)) == 0
	})
	if n := count(t, r); n != 2 {
		t.Errorf("there are %d events, want 2", n)
	}
}

func TestASaveIsOfUnknownOutcomeWhenTheServerStaysSilent(t *testing.T) {
	t.Parallel()
	address := pgserver.TestPrivate(t, pgserver.Config{}).URL("postgres")
	migrate(t, address)
	const name = "silent"
	r := open(t, address, postgres.WithApplicationName(name), postgres.WithLockTimeout(50*time.Millisecond),
		postgres.WithSaveTimeout(50*time.Millisecond), postgres.WithConnectTimeout(200*time.Millisecond))
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Fatal(err)
	}
	silent := append(backendsOf(t, address, name, ""),
		query(t, address, "SELECT (string_to_array(pg_read_file('postmaster.pid'), E'\n'))[1]::int")...)
	signal(t, syscall.SIGSTOP, silent...)
	save := batch(event("a", 2))
	_, err := r.Record(t.Context(), save)
	_, _, unread := r.MaxPosition(t.Context())
	_, unsaved := r.Record(t.Context(), batch(event("b", 1)))
	signal(t, syscall.SIGCONT, silent...)
	wantError(t, err, annals.ErrOutcomeUnknown, "repeat the same save")
	wantError(t, unread, persistence.ErrUnavailable)
	wantError(t, unsaved, persistence.ErrUnavailable, "nothing was stored") // there was no connection to send it by
	if _, err := r.Record(t.Context(), save); err != nil {
		t.Error(err)
	}
	if n := count(t, r); n != 2 {
		t.Errorf("there are %d events, want 2", n)
	}
}

// A save that was sent, and whose server is gone then, may be stored.
func TestASaveIsOfUnknownOutcomeWhenTheServerIsKilled(t *testing.T) {
	t.Parallel()
	server := pgserver.TestPrivate(t, pgserver.Config{})
	address := server.URL("postgres")
	migrate(t, address)
	const name = "killed"
	r := open(t, address, postgres.WithApplicationName(name), postgres.WithConnectTimeout(200*time.Millisecond))
	tx, _, _, err := beginOwn(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.RecordTx(t.Context(), tx, batch(event("joined", 1))); err != nil {
		t.Fatal(err)
	}
	for _, b := range []persistence.Batch{batch(event("a", 1)), batch(event("b", 1), event("b", 2))} {
		saved := make(chan error)
		go func() {
			_, err := r.Record(t.Context(), b)
			saved <- err
		}()
		waitUntil(func() bool { return len(backendsOf(t, address, name, waiting)) > 0 })
		if err := server.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantError(t, <-saved, annals.ErrOutcomeUnknown, "repeat the same save")
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if tx, _, _, err = beginOwn(t.Context(), address); err != nil {
			t.Fatal(err)
		}
		if _, err := r.RecordTx(t.Context(), tx, batch(event("joined", 1))); err != nil {
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

func (x *tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (x *tracer) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	x.note(data.SQL)
}

func (x *tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func TestATracerSeesASaveThatIsAlone(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(create(t))
	if err != nil {
		t.Fatal(err)
	}
	seen := new(tracer)
	config.ConnConfig.Tracer = seen
	config.ConnConfig.RuntimeParams["lock_timeout"] = "10s" // as Open has it
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	r, err := postgres.New(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Fatal(err)
	}
	if texts := strings.Join(seen.texts, "\n"); !strings.Contains(texts, "INSERT INTO") {
		t.Errorf("no INSERT is among the statements that were traced:\n%s", texts)
	}
}

func TestASaveThatIsAloneIsOfAnySize(t *testing.T) {
	t.Parallel()
	r := open(t, create(t))
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
}
