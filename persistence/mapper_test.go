package persistence_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

type dog struct {
	annals.Aggregate

	name string
}

type registered struct{ Name string }

func (e registered) Apply(d *dog) { d.name = e.Name }

type broken struct{ Then func() }

func (broken) Apply(*dog) {}

var dogs = annals.Define("Dog",
	annals.On[registered]("Registered", annals.FormerName("Added")),
	annals.On[broken]("Broken"))

func newMapper(tb testing.TB, cfg persistence.MapperConfig) *persistence.Mapper {
	tb.Helper()
	m, err := persistence.NewMapper(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	if err := m.Register(dogs); err != nil {
		tb.Fatal(err)
	}
	return m
}

func anEvent() annals.Event {
	return annals.Event{
		ID: "e1", StreamID: "fido", Version: 3, Topic: "Dog.Registered", Time: time.Date(2024, 1, 2, 3, 4, 5, 6000, time.UTC),
		Metadata: annals.Metadata{CorrelationID: "story", CausationID: "cause", Headers: map[string]string{"user": "ann"}},
		Data:     registered{Name: "secret"},
	}
}

// flip is a cipher for tests: it inverts each byte, behind a copy of the
// associated data.
type flip struct{}

func (flip) Name() string { return "flip" }

func (flip) Encrypt(_ context.Context, dst, plaintext, associated []byte) ([]byte, error) {
	dst = append(dst, associated...)
	for _, b := range plaintext {
		dst = append(dst, ^b)
	}
	return dst, nil
}

func (flip) Decrypt(_ context.Context, dst, ciphertext, associated []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(ciphertext, associated)
	if !ok {
		return nil, errors.New("it was made for another event")
	}
	for _, b := range rest {
		dst = append(dst, ^b)
	}
	return dst, nil
}

// runs is a compressor for tests: it counts runs of a byte.
type runs struct{}

func (runs) Name() string { return "runs" }

func (runs) Compress(dst, src []byte) ([]byte, error) {
	for i := 0; i < len(src); {
		n := 1
		for n < 255 && i+n < len(src) && src[i+n] == src[i] {
			n++
		}
		dst = append(dst, byte(n), src[i])
		i += n
	}
	return dst, nil
}

func (runs) Decompress(dst, src []byte) ([]byte, error) {
	for ; len(src) >= 2; src = src[2:] {
		dst = append(dst, bytes.Repeat(src[1:2], int(src[0]))...)
	}
	return dst, nil
}

// B13.
func TestMapperEncodesThenCompressesThenEncrypts(t *testing.T) {
	t.Parallel()
	long := anEvent()
	long.Data = registered{Name: strings.Repeat("x", 1000)}
	for name, c := range map[string]struct {
		cfg      persistence.MapperConfig
		event    annals.Event
		encoding string
	}{
		"JSON":                             {persistence.MapperConfig{}, anEvent(), "1:json"},
		"compressed":                       {persistence.MapperConfig{Compressor: runs{}}, long, "1:json+runs"},
		"not compressed, as it would grow": {persistence.MapperConfig{Compressor: runs{}}, anEvent(), "1:json"},
		"encrypted":                        {persistence.MapperConfig{Cipher: flip{}}, anEvent(), "1:json+flip"},
		"compressed, then encrypted":       {persistence.MapperConfig{Compressor: runs{}, Cipher: flip{}}, long, "1:json+runs+flip"},
		"only encrypted, as it would grow": {persistence.MapperConfig{Compressor: runs{}, Cipher: flip{}}, anEvent(), "1:json+flip"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMapper(t, c.cfg)
			stored, err := m.Encode(t.Context(), &c.event)
			if err != nil {
				t.Fatal(err)
			}
			if stored.Encoding != c.encoding {
				t.Errorf("encoding %q, want %q", stored.Encoding, c.encoding)
			}
			if c.cfg.Cipher != nil && bytes.Contains(stored.State, []byte("Name")) {
				t.Errorf("the state is readable: %s", stored.State)
			}
			back, err := m.Decode(t.Context(), &stored)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.event, back); diff != "" {
				t.Errorf("what came back differs (-want +got):\n%s", diff)
			}
			// What was stored before something was switched on still loads.
			if c.encoding == "1:json" {
				if _, err := newMapper(t, persistence.MapperConfig{Compressor: runs{}, Cipher: flip{}}).Decode(t.Context(), &stored); err != nil {
					t.Errorf("with a compressor and a cipher: %v", err)
				}
			}
		})
	}
}

// B7.
func TestFormerTopicsDecodeUnderThePresentName(t *testing.T) {
	t.Parallel()
	m := newMapper(t, persistence.MapperConfig{})
	e := anEvent()
	stored, err := m.Encode(t.Context(), &e)
	if err != nil {
		t.Fatal(err)
	}
	stored.Topic = "Dog.Added"
	back, err := m.Decode(t.Context(), &stored)
	if err != nil || back.Topic != "Dog.Registered" || back.Data != e.Data {
		t.Errorf("got topic %q, data %v, error %v", back.Topic, back.Data, err)
	}
	if got := m.Topics([]string{"Dog.Registered", "Cat.X"}); !reflect.DeepEqual(got, []string{"Cat.X", "Dog.Added", "Dog.Registered"}) {
		t.Errorf("topics to look for: %v", got)
	}
}

