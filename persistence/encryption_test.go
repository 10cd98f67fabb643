package persistence_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/aesgcm"
	"github.com/annals-es/annals/persistence/zlib"
)

// keyOf returns the key of AES-256 that has the name as its id and as its secret.
func keyOf(tb testing.TB, id, secret string) aesgcm.Key {
	tb.Helper()
	sum := sha256.Sum256([]byte(secret))
	k, err := aesgcm.NewKey(id, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func ringOf(tb testing.TB, ids ...string) *aesgcm.Ring {
	tb.Helper()
	var keys []aesgcm.Key
	for _, id := range ids {
		keys = append(keys, keyOf(tb, id, id))
	}
	ring, err := aesgcm.NewRing(keys[0], keys[1:]...)
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

// encrypted is a mapper that compresses by zlib and encrypts by AES-GCM.
func encrypted(tb testing.TB, keys aesgcm.Source) *persistence.Mapper {
	tb.Helper()
	return newMapper(tb, persistence.MapperConfig{Compressor: zlib.New(), Cipher: aesgcm.New(keys)})
}

// private is an event with data that must be found in no error and no state.
func private() annals.Event {
	e := anEvent()
	e.Data = registered{Name: strings.Repeat("a secret ", 30)}
	return e
}

// watched writes down what its cipher is given.
type watched struct {
	persistence.Cipher

	plaintext, associated []byte
}

func (w *watched) Encrypt(ctx context.Context, dst, plaintext, associated []byte) ([]byte, error) {
	w.plaintext, w.associated = bytes.Clone(plaintext), bytes.Clone(associated)
	return w.Cipher.Encrypt(ctx, dst, plaintext, associated)
}

// B13, B14: what is encrypted is compressed JSON, and bound to the place where it is
// stored and to the way in which it is read.
func TestTheLayersLieInOrder(t *testing.T) {
	t.Parallel()
	w := &watched{Cipher: aesgcm.New(ringOf(t, "2026"))}
	e := private()
	stored, err := newMapper(t, persistence.MapperConfig{Compressor: zlib.New(), Cipher: w}).Encode(t.Context(), &e)
	if err != nil || stored.Encoding != "1:json+zlib+aesgcm" {
		t.Fatalf("encoding %q, %v", stored.Encoding, err)
	}
	plaintext, err := w.Decrypt(t.Context(), nil, stored.State, w.associated)
	if err != nil || !bytes.Equal(plaintext, w.plaintext) {
		t.Fatalf("the last layer is not the cipher's: %v", err)
	}
	original, err := zlib.New().Decompress(nil, plaintext)
	if want := fmt.Sprintf(`{"Name":%q}`, e.Data.(registered).Name); err != nil || string(original) != want {
		t.Errorf("the layers below are %q, %v, want compressed %s", original, err, want)
	}
	text := func(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }
	place := binary.AppendVarint(text(nil, "fido"), 3)
	place = binary.AppendVarint(text(place, "Dog.Registered"), 1)
	place = text(text(place, ""), "1:json+zlib+aesgcm")
	if !bytes.Equal(w.associated, place) {
		t.Errorf("it is bound to %q, want %q", w.associated, place)
	}
}

// B13: nothing of the data, and what is documented to be readable.
func TestAnEncryptedStateIsOpaque(t *testing.T) {
	t.Parallel()
	m := encrypted(t, ringOf(t, "2026"))
	small, large := anEvent(), private()
	for name, e := range map[string]annals.Event{"too small to be compressed": small, "compressed": large} {
		one, err := m.Encode(t.Context(), &e)
		if err != nil {
			t.Fatal(err)
		}
		another, err := m.Encode(t.Context(), &e)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(one.State, another.State) {
			t.Errorf("%s: two encryptions are the same", name)
		}
		for _, part := range []string{"secret", "Name", "fido", "Registered"} {
			if bytes.Contains(one.State, []byte(part)) {
				t.Errorf("%s: %q is in the state", name, part)
			}
		}
		one.State, one.Encoding = nil, ""
		want := persistence.StoredEvent{
			ID: "e1", StreamID: "fido", Version: 3, Topic: "Dog.Registered", Time: e.Time, Shape: 1,
			CorrelationID: "story", CausationID: "cause", Headers: []byte(`{"user":"ann"}`),
		}
		if d := cmp.Diff(want, one); d != "" {
			t.Errorf("%s: what else is stored (-want +got):\n%s", name, d)
		}
	}
}

// source is a source that somebody else wrote.
type source struct {
	*aesgcm.Ring

	err func(ctx context.Context) error
}

func (s source) Current(ctx context.Context) (aesgcm.Key, error) {
	if err := s.err(ctx); err != nil {
		return aesgcm.Key{}, err
	}
	return s.Ring.Current(ctx)
}

func (s source) Key(ctx context.Context, id string) (aesgcm.Key, error) {
	if err := s.err(ctx); err != nil {
		return aesgcm.Key{}, err
	}
	return s.Ring.Key(ctx, id)
}

var errDown = errors.New("the key service is down")

func down(context.Context) error { return errDown }

// B13, B14, B52.
func TestWhatCannotBeDecryptedIsATypedError(t *testing.T) {
	t.Parallel()
	ring := ringOf(t, "2026", "2025")
	wrong, err := aesgcm.NewRing(keyOf(t, "2026", "another secret"))
	if err != nil {
		t.Fatal(err)
	}
	other, e := private(), private()
	other.StreamID = "rex"
	swapped, err := encrypted(t, ring).Encode(t.Context(), &other)
	if err != nil {
		t.Fatal(err)
	}
	same := func(*persistence.StoredEvent) {}
	right := encrypted(t, ring)
	const altered = `aesgcm: the ciphertext is not authentic: key "2026" did not encrypt it for this place`
	for name, c := range map[string]struct {
		mapper *persistence.Mapper
		change func(*persistence.StoredEvent)
		is     []error
		says   string
	}{
		"a wrong key":        {encrypted(t, wrong), same, []error{aesgcm.ErrNotAuthentic}, altered},
		"a missing key":      {encrypted(t, ringOf(t, "2027")), same, []error{annals.ErrConfiguration}, `aesgcm: key "2026" is not in the ring`},
		"a retired key":      {encrypted(t, ringOf(t, "2027", "2025")), same, []error{annals.ErrConfiguration}, `aesgcm: key "2026" is not in the ring`},
		"no cipher":          {newMapper(t, persistence.MapperConfig{Compressor: zlib.New()}), same, []error{annals.ErrConfiguration}, `no "aesgcm": give it one, if only for reading (WithCipher, or CIPHER_KEYS)`},
		"no compressor":      {newMapper(t, persistence.MapperConfig{Cipher: aesgcm.New(ring)}), same, []error{annals.ErrConfiguration}, `no "zlib": give it one, if only for reading (WithCompressor, WithCipher, or a driver of FromEnviron)`},
		"another stream":     {right, func(s *persistence.StoredEvent) { s.StreamID = "rex" }, []error{aesgcm.ErrNotAuthentic}, altered},
		"another version":    {right, func(s *persistence.StoredEvent) { s.Version = 4 }, []error{aesgcm.ErrNotAuthentic}, altered},
		"another topic":      {right, func(s *persistence.StoredEvent) { s.Topic = "Dog.Added" }, []error{aesgcm.ErrNotAuthentic}, altered},
		"another event's":    {right, func(s *persistence.StoredEvent) { s.State = swapped.State }, []error{aesgcm.ErrNotAuthentic}, altered},
		"another encoding":   {right, func(s *persistence.StoredEvent) { s.Encoding = "1:json+aesgcm" }, []error{aesgcm.ErrNotAuthentic}, altered},
		"layers turned":      {right, func(s *persistence.StoredEvent) { s.Encoding = "1:json+aesgcm+zlib" }, nil, "zlib: the compressed data is damaged"},
		"the cipher denied":  {right, func(s *persistence.StoredEvent) { s.Encoding = "1:json+zlib" }, nil, "zlib: the compressed data is damaged"},
		"all layers denied":  {right, func(s *persistence.StoredEvent) { s.Encoding = "1:json" }, nil, "byte"},
		"a layer too much":   {right, func(s *persistence.StoredEvent) { s.Encoding += "+aesgcm" }, []error{aesgcm.ErrNotAuthentic}, altered},
		"an empty layer":     {right, func(s *persistence.StoredEvent) { s.Encoding += "+" }, []error{annals.ErrConfiguration}, `1:json+zlib+aesgcm+`},
		"a bit flipped":      {right, func(s *persistence.StoredEvent) { s.State[40] ^= 1 }, []error{aesgcm.ErrNotAuthentic}, altered},
		"a byte too much":    {right, func(s *persistence.StoredEvent) { s.State = append(s.State, 0) }, []error{aesgcm.ErrNotAuthentic}, altered},
		"the end missing":    {right, func(s *persistence.StoredEvent) { s.State = s.State[:40] }, []error{aesgcm.ErrNotAuthentic}, altered},
		"almost all missing": {right, func(s *persistence.StoredEvent) { s.State = s.State[:20] }, []error{aesgcm.ErrNotAuthentic}, "too short"},
		"no state":           {right, func(s *persistence.StoredEvent) { s.State = nil }, []error{aesgcm.ErrNotAuthentic}, "too short"},
		"a plain state":      {right, func(s *persistence.StoredEvent) { s.State = []byte(`{"Name":"a secret "}`) }, []error{aesgcm.ErrNotAuthentic}, "its form has version 123"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stored, err := right.Encode(t.Context(), &e)
			if err != nil {
				t.Fatal(err)
			}
			c.change(&stored)
			got, err := c.mapper.Decode(t.Context(), &stored)
			if d := cmp.Diff(annals.Event{}, got); d != "" {
				t.Errorf("it came back all the same: %s", d)
			}
			wantPlace(t, err, stored.Topic, stored.StreamID, stored.Version)
			for _, is := range append(c.is, annals.ErrUndecodable) {
				if !errors.Is(err, is) {
					t.Errorf("the error %v is not %q", err, is)
				}
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("the error is %v, want: %s", err, c.says)
			}
		})
	}
}

// wantPlace checks that an error is typed, names the event and has no data.
func wantPlace(t *testing.T, err error, topic, streamID string, version int64) {
	t.Helper()
	var typed *persistence.DecodeError
	if !errors.As(err, &typed) || typed.Topic != topic || typed.StreamID != streamID || typed.Version != version {
		t.Fatalf("the error is %#v", err)
	}
	for _, part := range []string{topic, fmt.Sprintf("version %d of stream %q", version, streamID)} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not name %s", err, part)
		}
	}
	if strings.Contains(err.Error(), "secret ") || strings.Contains(err.Error(), "Name") {
		t.Errorf("the error %q holds data", err)
	}
}

