package hashchain_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/hashchain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tampered is a log that somebody else wrote to: it yields what it is given.
type tampered struct {
	persistence.Recorder

	log []persistence.Notification
}

func (r *tampered) MaxPosition(context.Context) (int64, bool, error) {
	if len(r.log) == 0 {
		return 0, false, nil
	}
	return r.log[len(r.log)-1].Position, true, nil
}

func (r *tampered) ReadLog(_ context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	return func(yield func(persistence.Notification, error) bool) {
		for _, n := range r.log {
			if n.Position > q.After && (q.UpTo == 0 || n.Position <= q.UpTo) && !yield(n, nil) {
				return
			}
		}
	}
}

func (r *tampered) ReadStream(_ context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	return func(yield func(persistence.StoredEvent, error) bool) {
		for i := range r.log {
			n := r.log[i]
			if q.Descending {
				n = r.log[len(r.log)-1-i]
			}
			if n.StreamID != id || n.Version <= q.After || q.UpTo > 0 && n.Version > q.UpTo {
				continue
			}
			if !yield(n.StoredEvent, nil) || q.Limit == 1 {
				return
			}
		}
	}
}

func event(stream string, version int64) persistence.StoredEvent {
	return persistence.StoredEvent{
		ID: annals.NewID(), StreamID: stream, Version: version, Topic: "Account.Moved", Shape: 1, Encoding: "1:json",
		Time:  time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC).Add(time.Duration(version) * time.Second),
		State: fmt.Appendf(nil, `{"stream":%q,"version":%d}`, stream, version), CorrelationID: "story", CausationID: "cause", Headers: []byte(`{"a":"b"}`),
	}
}

// records is a recorder, or a linker on one.
type records interface {
	Record(ctx context.Context, b persistence.Batch) ([]int64, error)
}

func save(tb testing.TB, r records, events ...persistence.StoredEvent) {
	tb.Helper()
	if _, err := r.Record(tb.Context(), persistence.Batch{Events: events}); err != nil {
		tb.Fatal(err)
	}
}

func logOf(tb testing.TB, r persistence.Recorder) (log []persistence.Notification) {
	tb.Helper()
	for n, err := range r.ReadLog(context.Background(), persistence.LogQuery{Hash: true}) {
		if err != nil {
			tb.Fatal(err)
		}
		log = append(log, n)
	}
	return log
}

// B38: what is hashed never changes.
func TestHashesAreThoseOfEver(t *testing.T) {
	t.Parallel()
	e := event("a", 1)
	e.ID = "e1"
	one := hashchain.Sum(nil, &e)
	e.Version, e.ID, e.Headers, e.CorrelationID = 2, "e2", nil, ""
	two := hashchain.Sum(one[:], &e)
	for i, c := range []struct{ got, want string }{
		{hex.EncodeToString(one[:]), goldenOne},
		{hex.EncodeToString(two[:]), goldenTwo},
	} {
		if c.got != c.want {
			t.Errorf("hash %d is %s, and was %s: what is stored cannot be verified any more", i+1, c.got, c.want)
		}
	}
}

// B38.
func TestEveryFieldIsCovered(t *testing.T) {
	t.Parallel()
	whole := event("a", 1)
	want := hashchain.Sum(nil, &whole)
	for name, change := range changes {
		e := whole
		change(&e)
		if hashchain.Sum(nil, &e) == want {
			t.Errorf("%s is not covered", name)
		}
	}
	e := whole
	e.Hash, e.Headers = []byte("x"), whole.Headers
	if hashchain.Sum(nil, &e) != want {
		t.Error("the hash depends on the hash")
	}
	nothing, empty := whole, whole
	nothing.Headers, empty.Headers = nil, []byte{}
	if hashchain.Sum(nil, &nothing) != hashchain.Sum(nil, &empty) {
		t.Error("nil and empty headers differ")
	}
	left, right := whole, whole // what moves from one field to its neighbour
	left.Topic, left.Encoding = "ab", "c"
	right.Topic, right.Encoding = "a", "bc"
	if hashchain.Sum(nil, &left) == hashchain.Sum(nil, &right) {
		t.Error("fields run into each other")
	}
}

