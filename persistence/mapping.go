package persistence

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence/internal/exact"
)

// TypeMapping says how the values of a type are stored, which has no methods for
// it. It is made by [StoreAs], and handed to the transcoders that are to use it.
type TypeMapping struct {
	typ, as   reflect.Type
	to        func(value any) any
	from      func(stored any) (any, error)
	marshal   *json.Marshalers
	unmarshal *json.Unmarshalers
	err       error // what is wrong with it
}

// StoreAs makes values of T be stored as values of U, for types of others, to
// which no methods can be given. It goes before methods that T has.
//
//	persistence.JSON(persistence.StoreAs(decimal.Decimal.String, decimal.NewFromString))
//
// From must give back a value that is equal to the one that to was given, for every
// value of T. Neither may keep or change what it is given, or panic, and both must
// be safe for concurrent use. An error of from makes the event undecodable; its
// text is not told, because it may quote data. A value that is missing in what was
// stored is the zero value of T, without a call of from.
//
// T is a type with a name, and neither a pointer nor an interface: a mapping of T
// also holds for fields of the type *T, but not for the keys of maps, nor for an
// embedded T. U is whatever the transcoder can store, and neither a pointer nor an
// interface; it may have mapped types in it. With a mapping that breaks these
// rules, and with two of one T, the transcoder refuses every value.
func StoreAs[T, U any](to func(value T) U, from func(stored U) (T, error)) TypeMapping {
	m := TypeMapping{typ: reflect.TypeFor[T](), as: reflect.TypeFor[U]()}
	if m.err = m.check(to == nil || from == nil); m.err != nil {
		return m
	}
	m.to = func(value any) any { return to(value.(T)) }                //nolint:forcetypeassert // see To
	m.from = func(stored any) (any, error) { return from(stored.(U)) } //nolint:forcetypeassert // see From
	m.marshal = json.MarshalToFunc(func(e *jsontext.Encoder, value T) error {
		return json.MarshalEncode(e, to(value))
	})
	m.unmarshal = json.UnmarshalFromFunc(func(d *jsontext.Decoder, value *T) error {
		var stored U
		if err := json.UnmarshalDecode(d, &stored); err != nil {
			return err
		}
		v, err := from(stored)
		if err != nil {
			return errRefused
		}
		*value = v
		return nil
	})
	return m
}

// errRefused stands for an error of a user's function, which may quote data.
var errRefused = errors.New("the function of its mapping refuses it")

func (m TypeMapping) check(noFunction bool) error {
	none := func(k reflect.Kind) bool { return k == reflect.Pointer || k == reflect.Interface }
	var wrong string
	switch {
	case noFunction:
		wrong = "has no function"
	case m.typ.PkgPath() == "" || none(m.typ.Kind()):
		wrong = "is not of a type with a name; map the type that a pointer points to"
	case none(m.as.Kind()):
		wrong = fmt.Sprintf("is to %v; map to a struct, a text, a number", m.as)
	default:
		return nil
	}
	return fmt.Errorf("the mapping of %v %s: %w", m.typ, wrong, annals.ErrConfiguration)
}

// GoType returns the type that is mapped, T.
func (m TypeMapping) GoType() reflect.Type { return m.typ }

// StoredType returns the type of what is stored, U.
func (m TypeMapping) StoredType() reflect.Type { return m.as }

// To returns the U that is stored for a T.
func (m TypeMapping) To(value any) any { return m.to(value) }

// From returns the T that was stored as a U.
func (m TypeMapping) From(stored any) (any, error) { return m.from(stored) }

// CheckMappings returns [annals.ErrConfiguration] if a transcoder cannot use the
// mappings together.
func CheckMappings(mappings ...TypeMapping) error {
	all := make(map[reflect.Type]TypeMapping, len(mappings))
	for _, m := range mappings {
		if m.err == nil && m.to == nil {
			m.err = fmt.Errorf("a mapping was not made by StoreAs: %w", annals.ErrConfiguration)
		}
		if m.err != nil {
			return m.err
		}
		if _, ok := all[m.typ]; ok {
			return fmt.Errorf("%v has two mappings: %w", m.typ, annals.ErrConfiguration)
		}
		all[m.typ] = m
	}
	for _, m := range mappings {
		seen := make(map[reflect.Type]bool)
		for next, ok := m, true; ok; next, ok = all[next.as] {
			if seen[next.typ] {
				return fmt.Errorf("the mapping of %v leads back to it: %w", m.typ, annals.ErrConfiguration)
			}
			seen[next.typ] = true
		}
	}
	return nil
}

// mapped returns the mappings by their types, as rules know them.
func mapped(mappings []TypeMapping) func(reflect.Type) (exact.Mapping, bool) {
	all := make(map[reflect.Type]exact.Mapping, len(mappings))
	for _, m := range mappings {
		all[m.typ] = exact.Mapping{As: m.as, To: m.to}
	}
	return func(t reflect.Type) (exact.Mapping, bool) {
		m, ok := all[t]
		return m, ok
	}
}
