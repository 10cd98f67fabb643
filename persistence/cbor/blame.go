package cbor

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/annals-es/annals/persistence/internal/exact"
)

// The errors of the library quote data, or do not say where: a value or data that
// failed is looked through, part by part, for the one that does.

// fault says what is wrong with a part of a value.
type fault struct {
	root reflect.Type
	path []string // the names of the fields down to it; of elements and the values of maps it is "*"
	typ  reflect.Type
	what string
}

func (f *fault) Error() string {
	where := strings.Join(append([]string{f.root.String()}, f.path...), ".")
	if f.typ != f.root {
		where += fmt.Sprintf(" (%v)", f.typ)
	}
	return where + ": " + f.what
}

// at returns the place of a part.
func (f *fault) at(name string, t reflect.Type) *fault {
	return &fault{root: f.root, path: append(slices.Clip(f.path), name), typ: t}
}

// blame returns the error for a value that cannot be encoded, though its type and
// what it holds are fine.
func (c *transcoder) blame(value any) error {
	t := reflect.TypeOf(value)
	f := c.blameValue(reflect.ValueOf(value), &fault{root: t, typ: t})
	if f == nil { // its own methods fail at times
		return fmt.Errorf("%v: its value cannot be stored as CBOR", t)
	}
	return f
}

// blameValue returns the fault of a value; nil if it has none.
func (c *transcoder) blameValue(v reflect.Value, at *fault) *fault {
	out, err := c.append(nil, v.Interface())
	if err == nil {
		err = c.check(out)
	}
	if err == nil {
		return nil
	}
	if len(at.path) < exact.MaxPath {
		if in := c.blameIn(v, at); in != nil {
			return in
		}
	}
	switch {
	case errors.Is(err, errLarge):
		at.what = fmt.Sprintf("has more than %d elements, or is nested more than %d deep", MaxElements, exact.MaxDepth)
	case errors.Is(err, errText):
		at.what = "its text is not UTF-8"
	default:
		at.what = "its own methods, or those of a value in it, do not encode it"
	}
	return at
}

// blameIn returns the fault of a part of the value; nil if none has one.
func (c *transcoder) blameIn(v reflect.Value, at *fault) *fault {
	t := v.Type()
	switch {
	case (t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface) && !v.IsNil():
		at.typ = v.Elem().Type()
		return c.blameValue(v.Elem(), at)
	case c.rules.Stands(t):
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		for _, f := range c.rules.Fields(t) {
			if in := c.blameValue(v.FieldByIndex(f.Index), at.at(f.Name, f.Type)); in != nil {
				return in
			}
		}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return nil
		}
		for n := range v.Len() {
			if in := c.blameValue(v.Index(n), at.at("*", t.Elem())); in != nil {
				return in
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			if in := c.blameValue(entries.Value(), at.at("*", t.Elem())); in != nil {
				return in
			}
		}
	default:
	}
	return nil
}

// blameData returns the error for data that cannot be decoded.
func (c *transcoder) blameData(data []byte, t reflect.Type) error {
	at := &fault{root: t, typ: t}
	if err := c.decode.Wellformed(data); err != nil {
		at.what = "the CBOR is not valid"
		if _, ok := errors.AsType[*cbor.MaxNestedLevelError](err); ok {
			at.what = fmt.Sprintf("the CBOR is nested more than %d deep", maxNested)
		}
		return at
	}
	if f := c.blamePart(data, t, at); f != nil {
		return f
	}
	return fmt.Errorf("%v: its value is refused", t) // its own methods fail at times
}

// blamePart returns the fault of data that is to be a t; nil if it has none.
func (c *transcoder) blamePart(data []byte, t reflect.Type, at *fault) *fault {
	err := c.unmarshal(data, reflect.New(t))
	if err == nil {
		return nil
	}
	if len(at.path) < exact.MaxPath {
		if in := c.blameInData(data, t, at); in != nil {
			return in
		}
	}
	if _, ok := errors.AsType[*cbor.DupMapKeyError](err); ok {
		at.what = "the CBOR has a key twice"
		return at
	}
	at.what = "a CBOR " + kindName(data) + " does not fit"
	return at
}

func (c *transcoder) blameInData(data []byte, t reflect.Type, at *fault) *fault {
	if m, ok := c.mappings[t]; ok {
		if in := c.blamePart(data, m.StoredType(), at); in != nil && len(in.path) > len(at.path) {
			return in
		}
		return nil
	}
	switch {
	case t.Kind() == reflect.Pointer:
		at.typ = t.Elem()
		return c.blamePart(data, t.Elem(), at)
	case c.rules.Stands(t):
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return c.blameInStruct(data, t, at)
	case reflect.Slice, reflect.Array:
		var elements []cbor.RawMessage
		if !c.splits(data, &elements) {
			return nil
		}
		for _, raw := range elements {
			if in := c.blamePart(raw, t.Elem(), at.at("*", t.Elem())); in != nil {
				return in
			}
		}
	case reflect.Map:
		entries := reflect.New(reflect.MapOf(t.Key(), rawType))
		if !c.splits(data, entries.Interface()) {
			return nil
		}
		for each := entries.Elem().MapRange(); each.Next(); {
			if in := c.blamePart(each.Value().Bytes(), t.Elem(), at.at("*", t.Elem())); in != nil {
				return in
			}
		}
	default:
	}
	return nil
}

func (c *transcoder) blameInStruct(data []byte, t reflect.Type, at *fault) *fault {
	flat := c.rules.Flatten(t, func(*exact.Field) reflect.Type { return rawType })
	raw := reflect.New(flat.Type)
	if !c.splits(data, raw.Interface()) {
		return nil
	}
	for n, f := range flat.Fields {
		if part := raw.Elem().Field(n).Bytes(); len(part) > 0 {
			if in := c.blamePart(part, f.Type, at.at(f.Name, f.Type)); in != nil {
				return in
			}
		}
	}
	return nil
}

// splits decodes into parts that are CBOR. It returns false if the fault is in how
// the parts are put together.
func (c *transcoder) splits(data []byte, parts any) bool {
	return c.decode.Unmarshal(data, parts) == nil
}

// kindName returns what the data is, without its tags.
func kindName(data []byte) string {
	for len(data) > 0 && data[0]>>5 == majorTag {
		_, _, data, _ = head(data)
	}
	switch {
	case len(data) == 0:
		return "item"
	case data[0] == 0xf4 || data[0] == 0xf5:
		return "boolean"
	case data[0] == 0xf6 || data[0] == 0xf7:
		return "null"
	}
	return [...]string{"integer", "integer", "byte string", "text", "array", "map", "tag", "float"}[data[0]>>5]
}
