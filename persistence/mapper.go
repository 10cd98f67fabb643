package persistence

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/annals-es/annals"
)

// MapperConfig says what events go through on their way to the recorder.
type MapperConfig struct {
	// Transcoder turns data into bytes. Defaults to [JSON].
	Transcoder Transcoder
	// Compressor makes them smaller. Defaults to nil: none.
	Compressor Compressor
	// Cipher encrypts them. Defaults to nil: none.
	Cipher Cipher

	// Transcoders, Compressors and Ciphers are those that only read what they made
	// before. [JSON] is always among the transcoders.
	Transcoders []Transcoder
	Compressors []Compressor
	Ciphers     []Cipher

	// Unknown says what becomes of events whose topic no type has. Defaults to
	// [FailUnknown].
	Unknown UnknownPolicy
}

// UnknownPolicy says what becomes of stored events whose topic no type of the
// application has: those of a type that was deleted, say. An event of a known type
// that is newer than the code is an error, whatever the policy; a topic that only
// newer code has cannot be told from one that was deleted.
//
// Of an aggregate that has such an event, no snapshot is taken.
type UnknownPolicy int

const (
	// FailUnknown makes such an event an [*annals.UnknownTopicError].
	FailUnknown UnknownPolicy = iota
	// SkipUnknown makes an aggregate go on behind such an event, and leaves it out
	// of the events that are read: of the log, of a story, of an aggregate.
	SkipUnknown
	// KeepUnknown is as SkipUnknown, but the events that are read have such ones
	// among them, with an annals.Unknown as their data. The entries of a typed log
	// have not.
	KeepUnknown
)

// Mapper turns events into stored events and back: it encodes, then compresses,
// then encrypts. An event says itself what it went through: what was stored
// before a transcoder, compressor or cipher was switched on, off or over still
// loads, as long as the mapper has what made it. It is safe for concurrent use.
type Mapper struct {
	transcoder Transcoder
	compressor Compressor
	cipher     Cipher
	plain      string // the encodings that Encode writes, by what was done
	compressed string
	unknown    UnknownPolicy

	transcoders map[string]decoding // all of them, by name
	compressors map[string]Compressor
	ciphers     map[string]Cipher

	mu      sync.Mutex // held by Register
	types   atomic.Pointer[map[string]*annals.EventType]
	scratch sync.Pool // of *scratch
}

// NewMapper returns a mapper that knows no events: see [Mapper.Register]. It
// returns [annals.ErrConfiguration] for a codec whose name is not one, or is that
// of another one.
func NewMapper(cfg MapperConfig) (*Mapper, error) {
	m := &Mapper{
		transcoder: cfg.Transcoder, compressor: cfg.Compressor, cipher: cfg.Cipher, unknown: cfg.Unknown,
		transcoders: make(map[string]decoding), compressors: make(map[string]Compressor), ciphers: make(map[string]Cipher),
	}
	if m.transcoder == nil {
		m.transcoder = JSON()
	}
	transcoders := make(map[string]Transcoder)
	if err := errors.Join(
		add(transcoders, m.transcoder, cfg.Transcoders),
		add(m.compressors, m.compressor, cfg.Compressors),
		add(m.ciphers, m.cipher, cfg.Ciphers),
	); err != nil {
		return nil, err
	}
	if transcoders["json"] == nil {
		transcoders["json"] = JSON()
	}
	for name, t := range transcoders {
		m.transcoders[name] = decoding{name, t.Decode}
	}
	names := make(map[string]bool)
	for _, name := range slices.Concat(slices.Collect(maps.Keys(m.transcoders)), slices.Collect(maps.Keys(m.compressors)),
		slices.Collect(maps.Keys(m.ciphers))) {
		if names[name] || !validCodec.MatchString(name) {
			return nil, fmt.Errorf("persistence: %q names two codecs, or is not lower-case letters and digits: %w",
				name, annals.ErrConfiguration)
		}
		names[name] = true
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
	return m, nil
}

// decoding is a transcoder that decodes. The function is made here once, and not for each
// event.
type decoding struct {
	name   string
	decode func(data []byte, target any) error
}

var validCodec = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

// add puts codecs into a map by their names. The first, if there is one, goes
// before others of its name.
func add[C interface {
	comparable
	Name() string
}](all map[string]C, first C, others []C) error {
	var none C
	if first != none {
		all[first.Name()] = first
	}
	for _, c := range others {
		if c == none {
			return fmt.Errorf("persistence: a codec is nil: %w", annals.ErrConfiguration)
		}
		if _, ok := all[c.Name()]; !ok {
			all[c.Name()] = c
		}
	}
	return nil
}

// Register makes the events of definitions known. Registering one again changes
// nothing. It returns an error, and registers nothing, if two different types of
// event have one topic, former topics included, or if the shapes of one type are
// different in two definitions: what is stored would be read by the wrong upcasts.
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
				if other, ok := types[topic]; ok && !slices.Equal(shapesOf(other), shapesOf(t)) {
					return fmt.Errorf("persistence: two definitions of %s have different upcasts: from the shapes %v and %v: %w",
						topic, shapesOf(other), shapesOf(t), annals.ErrConfiguration)
				}
				types[topic] = t
			}
		}
	}
	m.types.Store(&types)
	return nil
}

