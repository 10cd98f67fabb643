package cbor_test

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	library "github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/persistence/cbor"
	"github.com/annals-es/annals/persistence/internal/transcodertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTranscoder(t *testing.T) {
	t.Parallel()
	transcodertest.Run(t, cbor.New)
}

func FuzzDecode(f *testing.F) { transcodertest.Fuzz(f, cbor.New) }

type point struct{ x, y byte }

func (p point) MarshalBinary() ([]byte, error) { return []byte{p.x, p.y}, nil }
func (p *point) UnmarshalBinary(b []byte) error {
	p.x, p.y = b[0], b[1]
	return nil
}

type native struct{ raw library.RawMessage } //nolint:recvcheck // as it is usual

func (n native) MarshalCBOR() ([]byte, error) { return n.raw, nil }
func (n *native) UnmarshalCBOR(b []byte) error {
	n.raw = append(n.raw[:0], b...)
	return nil
}

type methods struct {
	Point   point
	Points  []point
	ByPoint map[point]point
	Native  native
	Raw     library.RawMessage
	URL     *url.URL
	Addr    netip.Addr
	Prefix  map[netip.Prefix]int
	Big     big.Int
	ID      *uuid.UUID
}

type tagged struct {
	A int    `cbor:"c"                     json:"j"`
	B string `cbor:"1,keyasint"            json:"b"`
	C string `cbor:"-1,keyasint,omitempty"`
	D string `cbor:"1"` //nolint:revive // a text and a number are different names
	E string `cbor:"e"                     json:"-"`
	F string `cbor:"-"                     json:"f"`
}

// B12.
func TestCBORGivesBackWhatWasPutIn(t *testing.T) {
	t.Parallel()
	id := uuid.UUID{1}
	for name, value := range map[string]any{
		"types with methods": methods{
			Point: point{1, 2}, Points: []point{{3, 4}}, ByPoint: map[point]point{{5, 6}: {7, 8}, {5, 7}: {}},
			Native: native{library.RawMessage{0x82, 1, 2}}, Raw: library.RawMessage{0x61, 'x'},
			URL: &url.URL{Scheme: "https", Host: "example.com", Path: "/"}, Addr: netip.MustParseAddr("fe80::1%eth0"),
			Prefix: map[netip.Prefix]int{netip.MustParsePrefix("10.0.0.0/8"): 8}, Big: *big.NewInt(-1), ID: &id,
		},
		"their zero values": methods{
			Native: native{library.RawMessage{0xf6}}, Raw: library.RawMessage{0xf6}, Points: []point{{}}, ByPoint: map[point]point{{}: {}},
			URL: &url.URL{}, Prefix: map[netip.Prefix]int{{}: 0}, ID: &uuid.UUID{},
		},
		"tags":         tagged{A: 1, B: "b", C: "c", D: "d", E: "e"},
		"not a number": []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Float64frombits(0xfff0000000000001)},
		"what an any holds": []any{
			int64(math.MinInt64), int64(0), int64(math.MaxInt64), math.NaN(), 1.0, []byte{1}, []byte{}, "", false, nil,
			map[string]any{"a": int64(1)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			transcodertest.ComesBack(t, cbor.New(), value)
		})
	}
}

// B12.
func TestANaNOf32BitsComesBackAsANaN(t *testing.T) {
	t.Parallel()
	if got := transcodertest.RoundTrip(t, cbor.New(), float32(math.NaN())).(float32); !math.IsNaN(float64(got)) {
		t.Errorf("got %v", got)
	}
}

