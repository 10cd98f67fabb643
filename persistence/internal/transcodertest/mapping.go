package transcodertest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

type (
	priced struct {
		Inner

		Price    Decimal
		At       *Decimal
		Nil      *Decimal
		All      []Decimal
		None     []Decimal
		Empty    []Decimal
		Two      [2]Decimal
		By       map[string]Decimal
		Deep     map[string][]*Decimal
		Zero     Decimal `json:"zero,omitzero"`
		Set      Decimal `json:"set,omitzero"`
		Plain    time.Time
		Any      any
		Embedded struct{ Price Decimal }
	}
	// forest is a tree with mapped values.
	forest struct {
		Price  Decimal
		Left   *forest
		Leaves []forest
		ByName map[string]forest
	}
)

var decimals = persistence.StoreAs(Decimal.String, ParseDecimal)

// B12.
func testMappedTypes(t *testing.T, maker Maker) {
	one, two := NewDecimal(1, 2), NewDecimal(2, 2)
	transcoder := maker(decimals)
	for name, value := range map[string]any{
		"zero values": priced{},
		"full": priced{
			Inner: Inner{A: "a"}, Price: one, At: &two, All: []Decimal{one, {}}, Empty: []Decimal{}, Two: [2]Decimal{one, two},
			By: map[string]Decimal{"a": one}, Deep: map[string][]*Decimal{"x": {nil, &one}, "y": nil}, Set: two,
			Plain: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), Any: map[string]any{"a": "b"},
			Embedded: struct{ Price Decimal }{two},
		},
		"the value itself": one,
		"elements":         []Decimal{one, two},
		"a tree": forest{
			Price: one, Left: &forest{Price: two, Leaves: []forest{{}, {Price: one, Left: &forest{}}}},
			Leaves: []forest{}, ByName: map[string]forest{"a": {Price: two}},
		},
		"another tree": []forest{{Leaves: []forest{{Leaves: []forest{{}}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ComesBack(t, transcoder, value)
		})
	}
	type in[T any] struct {
		P T
		Z T `json:",omitzero"`
	}
	got, want := mustEncode(t, transcoder, in[Decimal]{P: one}), mustEncode(t, maker(), in[string]{P: "1e-2"})
	if !bytes.Equal(got, want) {
		t.Errorf("a mapped value is stored as %q, not as %q", got, want)
	}
}

type (
	celsius  float64
	interval struct{ from, to time.Time }
	period   struct {
		From time.Time
		Days celsius
	}
	names []string
)

func testMappingTargets(t *testing.T, maker Maker) {
	transcoder := maker(
		persistence.StoreAs(
			func(c celsius) int { return int(c) },
			func(n int) (celsius, error) { return celsius(n), nil }),
		persistence.StoreAs(
			func(i interval) period { return period{i.from, celsius(i.to.Sub(i.from) / 24 / time.Hour)} },
			func(p period) (interval, error) {
				return interval{p.From, p.From.Add(time.Duration(p.Days) * 24 * time.Hour)}, nil
			}),
		persistence.StoreAs(
			func(n names) []string { return n },
			func(s []string) (names, error) { return s, nil }),
		persistence.StoreAs(
			time.Time.UnixNano,
			func(n int64) (time.Time, error) { return time.Unix(0, n).UTC(), nil }),
	)
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	ComesBack(t, transcoder, struct {
		In    interval
		Nil   names
		Empty names
		Names []names
	}{interval{start, start.AddDate(0, 0, 3)}, nil, names{}, []names{nil, {}, {"a"}}})
}

func testMissing(t *testing.T, maker Maker) {
	var got priced
	if err := maker(decimals).Decode(mustEncode(t, maker(), struct{ Other int }{1}), &got); err != nil || got.Price != (Decimal{}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func testPrecedence(t *testing.T, maker Maker) {
	transcoder := maker(persistence.StoreAs(
		func(m Money) int64 { return m.cents },
		func(n int64) (Money, error) { return Money{n}, nil }))
	type in[T any] struct {
		M T
		P *T
	}
	money, number := Money{7}, int64(7)
	value := in[Money]{money, &money}
	ComesBack(t, transcoder, value)
	if got, want := mustEncode(t, transcoder, value), mustEncode(t, maker(), in[int64]{number, &number}); !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

type (
	wrapped  struct{ Decimal Decimal }
	unstored struct{ d int } //nolint:unused // that it is there is what is refused
)

func testBadMappings(t *testing.T, maker Maker) {
	no := Decimal{}
	for name, c := range map[string]struct {
		mappings []persistence.TypeMapping
		value    any
		says     string
	}{
		"no function": {
			[]persistence.TypeMapping{persistence.StoreAs[Decimal, string](nil, nil)}, 1, "Decimal has no function",
		},
		"an empty mapping":    {[]persistence.TypeMapping{{}}, 1, "not made by StoreAs"},
		"a type mapped twice": {[]persistence.TypeMapping{decimals, decimals}, 1, "two mappings"},
		"a type without a name": {
			mapping(func([]string) string { return "" }, func(string) ([]string, error) { return nil, nil }), 1, "with a name",
		},
		"a type of the language": {
			mapping(func(s string) int { return len(s) }, func(int) (string, error) { return "", nil }), 1, "with a name",
		},
		"a pointer": {
			mapping(func(*Decimal) string { return "" }, func(string) (*Decimal, error) { return &no, nil }), 1, "pointer",
		},
		"an interface": {
			mapping(func(fmt.Stringer) string { return "" }, func(string) (fmt.Stringer, error) { return no, nil }), 1, "with a name",
		},
		"to a pointer": {
			mapping(func(Decimal) *string { return nil }, func(*string) (Decimal, error) { return no, nil }), 1, "is to *string",
		},
		"to an any": {
			mapping(func(Decimal) any { return nil }, func(any) (Decimal, error) { return no, nil }), 1, "is to interface",
		},
		"to itself": {
			mapping(func(d Decimal) Decimal { return d }, func(d Decimal) (Decimal, error) { return d, nil }), 1, "leads back",
		},
		"to itself, by another": {
			append(
				mapping(func(Decimal) celsius { return 0 }, func(celsius) (Decimal, error) { return no, nil }),
				mapping(func(celsius) Decimal { return no }, func(Decimal) (celsius, error) { return 0, nil })...),
			1, "leads back",
		},
		"to what is not stored": {
			mapping(func(Decimal) unstored { return unstored{} }, func(unstored) (Decimal, error) { return no, nil }),
			wrapped{}, "wrapped.Decimal.d is not exported",
		},
		"to what holds the value": {
			mapping(func(d Decimal) wrapped { return wrapped{d} }, func(w wrapped) (Decimal, error) { return w.Decimal, nil }),
			wrapped{}, "wrapped",
		},
		"a key":                   {[]persistence.TypeMapping{decimals}, struct{ M map[Decimal]int }{}, ".M is a map with keys"},
		"an embedded value":       {[]persistence.TypeMapping{decimals}, struct{ Decimal }{}, "give it a name"},
		"an embedded value, deep": {[]persistence.TypeMapping{decimals}, struct{ E []struct{ Decimal } }{}, "give it a name"},
		"a pointer to a mapped slice": {
			mapping(func(Decimal) []int { return nil }, func([]int) (Decimal, error) { return no, nil }),
			struct{ P *Decimal }{}, ".P is a pointer to a slice",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			transcoder := maker(c.mappings...)
			_, err := transcoder.Encode(nil, c.value)
			errs := []error{err}
			checker, _ := transcoder.(persistence.TypeChecker)
			if name != "to what holds the value" { // which only the encoder notices
				errs = append(errs, checker.CheckType(reflect.TypeOf(c.value)))
			}
			if _, ok := c.value.(int); ok {
				var n int
				errs = append(errs, transcoder.Decode(mustEncode(t, maker(), 1), &n))
				if !errors.Is(err, annals.ErrConfiguration) {
					t.Errorf("%v is no annals.ErrConfiguration", err)
				}
			}
			for _, err := range errs {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, which does not say %q", err, c.says)
				}
			}
		})
	}
}

func mapping[T, U any](to func(T) U, from func(U) (T, error)) []persistence.TypeMapping {
	return []persistence.TypeMapping{persistence.StoreAs(to, from)}
}

func testMappingErrors(t *testing.T, maker Maker) {
	type target struct {
		In struct{ Prices []*Decimal }
	}
	for _, stored := range []any{"secret", 12345678.0, []any{"secret"}} {
		type in struct{ Prices []any }
		data := mustEncode(t, maker(), struct{ In in }{in{[]any{"1e-2", nil, stored}}})
		var x target
		err := maker(decimals).Decode(data, &x)
		if err == nil || !strings.Contains(err.Error(), "target.In.Prices.* (") {
			t.Errorf("got %v", err)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "12345678") {
			t.Errorf("error %q holds data", err)
		}
	}
	bad := maker(persistence.StoreAs(func(Decimal) string { return "secret\xff" }, ParseDecimal))
	for _, value := range []any{priced{}, struct{ Price *Decimal }{&Decimal{}}} {
		_, err := bad.Encode(nil, value)
		for _, says := range []string{".Price", "Decimal", "UTF-8"} {
			if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, which does not say %s, or holds data", err, says)
			}
		}
	}
}
