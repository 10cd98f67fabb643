package recordertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

func processChecks() []check {
	processes := Features{Processes: true}
	return []check{
		{"what one handle saves the other sees at once", "B20, B22", processes, checkTwoHandles},
		{"a handle goes on when another is closed", "B39", processes, checkCloseOne},
		{"of the saves of two processes one is stored for each version", "B16, B20", processes, checkRace},
		{"a process that saves all the time does not keep another from saving", "B51", processes, checkFair},
	}
}

func checkTwoHandles(t *testing.T, s *store) {
	ctx, one := s.setup(t)
	two := s.open(ctx, t)
	var m model
	for v := range int64(20) {
		m.add(ctx, t, one, tracked(batch(event("a", 2*v+1)), "upstream", 2*v+1))
		m.check(ctx, t, two)
		equal(t, "stream", readStream(ctx, t, two, "a", persistence.StreamQuery{}), m.readStream("a", persistence.StreamQuery{}))
		_, err := two.Record(ctx, batch(event("a", 2*v+1)))
		wantConflict(t, err, conflict("a", 2*v, 2*v+1))
		_, err = two.Record(ctx, tracked(batch(), "upstream", 2*v+1))
		wantTrackingConflict(t, err, annals.TrackingConflictError{Name: "upstream", Position: 2*v + 1, Actual: 2*v + 1})
		m.add(ctx, t, two, tracked(batch(event("a", 2*v+2)), "upstream", 2*v+2))
		m.check(ctx, t, one)
	}
}

func checkCloseOne(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	for v := range int64(5) {
		other := s.open(ctx, t)
		m.add(ctx, t, other, batch(event("a", 2*v+1)))
		wait := waiting(ctx, r, m.head())
		closeRecorder(t, other)
		m.add(ctx, t, r, batch(event("a", 2*v+2)))
		if err := wait(); err != nil {
			t.Errorf("wait: %v", err)
		}
		m.check(ctx, t, r)
		_, err := other.Record(ctx, batch(event("a", 2*v+3)))
		wantIs(t, "record by the closed handle", err, annals.ErrClosed)
	}
}

// The size of a race.
const (
	raceWriters = 8 // in each process
	raceStreams = 4
)

// race has several goroutines save the same version of each stream, and returns
// the ids of the events that won.
func race(ctx context.Context, r Recorder, version int64) (won []string, err error) {
	var mu sync.Mutex
	errs := make([]error, raceWriters)
	together(raceWriters, func(i int) {
		e := event(fmt.Sprintf("stream %d", i%raceStreams), version)
		_, err := r.Record(ctx, batch(e))
		switch {
		case err == nil:
			mu.Lock()
			won = append(won, e.ID)
			mu.Unlock()
		case !errors.Is(err, annals.ErrVersionConflict):
			errs[i] = fmt.Errorf("version %d: %w", version, err)
		}
	})
	return won, errors.Join(errs...)
}

// playRace races once for each line that it is told, and says which events won.
func playRace(ctx context.Context, r Recorder, told <-chan string) error {
	for version := int64(1); ; version++ {
		if _, ok := <-told; !ok {
			return nil
		}
		won, err := race(ctx, r, version)
		if err != nil {
			return err
		}
		sayf("%s", strings.Join(append(won, "done"), " "))
	}
}

func checkRace(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	c := s.start(ctx, t, roleRace)
	c.tell("go")
	winners := make(map[string]string)
	for version := range int64(rounds(100)) {
		c.tell("once more")
		ours, err := race(ctx, r, version+1)
		if err != nil {
			t.Fatal(err)
		}
		line, ok := c.line()
		if !ok {
			c.wait()
			t.FailNow()
		}
		for _, id := range ours {
			winners[id] = "this process"
		}
		for id := range strings.FieldsSeq(strings.TrimSuffix(line, "done")) {
			winners[id] = "the other process"
		}
		if len(winners) != int(version+1)*raceStreams {
			t.Fatalf("%d events were acknowledged for %d versions of %d streams", len(winners), version+1, raceStreams)
		}
	}
	c.end()
	log := readLog(ctx, t, r, persistence.LogQuery{})
	checkLog(t, log)
	wins := make(map[string]int)
	for _, n := range log {
		if winners[n.ID] == "" {
			t.Errorf("%s is there, and was not acknowledged", brief(n))
		}
		wins[winners[n.ID]]++
		delete(winners, n.ID)
	}
	for id, process := range winners {
		t.Errorf("event %s was acknowledged to %s, and is not there", id, process)
	}
	t.Logf("wins: %v", wins)
}

// checkFair saves all the time in this process, until another process has made a
// number of saves.
func checkFair(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	c := s.start(ctx, t, roleSave)
	c.tell("go")
	var stop atomic.Bool
	var saved atomic.Int64
	writing := background(func() error {
		errs := make([]error, 16)
		together(16, func(i int) {
			for v := int64(1); !stop.Load() && errs[i] == nil; v++ {
				_, errs[i] = r.Record(ctx, batch(event(fmt.Sprintf("stream %d", i), v)))
				saved.Add(1)
			}
		})
		return errors.Join(errs...)
	})
	const others = 30
	for range others {
		c.tell("save")
		if line, _ := c.line(); line != "saved" {
			t.Errorf("the other process said %q", line)
			break
		}
	}
	stop.Store(true)
	if err := writing(); err != nil {
		t.Error(err)
	}
	c.end()
	t.Logf("this process made %d saves while the other made %d", saved.Load(), others)
	log := readLog(ctx, t, r, persistence.LogQuery{})
	checkLog(t, log)
	if want := int(saved.Load()) + others; !t.Failed() && len(log) != want {
		t.Errorf("the log has %d events, want %d", len(log), want)
	}
}
