package zlib_test

import (
	"bytes"
	stdzlib "compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/zlib"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// event returns the encoded data of one of many events.
func event(n int) []byte {
	return fmt.Appendf(nil, `{"order_id":"order-%06d","customer":{"name":"Customer %d","email":"customer%d@example.org"},`+
		`"lines":[{"sku":"SKU-%04d","quantity":%d}],"currency":"EUR"}`, n, n*7919%1000, n*7919%1000, n*104729%10000, n%7+1)
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
		"nothing":            {},
		"one byte":           {7},
		"an event":           event(1),
		"noise":              noise(300),
		"zeros":              make([]byte, 100_000),
		"events of one kind": bytes.Repeat(event(2), 500),
		"much noise":         noise(70_000),
	}
}

func compress(tb testing.TB, c *zlib.Compressor, src []byte) []byte {
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
	for name, src := range originals() {
		for _, level := range []int{1, 6, 9} {
			t.Run(fmt.Sprintf("%s at level %d", name, level), func(t *testing.T) {
				t.Parallel()
				compressed := compress(t, zlib.New(zlib.WithLevel(level)), src)
				got, err := zlib.New().Decompress(nil, compressed)
				if err != nil || !bytes.Equal(got, src) {
					t.Errorf("got %d bytes and the error %v, want the %d bytes", len(got), err, len(src))
				}
				r, err := stdzlib.NewReader(bytes.NewReader(compressed))
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, src) {
					t.Errorf("another reader got %d bytes and the error %v", len(got), err)
				}
			})
		}
	}
}

// B15. What is stored stays readable: this is what the first version made of event(1).
func TestWhatWasStoredIsReadForEver(t *testing.T) {
	t.Parallel()
	stored, err := base64.StdEncoding.DecodeString("eJw8jcGqwjAURH/lMev2YYsguStBXLlTuhKR0F4k2CR6k4Al5N8lKM5qGOZwMrxMLFcz" +
		"gT61XdV0aDCmEL1lAWU4bRmE3Xf6U51CA7bazKDfU3Vqyy9tHzP/e7mhNJiN4wA6Z4R7AuF0GNr1pq/0M2kXTVxAfblUnQi7cQFhPxxR3gEAAP//ONExxief7XQ=")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := zlib.New().Decompress(nil, stored); err != nil || !bytes.Equal(got, event(1)) {
		t.Errorf("got %q and the error %v", got, err)
	}
}

// B15.
func TestAnythingComesBackBehindWhatWasThere(t *testing.T) {
	t.Parallel()
	c := zlib.New()
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.SliceOf(rapid.Byte()).Draw(t, "src")
		if rapid.Bool().Draw(t, "repetitive") {
			src = bytes.Repeat(src, rapid.IntRange(2, 2000).Draw(t, "times"))
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
		got, err := c.Decompress(slices.Grow(slices.Clone(prefix), room), compressed)
		if err != nil || !bytes.Equal(got, append(slices.Clone(prefix), kept...)) {
			t.Fatalf("got %d bytes and the error %v, want %d after %d", len(got), err, len(kept), len(prefix))
		}
		if !bytes.Equal(src, kept) || !bytes.Equal(compressed, keptCompressed) {
			t.Fatal("an input was changed")
		}
	})
}

// B13, B15: what is not as it was made is an error that tells nothing of the data.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	c := zlib.New()
	check := func(t *testing.T, damaged, src []byte) {
		t.Helper()
		got, err := c.Decompress(nil, damaged)
		var typed *zlib.DamagedError
		switch {
		case err == nil && !bytes.Equal(got, src):
			t.Fatalf("%x: other data came back", damaged)
		case err != nil && (!errors.As(err, &typed) || !errors.Is(err, annals.ErrUndecodable)):
			t.Fatalf("%x: the error is %v", damaged, err)
		case err != nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "order")):
			t.Fatalf("the error is %v", err)
		}
	}
	for name, src := range originals() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compressed := compress(t, c, src)
			every := len(compressed)/500 + 1 // of small ones, each value of each byte
			damaged := slices.Clone(compressed)
			for i := 0; i < len(compressed); i += every {
				for change := 1; change < 256; change += every {
					damaged[i] = compressed[i] ^ byte(change)
					check(t, damaged, src)
				}
				damaged[i] = compressed[i]
			}
			for i := 0; i < len(compressed); i += every {
				if _, err := c.Decompress(nil, compressed[:i:i]); err == nil {
					t.Fatalf("nothing was wrong with the first %d of %d bytes", i, len(compressed))
				}
			}
			if _, err := c.Decompress(nil, append(compressed, 0)); err == nil {
				t.Fatal("nothing was wrong with a byte too much")
			}
		})
	}
}

