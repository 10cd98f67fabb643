package recordertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

func failureChecks() []check {
	return []check{
		{"bad input is refused with an error that names it", "B52", Features{}, checkBadInput},
		{"no error holds data of an event", "B13, B52", Features{}, checkNoData},
		{"a closed recorder returns ErrClosed", "B39, B52", Features{}, checkClosed},
		{"a recorder that is closed while it saves stores all or nothing of each save", "B39", Features{}, checkCloseWhileSaving},
		{"a recorder that is closed while it is read ends the read", "B39", Features{}, checkCloseWhileReading},
	}
}

// badInput is a batch that no recorder may store.
type badInput struct {
	name  string
	spoil func(b *persistence.Batch) // of a good batch with an event and a tracking
	want  error
	names string // what the error must name
}

func badInputs() []badInput {
	long := strings.Repeat("x", 256)
	event := func(name string, want error, names string, spoil func(e *persistence.StoredEvent)) badInput {
		return badInput{name, func(b *persistence.Batch) { spoil(&b.Events[len(b.Events)-1]) }, want, names}
	}
	tracking := func(name string, want error, names string, spoil func(p *persistence.Tracking)) badInput {
		return badInput{name, func(b *persistence.Batch) { spoil(b.Tracking) }, want, names}
	}
	all := make([]badInput, 0, 40)
	for what, id := range map[string]string{"empty": "", "of 256 bytes": long, "not UTF-8": "dog\xff", "with a NUL": "dog\x00"} {
		all = append(all,
			event("stream id "+what, annals.ErrInvalidID, "stream id", func(e *persistence.StoredEvent) { e.StreamID = id }),
			event("event id "+what, annals.ErrInvalidID, "event id", func(e *persistence.StoredEvent) { e.ID = id }),
			tracking("tracking name "+what, annals.ErrInvalidID, "tracking name", func(p *persistence.Tracking) { p.Name = id }),
		)
	}
	for named, spoils := range map[string][]func(e *persistence.StoredEvent){
		"topic": {
			func(e *persistence.StoredEvent) { e.Topic = "" },
			func(e *persistence.StoredEvent) { e.Topic = long },
			func(e *persistence.StoredEvent) { e.Topic = "dog\xff" },
		},
		"encoding": {
			func(e *persistence.StoredEvent) { e.Encoding = "" },
			func(e *persistence.StoredEvent) { e.Encoding = long },
		},
		"correlation id": {func(e *persistence.StoredEvent) { e.CorrelationID = long }},
		"causation id":   {func(e *persistence.StoredEvent) { e.CausationID = "\xc3" }},
		"time": {
			func(e *persistence.StoredEvent) { e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
			func(e *persistence.StoredEvent) { e.Time = time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC) },
		},
		"last": { // the stream
			func(e *persistence.StoredEvent) { e.Version = 0 },
			func(e *persistence.StoredEvent) { e.Version = -1 },
		},
	} {
		for i, spoil := range spoils {
			all = append(all, event(fmt.Sprintf("%s, number %d", named, i+1), annals.ErrUnencodable, named, spoil))
		}
	}
	return append(all,
		tracking("position 0", annals.ErrConfiguration, "upstream", func(p *persistence.Tracking) { p.Position = 0 }),
		tracking("position -1", annals.ErrConfiguration, "upstream", func(p *persistence.Tracking) { p.Position = -1 }),
	)
}

func checkBadInput(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	m.add(ctx, t, r, tracked(batch(event("stored", 1)), "upstream", 1))
	for _, bad := range badInputs() {
		for _, b := range []persistence.Batch{batch(event("last", 1)), batch(event("first", 1), event("stored", 2), event("last", 1))} {
			b = tracked(b, "upstream", 2)
			bad.spoil(&b)
			_, err := r.Record(ctx, b)
			wantIs(t, bad.name, err, bad.want)
			wantNamed(t, err, bad.names)
			_, isID := errors.AsType[*annals.InvalidIDError](err)
			_, isEvent := errors.AsType[*persistence.InvalidEventError](err)
			if !isID && !isEvent && !errors.Is(bad.want, annals.ErrConfiguration) {
				t.Errorf("%s: the error has no type that says more: %T", bad.name, err)
			}
		}
		m.check(ctx, t, r)
	}
	m.add(ctx, t, r, tracked(batch(event("stored", 2)), "upstream", 2))
	m.check(ctx, t, r)
}

