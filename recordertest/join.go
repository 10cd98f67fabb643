package recordertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

func joinChecks() []check {
	needs := Features{Joins: true}
	return []check{
		{"what is saved in the caller's transaction is there when it commits", "B26", needs, checkJoinCommit},
		{"what was saved in the caller's transaction is read in it", "B26, B17, B38", needs, checkJoinRead},
		{"a rollback of the caller leaves nothing", "B26", needs, checkJoinRollback},
		{"a refused save leaves the caller's transaction as it was", "B26, B29", needs, checkJoinRefused},
		{"a transaction of another kind is unsupported", "B26, B52", needs, checkJoinOther},
		{"with joined saves and rollbacks a follower misses nothing", "B20, B26", needs, checkJoinOrder},
		{
			"with three processes that save, join and roll back, a follower in a fourth misses nothing", "B19, B20, B26, B51",
			Features{Joins: true, Processes: true}, checkJoinProcesses,
		},
	}
}

// transaction is one of the caller's own.
type transaction struct {
	t      *testing.T
	tx     any
	commit func() error
	undo   func() error
}

func (s *store) begin(ctx context.Context, t *testing.T) *transaction {
	t.Helper()
	tx, commit, undo, err := s.backend.Statements.Begin(ctx, s.address)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	return &transaction{t, tx, commit, undo}
}

func (x *transaction) end(commit bool) {
	x.t.Helper()
	end := x.undo
	if commit {
		end = x.commit
	}
	if err := end(); err != nil {
		x.t.Fatalf("end of the caller's transaction (commit: %t): %v", commit, err)
	}
}

func txRecorder(t *testing.T, r Recorder) persistence.TxRecorder {
	t.Helper()
	joins, ok := r.(persistence.TxRecorder)
	if !ok {
		t.Fatalf("Features.Joins is true, and a %T is no persistence.TxRecorder", r)
	}
	return joins
}

// addTx records a batch that must be stored, in the caller's transaction.
func (m *model) addTx(ctx context.Context, t *testing.T, r Recorder, tx any, b persistence.Batch) {
	t.Helper()
	positions, err := txRecorder(t, r).RecordTx(ctx, tx, b)
	if problem := m.record(b, positions, err); problem != "" || err != nil {
		t.Fatalf("record: %s (error: %v)", problem, err)
	}
}

// insertOwn inserts a row of the user's own by the transaction.
func (s *store) insertOwn(ctx context.Context, t *testing.T, tx any, key string) {
	t.Helper()
	if err := s.backend.Statements.Insert(ctx, tx, key); err != nil {
		t.Fatalf("insert: %v", err)
	}
}

func (s *store) wantRows(ctx context.Context, t *testing.T, key string, want int) {
	t.Helper()
	if n, err := s.backend.Statements.Count(ctx, s.address, key); err != nil || n != want {
		t.Errorf("%d rows %q, want %d: %v", n, key, want, err)
	}
}

func checkJoinCommit(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, batch(event("a", 1)))
	before := m
	x := s.begin(ctx, t)
	s.insertOwn(ctx, t, x.tx, "before")
	m.addTx(ctx, t, r, x.tx, tracked(batch(event("a", 2), event("b", 1)), "upstream", 3))
	do := batch(event("a", 3))
	do.Do = func(ctx context.Context, tx any) error { return s.backend.Statements.Insert(ctx, tx, "do") }
	m.addTx(ctx, t, r, x.tx, do)
	again := batch(m.log[1].StoredEvent, m.log[2].StoredEvent)
	m.addTx(ctx, t, r, x.tx, again) // a repeat within the transaction
	s.insertOwn(ctx, t, x.tx, "after")
	before.check(ctx, t, r) // nobody sees it yet
	x.end(true)
	m.check(ctx, t, r)
	m.add(ctx, t, r, do) // a repeat by itself; Do is not called again
	for _, key := range []string{"before", "do", "after"} {
		s.wantRows(ctx, t, key, 1)
	}
	m.add(ctx, t, r, batch(event("a", 4), event("b", 2)))
	m.check(ctx, t, r)
}

