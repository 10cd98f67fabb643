package hashchain_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/hashchain"
)

var changes = map[string]func(e *persistence.StoredEvent){
	"id":          func(e *persistence.StoredEvent) { e.ID += "x" },
	"topic":       func(e *persistence.StoredEvent) { e.Topic += "x" },
	"time":        func(e *persistence.StoredEvent) { e.Time = e.Time.Add(time.Microsecond) },
	"shape":       func(e *persistence.StoredEvent) { e.Shape++ },
	"encoding":    func(e *persistence.StoredEvent) { e.Encoding += "x" },
	"state":       func(e *persistence.StoredEvent) { e.State = append(slices.Clone(e.State), ' ') },
	"correlation": func(e *persistence.StoredEvent) { e.CorrelationID += "x" },
	"causation":   func(e *persistence.StoredEvent) { e.CausationID += "x" },
	"headers":     func(e *persistence.StoredEvent) { e.Headers = nil },
}

// tampering changes the event at i of the log; it returns the log, and the stream and version at which it
// must be found, of which version 0 stands for any.
type tampering func(log []persistence.Notification, i int) (after []persistence.Notification, stream string, version int64)

func tamperings() map[string]tampering {
	all := map[string]tampering{
		"removed": func(log []persistence.Notification, i int) ([]persistence.Notification, string, int64) {
			removed := log[i]
			return slices.Delete(log, i, i+1), removed.StreamID, removed.Version + 1
		},
		"inserted":         insert,
		"moved":            move,
		"swapped in place": swap,
		"without hash": func(log []persistence.Notification, i int) ([]persistence.Notification, string, int64) {
			if log[i].Version == 1 {
				return nil, "", 0 // as if the chain had been switched on after it: it is still covered
			}
			log[i].Hash = nil
			return log, log[i].StreamID, log[i].Version
		},
		"another hash": func(log []persistence.Notification, i int) ([]persistence.Notification, string, int64) {
			log[i].Hash = slices.Repeat([]byte{1}, hashchain.Size)
			return log, log[i].StreamID, log[i].Version
		},
		"a short hash": func(log []persistence.Notification, i int) ([]persistence.Notification, string, int64) {
			log[i].Hash = log[i].Hash[:5]
			return log, log[i].StreamID, log[i].Version
		},
	}
	for name, change := range changes {
		all["changed "+name] = func(log []persistence.Notification, i int) ([]persistence.Notification, string, int64) {
			change(&log[i].StoredEvent)
			return log, log[i].StreamID, log[i].Version
		}
	}
	return all
}

func insert(log []persistence.Notification, i int) (after []persistence.Notification, stream string, version int64) {
	extra := log[i]
	extra.StoredEvent = event(log[i].StreamID, log[i].Version)
	extra.Hash = slices.Repeat([]byte{7}, hashchain.Size)
	for k := i; k < len(log); k++ { // the later ones move up
		log[k].Position++
		if log[k].StreamID == extra.StreamID {
			log[k].Version++
		}
	}
	return slices.Insert(log, i, extra), extra.StreamID, extra.Version
}

// move exchanges the event with the next of its stream.
func move(log []persistence.Notification, i int) (after []persistence.Notification, stream string, version int64) {
	for k := i + 1; k < len(log); k++ {
		if log[k].StreamID == log[i].StreamID {
			log[i].StoredEvent, log[k].StoredEvent = log[k].StoredEvent, log[i].StoredEvent
			return log, log[i].StreamID, 0
		}
	}
	return nil, "", 0
}

// swap is move where each of both takes the version of the other.
func swap(log []persistence.Notification, i int) (after []persistence.Notification, stream string, version int64) {
	for k := i + 1; k < len(log); k++ {
		if log[k].StreamID == log[i].StreamID {
			log[i].StoredEvent, log[k].StoredEvent = log[k].StoredEvent, log[i].StoredEvent
			log[i].Version, log[k].Version = log[k].Version, log[i].Version
			return log, log[i].StreamID, log[i].Version
		}
	}
	return nil, "", 0
}

