package main

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/examples/githistory/archive"
	"github.com/annals-es/annals/examples/githistory/git"
	"github.com/annals-es/annals/examples/githistory/gittest"
	"github.com/annals-es/annals/examples/githistory/history"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/cbor"
	"github.com/annals-es/annals/persistence/zlib"
	"github.com/annals-es/annals/persistence/zstd"
	"github.com/annals-es/annals/sqlite"
)

// format is a way to store events.
type format struct {
	name       string // "cbor+zstd+dictionary"
	transcoder persistence.Transcoder
	compressor persistence.Compressor // nil: none
}

// formats are the combinations of transcoders and compressors. The dictionaries are
// trained on the samples, for each transcoder another one.
func formats(tb testing.TB, samples []annals.Event) []format {
	tb.Helper()
	transcoders := []persistence.Transcoder{persistence.JSON(), cbor.New()}
	dictionaries := make([]zstd.Dictionary, len(transcoders))
	for n, transcoder := range transcoders {
		var states [][]byte
		for _, s := range encodeAll(tb, newMapper(tb, persistence.MapperConfig{Transcoder: transcoder}), samples) {
			states = append(states, s.State)
		}
		d, err := zstd.Train(states, zstd.WithID(uint32(n+1)))
		if err != nil {
			tb.Fatal(err)
		}
		dictionaries[n] = d
	}
	// Each zstd reads what every other one made.
	all := zstd.WithFormerDictionaries(dictionaries...)
	var found []format
	for n, transcoder := range transcoders {
		name := transcoder.Name()
		found = append(found,
			format{name, transcoder, nil},
			format{name + "+zlib", transcoder, zlib.New()},
			format{name + "+zstd", transcoder, zstd.New(all)},
			format{name + "+zstd+dictionary", transcoder, zstd.New(zstd.WithDictionary(dictionaries[n]), all)},
		)
	}
	return found
}

// mapper returns one that stores in the format, and reads all others.
func (f format) mapper(tb testing.TB, all []format) *persistence.Mapper {
	tb.Helper()
	cfg := persistence.MapperConfig{Transcoder: f.transcoder, Compressor: f.compressor}
	for _, other := range all {
		cfg.Transcoders = append(cfg.Transcoders, other.transcoder)
		if other.compressor != nil {
			cfg.Compressors = append(cfg.Compressors, other.compressor)
		}
	}
	return newMapper(tb, cfg)
}