// B13, B52: an event whose key cannot be fetched now is no event that cannot be read.
func TestAKeyServiceThatFailsIsNotTheEventsFault(t *testing.T) {
	t.Parallel()
	ring := ringOf(t, "2026")
	e := private()
	good, err := encrypted(t, ring).Encode(t.Context(), &e)
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context //nolint:containedctx // it is a case
		source source
		is     error
		says   string
	}{
		"it fails":                 {t.Context(), source{ring, down}, errDown, "the key service is down"},
		"its context is at an end": {cancelled, source{ring, func(ctx context.Context) error { return ctx.Err() }}, context.Canceled, "context canceled"},
	} {
		m := encrypted(t, c.source)
		_, encodeErr := m.Encode(c.ctx, &e)
		var typed *persistence.EncodeError
		if !errors.As(encodeErr, &typed) || typed.StreamID != "fido" || typed.Version != 3 || typed.Topic != "Dog.Registered" {
			t.Errorf("%s: the error is %#v", name, encodeErr)
		}
		_, decodeErr := m.Decode(c.ctx, &good)
		wantPlace(t, decodeErr, "Dog.Registered", "fido", 3)
		for _, err := range []error{encodeErr, decodeErr} {
			if !errors.Is(err, persistence.ErrUnavailable) || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: the error is %v", name, err)
			}
			if errors.Is(err, annals.ErrUndecodable) || errors.Is(err, annals.ErrUnencodable) || errors.Is(err, annals.ErrConfiguration) {
				t.Errorf("%s: the error %v blames the event or the settings", name, err)
			}
		}
		if !strings.Contains(decodeErr.Error(), `key "2026"`) {
			t.Errorf("%s: the error %v does not name the key", name, decodeErr)
		}
	}
	if _, err := encrypted(t, new(aesgcm.Ring)).Encode(t.Context(), &e); !errors.Is(err, annals.ErrUnencodable) || !errors.Is(err, annals.ErrConfiguration) {
		t.Errorf("a source without a key: the error is %v", err)
	}
}

