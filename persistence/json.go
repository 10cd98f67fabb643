package persistence

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// JSON returns the default transcoder: compact JSON by the rules of Go's
// encoding/json/v2, so that struct tags work as usual.
//
// A value either comes back as it was, or is refused on save with an error that
// names the type and the field: functions and channels; unexported fields
// (export them, tag them `json:"-"`, or give the type MarshalJSON and
// UnmarshalJSON); interfaces, except an any that holds what JSON itself has;
// embedded pointers, and embedded types with JSON of their own; pointers to
// pointers, slices and maps; two fields of one name; strings that are not UTF-8;
// floats that are not numbers; values that contain themselves. Nil and empty
// slices and maps stay different. Times keep their instant and offset, not the
// name of their zone; an offset with seconds is refused. A time.Duration is a
// number of nanoseconds.
//
// The names of fields are stored: give a field that is renamed a json tag with its
// old name. When an event is read, fields that the type does not have are ignored,
// and fields that are missing are zero.
//
// Types with JSON of their own, json.RawMessage and big.Float among them, come
// back as their own methods say. The tags omitempty and omitzero are taken at
// their word: what they omit comes back as the zero value.
func JSON() Transcoder { return jsonTranscoder{} }

type jsonTranscoder struct{}

// headersJSON encodes the headers of events, whatever the transcoder.
var headersJSON jsonTranscoder

var jsonOptions = json.JoinOptions( // built once: the options are constant
	json.DefaultOptionsV2(),
	json.Deterministic(true),
	json.FormatNilSliceAsNull(true),
	json.FormatNilMapAsNull(true),
	jsonv1.FormatDurationAsNano(true),
)

func (jsonTranscoder) Name() string { return "json" }

func (jsonTranscoder) Encode(value any) ([]byte, error) {
	if err := checkExact(value); err != nil {
		return nil, err
	}
	b, err := json.Marshal(value, jsonOptions)
	if err != nil {
		return nil, withoutData(err, reflect.TypeOf(value), "its text is not UTF-8, or its own JSON is not valid")
	}
	return b, nil
}

func (jsonTranscoder) Decode(data []byte, target any) error {
	if t := reflect.TypeOf(target).Elem(); t.Kind() == reflect.Struct && string(data) == "null" {
		return fmt.Errorf("%v: the JSON is null, and nothing is stored so", t)
	}
	if err := json.Unmarshal(data, target, jsonOptions); err != nil {
		return withoutData(err, reflect.TypeOf(target).Elem(), "the JSON is not valid")
	}
	return nil
}

// withoutData returns an error that says what err says without the values that
// the texts of JSON errors quote: event data stays out of errors and logs.
func withoutData(err error, root reflect.Type, invalid string) error {
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		where := root.String()
		if path := fieldPath(root, semantic.JSONPointer); path != "" {
			where += "." + path
		}
		what := "its value cannot be stored as JSON"
		if kind := semantic.JSONKind; kind != 0 {
			what = fmt.Sprintf("a JSON %s does not fit", kindName(kind))
		}
		if t := semantic.GoType; t != nil && t != root {
			where += fmt.Sprintf(" (%v)", t)
		}
		return fmt.Errorf("%s: %s", where, what)
	}
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		where := root.String()
		if path := fieldPath(root, syntactic.JSONPointer); path != "" {
			where += "." + path
		}
		if syntactic.ByteOffset > 0 || syntactic.JSONPointer == "" {
			return fmt.Errorf("%s: %s at byte %d", where, invalid, syntactic.ByteOffset)
		}
		return fmt.Errorf("%s: %s", where, invalid)
	}
	return fmt.Errorf("%v: %s", root, invalid)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "boolean"
	case '"':
		return "string"
	case '0':
		return "number"
	case '{':
		return "object"
	case '[':
		return "array"
	default:
		return "value"
	}
}

// maxPath is how many names of fields an error has at most.
const maxPath = 10

// fieldPath returns a JSON pointer as a path of Go fields. Keys of maps are data,
// and become "*".
func fieldPath(t reflect.Type, pointer jsontext.Pointer) string {
	var path []string
	for token := range pointer.Tokens() {
		if len(path) == maxPath {
			return strings.Join(path, ".") + "…"
		}
		for t != nil && t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t == nil {
			break
		}
		switch t.Kind() {
		case reflect.Struct:
			f, ok := jsonField(t, token)
			if !ok {
				return strings.Join(path, ".")
			}
			path = append(path, f.Name)
			t = f.Type
		case reflect.Map, reflect.Slice, reflect.Array:
			path = append(path, "*")
			t = t.Elem()
		default:
			return strings.Join(path, ".")
		}
	}
	return strings.Join(path, ".")
}

func jsonField(t reflect.Type, name string) (reflect.StructField, bool) {
	for _, f := range reflect.VisibleFields(t) {
		tagged, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tagged == name || tagged == "" && f.Name == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}