var changes = map[string]func(e *persistence.StoredEvent){
	"id":          func(e *persistence.StoredEvent) { e.ID += "x" },
	"stream":      func(e *persistence.StoredEvent) { e.StreamID += "x" },
	"version":     func(e *persistence.StoredEvent) { e.Version++ },
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
		"inserted": func(log []persistence.Notification, i int) ([]persistence.Notification, string, int64) {
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
		},
		"moved": func(log []persistence.Notification, i int) ([]persistence.Notification, string, int64) {
			for k := i + 1; k < len(log); k++ {
				if log[k].StreamID == log[i].StreamID {
					log[i].StoredEvent, log[k].StoredEvent = log[k].StoredEvent, log[i].StoredEvent
					return log, log[i].StreamID, 0
				}
			}
			return nil, "", 0
		},
		"swapped in place": func(log []persistence.Notification, i int) ([]persistence.Notification, string, int64) {
			for k := i + 1; k < len(log); k++ {
				if log[k].StreamID == log[i].StreamID {
					log[i].StoredEvent, log[k].StoredEvent = log[k].StoredEvent, log[i].StoredEvent
					log[i].Version, log[k].Version = log[k].Version, log[i].Version
					return log, log[i].StreamID, log[i].Version
				}
			}
			return nil, "", 0
		},
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
		if name == "stream" || name == "version" {
			continue // an event of another place: removed and inserted
		}
		all["changed "+name] = func(log []persistence.Notification, i int) ([]persistence.Notification, string, int64) {
			change(&log[i].StoredEvent)
			return log, log[i].StreamID, log[i].Version
		}
	}
	return all
}

// B38.
func TestEveryTamperingIsFound(t *testing.T) {
	t.Parallel()
	for name, tamper := range tamperings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				r := memory.New()
				l := hashchain.NewLinker(r)
				versions := make(map[string]int64)
				for range rapid.IntRange(1, 30).Draw(t, "events") {
					stream := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "stream")
					versions[stream]++
					if rapid.IntRange(0, 9).Draw(t, "forget") == 0 {
						l = hashchain.NewLinker(r)
					}
					if err := link(l, event(stream, versions[stream])); err != nil {
						t.Fatal(err)
					}
				}
				whole := logOfRapid(t, r)
				report, err := hashchain.Verify(context.Background(), r, hashchain.Config{Workers: 2})
				if err != nil || report.Hashed != int64(len(whole)) || report.Streams != int64(len(versions)) {
					t.Fatalf("a log that is whole: %+v, %v", report, err)
				}
				i := rapid.IntRange(0, len(whole)-1).Draw(t, "at")
				log, stream, version := tamper(slices.Clone(whole), i)
				if log == nil {
					t.Skip("nothing to tamper with")
				}
				bad := &tampered{log: log}
				cfg := hashchain.Config{Workers: 2, Log: &report.Head} // the noted head tells of any of them
				_, err = hashchain.Verify(context.Background(), bad, cfg)
				if !errors.Is(err, hashchain.ErrBroken) {
					t.Fatalf("with a noted head: %v", err)
				}
				found, err := hashchain.Verify(context.Background(), bad, hashchain.Config{Workers: 2})
				if last := version > versions[stream]; last && name == "removed" {
					return // a cut tail, which only a head tells of
				}
				if !errors.Is(err, hashchain.ErrBroken) || !names(found, stream, version) {
					t.Fatalf("want a problem at version %d of %q, got %v: %v", version, stream, found.Problems, err)
				}
				_, err = hashchain.VerifyStream(context.Background(), bad, stream)
				if name != "moved" && !errors.Is(err, hashchain.ErrBroken) { // a stream is read in order
					t.Fatalf("the stream alone: %v", err)
				}
			})
		})
	}
}

func names(r hashchain.Report, stream string, version int64) bool {
	return slices.ContainsFunc(r.Problems, func(p hashchain.Problem) bool {
		return p.StreamID == stream && (version == 0 || p.Version == version)
	})
}

