package persistence_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// tagged is a codec under another name.
type tagged struct{ persistence.Transcoder }

func (tagged) Name() string { return "tagged" }

type named struct {
	runs

	name string
}

func (n named) Name() string { return n.name }

// B13, B15: each configuration reads what every earlier one wrote.
func TestSwitchingCodecsBreaksNothing(t *testing.T) {
	t.Parallel()
	long := anEvent()
	long.Data = registered{Name: strings.Repeat("x", 300)}
	var stored []persistence.StoredEvent
	for i, cfg := range []persistence.MapperConfig{
		{},
		{Compressor: runs{}},
		{Compressor: runs{}, Cipher: flip{}},
		{Transcoder: tagged{persistence.JSON()}, Compressors: []persistence.Compressor{runs{}}, Ciphers: []persistence.Cipher{flip{}}},
		{
			Transcoder: persistence.JSON(), Transcoders: []persistence.Transcoder{tagged{persistence.JSON()}},
			Compressor: named{name: "other"}, Compressors: []persistence.Compressor{runs{}}, Ciphers: []persistence.Cipher{flip{}},
		},
	} {
		m := newMapper(t, cfg)
		s, err := m.Encode(t.Context(), &long)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, s)
		for k, s := range stored {
			back, err := m.Decode(t.Context(), &s)
			if err != nil || back.Data != long.Data {
				t.Errorf("configuration %d does not read %q of %d: %v", i, s.Encoding, k, err)
			}
		}
	}
	var encodings []string
	for _, s := range stored {
		encodings = append(encodings, s.Encoding)
	}
	if got := strings.Join(encodings, " "); got != "1:json 1:json+runs 1:json+runs+flip 1:tagged 1:json+other" {
		t.Errorf("encodings %s", got)
	}
}

func TestCodecsAreCheckedByName(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]persistence.MapperConfig{
		"an upper-case name": {Compressor: named{name: "Runs"}},
		"a plus":             {Compressor: named{name: "a+b"}},
		"no name":            {Compressor: named{}},
		"two of one name":    {Compressor: named{name: "flip"}, Cipher: flip{}},
		"a nil codec":        {Compressors: []persistence.Compressor{nil}},
	} {
		if _, err := persistence.NewMapper(cfg); !errors.Is(err, annals.ErrConfiguration) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// B7.
func TestUnknownEventsFollowThePolicy(t *testing.T) {
	t.Parallel()
	e := anEvent()
	s, err := newMapper(t, persistence.MapperConfig{Cipher: flip{}}).Encode(t.Context(), &e)
	if err != nil {
		t.Fatal(err)
	}
	decode := func(policy persistence.UnknownPolicy) (annals.Event, error) {
		m, err := persistence.NewMapper(persistence.MapperConfig{Ciphers: []persistence.Cipher{flip{}}, Unknown: policy})
		if err != nil {
			t.Fatal(err)
		}
		return m.Decode(t.Context(), &s)
	}
	if _, err := decode(persistence.FailUnknown); !errors.Is(err, annals.ErrUnknownTopic) {
		t.Errorf("fail: %v", err)
	}
	if got, err := decode(persistence.SkipUnknown); err != nil || cmp.Diff(annals.Unknown{}, got.Data) != "" || got.Topic != e.Topic {
		t.Errorf("skip: %+v, %v", got, err)
	}
	got, err := decode(persistence.KeepUnknown)
	want := annals.Unknown{Shape: 1, Transcoder: "json", State: []byte(`{"Name":"secret"}`)}
	if d := cmp.Diff(want, got.Data); d != "" || err != nil {
		t.Errorf("keep (-want +got): %v\n%s", err, d)
	}
}

// Shapes of a state that is kept in snapshots.
type (
	dogV1 struct{ Nick string }
	dogV2 struct{ Name string }
)

func snapshotDogs(parts ...annals.Part[dog]) *annals.Type[dog] {
	return annals.Define("Dog", append(parts, annals.On[registered]("Registered"))...)
}

func asV1() annals.Part[dog] {
	return annals.SnapshotAs(func(d *dog) dogV1 { return dogV1{d.name} }, func(d *dog, s dogV1) { d.name = s.Nick })
}

func asV2() annals.Part[dog] {
	return annals.SnapshotAs(func(d *dog) dogV2 { return dogV2{d.name} }, func(d *dog, s dogV2) { d.name = s.Name },
		annals.Upcast(func(v1 dogV1) dogV2 { return dogV2{"upcast " + v1.Nick} }))
}

// B33, B8.
func TestSnapshotsAreUpcastOrRefused(t *testing.T) {
	t.Parallel()
	created := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	snapshot := annals.Snapshot{StreamID: "fido", Version: 7, CreatedAt: created, ModifiedAt: created.Add(time.Hour), State: dogV1{"Fido"}}
	m := newMapper(t, persistence.MapperConfig{Compressor: runs{}, Cipher: flip{}})
	v1, v2 := snapshotDogs(asV1()).SnapshotType(), snapshotDogs(asV2()).SnapshotType()
	old, err := m.EncodeSnapshot(t.Context(), v1, &snapshot)
	if err != nil || old.Check() != nil || bytes.Contains(old.State, []byte("Fido")) {
		t.Fatalf("%+v, %v, %v", old, err, old.Check())
	}
	for what, c := range map[string]struct {
		typ  *annals.SnapshotType
		want any
	}{"the same shape": {v1, dogV1{"Fido"}}, "an older shape": {v2, dogV2{"upcast Fido"}}} {
		want := snapshot
		want.State = c.want
		back, err := m.DecodeSnapshot(t.Context(), c.typ, &old)
		if d := cmp.Diff(want, back); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, d)
		}
	}
	snapshot.State = dogV2{"Fido"}
	newer, err := m.EncodeSnapshot(t.Context(), v2, &snapshot)
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(*persistence.StoredSnapshot)) persistence.StoredSnapshot {
		s := old
		f(&s)
		return s
	}
	cat := annals.Define("Cat", annals.On[registered]("Registered"), asV1()).SnapshotType()
	for what, c := range map[string]struct {
		typ    *annals.SnapshotType
		stored persistence.StoredSnapshot
	}{
		"a newer shape":      {v1, newer},
		"another revision":   {snapshotDogs(asV1(), annals.Revision[dog](1)).SnapshotType(), old},
		"another type":       {cat, old},
		"another stream":     {v1, change(func(s *persistence.StoredSnapshot) { s.StreamID = "rex" })},
		"another version":    {v1, change(func(s *persistence.StoredSnapshot) { s.Version = 8 })},
		"a damaged state":    {v1, change(func(s *persistence.StoredSnapshot) { s.State = s.State[:4] })},
		"no shape":           {v1, change(func(s *persistence.StoredSnapshot) { s.Shape = 0 })},
		"an unknown codec":   {v1, change(func(s *persistence.StoredSnapshot) { s.Encoding = "1:json+zip" })},
		"the default's form": {snapshotDogs().SnapshotType(), old},
	} {
		_, err := m.DecodeSnapshot(t.Context(), c.typ, &c.stored)
		if !errors.Is(err, annals.ErrUndecodable) || strings.Contains(fmt.Sprint(err), "Fido") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := m.EncodeSnapshot(t.Context(), v1, &snapshot); !errors.Is(err, annals.ErrUnencodable) {
		t.Errorf("a state of another type: %v", err)
	}
	if err := m.CheckSnapshots(snapshotDogs().SnapshotType()); !errors.Is(err, annals.ErrConfiguration) || !strings.Contains(err.Error(), "name") {
		t.Errorf("a type with unexported fields: %v", err)
	}
	if err := m.CheckSnapshots(v2); err != nil {
		t.Error(err)
	}
}

