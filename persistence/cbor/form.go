package cbor

import (
	"errors"
	"reflect"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/internal/exact"
)

// form is how values of a type are encoded that has mapped types in it: as those
// of another type, in which CBOR that is ready stands for the mapped values. The
// library has no functions for types.
type form struct {
	typ  reflect.Type
	to   func(dst, src reflect.Value) error // dst is a typ
	from func(dst, src reflect.Value) error // src is a typ
}

var rawType = reflect.TypeFor[cbor.RawMessage]()

// errRefused stands for the errors of a mapping, which may quote data.
var errRefused = errors.New("cbor: the function of a mapping refuses a value")

// form returns the form of a type; nil if it has no mapped types in it.
func (c *transcoder) form(t reflect.Type) *form {
	if len(c.mappings) == 0 || t == nil {
		return nil
	}
	known, ok := c.forms.Load(t)
	if !ok {
		var f *form
		if c.hasMapped(t, make(map[reflect.Type]bool)) {
			f = c.formOf(t, make(map[reflect.Type]bool))
		}
		known, _ = c.forms.LoadOrStore(t, f)
	}
	f, _ := known.(*form)
	return f
}

func (c *transcoder) hasMapped(t reflect.Type, seen map[reflect.Type]bool) bool {
	if _, ok := c.mappings[t]; ok {
		return true
	}
	if seen[t] || c.rules.Stands(t) && t.Kind() != reflect.Pointer {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return c.hasMapped(t.Elem(), seen)
	case reflect.Struct:
		for _, f := range c.rules.Fields(t) {
			if c.hasMapped(f.Type, seen) {
				return true
			}
		}
	default:
	}
	return false
}

// formOf makes a form. Open are the types whose form is being made: where one of
// them occurs again, in a tree, it becomes CBOR that is ready.
func (c *transcoder) formOf(t reflect.Type, open map[reflect.Type]bool) *form {
	m, mapped := c.mappings[t]
	switch {
	case mapped:
		return c.mappedForm(m)
	case !c.hasMapped(t, make(map[reflect.Type]bool)):
		set := func(dst, src reflect.Value) error { dst.Set(src); return nil }
		return &form{typ: t, to: set, from: set}
	case open[t]:
		return c.rawForm()
	}
	open[t] = true
	defer delete(open, t)
	switch t.Kind() {
	case reflect.Pointer:
		return pointerForm(c.formOf(t.Elem(), open))
	case reflect.Slice:
		return sliceForm(c.formOf(t.Elem(), open))
	case reflect.Array:
		elem := c.formOf(t.Elem(), open)
		each := func(do func(dst, src reflect.Value) error) func(dst, src reflect.Value) error {
			return func(dst, src reflect.Value) error { return forEach(dst, src, do) }
		}
		return &form{typ: reflect.ArrayOf(t.Len(), elem.typ), to: each(elem.to), from: each(elem.from)}
	case reflect.Map:
		return mapForm(t, c.formOf(t.Elem(), open))
	default:
		return c.structForm(t, open)
	}
}

// mappedForm is that of a mapped type.
func (c *transcoder) mappedForm(m persistence.TypeMapping) *form {
	return &form{
		typ: rawType,
		to: func(dst, src reflect.Value) error {
			raw, err := c.append(nil, m.To(src.Interface()))
			dst.SetBytes(raw)
			return err
		},
		from: func(dst, src reflect.Value) error {
			if src.Len() == 0 {
				return nil // it is missing
			}
			stored := reflect.New(m.StoredType())
			if err := c.unmarshal(src.Bytes(), stored); err != nil {
				return err
			}
			value, err := m.From(stored.Elem().Interface())
			if err != nil {
				return errRefused
			}
			dst.Set(reflect.ValueOf(value))
			return nil
		},
	}
}

// rawForm is that of a type inside of itself.
func (c *transcoder) rawForm() *form {
	return &form{
		typ: rawType,
		to: func(dst, src reflect.Value) error {
			raw, err := c.append(nil, src.Interface())
			dst.SetBytes(raw)
			return err
		},
		from: func(dst, src reflect.Value) error {
			if src.Len() == 0 {
				return nil
			}
			return c.unmarshal(src.Bytes(), dst.Addr())
		},
	}
}

func pointerForm(elem *form) *form {
	pointed := func(do func(dst, src reflect.Value) error) func(dst, src reflect.Value) error {
		return func(dst, src reflect.Value) error {
			if src.IsNil() {
				return nil
			}
			dst.Set(reflect.New(dst.Type().Elem()))
			return do(dst.Elem(), src.Elem())
		}
	}
	return &form{typ: reflect.PointerTo(elem.typ), to: pointed(elem.to), from: pointed(elem.from)}
}

func sliceForm(elem *form) *form {
	each := func(do func(dst, src reflect.Value) error) func(dst, src reflect.Value) error {
		return func(dst, src reflect.Value) error {
			if src.IsNil() {
				return nil
			}
			dst.Set(reflect.MakeSlice(dst.Type(), src.Len(), src.Len()))
			return forEach(dst, src, do)
		}
	}
	return &form{typ: reflect.SliceOf(elem.typ), to: each(elem.to), from: each(elem.from)}
}

func forEach(dst, src reflect.Value, do func(dst, src reflect.Value) error) error {
	for n := range src.Len() {
		if err := do(dst.Index(n), src.Index(n)); err != nil {
			return err
		}
	}
	return nil
}

func mapForm(t reflect.Type, elem *form) *form {
	each := func(do func(dst, src reflect.Value) error) func(dst, src reflect.Value) error {
		return func(dst, src reflect.Value) error {
			if src.IsNil() {
				return nil
			}
			dst.Set(reflect.MakeMapWithSize(dst.Type(), src.Len()))
			for entries := src.MapRange(); entries.Next(); {
				value := reflect.New(dst.Type().Elem()).Elem()
				if err := do(value, entries.Value()); err != nil {
					return err
				}
				dst.SetMapIndex(entries.Key(), value)
			}
			return nil
		}
	}
	return &form{typ: reflect.MapOf(t.Key(), elem.typ), to: each(elem.to), from: each(elem.from)}
}

func (c *transcoder) structForm(t reflect.Type, open map[reflect.Type]bool) *form {
	var fields []*form
	flat := c.rules.Flatten(t, func(f *exact.Field) reflect.Type {
		in := c.formOf(f.Type, open)
		fields = append(fields, in)
		return in.typ
	})
	return &form{
		typ: flat.Type,
		to: func(dst, src reflect.Value) error {
			for n, f := range fields {
				value := src.FieldByIndex(flat.Fields[n].Index)
				if value.IsZero() && strings.Contains(flat.Fields[n].Stored.Options, "omitzero") {
					continue
				}
				if err := f.to(dst.Field(n), value); err != nil {
					return err
				}
			}
			return nil
		},
		from: func(dst, src reflect.Value) error {
			for n, f := range fields {
				if err := f.from(dst.FieldByIndex(flat.Fields[n].Index), src.Field(n)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