func checkJoinRead(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	joins := txRecorder(t, r)
	var m model
	m.add(ctx, t, r, batch(event("a", 1), event("b", 1)))
	before := m
	x := s.begin(ctx, t)
	fresh := false
	b := batch(event("a", 2), event("c", 1), event("a", 3))
	b.Events[0].Hash, b.Fresh = bytes.Repeat([]byte{9}, 32), &fresh
	m.addTx(ctx, t, r, x.tx, b)
	if fresh {
		t.Error("a batch that may still be rolled back is told to be fresh")
	}
	for _, id := range []string{"a", "b", "c", "nobody"} {
		for _, q := range []persistence.StreamQuery{
			{}, {Hash: true}, {After: 1}, {UpTo: 2, Hash: true}, {Descending: true}, {Descending: true, Limit: 1, Hash: true}, {After: 3},
		} {
			got, err := collect(joins.ReadStreamTx(ctx, x.tx, id, q))
			if err != nil {
				t.Fatal(err)
			}
			equal(t, fmt.Sprintf("stream %q in the transaction, %+v", id, q), got, m.readStream(id, q))
			equal(t, fmt.Sprintf("stream %q outside, %+v", id, q), readStream(ctx, t, r, id, q), before.readStream(id, q))
		}
	}
	for _, err := range joins.ReadStreamTx(ctx, x.tx, "a", persistence.StreamQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		break // leaves nothing behind
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err := collect(joins.ReadStreamTx(cancelled, x.tx, "a", persistence.StreamQuery{}))
	wantIs(t, "a context that is done", err, context.Canceled)
	m.addTx(ctx, t, r, x.tx, batch(events("long", 1, 2500)...))
	got, err := collect(joins.ReadStreamTx(ctx, x.tx, "long", persistence.StreamQuery{}))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "a long stream", got, m.readStream("long", persistence.StreamQuery{}))
	x.end(true)
	m.check(ctx, t, r)
}

func checkJoinRollback(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, tracked(batch(event("a", 1)), "upstream", 1))
	x := s.begin(ctx, t)
	if _, err := txRecorder(t, r).RecordTx(ctx, x.tx, tracked(batch(event("a", 2), event("b", 1)), "upstream", 5)); err != nil {
		t.Fatal(err)
	}
	s.insertOwn(ctx, t, x.tx, "undone")
	x.end(false)
	m.check(ctx, t, r)
	s.wantRows(ctx, t, "undone", 0)
	m.add(ctx, t, r, tracked(batch(event("a", 2), event("c", 1)), "upstream", 2))
	m.check(ctx, t, r)
}

func checkJoinRefused(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, tracked(batch(event("a", 1), event("b", 1)), "upstream", 5))
	x := s.begin(ctx, t)
	joins := txRecorder(t, r)
	s.insertOwn(ctx, t, x.tx, "first")
	m.addTx(ctx, t, r, x.tx, batch(event("c", 1)))

	_, err := joins.RecordTx(ctx, x.tx, batch(event("d", 1), event("a", 1)))
	wantConflict(t, err, conflict("a", 0, 1))
	_, err = joins.RecordTx(ctx, x.tx, batch(event("d", 1), event("b", 3)))
	wantConflict(t, err, conflict("b", 2, 1))
	_, err = joins.RecordTx(ctx, x.tx, tracked(batch(event("d", 1)), "upstream", 5))
	wantTrackingConflict(t, err, annals.TrackingConflictError{Name: "upstream", Position: 5, Actual: 5})
	_, err = joins.RecordTx(ctx, x.tx, batch(event("", 1)))
	wantIs(t, "an invalid id", err, annals.ErrInvalidID)
	failed := &failure{}
	do := batch(event("d", 1))
	do.Do = func(ctx context.Context, tx any) error {
		return errors.Join(s.backend.Statements.Insert(ctx, tx, "undone"), failed)
	}
	_, err = joins.RecordTx(ctx, x.tx, do)
	wantIs(t, "a Do that fails", err, failed)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = joins.RecordTx(cancelled, x.tx, batch(event("d", 1)))
	wantIs(t, "a context that is done", err, context.Canceled)

	s.insertOwn(ctx, t, x.tx, "last")
	m.addTx(ctx, t, r, x.tx, batch(event("d", 1)))
	x.end(true)
	m.check(ctx, t, r)
	for key, want := range map[string]int{"first": 1, "last": 1, "undone": 0} {
		s.wantRows(ctx, t, key, want)
	}
}

func checkJoinOther(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	for _, tx := range []any{nil, "a transaction", 1, struct{}{}} {
		_, err := txRecorder(t, r).RecordTx(ctx, tx, batch(event("a", 1)))
		wantIs(t, fmt.Sprintf("%T", tx), err, annals.ErrUnsupported)
		_, err = collect(txRecorder(t, r).ReadStreamTx(ctx, tx, "a", persistence.StreamQuery{}))
		wantIs(t, fmt.Sprintf("reading in a %T", tx), err, annals.ErrUnsupported)
	}
	var m model
	m.check(ctx, t, r)
}