func newMapper(tb testing.TB, cfg persistence.MapperConfig) *persistence.Mapper {
	tb.Helper()
	m, err := persistence.NewMapper(cfg)
	if err == nil {
		err = m.Register(history.Records, history.Paths, history.Authors)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func encodeAll(tb testing.TB, m *persistence.Mapper, events []annals.Event) []persistence.StoredEvent {
	tb.Helper()
	stored := make([]persistence.StoredEvent, len(events))
	for n := range events {
		s, err := m.Encode(tb.Context(), &events[n])
		if err != nil {
			tb.Fatal(err)
		}
		stored[n] = s
	}
	return stored
}

// eventsOf are the events that an import makes of a repository.
func eventsOf(tb testing.TB, dir string) []annals.Event {
	tb.Helper()
	repo, err := git.Open(tb.Context(), dir, gittest.Environ())
	if err != nil {
		tb.Fatal(err)
	}
	a, err := archive.Open(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	if _, err := a.Import(tb.Context(), repo, archive.ImportConfig{}); err != nil {
		tb.Fatal(err)
	}
	var events []annals.Event
	for n, err := range a.Notifications(tb.Context()) {
		if err != nil {
			tb.Fatal(err)
		}
		events = append(events, n.Event)
	}
	return events
}

// B12, B15: switching on, off or over breaks nothing, in any direction.
func TestEveryFormatReadsWhatEveryOtherStored(t *testing.T) {
	t.Parallel()
	events := append(eventsOf(t, gittest.Odd(t).Dir), eventsOf(t, gittest.Large(t, 40).Dir)...)
	all := formats(t, events[:len(events)/2])
	plain := make(map[string][]persistence.StoredEvent)
	for _, writer := range all {
		stored := encodeAll(t, writer.mapper(t, all), events)
		if writer.compressor == nil {
			plain[writer.transcoder.Name()] = stored
		}
		smaller := 0
		for n, s := range stored {
			if before := len(plain[writer.transcoder.Name()][n].State); len(s.State) > before {
				t.Errorf("%s made %d bytes of %s %d", writer.name, len(s.State), s.Topic, before)
			} else if len(s.State) < before {
				smaller++
			}
		}
		if compresses := writer.compressor != nil; compresses != (smaller > 0) {
			t.Errorf("%s made %d of %d events smaller", writer.name, smaller, len(stored))
		}
		for _, reader := range all {
			m := reader.mapper(t, all)
			for n := range stored {
				got, err := m.Decode(t.Context(), &stored[n])
				if diff := cmp.Diff(events[n], got); err != nil || diff != "" {
					t.Fatalf("%s, read by %s: %v\n%s", writer.name, reader.name, err, diff)
				}
			}
		}
	}
}

// B12, B15, B33: the same with snapshots.
func TestEveryFormatReadsTheSnapshotsOfEveryOther(t *testing.T) {
	t.Parallel()
	events := eventsOf(t, gittest.Large(t, 40).Dir)
	all := formats(t, events)
	typ := history.Paths.SnapshotType()
	want := annals.Snapshot{StreamID: "s", Version: 3, CreatedAt: events[0].Time, ModifiedAt: events[9].Time, State: history.TrackedPath{
		Path: "caf\xff/" + history.Path(strings.Repeat("long ", 50)), Content: history.Content{Mode: "100644", Blob: "b"}, Commit: "c",
	}}
	for _, writer := range all {
		stored, err := writer.mapper(t, all).EncodeSnapshot(t.Context(), typ, &want)
		if err != nil {
			t.Fatal(err)
		}
		for _, reader := range all {
			got, err := reader.mapper(t, all).DecodeSnapshot(t.Context(), typ, &stored)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(annals.Aggregate{})); err != nil || diff != "" {
				t.Errorf("%s, read by %s: %v\n%s", writer.name, reader.name, err, diff)
			}
		}
	}
}

// B13, B15: what cannot be read is an error that names the event, and tells nothing
// of its data.
func TestWhatIsDamagedOrMissingIsNamed(t *testing.T) {
	t.Parallel()
	events := eventsOf(t, gittest.Large(t, 40).Dir)
	all := formats(t, events[:100])
	for _, f := range all {
		if f.compressor == nil {
			continue
		}
		m := f.mapper(t, all)
		stored := encodeAll(t, m, events)
		at := slices.IndexFunc(stored, func(s persistence.StoredEvent) bool { return s.Encoding != "1:"+f.transcoder.Name() })
		good := stored[at]
		check := func(what string, m *persistence.Mapper, state []byte, also error) {
			s := good
			s.State = state
			got, err := m.Decode(t.Context(), &s)
			if err == nil && cmp.Diff(events[at], got) == "" {
				return // what was changed has no meaning
			}
			var typed *persistence.DecodeError
			switch {
			case !errors.As(err, &typed) || !errors.Is(err, annals.ErrUndecodable) || also != nil && !errors.Is(err, also):
				t.Errorf("%s, %s: got %v and the error %v", f.name, what, got, err)
			case got.Data != nil || typed.Topic != good.Topic || typed.StreamID != good.StreamID || typed.Version != good.Version ||
				!strings.Contains(err.Error(), good.StreamID) || !tellsNothing(err.Error()):
				t.Errorf("%s, %s: got %v and the error %v", f.name, what, got, err)
			}
		}
		for n := range good.State {
			flipped := bytes.Clone(good.State)
			flipped[n] ^= 0x10
			check(fmt.Sprintf("byte %d", n), m, flipped, nil)
			check(fmt.Sprintf("%d bytes of %d", n, len(good.State)), m, good.State[:n], nil)
		}
		check("a byte too much", m, append(bytes.Clone(good.State), 0), nil)
		check("no compressor", newMapper(t, persistence.MapperConfig{Transcoder: f.transcoder}), good.State, annals.ErrConfiguration)
		if strings.HasSuffix(f.name, "dictionary") {
			without := newMapper(t, persistence.MapperConfig{Transcoder: f.transcoder, Compressor: zstd.New()})
			check("no dictionary", without, good.State, annals.ErrConfiguration)
		}
	}
}

// tellsNothing reports whether a text has nothing of an event's data, compressed or not.
func tellsNothing(text string) bool {
	return !strings.Contains(text, "src/package") && !strings.Contains(text, "example.org") &&
		!strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) })
}

// B12, B15: a history that every format has a part of is one history.
func TestImportsMayChangeTheFormat(t *testing.T) {
	t.Parallel()
	r := gittest.New(t)
	db := filepath.Join(t.TempDir(), "history.db")
	var want []string
	for n, encode := range []string{"json", "cbor", "json"} {
		for k, compress := range []string{"none", "zlib", "zstd"} {
			var s gittest.Script
			c := gittest.Commit{Ops: []gittest.Op{gittest.Put(strings.Repeat("folder/", 30)+"file", gittest.File, fmt.Sprint(n, k))}}
			if n+k > 0 {
				c.Parents = []string{"refs/heads/main^0"}
			}
			s.Commit(c)
			r.Write(&s)
			must(t, "import", "--repo", r.Dir, "--db", db, "--encode", encode, "--compress", compress)
			layers := "1:" + encode
			if compress != "none" {
				layers += "+" + compress
			}
			want = append(want, layers)
		}
	}
	out := must(t, "verify", "--repo", r.Dir, "--db", db, "--samples", "100")
	if !strings.Contains(out, "9 of 9 compared commits agree") {
		t.Errorf("verify printed %s", out)
	}
	var got []string
	recorder, err := sqlite.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for n, err := range recorder.ReadLog(t.Context(), persistence.LogQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(n.Topic, "Path.") {
			got = append(got, n.Encoding)
		}
	}
	if err := recorder.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the encodings of the events (-want +got):\n%s", diff)
	}
}
