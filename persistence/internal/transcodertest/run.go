// Package transcodertest has the tests that all transcoders pass.
package transcodertest

import (
	"bytes"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Maker makes a transcoder that is used for one test.
type Maker func(mappings ...persistence.TypeMapping) persistence.Transcoder

// Run runs the tests.
func Run(t *testing.T, maker Maker) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, maker Maker){
		"values come back as they were":                          testValues,
		"random values come back as they were":                   testRandomValues,
		"encoding appends":                                       testAppend,
		"unknown fields are ignored and missing ones are zero":   testFields,
		"the identity of an aggregate is not stored":             testAggregates,
		"mapped types come back wherever they are":               testMappedTypes,
		"a mapping may lead to any type and to other mappings":   testMappingTargets,
		"a mapped value that is missing is zero":                 testMissing,
		"a mapping that cannot be used is refused":               testBadMappings,
		"an error of a mapping names the field, and has no data": testMappingErrors,
		"a mapping goes before methods":                          testPrecedence,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, maker)
		})
	}
}

// Exactly compares values with the offsets of their times, and the bits of floats.
var Exactly = cmp.Options{
	cmp.Comparer(func(a, b time.Time) bool {
		_, offsetA := a.Zone()
		_, offsetB := b.Zone()
		return a.Equal(b) && offsetA == offsetB
	}),
	cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
	cmp.Comparer(func(a, b *big.Int) bool { return a == b || a != nil && b != nil && a.Cmp(b) == 0 }),
	cmp.Exporter(func(reflect.Type) bool { return true }),
}

// Failer is a test of package testing or rapid.
type Failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// RoundTrip encodes a value and returns what is decoded.
func RoundTrip(t Failer, transcoder persistence.Transcoder, value any) any {
	t.Helper()
	data, err := transcoder.Encode(nil, value)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	target := reflect.New(reflect.TypeOf(value))
	if err := transcoder.Decode(data, target.Interface()); err != nil {
		t.Fatalf("decode %q: %v", data, err)
	}
	for n := range data {
		data[n] = 0xff // what was decoded must not be in the same memory
	}
	return target.Elem().Interface()
}

// ComesBack fails unless the value comes back as it was, and its type is accepted.
func ComesBack(t Failer, transcoder persistence.Transcoder, value any) {
	t.Helper()
	if checker, ok := transcoder.(persistence.TypeChecker); !ok {
		t.Errorf("%T is no TypeChecker", transcoder)
	} else if err := checker.CheckType(reflect.TypeOf(value)); err != nil {
		t.Errorf("the type is refused: %v", err)
	}
	if diff := cmp.Diff(value, RoundTrip(t, transcoder, value), Exactly); diff != "" {
		t.Fatalf("what came back differs (-want +got):\n%s", diff)
	}
}

// B12.
func testValues(t *testing.T, maker Maker) {
	for name, value := range Values() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ComesBack(t, maker(), value)
		})
	}
}

// B12.
func testRandomValues(t *testing.T, maker Maker) {
	mapping := maker(decimals)
	rapid.Check(t, func(t *rapid.T) {
		want := Random(
			func(n int64) int64 { return rapid.Int64Range(0, n-1).Draw(t, "n") },
			func() string { return rapid.String().Draw(t, "text") },
			func() float64 { return rapid.Float64().Draw(t, "float") },
			3)
		var encoded [2][]byte
		for n, transcoder := range []persistence.Transcoder{maker(), mapping} {
			ComesBack(t, transcoder, want)
			var err error
			if encoded[n], err = transcoder.Encode(nil, RoundTrip(t, transcoder, want)); err != nil {
				t.Fatalf("encode again: %v", err)
			}
		}
		first, err := maker().Encode(nil, want)
		if err != nil || !bytes.Equal(first, encoded[0]) || !bytes.Equal(first, encoded[1]) {
			t.Fatalf("equal values have other bytes: %q, %q, %v", first, encoded, err)
		}
	})
}

func testAppend(t *testing.T, maker Maker) {
	for _, value := range []any{map[string]int{"a": 1, "b": 2}, AnEvent(1), strings.Repeat("x", 1<<20), []string{}} {
		alone := mustEncode(t, maker(), value)
		for _, room := range []int{0, 3, 2 * len(alone)} {
			dst := append(make([]byte, 0, 4+room), "head"...)
			got, err := maker().Encode(dst, value)
			if err != nil || string(got) != "head"+string(alone) {
				t.Errorf("%.100q is not head and %.100q: %v", got, alone, err)
			} else if room > len(alone) && &got[0] != &dst[0] {
				t.Error("dst had room, and was not used")
			}
		}
	}
}

