package persistence

import (
	"encoding/binary"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/annals-es/annals"
)

// format is how the encoding of every event begins that this code writes and
// reads: the version of the stored format, which says what fields a [StoredEvent]
// has, and what each means.
const format = "1:"

// MapperConfig says what events go through on their way to the recorder.
type MapperConfig struct {
	// Transcoder turns data into bytes. Defaults to [JSON].
	Transcoder Transcoder
	// Compressor makes them smaller. Defaults to nil: none.
	Compressor Compressor
	// Cipher encrypts them. Defaults to nil: none.
	Cipher Cipher
}

// Mapper turns events into stored events and back: it encodes, then compresses,
// then encrypts. What was stored before compression or encryption was switched
// on still loads. It is safe for concurrent use.
type Mapper struct {
	transcoder Transcoder
	compressor Compressor
	cipher     Cipher
	plain      string // the encodings that Encode writes, by what was done
	compressed string

	mu    sync.Mutex // held by Register
	types atomic.Pointer[map[string]*annals.EventType]
}

// NewMapper returns a mapper that knows no events: see [Mapper.Register].
func NewMapper(cfg MapperConfig) *Mapper {
	m := &Mapper{transcoder: cfg.Transcoder, compressor: cfg.Compressor, cipher: cfg.Cipher}
	if m.transcoder == nil {
		m.transcoder = JSON()
	}
	m.plain = format + m.transcoder.Name()
	if m.compressor != nil {
		m.compressed = m.plain + "+" + m.compressor.Name()
	}
	if m.cipher != nil {
		m.plain += "+" + m.cipher.Name()
		m.compressed += "+" + m.cipher.Name()
	}
	m.types.Store(&map[string]*annals.EventType{})
	return m
}

// Register makes the events of definitions known. Registering one again changes
// nothing. It returns an error, and registers nothing, if two different types of
// event have one topic, former topics included.
func (m *Mapper) Register(defs ...annals.Definition) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	types := maps.Clone(*m.types.Load())
	for _, def := range defs {
		for _, t := range def.EventTypes() {
			for _, topic := range append([]string{t.Topic()}, t.FormerTopics()...) {
				if other, ok := types[topic]; ok && (other.GoType() != t.GoType() || other.Topic() != t.Topic()) {
					return fmt.Errorf("persistence: two events have the topic %s: %v and %v: %w",
						topic, other.GoType(), t.GoType(), annals.ErrConfiguration)
				}
				types[topic] = t
			}
		}
	}
	m.types.Store(&types)
	return nil
}