// shapesOf returns the Go types of the shapes of an event, the oldest first.
func shapesOf(t *annals.EventType) []reflect.Type {
	all := make([]reflect.Type, t.Shape())
	for i := range all {
		all[i] = t.ShapeType(i + 1)
	}
	return all
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

// TopicsOf returns the topics of the events whose data is of the type.
func (m *Mapper) TopicsOf(data reflect.Type) []string {
	var all []string
	for _, t := range *m.types.Load() {
		if t.GoType() == data {
			all = append(all, t.Topic())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Encode returns the event as it is to be stored. It returns an
// [*annals.UnknownTopicError] if the topic is not registered, because what was
// stored so could not be read again, and an [*EncodeError] if the data cannot be
// encoded. The context is for the cipher.
func (m *Mapper) Encode(ctx context.Context, e *annals.Event) (s StoredEvent, err error) {
	t := (*m.types.Load())[e.Topic]
	if t == nil {
		return StoredEvent{}, unknownTopic(e.Topic, e.StreamID, e.Version)
	}
	s = StoredEvent{
		ID: e.ID, StreamID: e.StreamID, Version: e.Version, Topic: e.Topic, Time: e.Time, Shape: t.Shape(),
		CorrelationID: e.Metadata.CorrelationID, CausationID: e.Metadata.CausationID,
	}
	err = sameType(e.Data, t.GoType())
	if err == nil && len(e.Metadata.Headers) > 0 {
		if s.Headers, err = headersJSON.Encode(nil, e.Metadata.Headers); err != nil {
			err = fmt.Errorf("headers: %w", err)
		}
	}
	if err == nil {
		s.State, s.Encoding, err = m.seal(ctx, e.Data, placeOf(&s))
	}
	if err != nil {
		return StoredEvent{}, &EncodeError{Topic: e.Topic, StreamID: e.StreamID, Version: e.Version, Err: err}
	}
	return s, nil
}

func sameType(data any, want reflect.Type) error {
	if got := reflect.TypeOf(data); got != want {
		return fmt.Errorf("its data is a %v, and the topic is that of %v", got, want)
	}
	return nil
}

// Decode returns the event that was stored, its data in the present shape. Its
// topic is the present name of its type, also if it was stored under a former
// one. It returns an [*annals.UnknownTopicError] if no registered type has the
// topic, unless [MapperConfig.Unknown] says otherwise, and a [*DecodeError] if the
// state cannot be read. The context is for the cipher.
func (m *Mapper) Decode(ctx context.Context, s *StoredEvent) (annals.Event, error) {
	t := (*m.types.Load())[s.Topic]
	if t == nil && m.unknown == FailUnknown {
		return annals.Event{}, unknownTopic(s.Topic, s.StreamID, s.Version)
	}
	e := annals.Event{
		ID: s.ID, StreamID: s.StreamID, Version: s.Version, Topic: s.Topic, Time: s.Time,
		Metadata: annals.Metadata{CorrelationID: s.CorrelationID, CausationID: s.CausationID},
	}
	if err := m.decode(ctx, &e, s, t); err != nil {
		return annals.Event{}, &DecodeError{Topic: s.Topic, StreamID: s.StreamID, Version: s.Version, Err: err}
	}
	return e, nil
}

func (m *Mapper) decode(ctx context.Context, e *annals.Event, s *StoredEvent, t *annals.EventType) error {
	if len(s.Headers) > 0 {
		var headers map[string]string // of its own, so that the event stays off the heap
		if err := headersJSON.Decode(s.Headers, &headers); err != nil {
			return fmt.Errorf("headers: %w", err)
		}
		e.Metadata.Headers = headers
	}
	at := placeOf(s)
	switch {
	case t == nil && m.unknown == SkipUnknown:
		e.Data = annals.Unknown{}
		_, err := layersOf(s.Encoding)
		return err
	case t == nil:
		return m.open(ctx, s.State, s.Encoding, at, func(transcoder decoding, state []byte) error {
			e.Data = annals.Unknown{Shape: s.Shape, Transcoder: transcoder.name, State: slices.Clone(state)}
			return nil
		})
	}
	e.Topic = t.Topic()
	if err := knownShape(s.Shape, t.Shape()); err != nil {
		return err
	}
	return m.open(ctx, s.State, s.Encoding, at, func(transcoder decoding, state []byte) (err error) {
		e.Data, err = t.Decode(s.Shape, state, transcoder.decode)
		return err
	})
}

func knownShape(shape, known int) error {
	if shape < 1 {
		return fmt.Errorf("its shape is version %d, and shapes start at 1", shape)
	}
	if shape > known {
		return fmt.Errorf("its shape is version %d, and this code knows versions up to %d: newer code wrote it: %w",
			shape, known, annals.ErrUnsupported)
	}
	return nil
}

// EncodeSnapshot returns the snapshot as it is to be stored. It returns an
// [*EncodeError] if the state cannot be encoded.
func (m *Mapper) EncodeSnapshot(ctx context.Context, t *annals.SnapshotType, s *annals.Snapshot) (StoredSnapshot, error) {
	stored := StoredSnapshot{
		StreamID: s.StreamID, Version: s.Version, Topic: t.Name(), CreatedAt: s.CreatedAt, ModifiedAt: s.ModifiedAt,
		Shape: t.Shape(), Mark: t.Mark(t.Shape()),
	}
	err := sameType(s.State, t.GoType())
	if err == nil {
		stored.State, stored.Encoding, err = m.seal(ctx, s.State, placeOfSnapshot(&stored))
	}
	if err != nil {
		return StoredSnapshot{}, &EncodeError{Topic: t.Name(), StreamID: s.StreamID, Version: s.Version, Err: err}
	}
	return stored, nil
}

// DecodeSnapshot returns the snapshot that was stored, its state in the present
// shape. It returns a [*DecodeError] if it cannot be read, or must not be used: of
// another type, newer than the code, or with another mark than the shape has now.
func (m *Mapper) DecodeSnapshot(ctx context.Context, t *annals.SnapshotType, s *StoredSnapshot) (annals.Snapshot, error) {
	snapshot := annals.Snapshot{StreamID: s.StreamID, Version: s.Version, CreatedAt: s.CreatedAt, ModifiedAt: s.ModifiedAt}
	err := knownShape(s.Shape, t.Shape())
	switch {
	case err != nil:
	case s.Topic != t.Name():
		err = fmt.Errorf("it is a snapshot of %s, not of %s", s.Topic, t.Name())
	case s.Mark != t.Mark(s.Shape):
		err = fmt.Errorf("its type has changed since, or the revision: its mark is %s, not %s", s.Mark, t.Mark(s.Shape))
	default:
		err = m.open(ctx, s.State, s.Encoding, placeOfSnapshot(s), func(transcoder decoding, state []byte) (err error) {
			snapshot.State, err = t.Decode(s.Shape, state, transcoder.decode)
			return err
		})
	}
	if err != nil {
		err = fmt.Errorf("snapshot: %w", err)
		return annals.Snapshot{}, &DecodeError{Topic: s.Topic, StreamID: s.StreamID, Version: s.Version, Err: err}
	}
	return snapshot, nil
}

func unknownTopic(topic, streamID string, version int64) error {
	return &annals.UnknownTopicError{
		Topic: topic, StreamID: streamID, Version: version,
		Where: "the types that the application knows (NewRepository, WithTypes)",
	}
}
