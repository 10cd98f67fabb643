package hashchain_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/hashchain"
)

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
	noted := hashchain.Config{Heads: []hashchain.Head{head}, Log: &report.Head}
	save(t, l, event("a", 7)) // what comes later changes nothing
	if _, err := hashchain.Verify(t.Context(), r, noted); err != nil {
		t.Fatal(err)
	}
	cut := &tampered{log: logOf(t, r)[:10]}
	found, err := hashchain.Verify(t.Context(), cut, noted)
	want := []hashchain.Problem{{Kind: hashchain.Cut, StreamID: "a", Version: 6}, {Kind: hashchain.Cut, Position: 12}}
	if d := cmp.Diff(want, found.Problems); d != "" || !errors.Is(err, hashchain.ErrBroken) {
		t.Errorf("a cut log: %v (-want +got):\n%s", err, d)
	}
	_, err = hashchain.VerifyStream(t.Context(), cut, "a", head)
	if !errors.Is(err, hashchain.ErrBroken) || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("a cut stream: %v", err)
	}
	head.Hash[0]++
	_, err = hashchain.VerifyStream(t.Context(), r, "a", head)
	if broken, ok := errors.AsType[*hashchain.BrokenError](err); !ok || broken.First.Kind != hashchain.Replaced {
		t.Errorf("another head: %v", err)
	}
	_, err = hashchain.VerifyStream(t.Context(), r, "b", head)
	if !errors.Is(err, annals.ErrConfiguration) || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("the head of another stream: %v", err)
	}
}

// B38: a head that was noted before there was anything says nothing.
func TestAHeadOfNothingIsMet(t *testing.T) {
	t.Parallel()
	r := memory.New()
	head, err := hashchain.StreamHead(t.Context(), r, "a")
	if err != nil || head != (hashchain.Head{StreamID: "a"}) {
		t.Fatalf("%+v, %v", head, err)
	}
	report, err := hashchain.Verify(t.Context(), r, hashchain.Config{})
	if err != nil || report.Events != 0 || report.Head != (hashchain.LogHead{}) {
		t.Fatalf("an empty log: %+v, %v", report, err)
	}
	cfg := hashchain.Config{Heads: []hashchain.Head{head}, Log: &report.Head}
	for range 2 {
		if _, err := hashchain.Verify(t.Context(), r, cfg); err != nil {
			t.Error(err)
		}
		if _, err := hashchain.VerifyStream(t.Context(), r, "a", head); err != nil {
			t.Error(err)
		}
		save(t, hashchain.NewLinker(r), event(annals.NewID(), 1))
	}
	head.Hash[0] = 1
	if _, err := hashchain.VerifyStream(t.Context(), r, "a", head); !errors.Is(err, hashchain.ErrBroken) {
		t.Errorf("a hash of nothing: %v", err)
	}
}