// B14: rotation, and switching over, step by step.
func TestKeysAreRotatedAndRetired(t *testing.T) {
	t.Parallel()
	e := private()
	encode := func(m *persistence.Mapper) persistence.StoredEvent {
		s, err := m.Encode(t.Context(), &e)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	old := encode(encrypted(t, ringOf(t, "2025")))
	both := encrypted(t, ringOf(t, "2026", "2025"))
	current := encode(both)
	if !bytes.Contains(current.State[:8], []byte("2026")) {
		t.Errorf("a new event has another key: %q", current.State[:8])
	}
	for _, s := range []persistence.StoredEvent{old, current} {
		if back, err := both.Decode(t.Context(), &s); err != nil || back.Data != e.Data {
			t.Errorf("got %v, %v", back.Data, err)
		}
	}
	off := newMapper(t, persistence.MapperConfig{
		Compressors: []persistence.Compressor{zlib.New()}, Ciphers: []persistence.Cipher{aesgcm.New(ringOf(t, "2026", "2025"))},
	})
	if plain := encode(off); plain.Encoding != "1:json" {
		t.Errorf("encrypted, and the cipher is for reading only: %q", plain.Encoding)
	}
	for _, s := range []persistence.StoredEvent{old, current} {
		if back, err := off.Decode(t.Context(), &s); err != nil || back.Data != e.Data {
			t.Errorf("the cipher is for reading only: got %v, %v", back.Data, err)
		}
	}
	retired := encrypted(t, ringOf(t, "2026"))
	if _, err := retired.Decode(t.Context(), &current); err != nil {
		t.Error(err)
	}
	_, err := retired.Decode(t.Context(), &old)
	wantPlace(t, err, "Dog.Registered", "fido", 3)
	var missing *aesgcm.KeyError
	if !errors.As(err, &missing) || missing.ID != "2025" {
		t.Errorf("a retired key: the error is %v", err)
	}
}

// B14: whatever is changed of the place or of the way in which it is read.
func TestACiphertextOpensWhereItWasMadeOnly(t *testing.T) {
	t.Parallel()
	ring := ringOf(t, "2026")
	m := encrypted(t, ring)
	reader, err := persistence.NewMapper(persistence.MapperConfig{ // it opens all topics
		Compressor: zlib.New(), Cipher: aesgcm.New(ring), Unknown: persistence.KeepUnknown,
	})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringMatching(`[a-z.0-9]{1,40}`)
		e := private()
		e.StreamID, e.Version = id.Draw(t, "stream"), rapid.Int64Min(1).Draw(t, "version")
		stored, err := m.Encode(t.Context(), &e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reader.Decode(t.Context(), &stored); err != nil {
			t.Fatal(err)
		}
		moved := stored
		moved.StreamID = rapid.OneOf(id, rapid.Just(e.StreamID)).Draw(t, "another stream")
		moved.Version = rapid.OneOf(rapid.Int64Min(1), rapid.Just(e.Version)).Draw(t, "another version")
		moved.Topic = rapid.OneOf(id, rapid.Just(stored.Topic)).Draw(t, "another topic")
		moved.Shape = rapid.OneOf(rapid.IntRange(1, 300), rapid.Just(1)).Draw(t, "another shape")
		if cmp.Equal(moved, stored) {
			return
		}
		if _, err := reader.Decode(t.Context(), &moved); !errors.Is(err, aesgcm.ErrNotAuthentic) {
			t.Fatalf("%q, version %d, %s, shape %d opens: %v", moved.StreamID, moved.Version, moved.Topic, moved.Shape, err)
		}
	})
}

