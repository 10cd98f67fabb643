package cbor

import (
	"encoding"
	"fmt"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"github.com/annals-es/annals/persistence/internal/exact"
)

// newRules returns those by which values come back from CBOR.
func (c *transcoder) newRules() *exact.Rules {
	return &exact.Rules{
		Name: "CBOR", Skip: "`cbor:\"-\"`", Methods: "MarshalBinary and UnmarshalBinary, or MarshalText and UnmarshalText",
		TagKey: "cbor", Tag: readTag,
		Own:      own,
		Encoders: []string{"MarshalCBOR", "MarshalBinary", "MarshalText"},
		Decoders: []string{"UnmarshalCBOR", "UnmarshalBinary", "UnmarshalText"},
		Struct:   checkStruct,
		Key:      isKey,
		Lacks: []reflect.Kind{
			reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer, reflect.Uintptr,
		},
		Any:       isAny,
		Time:      checkTime,
		Cycles:    true,
		EncodeKey: func(key reflect.Value) ([]byte, error) { return c.encode.Marshal(key.Interface()) },
		Mapped: func(t reflect.Type) (exact.Mapping, bool) {
			m, ok := c.mappings[t]
			return exact.Mapping{As: m.StoredType(), To: m.To}, ok
		},
	}
}

// readTag reads the tag cbor, or else json.
func readTag(f *reflect.StructField) exact.Tag {
	tag := f.Tag.Get("cbor")
	if tag == "" {
		tag = f.Tag.Get("json")
	}
	name, options, _ := strings.Cut(tag, ",")
	read := exact.Tag{Skip: tag == "-", Name: name, Options: tag[len(name):]}
	for option := range strings.SplitSeq(options, ",") {
		if option != "keyasint" {
			continue
		}
		n, err := strconv.Atoi(name)
		if err != nil {
			read.Problem = "has the option keyasint, and a name that is no number"
		}
		read.Name, read.Number = strconv.Itoa(n), true
	}
	return read
}

// checkStruct refuses the option of the field "_".
func checkStruct(t reflect.Type) string {
	if f, ok := t.FieldByName("_"); ok && strings.Contains(f.Tag.Get("cbor"), "array") {
		return "has the option toarray: a field that is added later would make what is stored unreadable; use keyasint"
	}
	return ""
}

var (
	timeType = reflect.TypeFor[time.Time]()
	intType  = reflect.TypeFor[big.Int]()
	tagType  = reflect.TypeFor[cbor.Tag]()
	nullUUID = reflect.TypeFor[uuid.NullUUID]()

	// pairs are the methods by which a type encodes and decodes itself, the one that
	// is taken before the others first.
	pairs = []struct {
		encodes, decodes reflect.Type
		names            [2]string
	}{
		{reflect.TypeFor[cbor.Marshaler](), reflect.TypeFor[cbor.Unmarshaler](), [2]string{"MarshalCBOR", "UnmarshalCBOR"}},
		{
			reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler](),
			[2]string{"MarshalBinary", "UnmarshalBinary"},
		},
		{
			reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
			[2]string{"MarshalText", "UnmarshalText"},
		},
	}
)

// own tells whether a type says itself how it is encoded.
func own(t reflect.Type) exact.Own {
	if t.Kind() == reflect.Pointer && t.Name() == "" {
		t = t.Elem()
	}
	pointer := reflect.PointerTo(t)
	switch {
	case t == intType:
		return exact.Own{Encodes: true}
	case t == tagType:
		return exact.Own{Encodes: true, Problem: "is a cbor.Tag, which may hold anything; use a cbor.RawTag"}
	case t == nullUUID:
		return exact.Own{Encodes: true, Problem: "is a uuid.NullUUID, which does not decode the null that it encodes; use a *uuid.UUID"}
	case t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface:
		return exact.Own{}
	}
	for _, p := range pairs {
		switch encodes, decodes := pointer.Implements(p.encodes), pointer.Implements(p.decodes); {
		case encodes && !decodes:
			return exact.Own{Encodes: true, Problem: fmt.Sprintf("has %s to encode itself, and no %s; add it", p.names[0], p.names[1])}
		case encodes:
			return exact.Own{Encodes: true}
		case decodes:
			return exact.Own{Encodes: true, Problem: fmt.Sprintf("has %s to decode itself, and no %s; add it", p.names[1], p.names[0])}
		}
	}
	for _, name := range []string{"MarshalJSON", "MarshalJSONTo", "UnmarshalJSON", "UnmarshalJSONFrom"} {
		if _, ok := pointer.MethodByName(name); ok {
			return exact.Own{Encodes: true, Problem: fmt.Sprintf("is a %v, which has methods for JSON only; "+
				"add MarshalText and UnmarshalText, or the same for Binary or CBOR, or give cbor.New a persistence.StoreAs for it", t)}
		}
	}
	return exact.Own{}
}

func isKey(t reflect.Type) bool {
	if t == timeType || t == intType {
		return false
	}
	if own := own(t); own.Encodes {
		return own.Problem == ""
	}
	switch t.Kind() {
	case reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	default:
		return false
	}
}

// isAny tells which values come back from an any as they were. All integers come
// back as int64.
func isAny(value any) bool {
	switch value := value.(type) {
	case bool, string, int64, float64:
		return true
	case []byte:
		return value != nil
	default:
		return false
	}
}

func checkTime(t time.Time, pointed bool) string {
	_, offset := t.Zone()
	switch year := t.Year(); {
	case offset%60 != 0:
		return "is a time whose offset from UTC has seconds, which CBOR does not have; use its UTC()"
	case year < 0 || year > 9999 || offset <= -24*60*60 || offset >= 24*60*60:
		return "is a time that CBOR does not have: its year is not one of 0 to 9999, or its offset from UTC is a day or more"
	case t.IsZero() && pointed:
		return "is a pointer to the zero time, which CBOR gives back as nil; use nil"
	case t.IsZero() && offset != 0:
		return "is the zero time with an offset from UTC, which CBOR does not have; use its UTC()"
	default:
		return ""
	}
}
