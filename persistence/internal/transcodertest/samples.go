package transcodertest

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Money is a type with a form of its own.
type Money struct{ cents int64 }

// NewMoney returns an amount.
func NewMoney(cents int64) Money { return Money{cents} }

// Equal makes amounts comparable for go-cmp.
func (m Money) Equal(other Money) bool { return m == other }

// MarshalText encodes the amount.
func (m Money) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, m.cents, 10), nil }

// UnmarshalText decodes it.
func (m *Money) UnmarshalText(text []byte) (err error) {
	m.cents, err = strconv.ParseInt(string(text), 10, 64)
	return err
}

// Decimal is a type of others, without a form of its own.
type Decimal struct {
	unscaled int64
	scale    int32
}

// NewDecimal returns unscaled / 10^scale.
func NewDecimal(unscaled int64, scale int32) Decimal { return Decimal{unscaled, scale} }

// ParseDecimal is the inverse of String. Its errors quote the text.
func ParseDecimal(text string) (Decimal, error) {
	unscaled, scale, ok := strings.Cut(text, "e-")
	if !ok {
		return Decimal{}, fmt.Errorf("decimal %q has no scale", text)
	}
	u, err := strconv.ParseInt(unscaled, 10, 64)
	if err != nil {
		return Decimal{}, fmt.Errorf("decimal: %w", err)
	}
	s, err := strconv.ParseInt(scale, 10, 32)
	if err != nil {
		return Decimal{}, fmt.Errorf("decimal: %w", err)
	}
	return Decimal{u, int32(s)}, nil
}

// String returns the decimal as text.
func (d Decimal) String() string { return fmt.Sprintf("%de-%d", d.unscaled, d.scale) }

// Equal makes decimals comparable for go-cmp.
func (d Decimal) Equal(other Decimal) bool { return d == other }

// Inner is embedded in [Everything].
type Inner struct {
	A string
	B []int
}

type hidden struct{ Seen string }

// Everything has a field of each kind.
type Everything struct {
	Inner
	hidden

	Bool     bool
	Ints     [5]int64
	Small    int8
	Uint     uint64
	Float    float64
	Single   float32
	Text     string
	Bytes    []byte
	Hash     [4]byte
	Slice    []string
	Slices   [][]int
	Map      map[string]int
	Numbers  map[int32]string
	Maps     map[string]map[string]bool
	Pointer  *int
	Struct   *Inner
	Time     time.Time
	Times    []time.Time
	Moment   *time.Time
	Lasts    time.Duration
	UUID     uuid.UUID
	Money    Money
	MoneyAt  *Money
	Prices   map[uuid.UUID]Money
	Big      *big.Int
	Any      any
	Self     *Everything
	Selves   []Everything
	Skipped  string `json:"-"`
	Renamed  string `json:"other_name"`
	Omitted  []int  `json:"omitted,omitzero"`
	MiXeD    int
	Mixed    int
	Anything []any
	Children map[string]*Everything
}

