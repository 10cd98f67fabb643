package recordertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/annals-es/annals/persistence"
)

func durableChecks() []check {
	durable := Features{Durable: true}
	return []check{
		{"what was acknowledged is there after the store was closed and opened", "B29", durable, checkReopen},
		{"what was acknowledged is there after the process was killed", "B16, B20, B22", durable, checkKill},
	}
}

func checkReopen(t *testing.T, s *store) {
	ctx := s.context(t)
	var m model
	var first persistence.Batch
	for round := range int64(5) {
		r, err := s.reopen(ctx, t)
		if err != nil {
			t.Fatal(err)
		}
		m.check(ctx, t, r)
		b := tracked(batch(append(events("a", 2*round+1, 2), event(fmt.Sprintf("b%d", round), 1))...), "upstream", round+1)
		m.add(ctx, t, r, b)
		if round == 0 {
			first = b
		}
		m.add(ctx, t, r, first) // a repeat, which the model knows as well
		m.check(ctx, t, r)
		closeRecorder(t, r)
	}
}

// reopen returns a handle that the caller closes, the only one.
func (s *store) reopen(ctx context.Context, t *testing.T) (Recorder, error) {
	t.Helper()
	if s.address == "" {
		s.address = s.backend.Create(t)
	}
	return s.backend.Open(ctx, s.address)
}

// crashWriters is how many goroutines save in a process that is to be killed.
const crashWriters = 8

// crashBatch returns the batch that a writer saves as its n-th of a round: three
// events of two streams, and a tracking that says n. Its ids say which it is.
func crashBatch(round string, writer, n int, versions [2]int64) persistence.Batch {
	b := tracked(batch(), crashTracking(round, writer), int64(n))
	for k, id := range crashIDs(round, writer, n) {
		v := versions[k%2] + int64(k/2) + 1
		b.Events = append(b.Events, eventWithID(id, crashStream(writer, k%2), v))
	}
	return b
}

func crashIDs(round string, writer, n int) (ids []string) {
	for k := range 3 {
		ids = append(ids, fmt.Sprintf("round %s, writer %d, batch %d, event %d", round, writer, n, k))
	}
	return ids
}

func crashStream(writer, k int) string { return fmt.Sprintf("writer %d, stream %d", writer, k) }

func crashTracking(round string, writer int) string {
	return fmt.Sprintf("round %s, writer %d", round, writer)
}

// playCrash saves as fast as it can, and says each batch before it tries it and
// after it was acknowledged.
func playCrash(ctx context.Context, r Recorder, round string) error {
	errs := make([]error, crashWriters)
	together(crashWriters, func(writer int) {
		var versions [2]int64
		for k := range versions {
			for e, err := range r.ReadStream(ctx, crashStream(writer, k), persistence.StreamQuery{Descending: true, Limit: 1}) {
				if err != nil {
					errs[writer] = err
					return
				}
				versions[k] = e.Version
			}
		}
		for n := 1; errs[writer] == nil; n++ {
			sayf("try %d %d", writer, n)
			if _, errs[writer] = r.Record(ctx, crashBatch(round, writer, n, versions)); errs[writer] == nil {
				sayf("ack %d %d", writer, n)
			}
			versions[0] += 2
			versions[1]++
		}
	})
	return errors.Join(errs...)
}

