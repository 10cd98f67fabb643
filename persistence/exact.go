package persistence

import (
	"encoding"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
)

// exactness says whether values of a type come back from JSON as they were.
type exactness struct {
	err     error // why they never do; nil if they do
	dynamic bool  // it depends on the value, because there is an any in it
}

var exactTypes sync.Map // a cache, reflect.Type → exactness

// checkExact returns an error that names the type and field if the value would
// not come back from JSON as it is. What only the encoder can see (text that is
// not UTF-8, floats that are not numbers) is left to it.
func checkExact(value any) error {
	t := reflect.TypeOf(value)
	if t == nil {
		return fmt.Errorf("there is no data (nil)")
	}
	x, ok := exactTypes.Load(t)
	if !ok {
		x, _ = exactTypes.LoadOrStore(t, inspect(t))
	}
	e, _ := x.(exactness)
	if e.err != nil || !e.dynamic {
		return e.err
	}
	return checkValue(reflect.ValueOf(value), t.String())
}

func inspect(t reflect.Type) exactness {
	i := inspector{seen: make(map[reflect.Type]bool)}
	err := i.walk(t, t.String())
	return exactness{err: err, dynamic: i.dynamic}
}

type inspector struct {
	seen    map[reflect.Type]bool
	dynamic bool
}

func (i *inspector) walk(t reflect.Type, path string) error {
	if i.seen[t] {
		return nil
	}
	i.seen[t] = true
	if encodes, decodes := ownJSON(t); encodes && decodes {
		return nil
	} else if encodes {
		return inexact(path, "has a method to encode itself, and none to decode itself; add UnmarshalJSON or UnmarshalText")
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return i.walk(t.Elem(), path)
	case reflect.Map:
		if k := t.Key(); !isKey(k) {
			return inexact(path, "is a map with keys of type %v, which JSON does not have", k)
		}
		return i.walk(t.Elem(), path)
	case reflect.Struct:
		return i.walkStruct(t, path)
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return inexact(path, "is an interface, %v: nothing says which type to decode; use a concrete type", t)
		}
		i.dynamic = true
		return nil
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return inexact(path, "is a %v, which JSON does not have", t.Kind())
	default:
		return nil
	}
}

func (i *inspector) walkStruct(t reflect.Type, path string) error {
	for f := range fields(t) {
		at := path + "." + f.Name
		if !f.IsExported() && !f.Anonymous {
			return inexact(at, "is not exported, so JSON leaves it out; export it, tag it `json:\"-\"`, "+
				"or give %v MarshalJSON and UnmarshalJSON", t)
		}
		if err := i.walk(f.Type, at); err != nil {
			return err
		}
	}
	return nil
}

// fields yields the fields of a struct that are meant to be stored.
func fields(t reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for f := range t.Fields() {
			if f.Tag.Get("json") == "-" || f.Name == "_" {
				continue
			}
			if !yield(f) {
				return
			}
		}
	}
}

func inexact(path, format string, args ...any) error {
	return fmt.Errorf("%s "+format, append([]any{path}, args...)...)
}

var (
	jsonMarshaler     = reflect.TypeFor[json.Marshaler]()
	jsonMarshalerTo   = reflect.TypeFor[json.MarshalerTo]()
	textMarshaler     = reflect.TypeFor[encoding.TextMarshaler]()
	textAppender      = reflect.TypeFor[encoding.TextAppender]()
	jsonUnmarshaler   = reflect.TypeFor[json.Unmarshaler]()
	jsonUnmarshalFrom = reflect.TypeFor[json.UnmarshalerFrom]()
	textUnmarshaler   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// ownJSON reports whether the type says itself how it is encoded and decoded.
func ownJSON(t reflect.Type) (encodes, decodes bool) {
	implements := func(interfaces ...reflect.Type) bool {
		for _, i := range interfaces {
			if t.Implements(i) || t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(i) {
				return true
			}
		}
		return false
	}
	return implements(jsonMarshaler, jsonMarshalerTo, textMarshaler, textAppender),
		implements(jsonUnmarshaler, jsonUnmarshalFrom, textUnmarshaler)
}

func isKey(t reflect.Type) bool {
	if encodes, decodes := ownJSON(t); encodes || decodes {
		return encodes && decodes
	}
	switch t.Kind() {
	case reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64:
		return true
	default:
		return false
	}
}

// checkValue looks at what the anys in a value hold: nil, booleans, strings,
// float64, and slices and maps of these, are what JSON gives back.
func checkValue(v reflect.Value, path string) error {
	if encodes, _ := ownJSON(v.Type()); encodes {
		return nil
	}
	switch v.Kind() {
	case reflect.Interface:
		return checkAny(v.Interface(), path)
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return checkValue(v.Elem(), path)
	case reflect.Slice, reflect.Array:
		for n := range v.Len() {
			if err := checkValue(v.Index(n), path); err != nil {
				return err
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			if err := checkValue(entries.Value(), path); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for f := range fields(v.Type()) {
			if err := checkValue(v.FieldByIndex(f.Index), path+"."+f.Name); err != nil {
				return err
			}
		}
	default:
	}
	return nil
}

func checkAny(value any, path string) error {
	switch value := value.(type) {
	case nil, bool, string, float64:
		return nil
	case []any:
		if value == nil {
			break
		}
		for _, e := range value {
			if err := checkAny(e, path); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		if value == nil {
			break
		}
		for _, e := range value {
			if err := checkAny(e, path); err != nil {
				return err
			}
		}
		return nil
	}
	return inexact(path, "is an any that holds a %s, which JSON gives back as another type; use a concrete type",
		strings.ReplaceAll(fmt.Sprintf("%T", value), "interface {}", "any"))
}
