//go:build unix

package postgres_test

import (
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/pgserver"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
)

// backendsOf are the server's processes for connections with a name.
func backendsOf(tb testing.TB, conn *pgx.Conn, name string) []int {
	tb.Helper()
	return numbers(tb, conn, "SELECT pid FROM pg_stat_activity WHERE application_name = $1", name)
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
	watch := connect(t, address)
	r := open(t, address, postgres.WithApplicationName(name), postgres.WithPoolSize(0, 1),
		postgres.WithLockTimeout(time.Second), postgres.WithSaveTimeout(time.Second), postgres.WithConnectTimeout(time.Minute))
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Fatal(err)
	}
	silent := backendsOf(t, watch, name)
	signal(t, syscall.SIGSTOP, silent...)
	_, err := r.Record(t.Context(), batch(event("a", 2)))
	signal(t, syscall.SIGCONT, silent...)
	if err != nil {
		t.Errorf("got error %v", err)
	}
	for len(numbers(t, watch, "SELECT pid FROM pg_stat_activity WHERE pid = ANY ($1)", silent)) > 0 {
		runtime.Gosched()
	}
	if n := count(t, r); n != 2 {
		t.Errorf("there are %d events, want 2", n)
	}
}

func TestASaveIsOfUnknownOutcomeWhenTheServerStaysSilent(t *testing.T) {
	t.Parallel()
	address := pgserver.TestPrivate(t, pgserver.Config{}).URL("postgres")
	migrate(t, address)
	const name = "silent"
	watch := connect(t, address)
	r := open(t, address, postgres.WithApplicationName(name), postgres.WithLockTimeout(time.Second),
		postgres.WithSaveTimeout(time.Second), postgres.WithConnectTimeout(2*time.Second))
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Fatal(err)
	}
	silent := append(backendsOf(t, watch, name),
		numbers(t, watch, "SELECT (string_to_array(pg_read_file('postmaster.pid'), E'\n'))[1]::int")...)
	signal(t, syscall.SIGSTOP, silent...)
	sent := batch(event("a", 2))
	_, err := r.Record(t.Context(), sent)
	_, _, unread := r.MaxPosition(t.Context())
	_, unsaved := r.Record(t.Context(), batch(event("b", 1)))
	signal(t, syscall.SIGCONT, silent...)
	wantError(t, err, annals.ErrOutcomeUnknown, "repeat the same save")
	wantError(t, unread, persistence.ErrUnavailable)
	wantError(t, unsaved, persistence.ErrUnavailable, "nothing was stored") // there was no connection to send it by
	if _, err := r.Record(t.Context(), sent); err != nil {
		t.Error(err)
	}
	if n := count(t, r); n != 2 {
		t.Errorf("there are %d events, want 2", n)
	}
}