// checkKill kills a process in the middle of its saves, again and again. In half
// of the rounds another handle has the store open all the while, if there can be
// one; in the other half the next one to open it has to put it in order.
func checkKill(t *testing.T, s *store) {
	ctx := s.context(t)
	batches := make(map[string][]persistence.StoredEvent) // all that were tried, by the id of their first event
	acknowledged := make(map[string]bool)
	for n := range rounds(10) {
		round := strconv.Itoa(n)
		r, err := s.reopen(ctx, t)
		if err != nil {
			t.Fatal(err)
		}
		witness := s.backend.Features.Processes && n%2 == 1
		if !witness {
			closeRecorder(t, r)
		}
		tried, acks := killed(ctx, t, s, round)
		if !witness {
			if r, err = s.reopen(ctx, t); err != nil {
				t.Fatalf("round %d: the store does not open after the kill: %v", n, err)
			}
		}
		for w := range crashWriters {
			for k := 1; k <= tried[w]; k++ {
				b := crashBatch(round, w, k, [2]int64{})
				batches[b.Events[0].ID] = b.Events
				acknowledged[b.Events[0].ID] = k <= acks[w]
			}
		}
		checkAfterKill(ctx, t, r, round, batches, acknowledged, tried)
		record(ctx, t, r, event("after the kill", int64(n+1)))
		closeRecorder(t, r)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d batches tried, %d acknowledged", len(batches), count(acknowledged))
}

// killed starts a process that saves, kills it in the middle of a save, and
// returns how many batches each of its writers tried, and how many were
// acknowledged.
func killed(ctx context.Context, t *testing.T, s *store, round string) (tried, acks [crashWriters]int) {
	t.Helper()
	c := s.start(ctx, t, roleCrash, envRound+"="+round)
	c.tell("go")
	left := 1 + rand.IntN(150) // acknowledgements until it is killed
	for line, ok := c.line(); ok; line, ok = c.line() {
		var writer, n int
		var what string
		if _, err := fmt.Sscanf(line, "%s %d %d", &what, &writer, &n); err != nil {
			t.Fatalf("the child process said %q: %v", line, err)
		}
		if what == "ack" {
			acks[writer] = n
			left--
			continue
		}
		if tried[writer] = n; left <= 0 && !c.ended {
			c.ended = true
			if err := c.cmd.Process.Kill(); err != nil {
				t.Errorf("kill: %v", err)
			}
		}
	}
	err := c.cmd.Wait()
	if !c.ended {
		t.Fatalf("the child process ended before it was killed: %v\n%s", err, c.stderr.String())
	}
	return tried, acks
}

func checkAfterKill(
	ctx context.Context, t *testing.T, r Recorder, round string,
	batches map[string][]persistence.StoredEvent, acknowledged map[string]bool, tried [crashWriters]int,
) {
	t.Helper()
	log, tracked := readSettled(ctx, t, r, round)
	checkLog(t, log)
	known := make(map[string]bool)
	all := make([][]persistence.StoredEvent, 0, len(batches))
	for _, events := range batches {
		all = append(all, events)
		for _, id := range ids(events) {
			known[id] = true
		}
	}
	there := checkContiguous(t, log, all)
	for id, there := range there {
		if acknowledged[id] && !there {
			t.Errorf("%s was acknowledged, and is not there", id)
		}
		if there {
			acknowledged[id] = true // from now on it must stay
		}
	}
	for _, n := range log {
		if n.StreamID == "after the kill" {
			continue
		}
		if !known[n.ID] || !bytes.Contains(n.State, []byte(n.ID)) || !strings.HasPrefix(n.StreamID, "writer ") {
			t.Errorf("%s was never saved so: its id is %s", brief(n), n.ID)
		}
	}
	for w := range crashWriters {
		last := 0
		for k := 1; k <= tried[w]; k++ {
			if there[crashIDs(round, w, k)[0]] {
				last = k
			}
		}
		if tracked[w] != int64(last) {
			t.Errorf("writer %d: the tracking says %d, its last batch that is there is %d", w, tracked[w], last)
		}
	}
}

// readSettled reads the log, and the writers' trackings as they are at that moment: a
// server may still commit what a process had sent before it was killed, so the log
// counts if the trackings before and after are the same.
func readSettled(ctx context.Context, t *testing.T, r Recorder, round string) ([]persistence.Notification, [crashWriters]int64) {
	t.Helper()
	trackings := func() (positions [crashWriters]int64) {
		for w := range positions {
			positions[w], _ = maxTracking(ctx, t, r, crashTracking(round, w))
		}
		return positions
	}
	before := trackings()
	for {
		log := readLog(ctx, t, r, persistence.LogQuery{})
		after := trackings()
		if after == before {
			return log, after
		}
		before = after
	}
}

func count(set map[string]bool) (n int) {
	for _, in := range set {
		if in {
			n++
		}
	}
	return n
}
