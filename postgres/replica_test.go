package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/pgserver"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
)

func TestTheLogIsReadFromAReplica(t *testing.T) {
	t.Parallel()
	primary := pgserver.TestPrivate(t, pgserver.Config{})
	address := primary.URL("postgres")
	migrate(t, address)
	replica := pgserver.TestPrivate(t, pgserver.Config{Primary: primary})
	r := open(t, address, postgres.WithReplica(replica.URL("postgres")))
	const n = 50
	saved := make(chan error)
	go func() {
		defer close(saved)
		for v := range int64(n) {
			if _, err := r.Record(t.Context(), batch(event("a", v+1))); err != nil {
				saved <- err
			}
		}
	}()
	last := int64(0)
	for e, err := range persistence.Follow(t.Context(), r, persistence.LogQuery{Limit: n}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Version != last+1 {
			t.Fatalf("version %d follows %d", e.Version, last)
		}
		last = e.Version
	}
	for err := range saved {
		t.Error(err)
	}

	// While the replica does not replay, the log stands still, and aggregates do not.
	execute(t, replica.URL("postgres"), "SELECT pg_wal_replay_pause()")
	waitForPause(t, replica.URL("postgres"))
	if _, err := r.Record(t.Context(), batch(event("a", n+1))); err != nil {
		t.Fatal(err)
	}
	versions := 0
	for _, err := range r.ReadStream(t.Context(), "a", persistence.StreamQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		versions++
	}
	if logged := count(t, r); logged != n || versions != n+1 {
		t.Errorf("the log has %d events, and the stream %d; want %d and %d", logged, versions, n, n+1)
	}
	execute(t, replica.URL("postgres"), "SELECT pg_wal_replay_resume()")
	for _, err := range persistence.Follow(t.Context(), r, persistence.LogQuery{Limit: n + 1}) {
		if err != nil {
			t.Fatal(err)
		}
	}

	// A replica in the place of the database reads, and refuses to write.
	other := open(t, replica.URL("postgres"))
	_, err := other.Record(t.Context(), batch(event(annals.NewID(), 1)))
	wantError(t, err, persistence.ErrReadOnly, "connect to the primary")
}

// waitForPause returns when the replica replays no more.
func waitForPause(t *testing.T, address string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for state := ""; state != "paused"; <-ticker.C {
		if err := conn.QueryRow(t.Context(), "SELECT pg_get_wal_replay_pause_state()").Scan(&state); err != nil {
			t.Fatal(err)
		}
	}
}
