package hashchain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/hashchain"
)

// watched is a recorder whose reads of streams are counted, and looked at.
type watched struct {
	persistence.Recorder

	reads  int
	before func() // is called before a read
}

func (r *watched) ReadStream(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	r.reads++
	if r.before != nil {
		r.before()
	}
	return r.Recorder.ReadStream(ctx, id, q)
}

func wantWhole(t *testing.T, r persistence.LogRecorder) hashchain.Report {
	t.Helper()
	report, err := hashchain.Verify(t.Context(), r, hashchain.Config{})
	if err != nil {
		t.Errorf("the chain: %v", err)
	}
	return report
}

// B38: the chain is switched on in a log that is there.
func TestTheFirstHashCoversThePast(t *testing.T) {
	t.Parallel()
	r := memory.New()
	for v := range int64(5) {
		save(t, r, event("a", v+1))
	}
	save(t, hashchain.NewLinker(r), event("a", 6), event("a", 7))
	save(t, hashchain.NewLinker(r), event("a", 8)) // a linker that remembers nothing
	if report := wantWhole(t, r); report.Unhashed != 5 || report.Hashed != 3 || report.LastUnhashed != 5 {
		t.Fatalf("%+v", report)
	}
	for i := range 5 {
		log := logOf(t, r)
		log[i].State = []byte("changed")
		found, err := hashchain.Verify(t.Context(), &tampered{log: log}, hashchain.Config{})
		if !errors.Is(err, hashchain.ErrBroken) || found.Problems[0].Version != 6 {
			t.Errorf("event %d without a hash was changed: %+v, %v", i+1, found, err)
		}
	}
}

// B38: a program without the chain saves in between.
func TestTheNextHashCoversWhatHasNone(t *testing.T) {
	t.Parallel()
	r := memory.New()
	l := hashchain.NewLinker(r)
	save(t, l, event("a", 1))
	save(t, r, event("a", 2), event("a", 3))
	save(t, l, event("a", 4))
	save(t, l, event("a", 5))
	report, err := hashchain.Verify(t.Context(), r, hashchain.Config{HashedFrom: 4, Unhashed: []int64{2, 3}})
	if err != nil || report.Unhashed != 2 || report.LastUnhashed != 3 {
		t.Errorf("%+v, %v", report, err)
	}
	report, err = hashchain.Verify(t.Context(), r, hashchain.Config{HashedFrom: 3, Unhashed: []int64{2}})
	if !errors.Is(err, hashchain.ErrBroken) || report.Found != 1 || report.Problems[0].Position != 3 {
		t.Errorf("%+v, %v", report, err)
	}
	for _, from := range []int64{0, 1, 4} { // the rule for a stream that has a hash is there below it, too
		report, err = hashchain.Verify(t.Context(), r, hashchain.Config{HashedFrom: from})
		if !errors.Is(err, hashchain.ErrBroken) || report.Found != 2 || report.Problems[0].Kind != hashchain.Unhashed {
			t.Errorf("from %d: %+v, %v", from, report, err)
		}
	}
	log := logOf(t, r)
	log[2].State = []byte("changed")
	report, err = hashchain.Verify(t.Context(), &tampered{log: log}, hashchain.Config{HashedFrom: 4, Unhashed: []int64{2, 3}})
	if !errors.Is(err, hashchain.ErrBroken) || report.Found != 1 || report.Problems[0].Version != 4 {
		t.Errorf("%+v, %v", report, err)
	}
}

// B38, B29: encryption makes other bytes of the same event each time.
func TestARepeatWithOtherBytesLeavesTheChainWhole(t *testing.T) {
	t.Parallel()
	r := memory.New()
	l := hashchain.NewLinker(r)
	save(t, l, event("a", 1))
	e := event("a", 2)
	save(t, hashchain.NewLinker(r), e) // the answer is lost, or somebody else saved it
	e.State = []byte("other bytes")
	fresh := false
	if _, err := l.Record(t.Context(), persistence.Batch{Events: []persistence.StoredEvent{e}, Fresh: &fresh}); err != nil || fresh {
		t.Fatalf("fresh: %t, %v", fresh, err)
	}
	save(t, l, event("a", 3))
	if report := wantWhole(t, r); report.Hashed != 3 {
		t.Errorf("%+v", report)
	}
	next := persistence.Batch{Events: []persistence.StoredEvent{event("a", 4)}, Fresh: &fresh}
	if _, err := l.Record(t.Context(), next); err != nil || !fresh {
		t.Errorf("fresh: %t, %v", fresh, err)
	}
}