// What is stored shares no memory with what is encoded next.
func TestEncodedStatesAreTheirOwn(t *testing.T) {
	t.Parallel()
	for _, cfg := range []persistence.MapperConfig{{}, {Compressor: runs{}}, {Cipher: flip{}}, {Compressor: runs{}, Cipher: flip{}}} {
		m := newMapper(t, cfg)
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				var all []persistence.StoredEvent
				name := func(i int) string { return strings.Repeat(string(rune('a'+g)), i) }
				for i := range 100 {
					e := anEvent()
					e.Data = registered{Name: name(i)}
					s, err := m.Encode(t.Context(), &e)
					if err != nil {
						t.Error(err)
						return
					}
					all = append(all, s)
				}
				for i, s := range all {
					back, err := m.Decode(t.Context(), &s)
					if err != nil || back.Data != (registered{Name: name(i)}) {
						t.Errorf("event %d came back as %v, %v", i, back.Data, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

// B35.
func TestSettingsPreferTheApplicationsOwn(t *testing.T) {
	t.Parallel()
	s := persistence.NewSettings("dog-school 2", []string{
		"CACHE=1", "DOG_SCHOOL_2_CACHE=2", "SIZE=7", "DOG_SCHOOL_2_SIZE=", "WAIT=50ms", "ON=Yes", "odd", "=", "A=b=c",
	})
	if n := s.Int("CACHE", 0, 0, 9); n != 2 {
		t.Errorf("cache %d", n)
	}
	if n := s.Int("SIZE", 0, 0, 9); n != 7 {
		t.Errorf("size %d", n)
	}
	if d := s.Duration("WAIT", 0, 0, time.Second); d != 50*time.Millisecond {
		t.Errorf("wait %v", d)
	}
	if !s.Bool("ON", false) || s.Text("A", "") != "b=c" || s.OneOf("NONE", "x", "y") != "x" || s.Int("NONE", 5, 0, 1) != 5 {
		t.Error("other settings")
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
	bad := persistence.NewSettings("app", []string{"APP_A=secret", "B=secret", "C=secret", "D=secret"})
	bad.Int("A", 0, 0, 9)
	bad.Duration("B", 0, 0, time.Second)
	bad.Bool("C", false)
	bad.OneOf("D", "x", "x", "y")
	err := bad.Err()
	for _, key := range []string{"APP_A ", "B ", "C is none of: true, on, yes, 1, false, off, no, 0", "D "} {
		if !errors.Is(err, annals.ErrConfiguration) || !strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}