func testFields(t *testing.T, maker Maker) {
	type before struct {
		A, B int
		In   struct{ A []string }
	}
	type after struct {
		B, C int
		LowA int `json:"a"`
	}
	var got after
	if err := maker().Decode(mustEncode(t, maker(), before{A: 1, B: 2}), &got); err != nil || got != (after{B: 2}) {
		t.Errorf("got %+v, %v: A is unknown, and not a", got, err)
	}
}

type (
	dog struct {
		annals.Aggregate
		Inner

		Price Decimal
		Skip  func() `json:"-"`
	}
	cat  struct{ annals.Aggregate }
	base struct{ annals.Aggregate }
	left struct {
		Name  string `json:"left_name"`
		Other string
	}
	right struct {
		Name  string
		Other Decimal `json:"right_other"`
	}
	// horse has fields of one name in Go, and of two where they are stored.
	horse struct {
		base
		left
		right

		Age    int `json:"age,omitzero"`
		Inner  Inner
		Stable *Inner
	}
)

// pony has what needs no mapping.
type pony struct {
	left
	annals.Aggregate

	Stable *Inner
}

// B33.
func testAggregates(t *testing.T, maker Maker) {
	transcoder := maker(decimals)
	for _, value := range []any{
		dog{Inner: Inner{A: "rex", B: []int{}}, Price: NewDecimal(5, 1)}, cat{}, horse{Age: 1, Stable: &Inner{}},
		horse{left: left{"a", "b"}, right: right{"c", NewDecimal(1, 0)}},
	} {
		ComesBack(t, transcoder, value)
	}
	ComesBack(t, maker(), pony{left: left{"a", "b"}, Stable: &Inner{}})
	if left, right := mustEncode(t, transcoder, cat{}), mustEncode(t, maker(), struct{}{}); !bytes.Equal(left, right) {
		t.Errorf("an aggregate without fields is %q, not %q", left, right)
	}
	for _, value := range []any{struct{ Cat cat }{}, struct{ Cats []horse }{}, []cat{}} {
		if data, err := maker().Encode(nil, value); err == nil || !strings.Contains(err.Error(), "not exported") {
			t.Errorf("an aggregate in another type became %q, %v", data, err)
		}
	}
	var target pony
	err := maker().Decode(mustEncode(t, maker(), struct{ Other int }{7}), &target)
	if err == nil || !strings.Contains(err.Error(), "Other (string)") {
		t.Errorf("an error of an aggregate's field is %v", err)
	}
}

func mustEncode(t Failer, transcoder persistence.Transcoder, value any) []byte {
	t.Helper()
	data, err := transcoder.Encode(nil, value)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return data
}

// Fuzz decodes random data: what is decoded encodes, or is refused, and no data
// makes the transcoder panic.
func Fuzz(f *testing.F, maker Maker) {
	f.Helper()
	for _, value := range Values() {
		f.Add(mustEncode(f, maker(), value))
	}
	mapping := maker(decimals)
	f.Add(mustEncode(f, mapping, forest{Left: &forest{}, Leaves: []forest{{}}, ByName: map[string]forest{"a": {}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first Everything
		if maker().Decode(data, &first) == nil {
			again, err := maker().Encode(nil, first)
			if err != nil {
				return // an any may hold what is refused on save
			}
			var second Everything
			if err := maker().Decode(again, &second); err != nil {
				t.Fatalf("%q became %q, which does not decode: %v", data, again, err)
			}
			if diff := cmp.Diff(first, second, Exactly); diff != "" {
				t.Fatalf("%q: what came back differs (-want +got):\n%s", data, diff)
			}
		}
		var tree forest
		_ = mapping.Decode(data, &tree)
	})
}

// Allocations fails if an event is encoded into a buffer with more than two
// allocations, or decoded with more than one for each text and another one. It
// needs a build without the race detector.
func Allocations(t *testing.T, transcoder persistence.Transcoder) {
	t.Helper()
	var value any = AnEvent(1)
	data := mustEncode(t, transcoder, value)
	dst := make([]byte, 0, 2*len(data))
	if n := testing.AllocsPerRun(500, func() { _, _ = transcoder.Encode(dst, value) }); n > 2 {
		t.Errorf("encode makes %.0f allocations", n)
	}
	var target Event
	if n := testing.AllocsPerRun(500, func() { _ = transcoder.Decode(data, &target) }); n > 3+1 {
		t.Errorf("decode makes %.0f allocations", n)
	}
}
