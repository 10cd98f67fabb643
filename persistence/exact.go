package persistence

import (
	"encoding"
	"fmt"
	"iter"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// exactness says whether values of a type come back from JSON as they were.
type exactness struct {
	err     error // why they never do; nil if they do
	dynamic bool  // it depends on the value: there is an any in it, or a time
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
	c := valueChecker{path: []string{t.String()}}
	return c.check(reflect.ValueOf(value))
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

var timeType = reflect.TypeFor[time.Time]()

func (i *inspector) walk(t reflect.Type, path string) error {
	if i.seen[t] {
		return nil
	}
	i.seen[t] = true
	if t == timeType {
		i.dynamic = true
		return nil
	}
	if t.Kind() == reflect.Interface {
		if t.NumMethod() > 0 {
			return inexact(path, "is an interface, %v: nothing says which type to decode; use a concrete type", t)
		}
		i.dynamic = true
		return nil
	}
	switch encodes, decodes := ownJSON(t); {
	case encodes && promoted(t):
		return inexact(path, "embeds a type with its own JSON, which would stand for all of %v; give that field a name", t)
	case encodes && !decodes:
		return inexact(path, "has a method to encode itself, and none to decode itself; add UnmarshalJSON or UnmarshalText")
	case encodes:
		return nil
	}
	return i.walkKind(t, path)
}

func (i *inspector) walkKind(t reflect.Type, path string) error {
	switch t.Kind() {
	case reflect.Pointer:
		switch k := t.Elem().Kind(); k {
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
			return inexact(path, "is a pointer to a %v: JSON has one null for both; use one of the two", k)
		default:
			return i.walk(t.Elem(), path)
		}
	case reflect.Slice, reflect.Array:
		return i.walk(t.Elem(), path)
	case reflect.Map:
		if k := t.Key(); !isKey(k) {
			return inexact(path, "is a map with keys of type %v, which JSON does not have", k)
		}
		return i.walk(t.Elem(), path)
	case reflect.Struct:
		return i.walkStruct(t, path, make(map[string]string))
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return inexact(path, "is a %v, which JSON does not have", t.Kind())
	default:
		return nil
	}
}

// walkStruct looks at the fields of a struct, and of those that are embedded in
// it, whose names must all differ: of two that are equal JSON stores neither.
func (i *inspector) walkStruct(t reflect.Type, path string, names map[string]string) error {
	for f := range fields(t) {
		at := path + "." + f.Name
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		embedded := f.Anonymous && name == ""
		encodes, _ := ownJSON(f.Type)
		var err error
		switch {
		case embedded && f.Type.Kind() == reflect.Struct && !encodes:
			err = i.walkStruct(f.Type, at, names)
		case embedded && f.Type.Kind() == reflect.Pointer:
			err = inexact(at, "is an embedded pointer, which JSON cannot keep apart from its fields; give it a name, or embed the value")
		case !f.IsExported():
			err = inexact(at, "is not exported, so JSON leaves it out; export it, tag it `json:\"-\"`, "+
				"or give %v MarshalJSON and UnmarshalJSON", t)
		default:
			if name == "" {
				name = f.Name
			}
			if other, ok := names[name]; ok {
				return inexact(at, "has the same name in JSON, %q, as %s", name, other)
			}
			names[name] = at
			err = i.walk(f.Type, at)
		}
		if err != nil {
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

// promoted reports whether a struct has its JSON from a field that is embedded in
// it, and not from methods of its own.
func promoted(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	embeds := false
	for f := range t.Fields() {
		if encodes, _ := ownJSON(f.Type); f.Anonymous && encodes {
			embeds = true
		}
	}
	if !embeds {
		return false
	}
	for _, name := range []string{"MarshalJSONTo", "MarshalJSON", "AppendText", "MarshalText"} {
		for _, t := range []reflect.Type{t, reflect.PointerTo(t)} { // a method of *T is made of one of T
			if m, ok := t.MethodByName(name); ok {
				file, _ := runtime.FuncForPC(m.Func.Pointer()).FileLine(m.Func.Pointer())
				return file == "<autogenerated>" // as the compiler calls methods that it makes for embedded fields
			}
		}
	}
	return true
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

// maxDepth is how deep a value may be nested. What is deeper contains itself.
const maxDepth = 1000

// valueChecker looks at what the type of a value leaves open: what its anys hold,
// and the offsets of its times.
type valueChecker struct {
	path  []string // the type, and the fields down to the value
	depth int
}

func (c *valueChecker) inexact(format string, args ...any) error {
	return inexact(strings.Join(c.path[:min(len(c.path), maxPath)], "."), format, args...)
}

func (c *valueChecker) check(v reflect.Value) error {
	if c.depth++; c.depth > maxDepth {
		return c.inexact("is nested more than %d deep, or contains itself", maxDepth)
	}
	defer func() { c.depth-- }()
	if v.Type() == timeType {
		return c.checkTime(v)
	}
	if v.Kind() == reflect.Interface {
		return c.checkAny(v.Interface())
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		return c.check(v.Elem())
	}
	if encodes, _ := ownJSON(v.Type()); encodes {
		return nil
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for n := range v.Len() {
			if err := c.check(v.Index(n)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			if err := c.check(entries.Value()); err != nil {
				return err
			}
		}
	case reflect.Struct:
		return c.checkStruct(v)
	default:
	}
	return nil
}

func (c *valueChecker) checkStruct(v reflect.Value) error {
	for f := range fields(v.Type()) {
		c.path = append(c.path, f.Name)
		if err := c.check(v.FieldByIndex(f.Index)); err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
	}
	return nil
}

func (c *valueChecker) checkTime(v reflect.Value) error {
	if !v.CanInterface() {
		return nil
	}
	t, _ := reflect.TypeAssert[time.Time](v)
	if _, offset := t.Zone(); offset%60 != 0 {
		return c.inexact("is a time whose offset from UTC has seconds, which JSON does not have; use its UTC()")
	}
	return nil
}

// checkAny looks at what an any holds: nil, booleans, strings, float64, and slices
// and maps of these, are what JSON gives back.
func (c *valueChecker) checkAny(value any) error {
	if c.depth++; c.depth > maxDepth {
		return c.inexact("is nested more than %d deep, or contains itself", maxDepth)
	}
	defer func() { c.depth-- }()
	switch value := value.(type) {
	case nil, bool, string, float64:
		return nil
	case []any:
		if value == nil {
			break
		}
		for _, e := range value {
			if err := c.checkAny(e); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		if value == nil {
			break
		}
		for _, e := range value {
			if err := c.checkAny(e); err != nil {
				return err
			}
		}
		return nil
	}
	return c.inexact("is an any that holds a %s, which JSON gives back as another type; use a concrete type",
		strings.ReplaceAll(fmt.Sprintf("%T", value), "interface {}", "any"))
}
