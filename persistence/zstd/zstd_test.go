package zstd_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	klauspost "github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/zstd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// event returns the encoded data of one of many events, of three types.
func event(n int) []byte {
	switch customer := n * 7919 % 1000; n % 3 {
	case 0:
		return fmt.Appendf(nil, `{"order_id":"order-%06d","customer":{"name":"Customer %d","email":"customer%d@example.org"},`+
			`"lines":[{"sku":"SKU-%04d","quantity":%d}],"currency":"EUR"}`, n, customer, customer, n*104729%10000, n%7+1)
	case 1:
		return fmt.Appendf(nil, `{"order_id":"order-%06d","paid_by":"card","amount":"%d.%02d","at":"2024-03-%02dT10:%02d:00Z"}`,
			n-1, n*31%500, n*17%100, n%28+1, n%60)
	default:
		return fmt.Appendf(nil, `{"order_id":"order-%06d","carrier":"Parcels","tracking_number":"PX%09d","weight":%d}`,
			n-2, n*15485863%1_000_000_000, n*13%4000)
	}
}

func events(from, to int) [][]byte {
	var all [][]byte
	for n := from; n < to; n++ {
		all = append(all, event(n))
	}
	return all
}

func train(tb testing.TB, samples [][]byte, opts ...zstd.TrainOption) zstd.Dictionary {
	tb.Helper()
	d, err := zstd.Train(samples, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func noise(size int) []byte {
	rng := rand.New(rand.NewPCG(1, uint64(size)))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// originals are what is to be compressed and to come back.
func originals() map[string][]byte {
	return map[string][]byte{
		"nothing":       {},
		"one byte":      {7},
		"an event":      event(300),
		"another event": event(301),
		"255 bytes":     bytes.Repeat(event(3), 2)[:255],
		"256 bytes":     bytes.Repeat(event(3), 2)[:256],
		"noise":         noise(300),
		"zeros":         make([]byte, 300_000),
		"many events":   bytes.Join(events(0, 2000), nil),
		"much noise":    noise(70_000),
	}
}

func compress(tb testing.TB, c *zstd.Compressor, src []byte) []byte {
	tb.Helper()
	b, err := c.Compress(nil, src)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// B15.
func TestWhatIsCompressedComesBack(t *testing.T) {
	t.Parallel()
	d := train(t, events(0, 300), zstd.WithID(1))
	standard, err := klauspost.NewReader(nil, klauspost.WithDecoderDicts(d.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standard.Close)
	for name, src := range originals() {
		for _, level := range []int{1, 3, 6, 22} {
			for kind, opts := range map[string][]zstd.Option{"": nil, ", with a dictionary": {zstd.WithDictionary(d)}} {
				t.Run(fmt.Sprintf("%s at level %d%s", name, level, kind), func(t *testing.T) {
					t.Parallel()
					compressed := compress(t, zstd.New(append(opts, zstd.WithLevel(level))...), src)
					got, err := zstd.New(opts...).Decompress(nil, compressed)
					if err != nil || !bytes.Equal(got, src) {
						t.Errorf("got %d bytes and the error %v, want the %d bytes", len(got), err, len(src))
					}
					if got, err := standard.DecodeAll(compressed, nil); err != nil || !bytes.Equal(got, src) {
						t.Errorf("another reader got %d bytes and the error %v", len(got), err)
					}
				})
			}
		}
	}
}

// B15.
func TestAnythingComesBackBehindWhatWasThere(t *testing.T) {
	t.Parallel()
	d := train(t, events(0, 300))
	plain, with := zstd.New(), zstd.New(zstd.WithDictionary(d))
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.SliceOf(rapid.Byte()).Draw(t, "src")
		if rapid.Bool().Draw(t, "an event") {
			src = slices.Concat(event(rapid.IntRange(0, 10_000).Draw(t, "n")), src)
		}
		if rapid.Bool().Draw(t, "repetitive") {
			src = bytes.Repeat(src, rapid.IntRange(2, 2000).Draw(t, "times"))
		}
		c := plain
		if rapid.Bool().Draw(t, "dictionary") {
			c = with
		}
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "prefix")
		room := rapid.IntRange(0, 2*len(src)+20).Draw(t, "room")
		kept := slices.Clone(src)

		compressed, err := c.Compress(slices.Grow(slices.Clone(prefix), room), src)
		if err != nil || !bytes.HasPrefix(compressed, prefix) {
			t.Fatalf("the prefix is gone: %v", err)
		}
		compressed = compressed[len(prefix):]
		keptCompressed := slices.Clone(compressed)
		for _, room := range []int{room, len(src)} {
			got, err := with.Decompress(append(make([]byte, 0, len(prefix)+room), prefix...), compressed)
			if err != nil || !bytes.Equal(got, append(slices.Clone(prefix), kept...)) {
				t.Fatalf("got %d bytes and the error %v, want %d after %d", len(got), err, len(kept), len(prefix))
			}
		}
		if !bytes.Equal(src, kept) || !bytes.Equal(compressed, keptCompressed) {
			t.Fatal("an input was changed")
		}
	})
}

func TestAFrameHasNoByteTooMuch(t *testing.T) {
	t.Parallel()
	d := train(t, events(0, 300), zstd.WithID(255))
	const magic, descriptor, checksum, block = 4, 1, 4, 3
	for _, c := range []struct {
		name       string
		compressor *zstd.Compressor
		size       int
		id, length int
	}{
		{"small", zstd.New(), 200, 0, 1},
		{"larger", zstd.New(), 256, 0, 2},
		{"with a dictionary", zstd.New(zstd.WithDictionary(d)), 200, 1, 1},
		{"with a dictionary that has no number", zstd.New(zstd.WithDictionary(train(t, events(0, 300)))), 200, 2, 1},
	} {
		want := magic + descriptor + c.id + c.length + block + c.size + checksum
		if got := len(compress(t, c.compressor, noise(c.size))); got != want {
			t.Errorf("%s: %d bytes that cannot be made smaller become %d, want %d", c.name, c.size, got, want)
		}
	}
}

// B15: levels and dictionaries can be changed at any time.
func TestSmallEventsBecomeSmaller(t *testing.T) {
	t.Parallel()
	d := train(t, events(0, 300), zstd.WithID(1))
	plain, with := zstd.New(), zstd.New(zstd.WithDictionary(d))
	var raw, alone, known int
	for n := 300; n < 3300; n += 3 { // 170 bytes
		src := event(n)
		raw, alone, known = raw+len(src), alone+len(compress(t, plain, src)), known+len(compress(t, with, src))
	}
	t.Logf("%d bytes, %d alone, %d with a dictionary", raw, alone, known)
	if alone > raw*95/100 || known > raw*4/10 {
		t.Errorf("%d bytes become %d alone, and %d with a dictionary", raw, alone, known)
	}
}

func TestTheSizeOfTheOriginalIsBounded(t *testing.T) {
	t.Parallel()
	const most = 1000
	d := train(t, events(0, 300))
	bounded := zstd.New(zstd.WithMaxSize(most), zstd.WithFormerDictionaries(d))
	for _, size := range []int{1, most - 1, most, most + 1, 10 * most} {
		for _, src := range [][]byte{make([]byte, size), noise(size)} {
			for _, c := range []*zstd.Compressor{zstd.New(), zstd.New(zstd.WithDictionary(d))} {
				for _, room := range []int{0, 5, size, 20 * most} {
					got, err := bounded.Decompress(make([]byte, 3, 3+room), compress(t, c, src))
					var typed *zstd.SizeError
					switch {
					case size <= most && (err != nil || !bytes.Equal(got[3:], src)):
						t.Errorf("%d bytes: got %d bytes and the error %v", size, len(got), err)
					case size > most && (!errors.As(err, &typed) || !errors.Is(err, annals.ErrUndecodable) || typed.Max != most):
						t.Errorf("%d bytes: the error is %v", size, err)
					}
				}
			}
			var typed *zstd.SizeError
			_, err := bounded.Compress(nil, src)
			if refused := errors.As(err, &typed) && errors.Is(err, annals.ErrUnencodable); refused != (size > most) {
				t.Errorf("Compress: %d bytes: the error is %v", size, err)
			}
		}
	}
	c := zstd.New(zstd.WithMaxSize(math.MaxInt))
	if got, err := c.Decompress(nil, compress(t, c, event(1))); err != nil || !bytes.Equal(got, event(1)) {
		t.Errorf("without a bound: got %q and the error %v", got, err)
	}
}

// took returns how many bytes of memory something takes.
func took(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

//nolint:paralleltest // it measures the memory of the process
func TestABombTakesLittleMemory(t *testing.T) {
	zeros := compress(t, zstd.New(), make([]byte, 60<<20))
	const sizeAt = 5 // behind magic and descriptor; four bytes
	lie := func(frame []byte, size uint32) []byte {
		frame = slices.Clone(frame)
		frame[sizeAt], frame[sizeAt+1], frame[sizeAt+2], frame[sizeAt+3] = byte(size), byte(size>>8), byte(size>>16), byte(size>>24)
		return frame
	}
	small := compress(t, zstd.New(), make([]byte, 70_000))
	c := zstd.New(zstd.WithMaxSize(64 << 10))
	if _, err := zstd.New().Decompress(nil, small); err != nil { // what is needed once
		t.Fatal(err)
	}
	for name, bomb := range map[string]struct {
		c     *zstd.Compressor
		frame []byte
	}{
		"larger than the bound":                      {c, zeros},
		"larger than it says":                        {c, lie(zeros, 1000)},
		"larger than it says, and without a bound":   {zstd.New(), lie(zeros, 1000)},
		"smaller than it says, and within the bound": {zstd.New(), lie(small, 60<<20)},
		"it says that it is larger than all that is": {zstd.New(), lie(small, math.MaxUint32)},
	} {
		var err error
		if memory := took(func() { _, err = bomb.c.Decompress(nil, bomb.frame) }); err == nil || memory > 1<<20 {
			t.Errorf("%s: %d bytes took %d bytes of memory, and the error is %v", name, len(bomb.frame), memory, err)
		}
	}
}

//nolint:paralleltest // it measures the memory of the process
func TestACompressorTakesLittleMemory(t *testing.T) {
	d := train(t, events(0, 300))
	many := bytes.Join(events(0, 20_000), nil)
	into := make([]byte, 0, len(many))
	encoders := uint64(min(runtime.GOMAXPROCS(0), 8))
	for level, most := range map[int]uint64{1: 2 << 20, 3: 5 << 20, 6: 10 << 20} {
		for kind, opts := range map[string][]zstd.Option{"": nil, ", with a dictionary": {zstd.WithDictionary(d)}} {
			memory := took(func() {
				c := zstd.New(append(opts, zstd.WithLevel(level))...)
				for _, src := range [][]byte{event(1), many} {
					if _, err := c.Compress(into, src); err != nil {
						t.Fatal(err)
					}
				}
			})
			if memory > most*encoders {
				t.Errorf("level %d%s: %d bytes for %d encoders", level, kind, memory, encoders)
			}
		}
	}
}

func TestManyGoroutinesShareACompressor(t *testing.T) {
	t.Parallel()
	c := zstd.New(zstd.WithDictionary(train(t, events(0, 300))))
	alone := zstd.New()
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			var compressed, got []byte
			for n := range 100 {
				src := event(100*g + n)
				var err error
				if compressed, err = c.Compress(compressed[:0], src); err != nil {
					t.Error(err)
				}
				if got, err = c.Decompress(got[:0], compressed); err != nil || !bytes.Equal(got, src) {
					t.Errorf("got %q and the error %v", got, err)
				}
				if got, err = c.Decompress(got[:0], compress(t, alone, src)); err != nil || !bytes.Equal(got, src) {
					t.Errorf("without the dictionary: got %q and the error %v", got, err)
				}
				if _, err := c.Decompress(nil, compressed[:len(compressed)-1]); err == nil {
					t.Error("a cut frame was read")
				}
			}
		})
	}
	wg.Wait()
}