func link(l *hashchain.Linker, e persistence.StoredEvent) error {
	_, err := l.Record(context.Background(), persistence.Batch{Events: []persistence.StoredEvent{e}})
	return err
}

func logOfRapid(t *rapid.T, r persistence.Recorder) (log []persistence.Notification) {
	for n, err := range r.ReadLog(context.Background(), persistence.LogQuery{Hash: true}) {
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, n)
	}
	return log
}

// B38.
func TestANotedHeadTellsOfACutTail(t *testing.T) {
	t.Parallel()
	r := memory.New()
	l := hashchain.NewLinker(r)
	for v := range int64(6) {
		save(t, l, event("a", v+1), event("b", v+1))
	}
	head, err := hashchain.StreamHead(t.Context(), r, "a")
	if err != nil || head.Version != 6 {
		t.Fatalf("%+v, %v", head, err)
	}
	report, err := hashchain.Verify(t.Context(), r, hashchain.Config{Heads: []hashchain.Head{head}})
	if err != nil {
		t.Fatal(err)
	}
	save(t, l, event("a", 7)) // what comes later changes nothing
	if _, err := hashchain.Verify(t.Context(), r, hashchain.Config{Heads: []hashchain.Head{head}, Log: &report.Head}); err != nil {
		t.Fatal(err)
	}
	cut := &tampered{log: logOf(t, r)[:10]}
	found, err := hashchain.Verify(t.Context(), cut, hashchain.Config{Heads: []hashchain.Head{head}, Log: &report.Head})
	if !errors.Is(err, hashchain.ErrBroken) || found.Found != 2 || found.Problems[0].Kind != hashchain.Cut || found.Problems[1].Kind != hashchain.Cut {
		t.Errorf("a cut log: %+v, %v", found, err)
	}
	if _, err := hashchain.VerifyStream(t.Context(), cut, "a", head); !errors.Is(err, hashchain.ErrBroken) || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("a cut stream: %v", err)
	}
	head.Hash[0]++
	_, err = hashchain.VerifyStream(t.Context(), r, "a", head)
	if broken, ok := errors.AsType[*hashchain.BrokenError](err); !ok || broken.First.Kind != hashchain.Replaced {
		t.Errorf("another head: %v", err)
	}
}

// B38.
func TestVerifyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r := memory.New()
	l := hashchain.NewLinker(r)
	for v := range int64(10_000) {
		save(t, l, event(fmt.Sprint(v%7), v/7+1))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var seen []hashchain.Progress
	_, err := hashchain.Verify(ctx, r, hashchain.Config{Progress: func(p hashchain.Progress) {
		seen = append(seen, p)
		cancel()
	}})
	if !errors.Is(err, context.Canceled) || len(seen) != 1 || seen[0].Last != 10_000 || seen[0].Events == 0 {
		t.Errorf("%v after %+v", err, seen)
	}
	if report, err := hashchain.Verify(t.Context(), r, hashchain.Config{}); err != nil || report.Head.Events != 10_000 {
		t.Errorf("%+v, %v", report, err)
	}
	if report, err := hashchain.Verify(t.Context(), memory.New(), hashchain.Config{}); err != nil || report.Events != 0 {
		t.Errorf("an empty log: %+v, %v", report, err)
	}
}

func FuzzHeads(f *testing.F) {
	h := hashchain.Head{StreamID: "a:b", Version: 3}
	l := hashchain.LogHead{Position: 9, Events: 8}
	f.Add(h.String())
	f.Add(l.String())
	f.Add("1:zz:")
	f.Fuzz(func(t *testing.T, text string) {
		var h hashchain.Head
		if err := h.UnmarshalText([]byte(text)); err == nil && h.String() != text {
			t.Errorf("%q is read as %q", text, h)
		} else if err != nil && !errors.Is(err, annals.ErrConfiguration) {
			t.Error(err)
		}
		var l hashchain.LogHead
		if err := l.UnmarshalText([]byte(text)); err == nil && l.String() != text {
			t.Errorf("%q is read as %q", text, l)
		} else if err != nil && !errors.Is(err, annals.ErrConfiguration) {
			t.Error(err)
		}
	})
}