// B13, B52.
func TestDecodingFailsWithATypedError(t *testing.T) {
	t.Parallel()
	plain := newMapper(t, persistence.MapperConfig{})
	full := newMapper(t, persistence.MapperConfig{Compressor: runs{}, Cipher: flip{}})
	for name, c := range map[string]struct {
		change func(*persistence.StoredEvent)
		mapper *persistence.Mapper
		want   []error
		says   string
	}{
		"an unknown topic":        {func(s *persistence.StoredEvent) { s.Topic = "Cat.Born" }, plain, []error{annals.ErrUnknownTopic}, "Cat.Born"},
		"a damaged state":         {func(s *persistence.StoredEvent) { s.State = s.State[:5] }, plain, []error{annals.ErrUndecodable}, "byte"},
		"no state":                {func(s *persistence.StoredEvent) { s.State = nil }, plain, []error{annals.ErrUndecodable}, "byte"},
		"a state of another type": {func(s *persistence.StoredEvent) { s.State = []byte(`{"Name":7}`) }, plain, []error{annals.ErrUndecodable}, "Name"},
		"damaged headers":         {func(s *persistence.StoredEvent) { s.Headers = []byte("x") }, plain, []error{annals.ErrUndecodable}, "headers"},
		"a newer format":          {func(s *persistence.StoredEvent) { s.Encoding = "2:json" }, plain, []error{annals.ErrUndecodable, annals.ErrUnsupported}, "newer"},
		"no format":               {func(s *persistence.StoredEvent) { s.Encoding = "json" }, plain, []error{annals.ErrUndecodable}, "format"},
		"a newer shape":           {func(s *persistence.StoredEvent) { s.Shape = 2 }, plain, []error{annals.ErrUndecodable, annals.ErrUnsupported}, "newer"},
		"no shape":                {func(s *persistence.StoredEvent) { s.Shape = 0 }, plain, []error{annals.ErrUndecodable}, "shape"},
		"another transcoder":      {func(s *persistence.StoredEvent) { s.Encoding = "1:cbor" }, plain, []error{annals.ErrUndecodable, annals.ErrConfiguration}, `no "cbor": give it one, if only for reading (WithTranscoder, or a driver of FromEnviron)`},
		"an unknown compressor":   {func(s *persistence.StoredEvent) { s.Encoding = "1:json+zstd" }, plain, []error{annals.ErrUndecodable, annals.ErrConfiguration}, "zstd"},
		"no cipher":               {func(s *persistence.StoredEvent) { s.Encoding = "1:json+flip" }, plain, []error{annals.ErrUndecodable, annals.ErrConfiguration}, "flip"},
		"a ciphertext of another event": {
			func(s *persistence.StoredEvent) { s.Encoding = "1:json+flip" }, full, []error{annals.ErrUndecodable}, "flip: it was made for another event",
		},
		"an end too much": {func(s *persistence.StoredEvent) { s.Encoding = "1:json+" }, full, []error{annals.ErrUndecodable}, "1:json+"},
		"an empty layer":  {func(s *persistence.StoredEvent) { s.Encoding = "1:json++" }, full, []error{annals.ErrUndecodable}, "1:json++"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := anEvent()
			stored, err := plain.Encode(t.Context(), &e)
			if err != nil {
				t.Fatal(err)
			}
			c.change(&stored)
			_, err = c.mapper.Decode(t.Context(), &stored)
			for _, want := range c.want {
				if !errors.Is(err, want) {
					t.Errorf("error %v is not %q", err, want)
				}
			}
			for _, part := range []string{c.says, `"fido"`, "version 3", stored.Topic} {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not name %q", err, part)
				}
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q holds data", err)
			}
		})
	}
}

// B12, B52.
func TestEncodingFailsWithATypedError(t *testing.T) {
	t.Parallel()
	m := newMapper(t, persistence.MapperConfig{})
	e := anEvent()
	e.Topic, e.Data = "Dog.Broken", broken{}
	if _, err := m.Encode(t.Context(), &e); !errors.Is(err, annals.ErrUnencodable) || !strings.Contains(err.Error(), "broken.Then") {
		t.Errorf("data that JSON does not have: error %v", err)
	}
	e = anEvent()
	e.Metadata.Headers = map[string]string{"user": "secret\xff"}
	if _, err := m.Encode(t.Context(), &e); !errors.Is(err, annals.ErrUnencodable) || strings.Contains(err.Error(), "secret") {
		t.Errorf("headers that are not UTF-8: error %v", err)
	}
	e = anEvent()
	e.Data = broken{}
	if _, err := m.Encode(t.Context(), &e); !errors.Is(err, annals.ErrUnencodable) || !strings.Contains(err.Error(), "persistence_test.broken") {
		t.Errorf("data of another type: error %v", err)
	}
	e = anEvent()
	e.Topic = "Cat.Born"
	if _, err := m.Encode(t.Context(), &e); !errors.Is(err, annals.ErrUnknownTopic) {
		t.Errorf("an event of a type that is not registered: error %v", err)
	}
}

func TestRegisterRefusesTwoTypesWithOneTopic(t *testing.T) {
	t.Parallel()
	m := newMapper(t, persistence.MapperConfig{})
	if err := m.Register(dogs); err != nil {
		t.Errorf("registering again: %v", err)
	}
	other := annals.Define("Dog", annals.On[broken]("Barked", annals.FormerName("Registered")))
	err := m.Register(other)
	if !errors.Is(err, annals.ErrConfiguration) || !strings.Contains(err.Error(), "Dog.Registered") {
		t.Errorf("error %v", err)
	}
	e := anEvent()
	e.Topic = "Dog.Barked"
	if _, err := m.Encode(t.Context(), &e); !errors.Is(err, annals.ErrUnknownTopic) {
		t.Errorf("a part of the refused types was registered: %v", err)
	}
}
