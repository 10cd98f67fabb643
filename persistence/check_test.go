package persistence_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

func storedEvent(id, stream string, version int64) persistence.StoredEvent {
	return persistence.StoredEvent{
		ID: id, StreamID: stream, Version: version, Topic: "Dog.Registered", Time: time.Unix(0, 0).UTC(),
		Shape: 1, Encoding: "1:json", State: []byte("{}"),
	}
}

// B16, B52.
func TestBatchesThatNoRecorderMayStore(t *testing.T) {
	t.Parallel()
	one := func(change func(*persistence.StoredEvent)) persistence.Batch {
		e := storedEvent("e1", "fido", 1)
		change(&e)
		return persistence.Batch{Events: []persistence.StoredEvent{e}}
	}
	two := func(a, b persistence.StoredEvent) persistence.Batch {
		return persistence.Batch{Events: []persistence.StoredEvent{a, b}}
	}
	for name, c := range map[string]struct {
		batch persistence.Batch
		want  error
		says  string
	}{
		"no stream id":       {one(func(e *persistence.StoredEvent) { e.StreamID = "" }), annals.ErrInvalidID, "stream id"},
		"no event id":        {one(func(e *persistence.StoredEvent) { e.ID = "" }), annals.ErrInvalidID, "event id"},
		"version 0":          {one(func(e *persistence.StoredEvent) { e.Version = 0 }), annals.ErrUnencodable, "versions start at 1"},
		"no topic":           {one(func(e *persistence.StoredEvent) { e.Topic = "" }), annals.ErrUnencodable, "topic"},
		"no encoding":        {one(func(e *persistence.StoredEvent) { e.Encoding = "" }), annals.ErrUnencodable, "encoding"},
		"a NUL in the topic": {one(func(e *persistence.StoredEvent) { e.Topic = "a\x00" }), annals.ErrUnencodable, "topic"},
		"a long correlation id": {
			one(func(e *persistence.StoredEvent) { e.CorrelationID = strings.Repeat("x", 256) }), annals.ErrUnencodable, "correlation id",
		},
		"a causation id that is not UTF-8": {
			one(func(e *persistence.StoredEvent) { e.CausationID = "\xff" }), annals.ErrUnencodable, "causation id",
		},
		"a time after the year 9999": {
			one(func(e *persistence.StoredEvent) { e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }), annals.ErrUnencodable, "9999",
		},
		"a time that is not UTC": {
			one(func(e *persistence.StoredEvent) { e.Time = e.Time.In(time.FixedZone("", 60)) }), annals.ErrUnencodable, "UTC",
		},
		"a time with nanoseconds": {one(func(e *persistence.StoredEvent) { e.Time = e.Time.Add(1) }), annals.ErrUnencodable, "microseconds"},
		"no shape":                {one(func(e *persistence.StoredEvent) { e.Shape = 0 }), annals.ErrUnencodable, "shapes"},
		"one event id twice":      {two(storedEvent("e1", "fido", 1), storedEvent("e1", "fido", 2)), annals.ErrInvalidID, `"e1"`},
		"one version twice":       {two(storedEvent("e1", "fido", 1), storedEvent("e2", "fido", 1)), annals.ErrVersionConflict, `"fido"`},
		"a gap":                   {two(storedEvent("e1", "fido", 1), storedEvent("e2", "fido", 3)), annals.ErrVersionConflict, `"fido"`},
		"versions in the wrong order": {
			two(storedEvent("e1", "fido", 2), storedEvent("e2", "fido", 1)), annals.ErrVersionConflict, `"fido"`,
		},
		"a tracking without a name":     {persistence.Batch{Tracking: &persistence.Tracking{Position: 1}}, annals.ErrInvalidID, "tracking name"},
		"a tracking without a position": {persistence.Batch{Tracking: &persistence.Tracking{Name: "x"}}, annals.ErrConfiguration, `"x"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.batch.Check()
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want one that is %q and names %s", err, c.want.Error(), c.says)
			}
		})
	}
	fine := two(storedEvent("e1", "fido", 1), storedEvent("e2", "rex", 7))
	if err := fine.Check(); err != nil {
		t.Errorf("a valid batch: %v", err)
	}
}

func TestNamesAreUTF8WithoutNULOfBoundedLength(t *testing.T) {
	t.Parallel()
	texts := rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "Dog.Named", "é", "€", "\x00", "\xff", "\xc3", "\x7f"}), 0, 4).Draw(t, "parts")
		return strings.Join(parts, "") + strings.Repeat("x", rapid.SampledFrom([]int{0, 0, 0, 240, 255}).Draw(t, "long"))
	})
	rapid.Check(t, func(t *rapid.T) {
		e := storedEvent("e1", "fido", 1)
		e.CausationID = texts.Draw(t, "text")
		batch := persistence.Batch{Events: []persistence.StoredEvent{e}}
		want := len(e.CausationID) <= 255 && utf8.ValidString(e.CausationID) && !strings.Contains(e.CausationID, "\x00")
		if err := batch.Check(); (err == nil) != want || err != nil && !errors.Is(err, annals.ErrUnencodable) {
			t.Errorf("the causation id %q: %v", e.CausationID, err)
		}
	})
}