// B38: a thousand noted heads, of which each stream has several.
func TestEveryNotedHeadIsCompared(t *testing.T) {
	t.Parallel()
	const streams = 200
	r := memory.New()
	l := hashchain.NewLinker(r)
	var heads []hashchain.Head
	for v := range int64(5) {
		for i := range streams {
			save(t, l, event(fmt.Sprint(i), v+1))
			head, err := hashchain.StreamHead(t.Context(), r, fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			heads = append(heads, head)
		}
	}
	cfg := hashchain.Config{Heads: heads, Workers: 3}
	if _, err := hashchain.Verify(t.Context(), r, cfg); err != nil {
		t.Fatal(err)
	}
	var want []hashchain.Problem
	for _, i := range []int{0, streams + 7, 4*streams + 7, 5*streams - 1} {
		heads[i].Hash[31]++
		want = append(want, hashchain.Problem{Kind: hashchain.Replaced, StreamID: heads[i].StreamID, Version: heads[i].Version})
	}
	report, _ := hashchain.Verify(t.Context(), r, cfg)
	if d := cmp.Diff(want, report.Problems); d != "" {
		t.Errorf("(-want +got):\n%s", d)
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
	report, err := hashchain.Verify(ctx, r, hashchain.Config{Progress: func(p hashchain.Progress) {
		seen = append(seen, p)
		cancel()
	}})
	if !errors.Is(err, context.Canceled) || errors.Is(err, hashchain.ErrBroken) || report.Head != (hashchain.LogHead{}) ||
		report.Events != seen[0].Events || report.Hashed != report.Events || report.Events == 10_000 {
		t.Errorf("%v after %+v: %+v", err, seen, report)
	}
	if report, err := hashchain.Verify(t.Context(), r, hashchain.Config{}); err != nil || report.Head.Events != 10_000 {
		t.Errorf("%+v, %v", report, err)
	}
}

// B38.
func TestVerifyTellsHowFarItIs(t *testing.T) {
	t.Parallel()
	r := memory.New()
	l := hashchain.NewLinker(r)
	for v := range int64(9000) {
		save(t, l, event(fmt.Sprint(v%3), v/3+1))
	}
	var seen []hashchain.Progress
	_, err := hashchain.Verify(t.Context(), r, hashchain.Config{Progress: func(p hashchain.Progress) {
		seen = append(seen, p)
		if len(seen) == 1 {
			save(t, l, event("later", 1))
		}
	}})
	want := []hashchain.Progress{
		{Position: 4096, Last: 9000, Events: 4096}, {Position: 8192, Last: 9000, Events: 8192}, {Position: 9000, Last: 9000, Events: 9000},
	}
	if d := cmp.Diff(want, seen); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

// B38: positions begin at 1, and grow.
func TestEveryEventThatIsOutOfOrderIsFound(t *testing.T) {
	t.Parallel()
	r := memory.New()
	l := hashchain.NewLinker(r)
	for v := range int64(8) {
		save(t, l, event(fmt.Sprint(v), 1))
	}
	log := logOf(t, r)
	for i, position := range []int64{-7, -3, 0, 1, 1, 4, 3, 5} {
		log[i].Position = position
	}
	report, err := hashchain.Verify(t.Context(), &tampered{log: log}, hashchain.Config{})
	var found []int64
	for _, p := range report.Problems {
		found = append(found, p.Position)
		if p.Kind != hashchain.Inserted {
			t.Errorf("%v", p)
		}
	}
	if d := cmp.Diff([]int64{-7, -3, 0, 1, 3}, found); d != "" || !strings.Contains(err.Error(), "(position -7)") {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

// breaking is a log that cannot be read to its end.
type breaking struct {
	persistence.Recorder

	after int
	err   error
}

func (r *breaking) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	return func(yield func(persistence.Notification, error) bool) {
		n := 0
		for e, err := range r.Recorder.ReadLog(ctx, q) {
			if n == r.after {
				yield(persistence.Notification{}, r.err)
				return
			}
			n++
			if !yield(e, err) {
				return
			}
		}
	}
}

func (r *breaking) ReadStream(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	return func(yield func(persistence.StoredEvent, error) bool) {
		n := 0
		for e, err := range r.Recorder.ReadStream(ctx, id, q) {
			if n == r.after {
				yield(persistence.StoredEvent{}, r.err)
				return
			}
			n++
			if !yield(e, err) {
				return
			}
		}
	}
}

func (r *breaking) MaxPosition(ctx context.Context) (int64, bool, error) {
	if r.after < 0 {
		return 0, false, r.err
	}
	return r.Recorder.MaxPosition(ctx)
}

// B38: what was found before the recorder failed is told, and nothing is said to be
// whole.
func TestALogThatCannotBeReadToItsEnd(t *testing.T) {
	t.Parallel()
	r := memory.New()
	l := hashchain.NewLinker(r)
	for v := range int64(100) {
		save(t, l, event("a", v+1))
	}
	log := logOf(t, r)
	log[10].State = []byte("changed")
	failed := errors.New("a bad block")
	noted := hashchain.Config{Log: &hashchain.LogHead{Position: 90, Events: 90}}
	for after, broken := range map[int]bool{-1: false, 0: false, 10: false, 11: true, 99: true} {
		bad := &breaking{&tampered{log: log}, after, failed}
		report, err := hashchain.Verify(t.Context(), bad, noted)
		if !errors.Is(err, failed) || errors.Is(err, hashchain.ErrBroken) != broken || report.Events != int64(max(after, 0)) ||
			report.Head != (hashchain.LogHead{}) || broken != (report.Found == 1) {
			t.Errorf("the log ends after %d: %v: %+v", after, err, report)
		}
		if after < 0 {
			continue
		}
		report, err = hashchain.VerifyStream(t.Context(), bad, "a", hashchain.Head{StreamID: "a", Version: 90})
		if !errors.Is(err, failed) || errors.Is(err, hashchain.ErrBroken) != broken || report.Events != int64(after) {
			t.Errorf("the stream ends after %d: %v: %+v", after, err, report)
		}
	}
}

// A caller's function that panics leaves no goroutine behind, which the end of all
// tests looks for.
func TestAPanicEndsTheWorkers(t *testing.T) {
	t.Parallel()
	r := memory.New()
	save(t, hashchain.NewLinker(r), event("a", 1))
	defer func() {
		if recover() == nil {
			t.Error("there was no panic")
		}
	}()
	_, _ = hashchain.Verify(t.Context(), r, hashchain.Config{Progress: func(hashchain.Progress) { panic("no") }})
}

// B38: a verification and saves at one moment.
func TestVerifyRunsBesideSaves(t *testing.T) {
	t.Parallel()
	r := memory.New()
	stop := make(chan struct{})
	done := make(chan error)
	const writers = 4
	for i := range writers {
		go func() {
			l := hashchain.NewLinker(r)
			for v := int64(1); ; v++ {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				events := []persistence.StoredEvent{event(fmt.Sprint(i), v), event(fmt.Sprintf("%d, %d", i, v), 1)}
				if _, err := l.Record(context.WithoutCancel(t.Context()), persistence.Batch{Events: events}); err != nil {
					done <- err
					return
				}
				runtime.Gosched()
			}
		}()
	}
	var noted hashchain.LogHead
	for range 50 {
		report, err := hashchain.Verify(t.Context(), r, hashchain.Config{Log: &noted, HashedFrom: 1, Workers: 2})
		if err != nil || report.Head.Events < noted.Events {
			t.Errorf("%+v, %v", report, err)
		}
		noted = report.Head
	}
	close(stop)
	for range writers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// oracle says what is wrong with a log, by the plainest code: no jobs, no rounds,
// nothing at a time.
func oracle(log []persistence.Notification) (problems []hashchain.Problem, head hashchain.LogHead) {
	type state struct {
		version int64
		hash    []byte
		hashed  bool
	}
	streams := make(map[string]state)
	digest := []byte{1}
	for i := range log {
		n := &log[i]
		s := streams[n.StreamID]
		hash := hashchain.Sum(s.hash, &n.StoredEvent)
		digest = append(binary.BigEndian.AppendUint64(digest, uint64(n.Position)), hash[:]...)
		p := hashchain.Problem{StreamID: n.StreamID, Version: n.Version, Position: n.Position}
		switch {
		case n.Version > s.version+1:
			p.Kind = hashchain.Missing
		case n.Version <= s.version:
			p.Kind = hashchain.Inserted
		case len(n.Hash) == 0 && s.hashed:
			p.Kind = hashchain.Unhashed
		case len(n.Hash) != 0 && !bytes.Equal(n.Hash, hash[:]):
			p.Kind = hashchain.Changed
		}
		if p.Kind != "" {
			problems = append(problems, p)
		}
		s = state{n.Version, hash[:], s.hashed || len(n.Hash) > 0}
		if p.Kind != "" && len(n.Hash) == hashchain.Size {
			s.hash = n.Hash
		}
		streams[n.StreamID] = s
	}
	if len(log) == 0 {
		return problems, head
	}
	return problems, hashchain.LogHead{
		Position: log[len(log)-1].Position, Events: int64(len(log)), Digest: hashchain.SHA256(digest),
	}
}

// B38: with any number of workers, streams and problems, what is found is what the
// plainest code finds.
func TestWorkersFindWhatTheOracleFinds(t *testing.T) {
	t.Parallel()
	const events = 10_000
	r := memory.New()
	l := hashchain.NewLinker(r)
	versions := make(map[string]int64)
	for i := range events {
		id := fmt.Sprint(i * i % 97)
		versions[id]++
		e := event(id, versions[id])
		if i%1000 == 7 {
			e.State = make([]byte, 100_000)
		}
		save(t, l, e)
	}
	whole := logOf(t, r)
	rapid.Check(t, func(rt *rapid.T) {
		log := slices.Clone(whole[:rapid.IntRange(0, events).Draw(rt, "events")])
		for range rapid.IntRange(0, 120).Draw(rt, "changes") {
			if len(log) == 0 {
				break
			}
			n := &log[rapid.IntRange(0, len(log)-1).Draw(rt, "at")]
			switch rapid.IntRange(0, 4).Draw(rt, "how") {
			case 0:
				n.Topic += "x"
			case 1:
				n.Hash = nil
			case 2:
				n.Version++
			case 3:
				n.StreamID = "0"
			default:
				n.Hash = []byte("short")
			}
		}
		want, head := oracle(log)
		cfg := hashchain.Config{Workers: rapid.IntRange(1, 9).Draw(rt, "workers"), Log: &head}
		report, err := hashchain.Verify(rt.Context(), &tampered{log: log}, cfg)
		if errors.Is(err, hashchain.ErrBroken) != (len(want) > 0) || report.Found != int64(len(want)) {
			rt.Fatalf("found %d of %d: %v", report.Found, len(want), err)
		}
		if d := cmp.Diff(want[:min(len(want), 100)], report.Problems); d != "" {
			rt.Fatalf("(-want +got):\n%s", d)
		}
		if report.Head != head {
			rt.Fatalf("the head is %v, want %v", report.Head, head)
		}
	})
}

// generated is a log of many streams, or of long events, which is not in memory.
type generated struct {
	persistence.Recorder

	events, streams int
	size, every     int // how long the state of every so many is
}

func (r *generated) MaxPosition(context.Context) (int64, bool, error) {
	return int64(r.events), true, nil
}

func (r *generated) ReadLog(context.Context, persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	return func(yield func(persistence.Notification, error) bool) {
		for i := range r.events {
			e := event(fmt.Sprintf("stream %d", i%r.streams), int64(i/r.streams+1))
			if i%r.every == 0 {
				e.State = make([]byte, r.size)
			}
			if !yield(persistence.Notification{Position: int64(i + 1), StoredEvent: e}, nil) {
				return
			}
		}
	}
}

// The memory that a verification needs depends on the number of streams, and not
// on how long events are.
func TestMemoryOfAVerification(t *testing.T) { //nolint:paralleltest // it measures the memory of the whole program
	for _, c := range []struct {
		r     generated
		bound uint64
	}{
		{generated{events: 100_000, streams: 50_000, size: 10, every: 1}, 50_000*300 + 8<<20},
		{generated{events: 3_000, streams: 1_500, size: 200_000, every: 1}, 1_500*300 + 16<<20},
		{generated{events: 100_000, streams: 1_000, size: 20 << 20, every: 3_000}, 100 << 20},
	} {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		most := uint64(0)
		report, err := hashchain.Verify(t.Context(), &c.r, hashchain.Config{Workers: 4, Progress: func(hashchain.Progress) {
			runtime.GC()
			runtime.ReadMemStats(&after)
			most = max(most, after.HeapAlloc-min(before.HeapAlloc, after.HeapAlloc))
		}})
		if err != nil || report.Events != int64(c.r.events) || report.Streams != int64(c.r.streams) {
			t.Fatalf("%+v, %v", report, err)
		}
		t.Logf("%+v: %d KiB", c.r, most>>10)
		if most > c.bound {
			t.Errorf("%+v needs %d bytes, more than %d", c.r, most, c.bound)
		}
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