// Topics returns the topics, former ones included, under which events of the
// same types as the given topics may be stored.
func (m *Mapper) Topics(topics []string) []string {
	types := *m.types.Load()
	var all []string
	for _, topic := range topics {
		all = append(all, topic)
		if t, ok := types[topic]; ok {
			all = append(append(all, t.Topic()), t.FormerTopics()...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Encode returns the event as it is to be stored. It returns an
// [*annals.UnknownTopicError] if the topic is not registered, because what was
// stored so could not be read again, and an [*EncodeError] if the data cannot be
// encoded.
func (m *Mapper) Encode(e *annals.Event) (StoredEvent, error) {
	t := (*m.types.Load())[e.Topic]
	if t == nil {
		return StoredEvent{}, m.unknown(e.Topic, e.StreamID, e.Version)
	}
	if got := reflect.TypeOf(e.Data); got != t.GoType() {
		return StoredEvent{}, &EncodeError{Topic: e.Topic, StreamID: e.StreamID, Version: e.Version, Err: fmt.Errorf(
			"its data is a %v, and the topic is that of %v", got, t.GoType())}
	}
	s := StoredEvent{
		ID: e.ID, StreamID: e.StreamID, Version: e.Version, Topic: e.Topic, Time: e.Time,
		Shape: t.Shape(), Encoding: m.plain,
		CorrelationID: e.Metadata.CorrelationID, CausationID: e.Metadata.CausationID,
	}
	if err := m.encodeState(&s, e); err != nil {
		return StoredEvent{}, &EncodeError{Topic: e.Topic, StreamID: e.StreamID, Version: e.Version, Err: err}
	}
	return s, nil
}

func (m *Mapper) encodeState(s *StoredEvent, e *annals.Event) (err error) {
	if len(e.Metadata.Headers) > 0 {
		if s.Headers, err = headersJSON.Encode(e.Metadata.Headers); err != nil {
			return fmt.Errorf("headers: %w", err)
		}
	}
	if s.State, err = m.transcoder.Encode(e.Data); err != nil {
		return err
	}
	if m.compressor != nil {
		smaller, err := m.compressor.Compress(nil, s.State)
		if err != nil {
			return fmt.Errorf("%s: %w", m.compressor.Name(), err)
		}
		if len(smaller) < len(s.State) {
			s.State, s.Encoding = smaller, m.compressed
		}
	}
	if m.cipher != nil {
		if s.State, err = m.cipher.Encrypt(nil, s.State, associated(s)); err != nil {
			return fmt.Errorf("%s: %w", m.cipher.Name(), err)
		}
	}
	return nil
}

// Decode returns the event that was stored. Its topic is the present name of its
// type, also if it was stored under a former one. It returns an
// [*annals.UnknownTopicError] if no registered type has the topic, and a
// [*DecodeError] if the state cannot be read.
func (m *Mapper) Decode(s *StoredEvent) (annals.Event, error) {
	t := (*m.types.Load())[s.Topic]
	if t == nil {
		return annals.Event{}, m.unknown(s.Topic, s.StreamID, s.Version)
	}
	e := annals.Event{
		ID: s.ID, StreamID: s.StreamID, Version: s.Version, Topic: t.Topic(), Time: s.Time,
		Metadata: annals.Metadata{CorrelationID: s.CorrelationID, CausationID: s.CausationID},
	}
	if err := m.decodeState(&e, s, t); err != nil {
		return annals.Event{}, &DecodeError{Topic: s.Topic, StreamID: s.StreamID, Version: s.Version, Err: err}
	}
	return e, nil
}

func (m *Mapper) decodeState(e *annals.Event, s *StoredEvent, t *annals.EventType) (err error) {
	layers, ok := strings.CutPrefix(s.Encoding, format)
	if !ok {
		return fmt.Errorf("its encoding is %q, and this code knows the stored format %q: a newer version of Annals wrote it: %w",
			s.Encoding, format, annals.ErrUnsupported)
	}
	if s.Shape < 1 || s.Shape > t.Shape() {
		return fmt.Errorf("its shape is version %d, and this code knows versions up to %d: newer code wrote it: %w",
			s.Shape, t.Shape(), annals.ErrUnsupported)
	}
	if len(s.Headers) > 0 {
		if err := headersJSON.Decode(s.Headers, &e.Metadata.Headers); err != nil {
			return fmt.Errorf("headers: %w", err)
		}
	}
	state, err := m.open(s, layers)
	if err != nil {
		return err
	}
	e.Data, err = t.Decode(func(target any) error { return m.transcoder.Decode(state, target) })
	return err
}

// open undoes the layers that the encoding names after the transcoder, last
// first.
func (m *Mapper) open(s *StoredEvent, layers string) (state []byte, err error) {
	name, rest, _ := strings.Cut(layers, "+")
	if name != m.transcoder.Name() {
		return nil, fmt.Errorf("its encoding is %q, and the application has the transcoder %q: %w",
			s.Encoding, m.transcoder.Name(), annals.ErrConfiguration)
	}
	state = s.State
	for rest != "" {
		layer := rest
		if i := strings.LastIndexByte(rest, '+'); i >= 0 {
			rest, layer = rest[:i], rest[i+1:]
		} else {
			rest = ""
		}
		switch {
		case m.cipher != nil && layer == m.cipher.Name():
			state, err = m.cipher.Decrypt(nil, state, associated(s))
		case m.compressor != nil && layer == m.compressor.Name():
			state, err = m.compressor.Decompress(nil, state)
		default:
			return nil, fmt.Errorf("its encoding is %q, and the application has no %q: %w",
				s.Encoding, layer, annals.ErrConfiguration)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", layer, err)
		}
	}
	return state, nil
}

func (m *Mapper) unknown(topic, streamID string, version int64) error {
	return &annals.UnknownTopicError{
		Topic: topic, StreamID: streamID, Version: version,
		Where: "the types that the application knows (NewRepository, WithTypes)",
	}
}

// associated returns what a ciphertext is bound to, so that one that is moved to
// another event does not open: stream, version and topic.
func associated(s *StoredEvent) []byte {
	b := make([]byte, 0, len(s.StreamID)+len(s.Topic)+24)
	b = binary.AppendUvarint(b, uint64(len(s.StreamID)))
	b = append(b, s.StreamID...)
	b = binary.AppendVarint(b, s.Version)
	return append(b, s.Topic...)
}