// What is stored must not change.
func TestTheBytesOfCBORAreTheseForEver(t *testing.T) {
	t.Parallel()
	seven := 7
	for name, c := range map[string]struct {
		value any
		want  string
	}{
		"a struct, its fields by the bytes of their names": {struct {
			Long string
			B    int
			A    *int
		}{"späti", -1, &seven}, "a3" + "6141" + "07" + "6142" + "20" + "644c6f6e67" + "6673 70c3a4 7469"},
		"nil and empty": {[]any{nil, []any{}, map[string]any{}, []byte{}, ""}, "85 f6 80 a0 40 60"},
		"a map":         {map[string]int{"b": 24, "a": 256, "aa": 65536}, "a3 6161 190100 6162 1818 626161 1a00010000"},
		"integers":      {[]int64{0, 23, math.MaxInt64, math.MinInt64}, "84 00 17 1b7fffffffffffffff 3b7fffffffffffffff"},
		"floats":        {[]float64{0, math.Copysign(0, -1), 1.5, 100000, 0.1, math.Inf(-1)}, "86 f90000 f98000 f93e00 fa47c35000 fb3fb999999999999a f9fc00"},
		"not a number":  {math.NaN(), "fb7ff8000000000001"},
		"a time": {
			time.Date(2024, 2, 29, 23, 59, 59, 120000000, time.FixedZone("", 3600)),
			"c0 781c" + hex.EncodeToString([]byte("2024-02-29T23:59:59.12+01:00")),
		},
		"the zero time":  {time.Time{}, "f6"},
		"a duration":     {time.Second, "1a3b9aca00"},
		"an array":       {[3]byte{1, 2, 3}, "43 010203"},
		"a UUID":         {uuid.UUID{1}, "50 01000000000000000000000000000000"},
		"text methods":   {transcodertest.NewMoney(-5), "62 2d35"},
		"binary methods": {point{1, 2}, "42 0102"},
		"a great number": {new(big.Int).Lsh(big.NewInt(1), 64), "c2 49 010000000000000000"},
		"booleans":       {[]bool{true, false}, "82 f5 f4"},
		"numbered":       {tagged{}, "a4 01 60 6131 60 6163 00 6165 60"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := cbor.New().Encode(nil, c.value)
			if want := strings.ReplaceAll(c.want, " ", ""); err != nil || hex.EncodeToString(got) != want {
				t.Errorf("got %x, %v; want %s", got, err, want)
			}
		})
	}
}

type (
	textOnly   struct{}
	textReader struct{ A int }
	jsonOnly   struct{ A int }
	binaryText struct{}
	sameText   struct{ s string }
	hidden     struct{ name string }
	shape      interface{ Area() float64 }
	Embedded   struct{ X int }
	Another    struct{ X int }
	plainCycle struct{ Next *plainCycle }
	list       []list
	bytesTime  struct {
		time.Time

		Name string
	}
)

func (textOnly) MarshalText() ([]byte, error)     { return []byte("x"), nil }
func (*textReader) UnmarshalText([]byte) error    { return nil }
func (jsonOnly) MarshalJSON() ([]byte, error)     { return []byte("1"), nil }
func (*jsonOnly) UnmarshalJSON([]byte) error      { return nil }
func (binaryText) MarshalBinary() ([]byte, error) { return nil, nil }
func (binaryText) MarshalText() ([]byte, error)   { return nil, nil }
func (*binaryText) UnmarshalText([]byte) error    { return nil }
func (s sameText) MarshalText() ([]byte, error)   { return []byte(strings.ToLower(s.s)), nil }
func (s *sameText) UnmarshalText(b []byte) error  { s.s = string(b); return nil }
func (bytesTime) MarshalText() ([]byte, error)    { return nil, nil }
func (*bytesTime) UnmarshalText([]byte) error     { return nil }

type fails struct{}

func (fails) MarshalBinary() ([]byte, error) { return nil, url.InvalidHostError("secret") }
func (*fails) UnmarshalBinary([]byte) error  { return url.InvalidHostError("secret") }