// B38.
func TestEveryTamperingIsFound(t *testing.T) {
	t.Parallel()
	for name, tamper := range tamperings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				ctx := rt.Context()
				r, versions := drawLog(rt)
				var whole []persistence.Notification
				for n, err := range r.ReadLog(ctx, persistence.LogQuery{Hash: true}) {
					if err != nil {
						rt.Fatal(err)
					}
					whole = append(whole, n)
				}
				report, err := hashchain.Verify(ctx, r, hashchain.Config{Workers: 2, HashedFrom: 1})
				if err != nil || report.Hashed != int64(len(whole)) || report.Streams != int64(len(versions)) {
					rt.Fatalf("a log that is whole: %+v, %v", report, err)
				}
				log, stream, version := tamper(slices.Clone(whole), rapid.IntRange(0, len(whole)-1).Draw(rt, "at"))
				if log == nil {
					rt.Skip("nothing to tamper with")
				}
				bad := &tampered{log: log}
				_, err = hashchain.Verify(ctx, bad, hashchain.Config{Workers: 2, Log: &report.Head}) // which tells of any of them
				if !errors.Is(err, hashchain.ErrBroken) {
					rt.Fatalf("with a noted head: %v", err)
				}
				if last := version > versions[stream]; last && name == "removed" {
					return // a cut tail, which only a head tells of
				}
				found, err := hashchain.Verify(ctx, bad, hashchain.Config{Workers: 2})
				if !errors.Is(err, hashchain.ErrBroken) || !names(found, stream, version) {
					rt.Fatalf("want a problem at version %d of %q, got %v: %v", version, stream, found.Problems, err)
				}
				_, err = hashchain.VerifyStream(ctx, bad, stream)
				if name != "moved" && !errors.Is(err, hashchain.ErrBroken) { // a stream is read in order
					rt.Fatalf("the stream alone: %v", err)
				}
			})
		})
	}
}