// checkJoinOrder has writers of which every second one joins a transaction of the
// caller's, and ends it in one of both ways.
func checkJoinOrder(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	const writers = 8
	each := rounds(12)
	handles := s.handles(ctx, t, r, writers)
	seen := background(func() (log []persistence.Notification) {
		for n, err := range persistence.Follow(ctx, handles[1], persistence.LogQuery{}) {
			if err != nil || n.StreamID == "the last" {
				break
			}
			log = append(log, n)
		}
		return log
	})
	var stored atomic.Int64
	together(writers, func(i int) {
		err := s.mixed(ctx, handles[i], fmt.Sprintf("stream %d", i), each, func(e []persistence.StoredEvent) { stored.Add(int64(len(e))) })
		if err != nil {
			t.Errorf("writer %d: %v", i, err)
		}
	})
	record(ctx, t, r, event("the last", 1))
	got := seen()
	log := readLog(ctx, t, r, persistence.LogQuery{})
	checkLog(t, log)
	if int64(len(log)) != stored.Load()+1 {
		t.Fatalf("%d events are stored, want %d", len(log), stored.Load()+1)
	}
	equal(t, "what the follower saw", got, log[:len(log)-1])
}

// mixed saves a number of batches to a stream: by itself, and in transactions of the
// caller's, of which a third is undone. It tells of what is stored.
func (s *store) mixed(ctx context.Context, r Recorder, stream string, n int, stored func([]persistence.StoredEvent)) error {
	version := int64(1)
	for range n {
		b := batch(event(stream, version), event(stream, version+1))
		var err error
		commit := true
		if rand.IntN(2) == 0 {
			_, err = r.Record(ctx, b)
		} else {
			commit = rand.IntN(3) > 0
			err = s.joinOnce(ctx, r, b, commit)
		}
		if err != nil {
			return err
		}
		if commit {
			version += 2
			stored(b.Events)
		}
	}
	return nil
}

// mixedWriters is how many goroutines save in each of several processes.
const mixedWriters = 6

// playMixed saves, and says the ids of what is stored.
func (s *store) playMixed(ctx context.Context, r Recorder, process string) error {
	errs := make([]error, mixedWriters)
	together(mixedWriters, func(i int) {
		stream := fmt.Sprintf("process %s, stream %d", process, i)
		errs[i] = s.mixed(ctx, r, stream, rounds(15), func(e []persistence.StoredEvent) { sayf("%s", strings.Join(ids(e), " ")) })
	})
	return errors.Join(errs...)
}

func checkJoinProcesses(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	follower := s.start(ctx, t, roleFollow)
	follower.tell("go")
	var writers []*process
	for i := range 3 {
		writers = append(writers, s.start(ctx, t, roleMixed, fmt.Sprintf("%s=%d", envRound, i)))
	}
	for _, w := range writers {
		w.tell("go")
	}
	stored := make(map[string]bool)
	for _, w := range writers {
		for line, ok := w.line(); ok; line, ok = w.line() {
			for id := range strings.FieldsSeq(line) {
				stored[id] = true
			}
		}
		w.wait()
	}
	record(ctx, t, r, event(endStream, 1))
	log := readLog(ctx, t, r, persistence.LogQuery{})
	checkLog(t, log)
	if len(log) != len(stored)+1 {
		t.Errorf("%d events are stored, want %d", len(log), len(stored)+1)
	}
	for _, n := range log[:len(log)-1] {
		if !stored[n.ID] {
			t.Errorf("%s is stored, and nobody says that it saved it", brief(n))
		}
	}
	follower.checkFollowed(log)
}

// joinOnce saves a batch in a transaction of its own.
func (s *store) joinOnce(ctx context.Context, r Recorder, b persistence.Batch, commit bool) error {
	tx, end, undo, err := s.backend.Statements.Begin(ctx, s.address)
	if err != nil {
		return err
	}
	joins, ok := r.(persistence.TxRecorder)
	if !ok {
		return errors.Join(undo(), fmt.Errorf("a %T is no persistence.TxRecorder", r))
	}
	if _, err := joins.RecordTx(ctx, tx, b); err != nil {
		return errors.Join(err, undo())
	}
	if !commit {
		return undo()
	}
	return end()
}
