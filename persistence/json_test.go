package persistence_test

import (
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/internal/transcodertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestJSONTranscoder(t *testing.T) {
	t.Parallel()
	transcodertest.Run(t, persistence.JSON)
}

// money is a user's own type, with its own JSON.
type money struct{ cents int64 }

func (m money) MarshalText() ([]byte, error) { return big.NewInt(m.cents).MarshalText() }
func (m *money) UnmarshalText(b []byte) error {
	var i big.Int
	err := i.UnmarshalText(b)
	m.cents = i.Int64()
	return err
}

type inner struct {
	A string
	B []int
}

type everything struct {
	inner

	Bool    bool
	Int     int64
	Uint    uint64
	Float   float64
	Small   float32
	Text    string
	Bytes   []byte
	Array   [3]int
	Slice   []string
	Map     map[string]int
	Keys    map[int]string
	Pointer *int
	Time    time.Time
	Lasts   time.Duration
	UUID    uuid.UUID
	Money   money
	Prices  map[uuid.UUID]money
	Raw     json.RawMessage
	Any     any
	Self    *everything
	Skipped string `json:"-"`
	Renamed string `json:"other_name"`
}

func roundTrip(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, value any,
) any {
	t.Helper()
	data, err := persistence.JSON().Encode(nil, value)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	target := reflect.New(reflect.TypeOf(value))
	if err := persistence.JSON().Decode(data, target.Interface()); err != nil {
		t.Fatalf("decode %s: %v", data, err)
	}
	return target.Elem().Interface()
}

// B12.
func TestJSONGivesBackWhatWasPutIn(t *testing.T) {
	t.Parallel()
	seven := 7
	for name, value := range map[string]any{
		"zero values": everything{Raw: json.RawMessage("null")},
		"full": everything{
			inner: inner{A: "a", B: []int{1}},
			Bool:  true, Int: math.MinInt64, Uint: math.MaxUint64, Float: 0.1, Small: math.MaxFloat32,
			Text: "späti\u2028\x00\"<&>\\", Bytes: []byte{0, 255}, Array: [3]int{1, 2, 3},
			Slice: []string{"", "x"}, Map: map[string]int{"": 1, "a/b~c": 2}, Keys: map[int]string{-1: "x"}, Pointer: &seven,
			Time:  time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.UTC),
			Lasts: math.MinInt64, UUID: uuid.MustParse("01a20537-bd24-776a-b21d-3793f205474f"), Money: money{-5},
			Prices: map[uuid.UUID]money{{1}: {1}}, Raw: json.RawMessage(`{"x":[1,2]}`),
			Any:  map[string]any{"a": []any{1.5, "x", true, nil}},
			Self: &everything{Raw: json.RawMessage("1")}, Renamed: "r",
		},
		"empty is not nil": everything{
			Slice: []string{}, Map: map[string]int{}, Bytes: []byte{}, Any: map[string]any{}, Raw: json.RawMessage("[]"),
		},
		"JSON of its own around an embedded one": ownTime{time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), "rex"},
		"a map":                                  map[string]string{"a": "b"},
		"an empty type":                          struct{}{},
		"text":                                   "fido",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := roundTrip(t, value)
			if diff := cmp.Diff(value, got, cmp.AllowUnexported(money{}, everything{})); diff != "" {
				t.Errorf("what came back differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJSONIsCompactAndReadable(t *testing.T) {
	t.Parallel()
	data, err := persistence.JSON().Encode(nil, struct {
		Name string
		Tags map[string]int
	}{"späti <3", map[string]int{"b": 2, "a": 1}})
	if want := `{"Name":"späti <3","Tags":{"a":1,"b":2}}`; err != nil || string(data) != want {
		t.Errorf("got %s, %v; want %s", data, err, want)
	}
}

type (
	oneWay     struct{}
	withFunc   struct{ Then func() }
	withChan   struct{ In inner2 }
	inner2     struct{ Done chan int }
	hidden     struct{ name string }
	shape      interface{ Area() float64 }
	withIface  struct{ Shape shape }
	withAny    struct{ Any any }
	withNumber struct{ Price float64 }
	withText   struct{ Names []string }
	withKey    struct{ M map[bool]int }
	withOneWay struct{ O oneWay }
	nested     struct{ Deep []map[string]*hidden }
	clash      struct {
		A int
		B int `json:"A"`
	}
)

func (oneWay) MarshalText() ([]byte, error) { return []byte("x"), nil }

type (
	embedsTime struct {
		time.Time

		Name string
	}
	embedsPointer struct{ *Embedded }
	embedsBig     struct{ *big.Int }
	Embedded      struct{ X int }
	Another       struct{ X int }
	embedsTwo     struct {
		Embedded
		Another
	}
	shadows struct {
		Embedded

		X int
	}
	box       any           //nolint:unused // see embedsBox
	embedsBox struct{ box } //nolint:unused // that it is there is what is refused
	pointers  struct{ P **int }
	sliceAt   struct{ P *[]int }
	selfJSON  interface {
		MarshalJSON() ([]byte, error)
		UnmarshalJSON([]byte) error
	}
	withSelfJSON struct{ V selfJSON }
	withTime     struct{ At []time.Time }
	cyclic       struct {
		Any  any
		Next *cyclic
	}
	plainCycle struct{ Next *plainCycle }
	// ownTime embeds a type with its own JSON, and has its own.
	ownTime struct {
		time.Time

		Name string
	}
)

func (t ownTime) MarshalText() ([]byte, error) {
	return []byte(t.Name + " " + t.Format(time.RFC3339)), nil
}
func (t ownTime) MarshalJSON() ([]byte, error) {
	return json.Marshal(t.Name + " " + t.Format(time.RFC3339))
}

func (t *ownTime) UnmarshalJSON(b []byte) error {
	var s string
	err := json.Unmarshal(b, &s)
	name, at, _ := strings.Cut(s, " ")
	if err == nil {
		t.Name = name
		t.Time, err = time.Parse(time.RFC3339, at)
	}
	return err
}

// B12.
func TestJSONRefusesWhatWouldNotComeBack(t *testing.T) {
	t.Parallel()
	var nilSlice []any
	berlin := time.FixedZone("LMT", 53*60+28)
	endless := []any{nil}
	endless[0] = endless
	loop := &cyclic{}
	loop.Next = loop
	plainLoop := &plainCycle{}
	plainLoop.Next = plainLoop
	for name, c := range map[string]struct {
		value any
		says  []string
	}{
		"a func":                             {withFunc{}, []string{"withFunc.Then", "func"}},
		"a channel, deep":                    {withChan{}, []string{"withChan.In.Done", "chan"}},
		"an unexported field":                {hidden{"secret"}, []string{"hidden.name", "not exported"}},
		"an unexported field, deep":          {nested{}, []string{"nested.Deep.name", "not exported"}},
		"an interface":                       {withIface{}, []string{"withIface.Shape", "interface"}},
		"an any that holds an int":           {withAny{7}, []string{"withAny.Any", "int"}},
		"an any that holds a struct":         {withAny{inner{}}, []string{"withAny.Any", "inner"}},
		"an any that holds an int, deep":     {withAny{[]any{map[string]any{"secret": int64(1)}}}, []string{"withAny.Any", "int64"}},
		"an any that holds a nil slice":      {withAny{nilSlice}, []string{"withAny.Any", "[]any"}},
		"a float that is not a number":       {withNumber{math.NaN()}, []string{"withNumber.Price", "float64"}},
		"an infinite float":                  {withNumber{math.Inf(1)}, []string{"withNumber.Price"}},
		"text that is not UTF-8":             {withText{[]string{"ok", "secret\xff"}}, []string{"withText.Names"}},
		"a map with keys that are no text":   {withKey{}, []string{"withKey.M", "bool"}},
		"a type that only encodes itself":    {withOneWay{}, []string{"withOneWay.O", "UnmarshalText"}},
		"two fields with one name":           {clash{}, []string{"clash"}},
		"nothing":                            {nil, []string{"nil"}},
		"an embedded time":                   {embedsTime{}, []string{"embedsTime", "give that field a name"}},
		"an embedded pointer":                {embedsPointer{}, []string{"embedsPointer.Embedded", "embedded pointer"}},
		"an embedded pointer with JSON":      {embedsBig{}, []string{"embedsBig"}},
		"two embedded fields of one name":    {embedsTwo{}, []string{"embedsTwo.Another.X", "embedsTwo.Embedded.X"}},
		"a field that hides another":         {shadows{}, []string{"shadows.X", "shadows.Embedded.X"}},
		"an embedded any":                    {embedsBox{}, []string{"embedsBox.box"}},
		"a pointer to a pointer":             {pointers{}, []string{"pointers.P", "pointer"}},
		"a pointer to a slice":               {sliceAt{}, []string{"sliceAt.P", "slice"}},
		"an interface with JSON":             {withSelfJSON{}, []string{"withSelfJSON.V", "interface"}},
		"a time with an offset of seconds":   {withTime{[]time.Time{time.Date(1850, 1, 1, 0, 0, 0, 0, berlin)}}, []string{"withTime.At", "UTC"}},
		"an any that contains itself":        {withAny{endless}, []string{"withAny.Any", "contains itself"}},
		"a value that contains itself":       {loop, []string{"cyclic.Next", "contains itself"}},
		"a plain value that contains itself": {plainLoop, []string{"plainCycle.Next"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := persistence.JSON().Encode(nil, c.value)
			if err == nil {
				t.Fatalf("it was encoded: %s", data)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("error %q does not name %q", err, s)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q holds data", err)
			}
		})
	}
}

func TestJSONDecodeErrorsNameTheFieldAndNoData(t *testing.T) {
	t.Parallel()
	type target struct {
		Count int
		Map   map[string]int
		Time  time.Time
	}
	for data, says := range map[string]string{
		`{"Count":"secret"}`:                    "target.Count",
		`{"Count":12345678901234567890123}`:     "target.Count",
		`{"Map":{"secret":"x"}}`:                "target.Map.*",
		`{"Time":"secret"}`:                     "target.Time",
		`{"Count":1`:                            "not valid",
		`{"Count":1}{"Count":2}`:                "not valid",
		`{"Count":1,"Count":2}`:                 "not valid",
		``:                                      "not valid",
		`"secret"`:                              "string",
		"{\"Count\":1,\"secret\xff\":\"\xff\"}": "not valid",
	} {
		var x target
		err := persistence.JSON().Decode([]byte(data), &x)
		if err == nil {
			t.Errorf("%s was decoded: %+v", data, x)
			continue
		}
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %q does not say %q", data, err, says)
		}
		for _, leak := range []string{"secret", "12345678"} {
			if strings.Contains(err.Error(), leak) {
				t.Errorf("%s: error %q holds data", data, err)
			}
		}
	}
}

// B12.
func TestJSONRoundTripsRandomValues(t *testing.T) {
	t.Parallel()
	type value struct {
		I   int64
		U   uint64
		F   float64
		S   string
		B   []byte
		L   []string
		M   map[string]float64
		T   time.Time
		D   time.Duration
		Any any
	}
	generate := rapid.Custom(func(t *rapid.T) value {
		return value{
			I: rapid.Int64().Draw(t, "I"), U: rapid.Uint64().Draw(t, "U"), F: rapid.Float64().Draw(t, "F"),
			S: rapid.String().Draw(t, "S"), B: rapid.SliceOf(rapid.Byte()).Draw(t, "B"),
			L:   rapid.SliceOf(rapid.String()).Draw(t, "L"),
			M:   rapid.MapOf(rapid.String(), rapid.Float64()).Draw(t, "M"),
			T:   time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(t, "T"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC(),
			D:   time.Duration(rapid.Int64().Draw(t, "D")),
			Any: rapid.SampledFrom([]any{nil, true, "x", 1.5, []any{"a"}, map[string]any{"k": nil}}).Draw(t, "Any"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		want := generate.Draw(t, "value")
		if diff := cmp.Diff(want, roundTrip(t, want)); diff != "" {
			t.Fatalf("what came back differs (-want +got):\n%s", diff)
		}
	})
}

func FuzzJSONDecode(f *testing.F) {
	f.Add([]byte(`{"Text":"x","Any":{"a":[1]},"Time":"2024-01-01T00:00:00Z","Self":{}}`))
	f.Add([]byte(`{"Lasts":"1h","UUID":"01a20537-bd24-776a-b21d-3793f205474f","Keys":{"1":""}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first everything
		if persistence.JSON().Decode(data, &first) != nil {
			return
		}
		again, err := persistence.JSON().Encode(nil, first)
		if err != nil {
			return // an any may hold what is refused on save
		}
		var second everything
		if err := persistence.JSON().Decode(again, &second); err != nil {
			t.Fatalf("%s became %s, which does not decode: %v", data, again, err)
		}
	})
}

func FuzzJSONTranscoder(f *testing.F) { transcodertest.Fuzz(f, persistence.JSON) }
