package persistence_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/aesgcm"
	"github.com/annals-es/annals/persistence/zlib"
)

// raw encodes everything as the same bytes, and says that they are JSON.
type raw struct {
	persistence.Transcoder

	state []byte
}

func (r *raw) Encode(dst []byte, _ any) ([]byte, error) { return append(dst, r.state...), nil }

// B13: whatever is stored is either an event or a typed error, behind each layer; and
// the layers add nothing to what they hold, and take nothing from it.
func FuzzMapperDecode(f *testing.F) {
	kept := readEncrypted(f)
	ring, err := aesgcm.NewRing(kept.key(f))
	if err != nil {
		f.Fatal(err)
	}
	m := encrypted(f, ring)
	for _, s := range kept.Events {
		f.Add(s.Topic, s.StreamID, s.Version, s.Encoding, s.State, s.Headers, s.Shape)
		f.Add(s.Topic, "rex", s.Version, s.Encoding+"+aesgcm", s.State, s.Headers, s.Shape)
	}
	compressed, err := zlib.New().Compress(nil, []byte(`{"Name":"`+strings.Repeat("x", 1000)+`"}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("Dog.Registered", "fido", int64(1), "1:json", []byte(`{"Name":"x"}`), []byte(`{"a":"b"}`), 1)
	f.Add("Dog.Registered", "fido", int64(2), "1:json", []byte(`{"Name":"`+strings.Repeat("x", 1000)+`"}`), []byte(nil), 1)
	f.Add("Dog.Added", "fido", int64(3), "1:json+zlib", compressed, []byte(nil), 1)
	f.Add("Dog.Broken", "", int64(-1), "1:json+zlib+aesgcm", compressed[:9], []byte(`{}`), 0)
	json := &raw{Transcoder: persistence.JSON()}
	var layered []*persistence.Mapper
	for _, cfg := range []persistence.MapperConfig{
		{Compressor: zlib.New()}, {Cipher: aesgcm.New(ring)}, {Compressor: zlib.New(), Cipher: aesgcm.New(ring)},
	} {
		cfg.Transcoder = json
		layered = append(layered, newMapper(f, cfg))
	}
	f.Fuzz(func(t *testing.T, topic, streamID string, version int64, encoding string, state, headers []byte, shape int) {
		s := persistence.StoredEvent{
			ID: "e", StreamID: streamID, Version: version, Topic: topic, Encoding: encoding, State: state, Headers: headers, Shape: shape,
		}
		e, err := m.Decode(t.Context(), &s)
		switch {
		case err == nil:
			if _, ok := e.Data.(registered); !ok && topic != "Dog.Broken" {
				t.Fatalf("decoded to %T", e.Data)
			}
		case !errors.Is(err, annals.ErrUnknownTopic) && !errors.Is(err, annals.ErrUndecodable):
			t.Fatalf("an error without a type: %v", err)
		}

		s.Topic, s.Encoding, s.Headers, s.Shape = "Dog.Registered", "1:json", nil, 1
		want, wantErr := m.Decode(t.Context(), &s)
		json.state = state
		for _, writer := range layered {
			stored, err := writer.Encode(t.Context(), &annals.Event{
				ID: s.ID, StreamID: s.StreamID, Version: s.Version, Topic: s.Topic, Data: registered{},
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.Decode(t.Context(), &stored)
			if d := cmp.Diff(want, got); d != "" || (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
				t.Fatalf("%s: %v instead of %v (-want +got):\n%s", stored.Encoding, err, wantErr, d)
			}
		}
	})
}