// B12.
func TestCBORRefusesWhatWouldNotComeBack(t *testing.T) {
	t.Parallel()
	loop := &plainCycle{}
	loop.Next = loop
	endless := []any{nil}
	endless[0] = endless
	in := list{nil}
	in[0] = in
	lmt := time.FixedZone("LMT", 53*60+28)
	zero := time.Time{}
	for name, c := range map[string]struct {
		value any
		says  []string
	}{
		"a func":                          {struct{ F func() }{}, []string{".F", "func", "CBOR"}},
		"a uintptr":                       {struct{ F uintptr }{}, []string{".F", "uintptr"}},
		"an unexported field":             {hidden{"secret"}, []string{"hidden.name", "not exported", "cbor:\"-\""}},
		"an interface":                    {struct{ S shape }{}, []string{".S", "interface"}},
		"an any that holds an int":        {struct{ A any }{7}, []string{".A", "int"}},
		"an any that holds a uint64":      {struct{ A any }{uint64(7)}, []string{".A", "uint64"}},
		"an any that holds a float32":     {struct{ A any }{float32(7)}, []string{".A", "float32"}},
		"an any that holds a time":        {struct{ A any }{time.Now()}, []string{".A", "time.Time"}},
		"an any that holds nil bytes":     {struct{ A any }{[]byte(nil)}, []string{".A", "[]uint8"}},
		"an any that holds []int":         {struct{ A any }{[]int{1}}, []string{".A", "[]int"}},
		"text that is not UTF-8":          {struct{ In []Text }{[]Text{{"ok"}, {"secret\xff"}}}, []string{".In.*.S", "not UTF-8"}},
		"text in an any":                  {struct{ A any }{[]any{"secret\xff"}}, []string{".A.*", "not UTF-8"}},
		"a key that is not UTF-8":         {struct{ M map[string]int }{map[string]int{"secret\xff": 1}}, []string{".M", "not UTF-8"}},
		"text in a map":                   {struct{ M map[string]string }{map[string]string{"": "secret\xff"}}, []string{".M.*", "not UTF-8"}},
		"a map with floats as keys":       {struct{ M map[float64]int }{}, []string{".M", "float64"}},
		"a map with times as keys":        {struct{ M map[time.Time]int }{}, []string{".M", "time.Time"}},
		"a map with structs as keys":      {struct{ M map[Embedded]int }{}, []string{".M", "Embedded"}},
		"two keys that become the same":   {struct{ M map[sameText]int }{map[sameText]int{{"A"}: 1, {"a"}: 2}}, []string{".M", "two keys"}},
		"a type that only encodes itself": {struct{ O textOnly }{}, []string{".O", "no UnmarshalText"}},
		"a type that only decodes itself": {struct{ O textReader }{}, []string{".O", "no MarshalText"}},
		"methods that are no pair":        {struct{ O binaryText }{}, []string{".O", "no UnmarshalBinary"}},
		"methods for JSON only":           {struct{ O *jsonOnly }{}, []string{".O", "jsonOnly", "StoreAs"}},
		"json.RawMessage":                 {struct{ O json.RawMessage }{}, []string{".O", "RawMessage", "StoreAs"}},
		"a method that fails":             {struct{ O []fails }{[]fails{{}}}, []string{".O.*", "fails"}},
		"a tag of the library":            {struct{ T library.Tag }{}, []string{".T", "RawTag"}},
		"a null UUID":                     {struct{ ID uuid.NullUUID }{}, []string{".ID", "*uuid.UUID"}},
		"a pointer to a null UUID":        {struct{ ID *uuid.NullUUID }{}, []string{".ID", "*uuid.UUID"}},
		"two fields with one name": {struct {
			A int `cbor:"x"`
			B int `json:"x"`
		}{}, []string{".B", `"x"`}},
		"two fields with one number": {Numbers{}, []string{".B", `"1"`}},
		"a number that is none": {struct {
			A int `cbor:"x,keyasint"` //nolint:revive // wrong on purpose
		}{}, []string{".A", "keyasint"}},
		"toarray": {struct {
			_ struct{} `cbor:",toarray"` //nolint:revive // as the library has it
			A int
		}{}, []string{"toarray"}},
		"an embedded time":       {struct{ time.Time }{}, []string{"give that field a name"}},
		"an embedded time, deep": {struct{ B bytesTime }{}, []string{".B", "give that field a name"}},
		"two embedded types with methods": {struct {
			time.Time
			uuid.UUID
		}{}, []string{"give that field a name"}},
		"an embedded pointer": {struct{ *Embedded }{}, []string{".Embedded", "embedded pointer"}},
		"an embedded number":  {struct{ Number }{}, []string{".Number", "give it a name"}},
		"two embedded fields of one name": {struct {
			Embedded
			Another
		}{}, []string{".Another.X", ".Embedded.X"}},
		"a pointer to a pointer":           {struct{ P **int }{}, []string{".P", "pointer"}},
		"a pointer to a slice":             {struct{ P *[]int }{}, []string{".P", "slice"}},
		"a pointer to the zero time":       {struct{ P *time.Time }{&zero}, []string{".P", "zero time"}},
		"the zero time with an offset":     {struct{ T time.Time }{zero.In(time.FixedZone("", 60))}, []string{".T", "offset"}},
		"a time with an offset of seconds": {struct{ T []time.Time }{[]time.Time{time.Date(1850, 1, 1, 0, 0, 0, 0, lmt)}}, []string{".T", "UTC"}},
		"a time in the year 10000":         {struct{ T time.Time }{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, []string{".T", "year"}},
		"a time before the year 0":         {struct{ T time.Time }{time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}, []string{".T", "year"}},
		"a time with an offset of a day":   {struct{ T *time.Time }{new(time.Now().In(time.FixedZone("", 86400)))}, []string{".T", "offset"}},
		"a value that contains itself":     {loop, []string{"plainCycle.Next", "contains itself"}},
		"a slice that contains itself":     {in, []string{"list", "contains itself"}},
		"an any that contains itself":      {struct{ A any }{endless}, []string{".A", "contains itself"}},
		"too many elements":                {struct{ A []bool }{make([]bool, cbor.MaxElements+1)}, []string{".A", "elements"}},
		"nothing":                          {nil, []string{"nil"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, dst := range [][]byte{nil, []byte("dst")} {
				data, err := cbor.New().Encode(dst, c.value)
				if err == nil {
					t.Fatalf("it was encoded: %x", data)
				}
				for _, s := range c.says {
					if !strings.Contains(err.Error(), s) {
						t.Errorf("error %q does not name %q", err, s)
					}
				}
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("error %q holds data", err)
				}
			}
		})
	}
}

