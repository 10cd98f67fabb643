package recordertest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

func snapshotStoreChecks() []check {
	needs := Features{Snapshots: true}
	return []check{
		{"a stream has the latest of its snapshots", "B33", needs, checkSnapshotLatest},
		{"every field of a snapshot comes back as it was", "B33", needs, checkSnapshotFields},
		{"a snapshot is not of the log", "B33", needs, checkSnapshotNoEvent},
		{"a snapshot does not change with the memory of others", "B33", needs, checkSnapshotMemory},
		{"of the snapshots of many writers the latest is kept", "B33", needs, checkSnapshotWriters},
		{"a snapshot is there when the store is opened again", "B33", Features{Snapshots: true, Durable: true}, checkSnapshotReopened},
		{"a snapshot that is not valid is refused", "B33, B52", needs, checkSnapshotInvalid},
		{"snapshots end with their context and with the recorder", "B33, B39", needs, checkSnapshotClosed},
	}
}

func snapshot(stream string, version int64) persistence.StoredSnapshot {
	created := time.Date(2024, time.February, 29, 23, 59, 59, 123_456_000, time.UTC)
	return persistence.StoredSnapshot{
		StreamID: stream, Version: version, Topic: "Account", CreatedAt: created, ModifiedAt: created.Add(time.Hour),
		Shape: 2, Mark: "0-abc", Encoding: "1:json", State: fmt.Appendf(nil, `{"version":%d,"stream":%q}`, version, stream),
	}
}

// setupSnapshots opens the store as a recorder of snapshots.
func (s *store) setupSnapshots(t *testing.T) (context.Context, Recorder, persistence.SnapshotRecorder) {
	t.Helper()
	ctx, r := s.setup(t)
	return ctx, r, snapshotRecorder(t, r)
}

func snapshotRecorder(t *testing.T, r Recorder) persistence.SnapshotRecorder {
	t.Helper()
	snapshots, ok := r.(persistence.SnapshotRecorder)
	if !ok {
		t.Fatalf("Features.Snapshots is true, and a %T is no persistence.SnapshotRecorder", r)
	}
	return snapshots
}

func recordSnapshot(ctx context.Context, t *testing.T, r persistence.SnapshotRecorder, s persistence.StoredSnapshot) {
	t.Helper()
	if err := r.RecordSnapshot(ctx, s); err != nil {
		t.Fatalf("record snapshot: %v", err)
	}
}

// wantSnapshot fails unless the stream has the snapshot; version 0 is none.
func wantSnapshot(ctx context.Context, t *testing.T, r persistence.SnapshotRecorder, want persistence.StoredSnapshot) {
	t.Helper()
	got, ok, err := r.ReadSnapshot(ctx, want.StreamID)
	switch {
	case err != nil:
		t.Errorf("read snapshot: %v", err)
	case ok != (want.Version > 0):
		t.Errorf("snapshot of %q: there: %t, want version %d", want.StreamID, ok, want.Version)
	case ok:
		if d := cmp.Diff(want, got, sameState, sameTime); d != "" {
			t.Errorf("snapshot of %q (-want +got):\n%s", want.StreamID, d)
		}
	}
}

func checkSnapshotLatest(t *testing.T, s *store) {
	ctx, _, r := s.setupSnapshots(t)
	wantSnapshot(ctx, t, r, persistence.StoredSnapshot{StreamID: "a"})
	recordSnapshot(ctx, t, r, snapshot("a", 10))
	recordSnapshot(ctx, t, r, snapshot("A", 1))
	wantSnapshot(ctx, t, r, snapshot("a", 10))
	recordSnapshot(ctx, t, r, snapshot("a", 20))
	wantSnapshot(ctx, t, r, snapshot("a", 20))
	recordSnapshot(ctx, t, r, snapshot("a", 19)) // one that was late
	wantSnapshot(ctx, t, r, snapshot("a", 20))
	other := snapshot("a", 20)
	other.Shape, other.Mark, other.State = 3, "1-def", []byte("other code")
	recordSnapshot(ctx, t, r, other)
	wantSnapshot(ctx, t, r, other)
	wantSnapshot(ctx, t, r, snapshot("A", 1))
	wantSnapshot(ctx, t, r, persistence.StoredSnapshot{StreamID: "b"})
}

func checkSnapshotFields(t *testing.T, s *store) {
	ctx, _, r := s.setupSnapshots(t)
	for name, alter := range map[string]func(s *persistence.StoredSnapshot){
		"longest names": func(s *persistence.StoredSnapshot) {
			s.StreamID, s.Topic = strings.Repeat("x", annals.MaxIDLength), strings.Repeat("ø", 127)
			s.Mark, s.Encoding = strings.Repeat("m", 255), strings.Repeat("e", 255)
		},
		"no mark":      func(s *persistence.StoredSnapshot) { s.Mark = "" },
		"empty state":  func(s *persistence.StoredSnapshot) { s.State = nil },
		"large state":  func(s *persistence.StoredSnapshot) { s.State = bytes.Repeat([]byte{0, 255, '\''}, 1<<19) },
		"great number": func(s *persistence.StoredSnapshot) { s.Version, s.Shape = 1<<62, 1<<30 },
		"old times": func(s *persistence.StoredSnapshot) {
			s.CreatedAt = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
			s.ModifiedAt = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
		},
	} {
		want := snapshot("of "+name, 7)
		alter(&want)
		recordSnapshot(ctx, t, r, want)
		wantSnapshot(ctx, t, r, want)
	}
}

