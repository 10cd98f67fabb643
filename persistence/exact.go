package persistence

import (
	"encoding"
	"reflect"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/annals-es/annals/persistence/internal/exact"
)

// rulesJSON are those by which values come back from JSON.
func rulesJSON(mappings []TypeMapping) *exact.Rules {
	return &exact.Rules{
		Name: "JSON", Skip: "`json:\"-\"`", Methods: "MarshalJSON and UnmarshalJSON",
		TagKey: "json", Tag: tagJSON,
		Own:      ownJSON,
		Encoders: []string{"MarshalJSONTo", "MarshalJSON", "AppendText", "MarshalText"},
		Decoders: []string{"UnmarshalJSONFrom", "UnmarshalJSON", "UnmarshalText"},
		Key:      isKeyJSON,
		Lacks: []reflect.Kind{
			reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer,
		},
		Any:    isAnyJSON,
		Time:   checkTimeJSON,
		Mapped: mapped(mappings),
	}
}

func tagJSON(f *reflect.StructField) exact.Tag {
	tag := f.Tag.Get("json")
	name, _, _ := strings.Cut(tag, ",")
	return exact.Tag{Skip: tag == "-", Name: name, Options: tag[len(name):]}
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

// ownJSON tells whether the type says itself how it is encoded.
func ownJSON(t reflect.Type) exact.Own {
	encodes, decodes := methodsJSON(t)
	if encodes && !decodes {
		return exact.Own{
			Encodes: true,
			Problem: "has a method to encode itself, and none to decode itself; add UnmarshalJSON or UnmarshalText",
		}
	}
	return exact.Own{Encodes: encodes}
}

func methodsJSON(t reflect.Type) (encodes, decodes bool) {
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

func isKeyJSON(t reflect.Type) bool {
	if encodes, decodes := methodsJSON(t); encodes || decodes {
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

func isAnyJSON(value any) bool {
	switch value.(type) {
	case bool, string, float64:
		return true
	default:
		return false
	}
}

func checkTimeJSON(t time.Time, _ bool) string {
	if _, offset := t.Zone(); offset%60 != 0 {
		return "is a time whose offset from UTC has seconds, which JSON does not have; use its UTC()"
	}
	return ""
}