type (
	Text    struct{ S string }
	Number  int
	Numbers struct {
		A int `cbor:"1,keyasint"`
		B int `cbor:"01,keyasint"` //nolint:revive // wrong on purpose
	}
)

func TestAsManyElementsAsAreAllowedComeBack(t *testing.T) {
	t.Parallel()
	want := make([]bool, cbor.MaxElements)
	if got := transcodertest.RoundTrip(t, cbor.New(), want).([]bool); len(got) != len(want) {
		t.Errorf("%d of %d elements came back", len(got), len(want))
	}
}

func TestAValueAsDeepAsIsAllowedComesBack(t *testing.T) {
	t.Parallel()
	var deep any
	for range 990 {
		deep = []any{deep}
	}
	if got := transcodertest.RoundTrip(t, cbor.New(), deep); !reflect.DeepEqual(deep, got) {
		t.Error("what came back differs")
	}
}

func TestCBORDecodeErrorsNameTheFieldAndNoData(t *testing.T) {
	t.Parallel()
	type target struct {
		Count int8
		Map   map[string]int8
		Time  time.Time
		In    []Text
		Point *point
		Fails fails
		Money transcodertest.Money
	}
	encode := func(value any) string {
		data, err := library.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	type m = map[string]any
	for _, c := range []struct{ data, says string }{
		{encode(m{"Count": "secret"}), "target.Count (int8): a CBOR text does not fit"},
		{encode(m{"Count": 12345678}), "target.Count (int8): a CBOR integer"},
		{encode(m{"Count": -12345678}), "target.Count (int8): a CBOR integer"},
		{encode(m{"Map": m{"secret": "x"}}), "target.Map.* (int8)"},
		{encode(m{"Map": 1.5}), "target.Map (map[string]int8): a CBOR float"},
		{encode(m{"Time": "secret"}), "target.Time (time.Time)"},
		{encode(m{"Time": library.Tag{Number: 0, Content: "secret"}}), "target.Time (time.Time): a CBOR text"},
		{encode(m{"In": []m{{"S": "ok"}, {"S": 12345678}}}), "target.In.*.S (string)"},
		{encode(m{"In": []m{{"S": library.RawMessage("\x67secret\xff")}}}), "target.In.*.S (string)"},
		{encode(m{"Point": "secret"}), "target.Point (cbor_test.point)"},
		{encode(m{"Fails": []byte("secret")}), "target.Fails (cbor_test.fails): a CBOR byte string"},
		{encode(m{"Money": "secret"}), "target.Money (transcodertest.Money)"},
		{encode(m{"Money": 12345678}), "target.Money (transcodertest.Money)"},
		{encode(map[int]string{12345678: ""}) + "\x00", "not valid"},
		{encode(m{"Count": 1})[:3], "not valid"},
		{"", "not valid"},
		{"\xff", "not valid"},
		{"\xbf\x65Count\x01\xff", "not valid"}, // of indefinite length
		{"\xa2\x65Count\x01\x65Count\x02", "a key twice"},
		{"\xa2\x66secret\x01\x66secret\x02", "a key twice"},
		{"\xa1\x63Map\xa2\x66secret\x01\x66secret\x02", "target.Map (map[string]int8): the CBOR has a key twice"},
		{"\xa1\x67secret\xff\x01", "target: a CBOR map"},
		{"\xf6", "null"},
		{"\xf7", "null"},
		{"\xd9\xd9\xf7\xf6", "null"},
		{encode("secret"), "target: a CBOR text does not fit"},
		{strings.Repeat("\x81", 3000) + "\x01", "nested"},
	} {
		var x target
		err := cbor.New().Decode([]byte(c.data), &x)
		if err == nil {
			t.Errorf("%x was decoded: %+v", c.data, x)
			continue
		}
		if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%x: error %q does not say %q", c.data, err, c.says)
		}
		for _, leak := range []string{"secret", "12345678"} {
			if strings.Contains(err.Error(), leak) {
				t.Errorf("%x: error %q holds data", c.data, err)
			}
		}
	}
}
