package persistence_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// The shapes in which a name was stored, as an event and as the state of a snapshot.
type (
	nameV1 struct{ Name string }
	nameV2 struct{ First, Last string }
	nameV3 struct {
		First, Last string
		Titles      []string
	}
	nameV4 struct{ Full map[string]string }
)

func (e nameV1) Apply(d *dog) { d.name = e.Name }
func (e nameV2) Apply(d *dog) { d.name = e.First }
func (e nameV3) Apply(d *dog) { d.name = e.First }
func (e nameV4) Apply(d *dog) { d.name = e.Full["first"] }

func nameToV2(v1 nameV1) nameV2 {
	first, last, _ := strings.Cut(v1.Name, " ")
	return nameV2{first, last}
}
func nameToV3(v2 nameV2) nameV3 { return nameV3{v2.First, v2.Last, []string{"Sir"}} }
func nameToV4(v3 nameV3) nameV4 {
	return nameV4{map[string]string{"first": v3.First, "last": v3.Last, "title": v3.Titles[0]}}
}

// restoring is what a definition of snapshots has, where nobody restores.
func restoring[S any](opts ...annals.SnapshotOption) annals.Part[dog] {
	return annals.SnapshotAs(func(*dog) S { return *new(S) }, func(*dog, S) {}, opts...)
}

// releases are the definitions of a type as four releases of a program had them: the
// type was Hound at first, and the event was Called.
func releases() []*annals.Type[dog] {
	to2, to3, to4 := annals.Upcast(nameToV2), annals.Upcast(nameToV3), annals.Upcast(nameToV4)
	return []*annals.Type[dog]{
		annals.Define("Hound", annals.On[nameV1]("Called"), restoring[nameV1]()),
		annals.Define("Hound", annals.On[nameV2]("Named", annals.FormerName("Called"), to2), restoring[nameV2](to2)),
		annals.Define("Dog", annals.On[nameV3]("Named", annals.FormerName("Hound.Named"), annals.FormerName("Hound.Called"), to2, to3),
			restoring[nameV3](to2, to3)),
		annals.Define("Dog", annals.On[nameV4]("Named", annals.FormerName("Hound.Named"), annals.FormerName("Hound.Called"), to2, to3, to4),
			restoring[nameV4](to2, to3, to4)),
	}
}

func values() []any {
	return []any{
		nameV1{"Rex Miller"},
		nameV2{"Rex", "Miller"},
		nameV3{"Rex", "Miller", []string{"Sir"}},
		nameV4{map[string]string{"first": "Rex", "last": "Miller", "title": "Sir"}},
	}
}