// checkNoData looks at the texts of all errors that a save can end with.
func checkNoData(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	secret := func(e persistence.StoredEvent) persistence.StoredEvent {
		e.State, e.Headers = []byte(`{"card":"4111-1111"}`), []byte(`{"card":"4111-1111"}`)
		return e
	}
	recordBatch(ctx, t, r, tracked(batch(secret(event("a", 1)), secret(event("a", 2))), "upstream", 3))
	invalid := secret(event("b", 1))
	invalid.Topic = ""
	tooLate := secret(event("b", 1))
	tooLate.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, b := range map[string]persistence.Batch{
		"version conflict":  batch(secret(event("a", 2))),
		"gap":               batch(secret(event("a", 4))),
		"gap in the batch":  batch(secret(event("a", 3)), secret(event("a", 5))),
		"tracking conflict": tracked(batch(secret(event("a", 3))), "upstream", 2),
		"no topic":          batch(invalid),
		"bad time":          batch(tooLate),
	} {
		_, err := r.Record(ctx, b)
		if err == nil || strings.Contains(err.Error(), "4111") || strings.Contains(err.Error(), "card") {
			t.Errorf("%s: the error is nil or holds data: %v", name, err)
		}
	}
}

func checkClosed(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	recordBatch(ctx, t, r, tracked(batch(event("a", 1)), "upstream", 1))
	for range 2 {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	for range 2 {
		b := batch(event("a", 2))
		b.Do = func(context.Context, any) error { t.Error("Do was called"); return nil }
		_, err := r.Record(ctx, b)
		wantIs(t, "record", err, annals.ErrClosed)
		_, err = r.Record(ctx, persistence.Batch{})
		wantIs(t, "record of an empty batch", err, annals.ErrClosed)
		got, err := collect(r.ReadStream(ctx, "a", persistence.StreamQuery{}))
		wantIs(t, "read stream", err, annals.ErrClosed)
		equal(t, "read stream", got, nil)
		log, err := collect(r.ReadLog(ctx, persistence.LogQuery{}))
		wantIs(t, "read log", err, annals.ErrClosed)
		equal(t, "read log", log, nil)
		_, ok, err := r.MaxPosition(ctx)
		wantIs(t, fmt.Sprintf("max position (ok: %t)", ok), err, annals.ErrClosed)
		_, ok, err = r.MaxTracking(ctx, "upstream")
		wantIs(t, fmt.Sprintf("max tracking (ok: %t)", ok), err, annals.ErrClosed)
		wantIs(t, "wait", r.Wait(ctx, 0), annals.ErrClosed)
		wantIs(t, "wait", r.Wait(ctx, 100), annals.ErrClosed)
	}
}

func checkCloseWhileSaving(t *testing.T, s *store) {
	for range rounds(5) {
		again := &store{backend: s.backend}
		ctx, r := again.setup(t)
		const writers, halfway = 32, 100
		saved := make(chan struct{}, halfway)
		batches := make([][][]persistence.StoredEvent, writers)
		acknowledged := make([]int, writers)
		together(writers+1, func(i int) {
			if i == writers {
				for range halfway {
					<-saved
				}
				closeRecorder(t, r)
				return
			}
			for v := int64(0); ; v++ {
				b := append(events(fmt.Sprintf("stream %d", i), 2*v+1, 2), event(fmt.Sprintf("other %d", i), v+1))
				batches[i] = append(batches[i], b)
				if _, err := r.Record(ctx, batch(b...)); err != nil {
					wantIs(t, "record", err, annals.ErrClosed)
					return
				}
				acknowledged[i]++
				select {
				case saved <- struct{}{}:
				default:
				}
			}
		})
		if !again.reopens() {
			continue
		}
		log := readLog(ctx, t, again.open(ctx, t), persistence.LogQuery{})
		checkLog(t, log)
		for i := range batches {
			there := checkContiguous(t, log, batches[i])
			for k, b := range batches[i] {
				if there[b[0].ID] != (k < acknowledged[i]) {
					t.Errorf("a batch is there: %t; it was acknowledged: %t", there[b[0].ID], k < acknowledged[i])
				}
			}
		}
	}
}

func checkCloseWhileReading(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	m := interleave(ctx, t, r, 1000)
	var got []persistence.Notification
	var ended error
	for n, err := range r.ReadLog(ctx, persistence.LogQuery{}) {
		if ended != nil {
			t.Fatalf("something was yielded after the error %v", ended)
		}
		if ended = err; err == nil {
			got = append(got, n)
		}
		if len(got) == 10 && ended == nil {
			closeRecorder(t, r)
		}
	}
	if len(got) < len(m.log) {
		wantIs(t, "a read that did not come to its end", ended, annals.ErrClosed)
	} else if ended != nil {
		wantIs(t, "a read", ended, annals.ErrClosed)
	}
	if len(got) < 10 || len(got) > len(m.log) {
		t.Fatalf("the read had %d events of %d", len(got), len(m.log))
	}
	equal(t, "the read", got, m.log[:len(got)])
}