// B38: what was refused is not remembered.
func TestARefusedBatchLeavesTheChainWhole(t *testing.T) {
	t.Parallel()
	r := memory.New()
	l := hashchain.NewLinker(r)
	save(t, l, event("a", 1), event("b", 1))
	failed := errors.New("no")
	_, err := l.Record(t.Context(), persistence.Batch{
		Events: []persistence.StoredEvent{event("a", 2)}, Do: func(context.Context, any) error { return failed },
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	_, err = l.Record(t.Context(), persistence.Batch{Events: []persistence.StoredEvent{event("a", 2), event("b", 1)}})
	if !errors.Is(err, annals.ErrVersionConflict) {
		t.Fatal(err)
	}
	save(t, hashchain.NewLinker(r), event("a", 2)) // by somebody else
	save(t, l, event("a", 3), event("b", 2), event("a", 4))
	wantWhole(t, r)
}

// B38, B29.
func TestARepeatHasTheSameHash(t *testing.T) {
	t.Parallel()
	r := memory.New()
	l := hashchain.NewLinker(r)
	e := event("a", 2)
	save(t, l, event("a", 1))
	save(t, l, e)
	save(t, l, event("a", 3))
	want := logOf(t, r)[1].Hash
	for name, l := range map[string]*hashchain.Linker{"the same": l, "another": hashchain.NewLinker(r)} {
		again := []persistence.StoredEvent{e}
		if _, err := l.Record(t.Context(), persistence.Batch{Events: again}); err != nil || !bytes.Equal(again[0].Hash, want) {
			t.Errorf("by %s linker, the repeat has another hash: %v", name, err)
		}
	}
}

// B38: no event is stored without the hash of the one before.
func TestAGapIsRefused(t *testing.T) {
	t.Parallel()
	r := memory.New()
	l := hashchain.NewLinker(r)
	save(t, l, event("a", 1))
	_, err := l.Record(t.Context(), persistence.Batch{Events: []persistence.StoredEvent{event("a", 5)}})
	conflict, ok := errors.AsType[*annals.VersionConflictError](err)
	if !ok || conflict.Expected != 4 || conflict.Actual != 1 || conflict.StreamID != "a" {
		t.Errorf("got %v", err)
	}
}

// B38: the event before is stored between two looks.
func TestAnEventThatAppearsMeanwhileIsFound(t *testing.T) {
	t.Parallel()
	inner := memory.New()
	save(t, hashchain.NewLinker(inner), event("a", 1))
	r := &watched{Recorder: inner}
	r.before = func() {
		if r.reads == 3 { // those for the event, and for what is before it, found nothing
			save(t, hashchain.NewLinker(inner), event("a", 2))
		}
	}
	save(t, hashchain.NewLinker(r), event("a", 3))
	wantWhole(t, inner)
}

// B38: an event was removed.
func TestAStreamWithAHoleIsCorrupt(t *testing.T) {
	t.Parallel()
	r := memory.New()
	l := hashchain.NewLinker(r)
	save(t, l, event("a", 1), event("a", 2), event("a", 3))
	log := logOf(t, r)
	bad := &tampered{log: append(log[:1], log[2])}
	_, err := hashchain.NewLinker(bad).Record(t.Context(), persistence.Batch{Events: []persistence.StoredEvent{event("a", 3)}})
	if !errors.Is(err, persistence.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

// B38: what is saved to a stream that somebody else wrote to is not wrong itself.
func TestSavesAfterATamperingAreNotBlamed(t *testing.T) {
	t.Parallel()
	for name, tamper := range map[string]func(log []persistence.Notification){
		"the last event has a hash of another length": func(log []persistence.Notification) { log[2].Hash = log[2].Hash[:5] },
		"the last event has another hash":             func(log []persistence.Notification) { log[2].Hash[0]++ },
		"the last event has no hash":                  func(log []persistence.Notification) { log[2].Hash = nil },
		"the first event is changed, the last has no hash": func(log []persistence.Notification) {
			log[0].State, log[2].Hash = nil, nil
		},
	} {
		whole := memory.New()
		save(t, hashchain.NewLinker(whole), event("a", 1), event("a", 2), event("a", 3))
		log := logOf(t, whole)
		tamper(log)
		r := memory.New()
		for i := range log {
			save(t, r, log[i].StoredEvent)
		}
		before, _ := hashchain.Verify(t.Context(), r, hashchain.Config{})
		save(t, hashchain.NewLinker(r), event("a", 4))
		after, _ := hashchain.Verify(t.Context(), r, hashchain.Config{})
		if before.Found == 0 || after.Found != before.Found || after.Events != 4 {
			t.Errorf("%s: %v, then %v", name, before.Problems, after.Problems)
		}
	}
}

// B38: a recorder that cannot be read stores nothing.
func TestAnErrorOfTheRecorderStoresNothing(t *testing.T) {
	t.Parallel()
	r := memory.New()
	save(t, hashchain.NewLinker(r), event("a", 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := hashchain.NewLinker(r).Record(ctx, persistence.Batch{Events: []persistence.StoredEvent{event("a", 2)}})
	if !errors.Is(err, context.Canceled) || len(logOf(t, r)) != 1 {
		t.Errorf("got %v", err)
	}
}

// A writer that goes on with its streams does not read them again.
func TestHeadsAreRemembered(t *testing.T) {
	t.Parallel()
	r := &watched{Recorder: memory.New()}
	l := hashchain.NewLinker(r)
	for v := range int64(10) {
		save(t, l, event("a", v+1), event("b", v+1))
	}
	if r.reads != 0 {
		t.Errorf("%d reads", r.reads)
	}
	save(t, hashchain.NewLinker(r), event("a", 11)) // which remembers nothing
	if r.reads != 1 {
		t.Errorf("%d reads, want that of the event before", r.reads)
	}
	r.reads = 0
	for v := range int64(2) {
		for i := range 5000 { // more than it remembers
			save(t, l, event(fmt.Sprint(i), v+1))
		}
	}
	if r.reads < 900 || r.reads > 5000 {
		t.Errorf("5000 streams were read %d times", r.reads)
	}
	wantWhole(t, r)
}

// B26.
func TestARecorderWithoutTransactionsIsUnsupported(t *testing.T) {
	t.Parallel()
	l := hashchain.NewLinker(memory.New())
	_, err := l.RecordTx(t.Context(), nil, persistence.Batch{Events: []persistence.StoredEvent{event("a", 1)}})
	if !errors.Is(err, annals.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