func checkSnapshotNoEvent(t *testing.T, s *store) {
	ctx, r, snapshots := s.setupSnapshots(t)
	var m model
	recordSnapshot(ctx, t, snapshots, snapshot("a", 5)) // of a stream that is not there: that is its caller's affair
	m.check(ctx, t, r)
	m.add(ctx, t, r, tracked(batch(event("a", 1)), "upstream", 1))
	recordSnapshot(ctx, t, snapshots, snapshot("a", 6))
	m.add(ctx, t, r, batch(event("a", 2)))
	m.check(ctx, t, r)
}

func checkSnapshotMemory(t *testing.T, s *store) {
	ctx, _, r := s.setupSnapshots(t)
	given := snapshot("a", 1)
	recordSnapshot(ctx, t, r, given)
	copy(given.State, "!!!!")
	wantSnapshot(ctx, t, r, snapshot("a", 1))
	got, _, err := r.ReadSnapshot(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	copy(got.State, "????")
	wantSnapshot(ctx, t, r, snapshot("a", 1))
}

func checkSnapshotWriters(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	const writers, each = 16, 8
	handles := s.handles(ctx, t, r, writers)
	together(writers, func(i int) {
		snapshots := snapshotRecorder(t, handles[i])
		for n := range int64(each) {
			if err := snapshots.RecordSnapshot(ctx, snapshot("a", n*writers+int64(i)+1)); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
			if _, err := handles[i].Record(ctx, batch(event(fmt.Sprintf("stream %d", i), n+1))); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
			if got, ok, err := snapshots.ReadSnapshot(ctx, "a"); err != nil || !ok || got.Version <= n*writers+int64(i) {
				t.Errorf("writer %d reads version %d after its own, %d: %v", i, got.Version, n*writers+int64(i)+1, err)
			}
		}
	})
	wantSnapshot(ctx, t, snapshotRecorder(t, r), snapshot("a", writers*each))
}

func checkSnapshotReopened(t *testing.T, s *store) {
	ctx := s.context(t)
	first := s.open(ctx, t)
	recordSnapshot(ctx, t, snapshotRecorder(t, first), snapshot("a", 3))
	closeRecorder(t, first)
	wantSnapshot(ctx, t, snapshotRecorder(t, s.open(ctx, t)), snapshot("a", 3))
}

func checkSnapshotInvalid(t *testing.T, s *store) {
	ctx, _, r := s.setupSnapshots(t)
	long := strings.Repeat("x", 256)
	for name, c := range map[string]struct {
		alter func(s *persistence.StoredSnapshot)
		is    error
	}{
		"no stream":     {func(s *persistence.StoredSnapshot) { s.StreamID = "" }, annals.ErrInvalidID},
		"a long stream": {func(s *persistence.StoredSnapshot) { s.StreamID = long }, annals.ErrInvalidID},
		"version 0":     {func(s *persistence.StoredSnapshot) { s.Version = 0 }, annals.ErrUnencodable},
		"shape 0":       {func(s *persistence.StoredSnapshot) { s.Shape = 0 }, annals.ErrUnencodable},
		"no topic":      {func(s *persistence.StoredSnapshot) { s.Topic = "" }, annals.ErrUnencodable},
		"no encoding":   {func(s *persistence.StoredSnapshot) { s.Encoding = "" }, annals.ErrUnencodable},
		"a long mark":   {func(s *persistence.StoredSnapshot) { s.Mark = long }, annals.ErrUnencodable},
		"nanoseconds":   {func(s *persistence.StoredSnapshot) { s.CreatedAt = s.CreatedAt.Add(1) }, annals.ErrUnencodable},
		"local time": {
			func(s *persistence.StoredSnapshot) { s.ModifiedAt = s.ModifiedAt.In(time.FixedZone("x", 60)) }, annals.ErrUnencodable,
		},
	} {
		bad := snapshot("bad", 1)
		c.alter(&bad)
		err := r.RecordSnapshot(ctx, bad)
		wantIs(t, name, err, c.is)
		if want := bad.Check(); err == nil || err.Error() != want.Error() {
			t.Errorf("%s: got %v, want the error of Check, %v", name, err, want)
		}
	}
	wantSnapshot(ctx, t, r, persistence.StoredSnapshot{StreamID: "bad"})
}

func checkSnapshotClosed(t *testing.T, s *store) {
	ctx, r, snapshots := s.setupSnapshots(t)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	wantIs(t, "a context that is done", snapshots.RecordSnapshot(cancelled, snapshot("a", 1)), context.Canceled)
	_, _, err := snapshots.ReadSnapshot(cancelled, "a")
	wantIs(t, "a context that is done", err, context.Canceled)
	wantSnapshot(ctx, t, snapshots, persistence.StoredSnapshot{StreamID: "a"})
	closeRecorder(t, r)
	wantIs(t, "closed", snapshots.RecordSnapshot(ctx, snapshot("a", 1)), annals.ErrClosed)
	_, _, err = snapshots.ReadSnapshot(ctx, "a")
	wantIs(t, "closed", err, annals.ErrClosed)
}