// Values returns values that come back as they were, by their names.
func Values() map[string]any {
	seven, berlin := 7, time.FixedZone("CET", 3600)
	moment := time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.UTC)
	money := NewMoney(3)
	return map[string]any{
		"zero values": Everything{},
		"full": Everything{
			Inner: Inner{A: "a", B: []int{1}}, hidden: hidden{"seen"},
			Bool: true, Ints: [5]int64{math.MinInt64, -1, 0, 1, math.MaxInt64}, Small: -128, Uint: math.MaxUint64,
			Float: 0.1, Single: math.MaxFloat32, Text: "späti\u2028\x00\"<&>\\", Bytes: []byte{0, 255}, Hash: [4]byte{1, 2, 3, 4},
			Slice: []string{"", "x"}, Slices: [][]int{nil, {}, {1}}, Map: map[string]int{"": 1, "a/b~c": 2},
			Numbers: map[int32]string{-1: "x", 0: "y", 1 << 20: "z"},
			Maps:    map[string]map[string]bool{"nil": nil, "empty": {}, "a": {"b": true}},
			Pointer: &seven, Struct: &Inner{}, Time: moment, Times: []time.Time{{}, moment.In(berlin)}, Moment: &moment,
			Lasts: math.MinInt64, UUID: uuid.MustParse("01a20537-bd24-776a-b21d-3793f205474f"),
			Money: NewMoney(-5), MoneyAt: &money, Prices: map[uuid.UUID]Money{{1}: NewMoney(1), {2}: {}},
			Big: new(big.Int).Lsh(big.NewInt(-3), 100), Any: map[string]any{"a": []any{1.5, "x", true, nil, map[string]any{}}},
			Self: &Everything{}, Selves: []Everything{{Text: "x"}}, Renamed: "r", Omitted: []int{1}, MiXeD: 1, Mixed: 2,
			Anything: []any{nil, "", false}, Children: map[string]*Everything{"a": nil, "b": {MiXeD: 3}},
		},
		"empty is not nil": Everything{
			Bytes: []byte{}, Slice: []string{}, Map: map[string]int{}, Any: map[string]any{}, Big: new(big.Int), Omitted: []int{},
			Anything: []any{}, Selves: []Everything{},
		},
		"the first and the last time": []time.Time{
			time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
			time.Date(2024, 1, 1, 0, 0, 0, 1, time.FixedZone("", -23*3600-59*60)),
		},
		"floats":         []float64{math.SmallestNonzeroFloat64, math.MaxFloat64, math.Copysign(0, -1), 1 << 53, 1.0 / 3, 65504, 65505},
		"single floats":  []float32{math.SmallestNonzeroFloat32, math.MaxFloat32, 0.1, 1.5},
		"a map":          map[string]string{"a": "b"},
		"a nil map":      map[string]string(nil),
		"an empty type":  struct{}{},
		"text":           "fido",
		"a number":       uint8(200),
		"a mapless tree": []any{[]any{[]any{}}},
	}
}

// Tree is a nested value.
type Tree struct {
	Name   string            `json:"n,omitzero"`
	Count  int64             `json:"c"`
	Size   uint64            `json:"s"`
	Weight float64           `json:"w"`
	At     time.Time         `json:"at"`
	Data   []byte            `json:"d"`
	Tags   map[string]string `json:"t"`
	Any    any               `json:"a"`
	Price  *Money            `json:"p"`
	Left   *Tree             `json:"l"`
	Leaves []Tree            `json:"ls"`
	ByName map[string]Tree   `json:"by"`
}

// Random returns a tree. Pick returns a number below n; the strings and floats are
// the caller's.
func Random(pick func(n int64) int64, text func() string, float func() float64, depth int) Tree {
	t := Tree{
		Name: text(), Count: -pick(math.MaxInt64), Size: uint64(pick(math.MaxInt64)) * 2, Weight: float(), Data: []byte(text()),
		At: time.Unix(pick(253402300799-86400), pick(1e9)).In(time.FixedZone("", int(pick(1400)-700)*60)),
	}
	if pick(2) == 0 {
		money := NewMoney(pick(1000) - 500)
		t.Price, t.Tags, t.Data = &money, map[string]string{text(): text(), text(): text()}, nil
	}
	t.Any = []any{nil, true, text(), float(), []any{text()}, map[string]any{text(): []any{}}}[pick(6)]
	if depth == 0 {
		return t
	}
	in := func() Tree { return Random(pick, text, float, depth-1) }
	switch pick(4) {
	case 0:
		left := in()
		t.Left = &left
	case 1:
		t.Leaves = []Tree{in(), in()}
	case 2:
		t.ByName = map[string]Tree{text(): in()}
	default:
	}
	return t
}

// Event is an event of a usual size: 200 bytes of JSON.
type Event struct {
	OrderID  string    `json:"order_id"`
	Customer string    `json:"customer"`
	Product  string    `json:"product"`
	Quantity int       `json:"quantity"`
	Price    int64     `json:"price"`
	Paid     bool      `json:"paid"`
	At       time.Time `json:"at"`
}

// AnEvent returns an event, another one for each number.
func AnEvent(n int) Event {
	return Event{
		OrderID:  uuid.NewSHA1(uuid.NameSpaceOID, []byte{byte(n), byte(n >> 8)}).String(),
		Customer: fmt.Sprintf("customer-%d", 4711+n), Product: fmt.Sprintf("SKU-%04d-blue", n), Quantity: 3, Price: 129900, Paid: true,
		At: time.Date(2026, 11, 23, 10, 11, 12, 345678000+n, time.UTC),
	}
}
