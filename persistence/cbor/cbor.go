// Package cbor stores the data of events and snapshots as CBOR (RFC 8949): binary,
// smaller than JSON, and not to be read without a tool.
//
//	app, err := application.Open(ctx, "dogschool", application.WithTranscoder(cbor.New()))
//
// What was stored as JSON before stays readable.
package cbor

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/fxamacker/cbor/v2"

	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/internal/exact"
)

// Driver lets an environment choose CBOR by its name.
var Driver = persistence.Driver{
	Name: "cbor",
	Transcoder: func(context.Context, *persistence.Settings) (persistence.Transcoder, error) {
		return New(), nil
	},
}

// MaxElements is how many elements a slice, an array or a map may have.
const MaxElements = 1 << 20

// maxNested is how many levels of CBOR may be nested: those that a value may have,
// each with a tag.
const maxNested = 2 * exact.MaxDepth

// New returns a transcoder that makes core deterministic CBOR, by the rules of
// github.com/fxamacker/cbor: equal values have equal bytes. The names of fields
// are those of the tag cbor, otherwise of the tag json, otherwise of Go; the option
// keyasint stores a number in place of a name.
//
// A value either comes back as it was, or is refused on save with an error that
// names the type and the field. What [persistence.JSON] refuses is refused here,
// with these differences:
//
//   - Floats that are not numbers are fine: a NaN comes back as a NaN.
//   - An any holds a bool, string, int64, float64 or []byte, or slices and maps of
//     any, as []any and map[string]any.
//   - A type with methods of its own needs two that belong together: MarshalCBOR and
//     UnmarshalCBOR, else MarshalBinary and UnmarshalBinary, else MarshalText and
//     UnmarshalText. It comes back as these say, cbor.RawMessage among them. A type
//     that has methods for JSON only is refused, also json.RawMessage: add some of
//     these, or see [persistence.StoreAs]. So is uuid.NullUUID: use a *uuid.UUID.
//   - The keys of maps are no floats.
//   - A time is refused if it is behind a pointer and zero, or zero with an offset,
//     because a zero time is stored as null.
//   - The option toarray is refused: a field that is added later would make what is
//     stored unreadable.
//   - Slices, arrays and maps have at most [MaxElements] elements.
//
// When an event is read, fields that the type does not have are ignored, and fields
// that are missing are zero. Keys that occur twice, texts that are not UTF-8, and
// bytes behind the end are refused. An array of Go that has become shorter or longer
// than the stored one is cut, or filled up with zeros.
//
// The types of mappings are stored as the mappings say.
func New(mappings ...persistence.TypeMapping) persistence.Transcoder {
	if len(mappings) == 0 {
		return plain // with what it knows of types
	}
	return newTranscoder(mappings)
}

type transcoder struct {
	rules    *exact.Rules
	checker  *exact.Checker
	encode   cbor.UserBufferEncMode
	decode   cbor.DecMode
	mappings map[reflect.Type]persistence.TypeMapping
	forms    sync.Map // a cache, reflect.Type → *form of those that have mapped types in them, nil of others
	err      error    // of the mappings
}

var plain = newTranscoder(nil)

func newTranscoder(mappings []persistence.TypeMapping) *transcoder {
	c := &transcoder{
		mappings: make(map[reflect.Type]persistence.TypeMapping, len(mappings)),
		err:      persistence.CheckMappings(mappings...),
	}
	for _, m := range mappings {
		c.mappings[m.GoType()] = m
	}
	options := cbor.CoreDetEncOptions()
	options.NaNConvert = cbor.NaNConvertNone
	options.Time = cbor.TimeRFC3339Nano
	options.TimeTag = cbor.EncTagRequired
	options.ByteArray = cbor.ByteArrayToByteSlice
	options.TextMarshaler = cbor.TextMarshalerTextString
	encode, err := options.UserBufferEncMode()
	if err != nil {
		panic(err) // the options are constant
	}
	c.encode = encode
	c.decode, err = cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		TimeTag:           cbor.DecTagRequired,
		MaxNestedLevels:   maxNested,
		MaxArrayElements:  MaxElements,
		MaxMapPairs:       MaxElements,
		IndefLength:       cbor.IndefLengthForbidden,
		IntDec:            cbor.IntDecConvertSignedOrFail,
		DefaultMapType:    reflect.TypeFor[map[string]any](),
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		TextUnmarshaler:   cbor.TextUnmarshalerTextString,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constant
	}
	c.rules = c.newRules()
	c.checker = exact.New(c.rules)
	return c
}

func (c *transcoder) Name() string { return "cbor" }

func (c *transcoder) CheckType(t reflect.Type) error {
	if c.err != nil {
		return c.err
	}
	return c.checker.CheckType(t)
}

func (c *transcoder) Encode(dst []byte, value any) ([]byte, error) {
	if c.err != nil {
		return nil, c.err
	}
	if err := c.checker.Check(value); err != nil {
		return nil, err
	}
	out, err := c.append(dst, value)
	if err == nil {
		err = c.check(out[len(dst):])
	}
	if err != nil {
		return nil, c.blame(value)
	}
	return out, nil
}

// buffers are those that CBOR is appended by.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// append appends the CBOR of a value that was checked.
func (c *transcoder) append(dst []byte, value any) ([]byte, error) {
	if f := c.form(reflect.TypeOf(value)); f != nil {
		mirror := reflect.New(f.typ).Elem()
		if err := f.to(mirror, reflect.ValueOf(value)); err != nil {
			return nil, err
		}
		value = mirror.Interface()
	}
	if dst == nil {
		return c.encode.Marshal(value)
	}
	b, _ := buffers.Get().(*bytes.Buffer)
	*b = *bytes.NewBuffer(dst)
	err := c.encode.MarshalToBuffer(value, b)
	dst = b.Bytes()
	*b = bytes.Buffer{}
	buffers.Put(b)
	return dst, err
}

func (c *transcoder) Decode(data []byte, target any) error {
	if c.err != nil {
		return c.err
	}
	t := reflect.TypeOf(target).Elem()
	if isNull(data) && t.Kind() == reflect.Struct && !c.rules.Stands(t) {
		return fmt.Errorf("%v: the CBOR is null, and nothing is stored so", t)
	}
	if err := c.unmarshal(data, reflect.ValueOf(target)); err != nil {
		return c.blameData(data, t)
	}
	return nil
}

// unmarshal decodes into what target points to, by way of its form, if it has one.
func (c *transcoder) unmarshal(data []byte, target reflect.Value) error {
	f := c.form(target.Type().Elem())
	if f == nil {
		return c.decode.Unmarshal(data, target.Interface())
	}
	mirror := reflect.New(f.typ)
	if err := c.decode.Unmarshal(data, mirror.Interface()); err != nil {
		return err
	}
	return f.from(target.Elem(), mirror.Elem())
}