// Each release reads what every earlier one stored, and refuses what a later one did.
//
// B7, B8.
func TestEventsOfEveryReleaseAreReadByLaterOnes(t *testing.T) {
	t.Parallel()
	cfg := persistence.MapperConfig{Compressor: runs{}, Cipher: flip{}} // a ciphertext is bound to the stored topic
	for w, writes := range releases() {
		stored, err := mapperOf(t, cfg, writes).Encode(t.Context(), &annals.Event{
			ID: "e", StreamID: "s", Version: 2, Topic: writes.EventTypes()[0].Topic(), Time: time.Unix(1, 0).UTC(), Data: values()[w],
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, policy := range []persistence.UnknownPolicy{persistence.FailUnknown, persistence.SkipUnknown, persistence.KeepUnknown} {
			for r, reads := range releases() {
				cfg.Unknown = policy
				got, err := mapperOf(t, cfg, reads).Decode(t.Context(), &stored)
				switch known := reads.EventTypes()[0]; {
				case r >= w:
					if d := cmp.Diff(values()[r], got.Data); d != "" || err != nil || got.Topic != known.Topic() {
						t.Errorf("release %d of what %d stored: topic %q, %v (-want +got):\n%s", r+1, w+1, got.Topic, err, d)
					}
				case stored.Topic == known.Topic(): // newer, and known by its name
					if !errors.Is(err, annals.ErrUndecodable) || !errors.Is(err, annals.ErrUnsupported) || !strings.Contains(err.Error(), "newer") {
						t.Errorf("policy %d, release %d of what %d stored: %v", policy, r+1, w+1, err)
					}
				case policy == persistence.FailUnknown:
					if !errors.Is(err, annals.ErrUnknownTopic) {
						t.Errorf("release %d of what %d stored: %v", r+1, w+1, err)
					}
				default:
					if _, unknown := got.Data.(annals.Unknown); !unknown || err != nil {
						t.Errorf("policy %d, release %d of what %d stored: %+v, %v", policy, r+1, w+1, got, err)
					}
				}
			}
		}
	}
}

// B8, B33.
func TestSnapshotsOfEveryReleaseAreUpcastByLaterOnes(t *testing.T) {
	t.Parallel()
	for w, writes := range releases() {
		m := mapperOf(t, persistence.MapperConfig{Compressor: runs{}, Cipher: flip{}}, writes)
		stored, err := m.EncodeSnapshot(t.Context(), writes.SnapshotType(), &annals.Snapshot{StreamID: "s", Version: 2, State: values()[w]})
		if err != nil {
			t.Fatal(err)
		}
		for r, reads := range releases() {
			got, err := m.DecodeSnapshot(t.Context(), reads.SnapshotType(), &stored)
			if r < w || reads.Name() != writes.Name() { // newer; or of the type's former name, which is not worth an upcast
				if !errors.Is(err, annals.ErrUndecodable) {
					t.Errorf("release %d of what %d stored: %+v, %v", r+1, w+1, got, err)
				}
				continue
			}
			if d := cmp.Diff(values()[r], got.State); d != "" || err != nil {
				t.Errorf("release %d of what %d stored: %v (-want +got):\n%s", r+1, w+1, err, d)
			}
		}
	}
}

func mapperOf(t *testing.T, cfg persistence.MapperConfig, defs ...annals.Definition) *persistence.Mapper {
	t.Helper()
	m, err := persistence.NewMapper(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Register(defs...); err != nil {
		t.Fatal(err)
	}
	return m
}

// B8, B13.
func TestAnUpcastThatPanicsMakesAnEventUndecodable(t *testing.T) {
	t.Parallel()
	old, writes := annals.Upcast(func(v1 nameV1) nameV2 { panic(v1.Name) }), releases()[0]
	reads := annals.Define("Hound", annals.On[nameV2]("Called", old), restoring[nameV2](old))
	m := mapperOf(t, persistence.MapperConfig{}, writes)
	event := annals.Event{ID: "e", StreamID: "rex", Version: 2, Topic: "Hound.Called", Time: time.Unix(1, 0).UTC(), Data: nameV1{"secret"}}
	stored, err := m.Encode(t.Context(), &event)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := m.EncodeSnapshot(t.Context(), writes.SnapshotType(), &annals.Snapshot{StreamID: "rex", Version: 2, State: nameV1{"secret"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []persistence.UnknownPolicy{persistence.FailUnknown, persistence.SkipUnknown} {
		m = mapperOf(t, persistence.MapperConfig{Unknown: policy}, reads)
		_, ofEvent := m.Decode(t.Context(), &stored)
		_, ofSnapshot := m.DecodeSnapshot(t.Context(), reads.SnapshotType(), &snapshot)
		for what, err := range map[string]error{"event": ofEvent, "snapshot": ofSnapshot} {
			if !errors.Is(err, annals.ErrUndecodable) {
				t.Errorf("%s: %v", what, err)
			}
			for _, part := range []string{"Hound", "version 2", `"rex"`, "upcast from shape 1", "version_test.go:"} {
				if !strings.Contains(fmt.Sprint(err), part) {
					t.Errorf("%s: error %q does not name %q", what, err, part)
				}
			}
			if strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("%s: error %q holds data", what, err)
			}
		}
	}
}

// The wrong chain would read what is stored as something else.
//
// B8.
func TestRegisterRefusesTwoChainsOfOneEvent(t *testing.T) {
	t.Parallel()
	to2, to3 := annals.Upcast(nameToV2), annals.Upcast(nameToV3)
	other := annals.Upcast(func(struct{ N string }) nameV2 { return nameV2{} })
	chain := annals.Define("Dog", annals.On[nameV3]("Named", to2, to3))
	for name, def := range map[string]annals.Definition{
		"no chain":      annals.Define("Dog", annals.On[nameV3]("Named")),
		"half of it":    annals.Define("Dog", annals.On[nameV3]("Named", to3)),
		"another start": annals.Define("Dog", annals.On[nameV3]("Named", other, to3)),
	} {
		m := mapperOf(t, persistence.MapperConfig{}, chain)
		err := m.Register(def)
		if !errors.Is(err, annals.ErrConfiguration) || !strings.Contains(err.Error(), "Dog.Named") || !strings.Contains(err.Error(), "upcasts") {
			t.Errorf("%s: %v", name, err)
		}
		stored := persistence.StoredEvent{
			ID: "e", StreamID: "s", Version: 1, Topic: "Dog.Named", Shape: 1, Encoding: "1:json", State: []byte(`{"Name":"Rex Miller"}`),
		}
		if got, err := m.Decode(t.Context(), &stored); err != nil || cmp.Diff(values()[2], got.Data) != "" {
			t.Errorf("%s: the first chain is not there any more: %+v, %v", name, got.Data, err)
		}
	}
	if err := mapperOf(t, persistence.MapperConfig{}, chain).Register(annals.Define("Dog", annals.On[nameV3]("Named", to2, to3))); err != nil {
		t.Errorf("the same chain: %v", err)
	}
}

// A deployment in two releases: the first reads the name that the second writes.
//
// B7.
func TestAFormerNameMayBeAFutureOne(t *testing.T) {
	t.Parallel()
	first := annals.Define("Dog", annals.On[nameV1]("Called", annals.FormerName("Named")))
	second := annals.Define("Dog", annals.On[nameV1]("Named", annals.FormerName("Called")))
	for _, c := range [][2]*annals.Type[dog]{{first, second}, {second, first}} {
		event := c[0].Event("s", 1, nameV1{"Rex"})
		stored, err := mapperOf(t, persistence.MapperConfig{}, c[0]).Encode(t.Context(), &event)
		if err != nil {
			t.Fatal(err)
		}
		got, err := mapperOf(t, persistence.MapperConfig{}, c[1]).Decode(t.Context(), &stored)
		if err != nil || got.Data != event.Data || got.Topic != c[1].EventTypes()[0].Topic() {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// B7.
func TestTopicsToLookForAreThoseOfAllTimes(t *testing.T) {
	t.Parallel()
	m := mapperOf(t, persistence.MapperConfig{}, releases()[3])
	all := []string{"Dog.Named", "Hound.Called", "Hound.Named"}
	for _, asked := range all {
		if d := cmp.Diff(all, m.Topics([]string{asked})); d != "" {
			t.Errorf("%s (-want +got):\n%s", asked, d)
		}
	}
	if got := m.Topics(nil); got != nil {
		t.Errorf("of none: %q", got)
	}
}

// What is kept of an unknown event is what its transcoder made, and the reader's own.
//
// B7.
func TestKeptEventsAreTheReadersOwn(t *testing.T) {
	t.Parallel()
	m := mapperOf(t, persistence.MapperConfig{Unknown: persistence.KeepUnknown, Cipher: flip{}})
	stored := persistence.StoredEvent{
		ID: "e", StreamID: "s", Version: 1, Topic: "Gone.Gone", Shape: 7, Encoding: "1:json", State: []byte(`{"a":1}`),
	}
	got, err := m.Decode(t.Context(), &stored)
	if err != nil {
		t.Fatal(err)
	}
	kept, _ := got.Data.(annals.Unknown)
	if !bytes.Equal(kept.State, stored.State) || kept.Shape != 7 || got.Topic != "Gone.Gone" {
		t.Errorf("%+v", got)
	}
	kept.State[0] = 'x'
	if stored.State[0] == 'x' {
		t.Error("it shares memory with what was stored")
	}
	for _, encoding := range []string{"2:json", "json", "1:cbor", "1:json+zip"} { // newer, or not to be read
		stored.Encoding = encoding
		if _, err := m.Decode(t.Context(), &stored); !errors.Is(err, annals.ErrUndecodable) {
			t.Errorf("%s: %v", encoding, err)
		}
	}
	skipping := mapperOf(t, persistence.MapperConfig{Unknown: persistence.SkipUnknown})
	for encoding, fails := range map[string]bool{"2:json": true, "1:cbor+zip": false} {
		stored.Encoding = encoding
		if _, err := skipping.Decode(t.Context(), &stored); fails != errors.Is(err, annals.ErrUndecodable) {
			t.Errorf("skipped, %s: %v", encoding, err)
		}
	}
}
