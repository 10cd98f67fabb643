package exact

import (
	"fmt"
	"reflect"
	"slices"
)

// Field is a field that is stored, of a struct or of one that is embedded in it.
type Field struct {
	// Name is the field's name in Go, with those of the structs that it is embedded
	// in before it: "Base.ID".
	Name string
	// Type is its type in Go, and Index its place, for [reflect.Value.FieldByIndex].
	Type  reflect.Type
	Index []int
	// Stored is what its tags say, with the name under which it is stored.
	Stored Tag

	goName string
	tagged string // the name in the tag
}

// Fields returns the fields of a struct that are stored, in their order. That of an
// aggregate's identity has none.
func (r *Rules) Fields(t reflect.Type) []Field { return r.fields(nil, t, Field{}) }

func (r *Rules) fields(all []Field, t reflect.Type, in Field) []Field {
	for n := range t.NumField() {
		f := t.Field(n)
		tag := r.Tag(&f)
		if tag.Skip || f.Name == "_" {
			continue
		}
		field := Field{
			Name: in.Name + f.Name, Type: f.Type, Index: append(slices.Clip(in.Index), n), Stored: tag,
			goName: f.Name, tagged: tag.Name,
		}
		switch {
		case r.embeds(&f, tag.Name):
			field.Name += "."
			all = r.fields(all, f.Type, field)
		case f.IsExported():
			if tag.Name == "" {
				field.Stored.Name = f.Name
			}
			all = append(all, field)
		}
	}
	return all
}

// Flat is a struct type without embedded structs, in whose values the stored fields
// of another struct type are.
type Flat struct {
	Type   reflect.Type
	Fields []Field // of the other type, one for each field of Type
}

// Flatten returns a struct type for the stored fields of t, whose types are what
// as returns for them.
func (r *Rules) Flatten(t reflect.Type, as func(f *Field) reflect.Type) *Flat {
	flat := &Flat{Fields: r.Fields(t)}
	names := make(map[string]bool)
	fields := make([]reflect.StructField, len(flat.Fields))
	for n := range flat.Fields {
		f := &flat.Fields[n]
		name, tagged := f.goName, f.tagged
		if names[name] {
			name, tagged = fmt.Sprintf("%s__%d", name, n), f.Stored.Name
		}
		names[name] = true
		fields[n] = reflect.StructField{
			Name: name, Type: as(f), Tag: reflect.StructTag(fmt.Sprintf("%s:%q", r.TagKey, tagged+f.Stored.Options)),
		}
	}
	flat.Type = reflect.StructOf(fields)
	return flat
}

// Take returns a pointer to a value of the flat type, with the fields of v, which
// must have the same types.
func (f *Flat) Take(v reflect.Value) reflect.Value {
	taken := reflect.New(f.Type)
	for n := range f.Fields {
		taken.Elem().Field(n).Set(v.FieldByIndex(f.Fields[n].Index))
	}
	return taken
}

// Put puts the fields of a value of the flat type into v.
func (f *Flat) Put(taken, v reflect.Value) {
	for n := range f.Fields {
		v.FieldByIndex(f.Fields[n].Index).Set(taken.Field(n))
	}
}