// drawLog returns a log of a few streams, and their versions.
func drawLog(t *rapid.T) (r *memory.Recorder, versions map[string]int64) {
	r = memory.New()
	l := hashchain.NewLinker(r)
	versions = make(map[string]int64)
	for range rapid.IntRange(1, 30).Draw(t, "events") {
		stream := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "stream")
		versions[stream]++
		if rapid.IntRange(0, 9).Draw(t, "forget") == 0 {
			l = hashchain.NewLinker(r)
		}
		b := persistence.Batch{Events: []persistence.StoredEvent{event(stream, versions[stream])}}
		if _, err := l.Record(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return r, versions
}

func names(r hashchain.Report, stream string, version int64) bool {
	return slices.ContainsFunc(r.Problems, func(p hashchain.Problem) bool {
		return p.StreamID == stream && (version == 0 || p.Version == version)
	})
}

// finds is what finds something: the chain alone, with HashedFrom, with noted heads
// of the streams, with the noted head of the log.
type finds struct{ alone, hashed, heads, log bool }

// attack is what somebody does to a log of the streams a, b and c, who have six
// versions each, in turn.
type attack struct {
	name  string
	do    func(log []persistence.Notification) []persistence.Notification
	finds finds
}

// each returns the log with a change to each event that is meant.
func each(
	change func(n *persistence.Notification), meant func(n *persistence.Notification) bool,
) func([]persistence.Notification) []persistence.Notification {
	return func(log []persistence.Notification) []persistence.Notification {
		for i := range log {
			if meant(&log[i]) {
				change(&log[i])
			}
		}
		return log
	}
}

func without(meant func(n *persistence.Notification) bool) func([]persistence.Notification) []persistence.Notification {
	return func(log []persistence.Notification) []persistence.Notification {
		return slices.DeleteFunc(log, func(n persistence.Notification) bool { return meant(&n) })
	}
}

func ofB(n *persistence.Notification) bool { return n.StreamID == "b" }

// versionOfB means an event of the stream b.
func versionOfB(version int64) func(n *persistence.Notification) bool {
	return func(n *persistence.Notification) bool { return ofB(n) && n.Version == version }
}

func all(*persistence.Notification) bool { return true }

func unhash(n *persistence.Notification) { n.Hash = nil }

func change(n *persistence.Notification) { n.State = []byte(`{}`) }

func rename(n *persistence.Notification) { n.StreamID += "x" }

// added returns an attack that adds an event at the end.
func added(position, version int64, stream string) func([]persistence.Notification) []persistence.Notification {
	return func(log []persistence.Notification) []persistence.Notification {
		if position == 0 {
			position = int64(len(log) + 1)
		}
		n := persistence.Notification{Position: position, StoredEvent: event(stream, version)}
		if position < 0 {
			return append([]persistence.Notification{n}, log...)
		}
		return append(log, n)
	}
}

// rehash makes a new chain over what is there, as this package does.
func rehash(log []persistence.Notification) []persistence.Notification {
	before := make(map[string][]byte)
	for i := range log {
		hash := hashchain.Sum(before[log[i].StreamID], &log[i].StoredEvent)
		log[i].Hash = hash[:]
		before[log[i].StreamID] = hash[:]
	}
	return log
}

func then(steps ...func([]persistence.Notification) []persistence.Notification) func([]persistence.Notification) []persistence.Notification {
	return func(log []persistence.Notification) []persistence.Notification {
		for _, step := range steps {
			log = step(log)
		}
		return log
	}
}

// exchange gives two events the positions of each other.
func exchange(i, k int) func([]persistence.Notification) []persistence.Notification {
	return func(log []persistence.Notification) []persistence.Notification {
		log[i].StoredEvent, log[k].StoredEvent = log[k].StoredEvent, log[i].StoredEvent
		return log
	}
}

func attacks() []attack {
	everywhere := finds{alone: true, hashed: true, heads: true, log: true}
	return []attack{
		{"an event changed", each(change, versionOfB(3)), everywhere},
		{"the last event of a stream changed", each(change, versionOfB(6)), everywhere},
		{"an event removed", without(versionOfB(3)), everywhere},
		{"the first event of a stream removed", without(versionOfB(1)), everywhere},
		{"an event added to a stream, without a hash", added(0, 7, "b"), everywhere},
		{"an event at a position before all others", added(-5, 7, "b"), everywhere},
		{"an event twice", added(0, 6, "b"), everywhere},
		{"a stream renamed", each(rename, ofB), everywhere},
		{"a hash removed", each(unhash, versionOfB(3)), everywhere},

		{"two streams exchanged in the log", exchange(3, 4), finds{log: true}},
		{"positions moved up", each(func(n *persistence.Notification) { n.Position += 10 }, all), finds{log: true}},
		{"the end of a stream cut off", without(versionOfB(6)), finds{heads: true, log: true}},
		{"the end of the log cut off", func(log []persistence.Notification) []persistence.Notification { return log[:9] },
			finds{heads: true, log: true}},
		{"a stream removed", without(ofB), finds{heads: true, log: true}},
		{"all removed", without(all), finds{heads: true, log: true}},

		{"the first hash of a stream removed", each(unhash, versionOfB(1)), finds{hashed: true}},
		{"all hashes of a stream removed", each(unhash, ofB), finds{hashed: true}},
		{"all hashes removed", each(unhash, all), finds{hashed: true}},
		{"all hashes of a stream removed, and an event changed", then(each(unhash, ofB), each(change, versionOfB(3))),
			finds{hashed: true, heads: true, log: true}},
		{"a stream renamed, its hashes removed", then(each(unhash, ofB), each(rename, ofB)),
			finds{hashed: true, heads: true, log: true}},
		{"a new stream, without hashes", added(0, 1, "d"), finds{hashed: true}},

		{"an event changed, and a new chain made", then(each(change, versionOfB(3)), rehash), finds{heads: true, log: true}},
		{"a new stream, with its own chain", then(added(0, 1, "d"), rehash), finds{}},
	}
}

// B38: what finds what, as docs/integrity.md says.
func TestWhatFindsWhat(t *testing.T) {
	t.Parallel()
	r := memory.New()
	l := hashchain.NewLinker(r)
	var heads []hashchain.Head
	for v := range int64(6) {
		save(t, l, event("a", v+1), event("b", v+1), event("c", v+1))
	}
	whole := logOf(t, r)
	for _, id := range []string{"a", "b", "c"} {
		head, err := hashchain.StreamHead(t.Context(), r, id)
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, head)
	}
	report, err := hashchain.Verify(t.Context(), r, hashchain.Config{Heads: heads, HashedFrom: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attacks() {
		bad := &tampered{log: a.do(slices.Clone(whole))}
		finding := func(cfg hashchain.Config) bool {
			found, err := hashchain.Verify(t.Context(), bad, cfg)
			if err != nil && !errors.Is(err, hashchain.ErrBroken) {
				t.Errorf("%s: %v", a.name, err)
			}
			if found.Unhashed == 0 && found.LastUnhashed != 0 || found.Unhashed+found.Hashed != int64(len(bad.log)) {
				t.Errorf("%s: %+v", a.name, found)
			}
			return err != nil
		}
		got := finds{
			alone: finding(hashchain.Config{}), hashed: finding(hashchain.Config{HashedFrom: 1}),
			heads: finding(hashchain.Config{Heads: heads}), log: finding(hashchain.Config{Log: &report.Head}),
		}
		if got != a.finds {
			t.Errorf("%s is found by %s, want %s", a.name, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", a.finds))
		}
	}
}