type order struct{ annals.Aggregate }

type placed struct{ Text string }

func (placed) Apply(*order) {}

var orders = annals.Define("Order", annals.On[placed]("Placed"))

// B15.
func TestEventsLoadWhateverTheyWentThrough(t *testing.T) {
	t.Parallel()
	mapper := func(cfg persistence.MapperConfig) *persistence.Mapper {
		m, err := persistence.NewMapper(cfg)
		if err == nil {
			err = m.Register(orders)
		}
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	first, second := train(t, events(0, 300)), train(t, events(300, 600))
	off := mapper(persistence.MapperConfig{})
	on := mapper(persistence.MapperConfig{Compressor: zstd.New()})
	withFirst := mapper(persistence.MapperConfig{Compressor: zstd.New(zstd.WithDictionary(first))})
	withSecond := mapper(persistence.MapperConfig{Compressor: zstd.New(zstd.WithDictionary(second, first))})
	formerly := mapper(persistence.MapperConfig{Compressor: zstd.New(zstd.WithFormerDictionaries(first))})
	offAgain := mapper(persistence.MapperConfig{
		Compressors: []persistence.Compressor{zstd.New(zstd.WithFormerDictionaries(first, second))},
	})
	small, large := placed{"a"}, placed{strings.Repeat(string(event(1)), 10)}
	for _, c := range []struct {
		name     string
		from, to *persistence.Mapper
		data     placed
		encoding string
	}{
		{"stored before it was switched on", off, on, large, "1:json"},
		{"compressed", on, on, large, "1:json+zstd"},
		{"a tiny one, which would become larger", on, on, small, "1:json"},
		{"compressed before there was a dictionary", on, withFirst, large, "1:json+zstd"},
		{"compressed by the dictionary before", withFirst, withSecond, large, "1:json+zstd"},
		{"compressed before the dictionary was switched off", withFirst, formerly, large, "1:json+zstd"},
		{"stored before it was switched off", withSecond, offAgain, large, "1:json+zstd"},
	} {
		e := annals.Event{ID: "e1", StreamID: "o1", Version: 1, Topic: "Order.Placed", Data: c.data}
		stored, err := c.from.Encode(t.Context(), &e)
		if err != nil || stored.Encoding != c.encoding {
			t.Fatalf("%s: the encoding is %q, the error %v", c.name, stored.Encoding, err)
		}
		if got, err := c.to.Decode(t.Context(), &stored); err != nil || got.Data != c.data {
			t.Errorf("%s: got %v and the error %v", c.name, got.Data, err)
		}
	}
	e := annals.Event{ID: "e1", StreamID: "o1", Version: 1, Topic: "Order.Placed", Data: large}
	stored, err := withSecond.Encode(t.Context(), &e)
	if err != nil {
		t.Fatal(err)
	}
	_, err = withFirst.Decode(t.Context(), &stored)
	if !errors.Is(err, annals.ErrConfiguration) || !errors.Is(err, annals.ErrUndecodable) ||
		!strings.Contains(err.Error(), fmt.Sprintf("dictionary %d", second.ID())) {
		t.Errorf("without the dictionary, the error is %v", err)
	}
}

func TestWrongOptionsPanic(t *testing.T) {
	t.Parallel()
	d := train(t, events(0, 300))
	for _, o := range []zstd.Option{
		zstd.WithLevel(0), zstd.WithLevel(23), zstd.WithMaxSize(0), zstd.WithMaxSize(-1),
		zstd.WithDictionary(zstd.Dictionary{}), zstd.WithDictionary(d, zstd.Dictionary{}), zstd.WithFormerDictionaries(zstd.Dictionary{}),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a wrong option was taken")
				}
			}()
			zstd.New(o)
		}()
	}
}