// B14, B33: snapshots are bound as events are, and neither is taken for the other.
func TestSnapshotsAreBoundToTheirPlace(t *testing.T) {
	t.Parallel()
	ring := ringOf(t, "2026")
	m := encrypted(t, ring)
	v2 := snapshotDogs(asV2()).SnapshotType()
	revised := snapshotDogs(asV2(), annals.Revision[dog](1)).SnapshotType()
	snapshot := annals.Snapshot{StreamID: "fido", Version: 3, State: dogV2{strings.Repeat("a secret ", 30)}}
	stored, err := m.EncodeSnapshot(t.Context(), v2, &snapshot)
	if err != nil || stored.Encoding != "1:json+zlib+aesgcm" || bytes.Contains(stored.State, []byte("secret")) {
		t.Fatalf("%q, %v", stored.Encoding, err)
	}
	if back, err := m.DecodeSnapshot(t.Context(), v2, &stored); err != nil || back.State != snapshot.State {
		t.Fatalf("%v, %v", back, err)
	}
	e := private()
	event, err := m.Encode(t.Context(), &e)
	if err != nil {
		t.Fatal(err)
	}
	hound := annals.Define("Hound", annals.On[registered]("Registered"), asV2()).SnapshotType()
	for name, c := range map[string]struct {
		typ    *annals.SnapshotType
		change func(s *persistence.StoredSnapshot)
	}{
		"another stream":         {v2, func(s *persistence.StoredSnapshot) { s.StreamID = "rex" }},
		"another version":        {v2, func(s *persistence.StoredSnapshot) { s.Version = 4 }},
		"another type":           {hound, func(s *persistence.StoredSnapshot) { s.Topic = "Hound" }},
		"another shape":          {v2, func(s *persistence.StoredSnapshot) { s.Shape, s.Mark = 1, v2.Mark(1) }},
		"another mark":           {revised, func(s *persistence.StoredSnapshot) { s.Mark = revised.Mark(2) }},
		"an event as a snapshot": {v2, func(s *persistence.StoredSnapshot) { s.State = event.State }},
	} {
		moved := stored
		c.change(&moved)
		_, err := m.DecodeSnapshot(t.Context(), c.typ, &moved)
		wantPlace(t, err, moved.Topic, moved.StreamID, moved.Version)
		if !errors.Is(err, aesgcm.ErrNotAuthentic) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	event.State = stored.State
	if _, err := m.Decode(t.Context(), &event); !errors.Is(err, aesgcm.ErrNotAuthentic) {
		t.Errorf("a snapshot as an event: the error is %v", err)
	}
	_, err = encrypted(t, source{ring, down}).DecodeSnapshot(t.Context(), v2, &stored)
	if !errors.Is(err, persistence.ErrUnavailable) || errors.Is(err, annals.ErrUndecodable) {
		t.Errorf("a key service that fails: the error is %v", err)
	}
}

// B7: what is skipped needs no key; what is kept is opened.
func TestUnknownEventsAreEncryptedAsWell(t *testing.T) {
	t.Parallel()
	e := private()
	stored, err := encrypted(t, ringOf(t, "2025")).Encode(t.Context(), &e)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		policy persistence.UnknownPolicy
		key    string
		opens  bool
	}{
		"skipped, without the key": {persistence.SkipUnknown, "2026", true},
		"kept":                     {persistence.KeepUnknown, "2025", true},
		"kept, without the key":    {persistence.KeepUnknown, "2026", false},
	} {
		m, err := persistence.NewMapper(persistence.MapperConfig{
			Compressor: zlib.New(), Cipher: aesgcm.New(ringOf(t, c.key)), Unknown: c.policy,
		})
		if err != nil {
			t.Fatal(err)
		}
		back, err := m.Decode(t.Context(), &stored)
		if (err == nil) != c.opens || !c.opens && !errors.Is(err, annals.ErrConfiguration) {
			t.Errorf("%s: the error is %v", name, err)
		}
		unknown, ok := back.Data.(annals.Unknown)
		if kept := ok && bytes.Contains(unknown.State, []byte("a secret")); kept != (name == "kept") {
			t.Errorf("%s: got %+v", name, back.Data)
		}
	}
}