// sealed adds the checksum to what is not as Compress makes it.
func sealed(stream []byte) []byte {
	return binary.BigEndian.AppendUint32(slices.Clone(stream), crc32.ChecksumIEEE(stream))
}

// standard is a stream that the standard library makes.
func standard(tb testing.TB, src, dictionary []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w, err := stdzlib.NewWriterLevelDict(&b, 6, dictionary)
	if err == nil {
		_, err = w.Write(src)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	c := zlib.New()
	stream := standard(t, event(1), nil)
	if got, err := c.Decompress(nil, sealed(stream)); err != nil || !bytes.Equal(got, event(1)) {
		t.Fatalf("got %q and the error %v", got, err)
	}
	adler := slices.Clone(stream)
	adler[len(adler)-1]++
	for name, test := range map[string]struct {
		damaged []byte
		want    string
	}{
		"nothing":               {nil, "its checksum does not match"},
		"a few bytes":           {[]byte("123"), "its checksum does not match"},
		"no stream":             {sealed(nil), "its checksum does not match"},
		"without checksum":      {stream, "its checksum does not match"},
		"what is not zlib":      {sealed(event(1)), "it is not one stream of zlib"},
		"a stream that is cut":  {sealed(stream[:len(stream)-1]), "it is not one stream of zlib"},
		"two streams":           {sealed(append(slices.Clone(stream), stream...)), "it is not one stream of zlib"},
		"another of zlib's own": {sealed(adler), "it is not one stream of zlib"},
		"broken rules":          {sealed([]byte{0x78, 0x9c, 0xff, 0xff}), "it is not one stream of zlib"},
		"a preset dictionary":   {sealed(standard(t, event(1), event(2))), "it is not one stream of zlib"},
	} {
		var typed *zlib.DamagedError
		if _, err := c.Decompress(nil, test.damaged); !errors.As(err, &typed) || typed.Reason != test.want {
			t.Errorf("%s: the error is %v, want: %s", name, err, test.want)
		}
	}
}

func TestTheSizeOfTheOriginalIsBounded(t *testing.T) {
	t.Parallel()
	const most = 1000
	bounded := zlib.New(zlib.WithMaxSize(most))
	for _, size := range []int{1, most - 1, most, most + 1, 10 * most} {
		for _, src := range [][]byte{make([]byte, size), noise(size)} {
			for _, room := range []int{0, 5, size, 20 * most} {
				t.Run(fmt.Sprintf("%d bytes, room for %d", size, room), func(t *testing.T) {
					t.Parallel()
					got, err := bounded.Decompress(make([]byte, 3, 3+room), compress(t, zlib.New(), src))
					var typed *zlib.SizeError
					switch {
					case size <= most && (err != nil || !bytes.Equal(got[3:], src)):
						t.Errorf("got %d bytes and the error %v", len(got), err)
					case size > most && (!errors.As(err, &typed) || !errors.Is(err, annals.ErrUndecodable) || typed.Max != most):
						t.Errorf("the error is %v", err)
					}
					_, err = bounded.Compress(nil, src)
					if refused := errors.As(err, &typed) && errors.Is(err, annals.ErrUnencodable) && typed.Size == size; refused != (size > most) {
						t.Errorf("Compress: the error is %v", err)
					}
				})
			}
		}
	}
	t.Run("there may be no bound", func(t *testing.T) {
		t.Parallel()
		c := zlib.New(zlib.WithMaxSize(math.MaxInt))
		if got, err := c.Decompress(nil, compress(t, c, event(1))); err != nil || !bytes.Equal(got, event(1)) {
			t.Errorf("got %q and the error %v", got, err)
		}
	})
}

//nolint:paralleltest // it measures the memory of the process
func TestABombTakesLittleMemory(t *testing.T) {
	bomb := compress(t, zlib.New(zlib.WithMaxSize(math.MaxInt)), make([]byte, 16<<20))
	c := zlib.New(zlib.WithMaxSize(64 << 10))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := c.Decompress(nil, bomb)
	runtime.ReadMemStats(&after)
	var typed *zlib.SizeError
	if took := after.TotalAlloc - before.TotalAlloc; !errors.As(err, &typed) || took > 1<<20 {
		t.Errorf("a bomb of %d bytes took %d bytes, and the error is %v", len(bomb), took, err)
	}
}

func TestManyGoroutinesShareACompressor(t *testing.T) {
	t.Parallel()
	c := zlib.New()
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			var compressed, got []byte
			for n := range 50 {
				src := event(100*g + n)
				var err error
				if compressed, err = c.Compress(compressed[:0], src); err != nil {
					t.Error(err)
				}
				if got, err = c.Decompress(got[:0], compressed); err != nil || !bytes.Equal(got, src) {
					t.Errorf("got %q and the error %v", got, err)
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
	off := mapper(persistence.MapperConfig{})
	on := mapper(persistence.MapperConfig{Compressor: zlib.New()})
	offAgain := mapper(persistence.MapperConfig{Compressors: []persistence.Compressor{zlib.New()}})
	small, large := placed{"a"}, placed{strings.Repeat("a", 1000)}
	for _, c := range []struct {
		name     string
		from, to *persistence.Mapper
		data     placed
		encoding string
	}{
		{"stored before it was switched on", off, on, large, "1:json"},
		{"compressed", on, on, large, "1:json+zlib"},
		{"a tiny one, which would become larger", on, on, small, "1:json"},
		{"stored before it was switched off", on, offAgain, large, "1:json+zlib"},
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
}

func TestWrongOptionsPanic(t *testing.T) {
	t.Parallel()
	for _, o := range []zlib.Option{zlib.WithLevel(0), zlib.WithLevel(10), zlib.WithLevel(-2), zlib.WithMaxSize(0), zlib.WithMaxSize(-1)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a wrong option was taken")
				}
			}()
			zlib.New(o)
		}()
	}
}

// B35.
func TestTheEnvironmentChoosesTheLevel(t *testing.T) {
	t.Parallel()
	src := bytes.Repeat(event(1), 3)
	for _, c := range []struct {
		environ []string
		like    *zlib.Compressor // nil if it is wrong
	}{
		{nil, zlib.New()},
		{[]string{"ZLIB_LEVEL=1"}, zlib.New(zlib.WithLevel(1))},
		{[]string{"ZLIB_LEVEL=1", "SHOP_ZLIB_LEVEL=9"}, zlib.New(zlib.WithLevel(9))},
		{[]string{"ZLIB_LEVEL=0"}, nil},
		{[]string{"ZLIB_LEVEL=fast"}, nil},
	} {
		s := persistence.NewSettings("shop", c.environ)
		got, err := zlib.Driver.Compressor(t.Context(), s)
		if err != nil || got == nil || got.Name() != zlib.Driver.Name {
			t.Fatalf("%v: the compressor is %v, the error %v", c.environ, got, err)
		}
		if c.like == nil {
			if err := s.Err(); !errors.Is(err, annals.ErrConfiguration) || !strings.Contains(err.Error(), "ZLIB_LEVEL") {
				t.Errorf("%v: the error is %v", c.environ, err)
			}
			continue
		}
		if err := s.Err(); err != nil {
			t.Error(err)
		}
		if b, err := got.Compress(nil, src); err != nil || !bytes.Equal(b, compress(t, c.like, src)) {
			t.Errorf("%v: it is another level; the error is %v", c.environ, err)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	plain, bounded := zlib.New(), zlib.New(zlib.WithMaxSize(10_000))
	for _, src := range originals() {
		f.Add(compress(f, plain, src), false)
		f.Add(src[:min(len(src), 1000)], false)
		f.Add(standard(f, src, nil), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, checksum bool) {
		if checksum {
			b = sealed(b)
		}
		original, err := bounded.Decompress([]byte("before"), b)
		var damaged *zlib.DamagedError
		var size *zlib.SizeError
		if err != nil {
			if !errors.As(err, &damaged) && !errors.As(err, &size) {
				t.Fatalf("the error is %v", err)
			}
		} else if !bytes.HasPrefix(original, []byte("before")) || len(original) > 10_006 {
			t.Fatalf("got %d bytes", len(original))
		}
		// And any bytes come back.
		if got, err := plain.Decompress(nil, compress(t, plain, b)); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("got %x and the error %v", got, err)
		}
	})
}
