package persistence

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/annals-es/annals/persistence/internal/exact"
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
//
// The types of mappings are stored as the mappings say, see [StoreAs]. Of a type
// that embeds annals.Aggregate, which is what a snapshot holds, the identity is
// not stored: it stands beside the snapshot.
func JSON(mappings ...TypeMapping) Transcoder {
	if len(mappings) == 0 {
		return plainJSON // with what it knows of types
	}
	return newJSON(mappings)
}

type jsonTranscoder struct {
	checker *exact.Checker
	rules   *exact.Rules
	options json.Options
	types   sync.Map // a cache, reflect.Type → *jsonType
	err     error    // of the mappings
}

// jsonType is what is known of a type of data.
type jsonType struct {
	verdict *exact.Verdict
	// flat has the fields of an aggregate without its identity, which encoding/json refuses;
	// nil if the type is no aggregate.
	flat *exact.Flat
}

var plainJSON = newJSON(nil)

// headersJSON encodes the headers of events, whatever the transcoder.
var headersJSON = plainJSON

func newJSON(mappings []TypeMapping) *jsonTranscoder {
	j := &jsonTranscoder{rules: rulesJSON(mappings), err: CheckMappings(mappings...)}
	j.checker = exact.New(j.rules)
	options := []json.Options{
		json.DefaultOptionsV2(),
		json.Deterministic(true),
		json.FormatNilSliceAsNull(true),
		json.FormatNilMapAsNull(true),
		jsonv1.FormatDurationAsNano(true),
	}
	if len(mappings) > 0 {
		marshal, unmarshal := make([]*json.Marshalers, len(mappings)), make([]*json.Unmarshalers, len(mappings))
		for n, m := range mappings {
			marshal[n], unmarshal[n] = m.marshal, m.unmarshal
		}
		options = append(options, json.WithMarshalers(json.JoinMarshalers(marshal...)),
			json.WithUnmarshalers(json.JoinUnmarshalers(unmarshal...)))
	}
	j.options = json.JoinOptions(options...)
	return j
}

func (j *jsonTranscoder) Name() string { return "json" }

func (j *jsonTranscoder) CheckType(t reflect.Type) error {
	if j.err != nil {
		return j.err
	}
	return j.checker.CheckType(t)
}

func (j *jsonTranscoder) Encode(dst []byte, value any) ([]byte, error) {
	if j.err != nil {
		return nil, j.err
	}
	t := reflect.TypeOf(value)
	if t == nil {
		return nil, j.CheckType(nil)
	}
	known, in := j.known(t), value
	if err := known.verdict.Check(value); err != nil {
		return nil, err
	}
	if known.flat != nil {
		in = known.flat.Take(reflect.ValueOf(value)).Interface()
	}
	b, err := j.append(dst, in)
	if err != nil {
		return nil, withoutData(err, t, "its value cannot be stored as JSON", "its text is not UTF-8, or its own JSON is not valid")
	}
	return b, nil
}

// buffers are those that JSON is appended by.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (j *jsonTranscoder) append(dst []byte, value any) ([]byte, error) {
	if dst == nil {
		return json.Marshal(value, j.options)
	}
	b, _ := buffers.Get().(*bytes.Buffer)
	*b = *bytes.NewBuffer(dst)
	err := json.MarshalWrite(b, value, j.options)
	dst = b.Bytes()
	*b = bytes.Buffer{}
	buffers.Put(b)
	return dst, err
}

func (j *jsonTranscoder) Decode(data []byte, target any) error {
	if j.err != nil {
		return j.err
	}
	t := reflect.TypeOf(target).Elem()
	if t.Kind() == reflect.Struct && string(data) == "null" {
		return fmt.Errorf("%v: the JSON is null, and nothing is stored so", t)
	}
	out, flat := target, j.known(t).flat
	if flat != nil {
		out = reflect.New(flat.Type).Interface()
	}
	if err := json.Unmarshal(data, out, j.options); err != nil {
		return withoutData(err, t, "its value is refused", "the JSON is not valid")
	}
	if flat != nil {
		flat.Put(reflect.ValueOf(out).Elem(), reflect.ValueOf(target).Elem())
	}
	return nil
}

func (j *jsonTranscoder) known(t reflect.Type) *jsonType {
	known, ok := j.types.Load(t)
	if !ok {
		made := &jsonType{verdict: j.checker.Of(t)}
		if t.Kind() == reflect.Struct && made.verdict.Err() == nil && exact.EmbedsAggregate(t) {
			made.flat = j.rules.Flatten(t, func(f *exact.Field) reflect.Type { return f.Type })
		}
		known, _ = j.types.LoadOrStore(t, made)
	}
	return known.(*jsonType) //nolint:forcetypeassert // it has no others
}

// withoutData returns an error that says what err says without the values that
// the texts of JSON errors quote: event data stays out of errors and logs.
func withoutData(err error, root reflect.Type, refused, invalid string) error {
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		where := root.String()
		if path := fieldPath(root, semantic.JSONPointer); path != "" {
			where += "." + path
		}
		what := refused
		if kind := semantic.JSONKind; kind != 0 {
			what = fmt.Sprintf("a JSON %s does not fit", kindName(kind))
		} else if _, ok := errors.AsType[*jsontext.SyntacticError](semantic.Err); ok {
			what = invalid
		}
		t := semantic.GoType
		if t != nil && t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t != nil && t != root && (t.Kind() != reflect.Struct || t.Name() != "") {
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

// fieldPath returns a JSON pointer as a path of Go fields. Keys of maps are data,
// and become "*".
func fieldPath(t reflect.Type, pointer jsontext.Pointer) string {
	var path []string
	for token := range pointer.Tokens() {
		if len(path) == exact.MaxPath {
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