// encryptedV1 is what was stored. The secret is of no other use.
type encryptedV1 struct {
	Key      string
	Events   []persistence.StoredEvent
	Snapshot persistence.StoredSnapshot
}

func readEncrypted(tb testing.TB) (kept encryptedV1) {
	tb.Helper()
	b, err := os.ReadFile("testdata/encrypted-v1.json")
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err != nil || len(kept.Events) != 2 {
		tb.Fatalf("%d events, %v", len(kept.Events), err)
	}
	return kept
}

func (v encryptedV1) key(tb testing.TB) aesgcm.Key {
	tb.Helper()
	k, err := aesgcm.ParseKey(v.Key)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// B14: what was stored once opens for ever. The file does not change; a new form of
// what is stored gets another one.
func TestWhatWasEncryptedOpensForEver(t *testing.T) {
	t.Parallel()
	kept := readEncrypted(t)
	ring, err := aesgcm.NewRing(kept.key(t))
	if err != nil {
		t.Fatal(err)
	}
	m := encrypted(t, ring)
	var encodings []string
	for i, want := range []annals.Event{anEvent(), private()} {
		got, err := m.Decode(t.Context(), &kept.Events[i])
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("event %d: %v (-want +got):\n%s", i, err, d)
		}
		encodings = append(encodings, kept.Events[i].Encoding)
	}
	if want := []string{"1:json+aesgcm", "1:json+zlib+aesgcm"}; !slices.Equal(encodings, want) {
		t.Errorf("encodings %q", encodings)
	}
	snapshot, err := m.DecodeSnapshot(t.Context(), snapshotDogs(asV2()).SnapshotType(), &kept.Snapshot)
	if err != nil || snapshot.State != (dogV2{"Fido, a secret"}) {
		t.Errorf("snapshot: %+v, %v", snapshot, err)
	}
}
