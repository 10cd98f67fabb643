package zstd_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	klauspost "github.com/klauspost/compress/zstd"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence/zstd"
)

// isTyped tells the errors that Decompress may return.
func isTyped(err error) bool {
	var damaged *zstd.DamagedError
	var dictionary *zstd.DictionaryError
	var size *zstd.SizeError
	return (errors.As(err, &damaged) || errors.As(err, &dictionary) || errors.As(err, &size)) &&
		errors.Is(err, annals.ErrUndecodable) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
}

// B13, B15: what is not as it was made is an error that tells nothing of the data.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	d := train(t, events(0, 300), zstd.WithID(1))
	c := zstd.New(zstd.WithDictionary(d, train(t, events(300, 600), zstd.WithID(2))), zstd.WithMaxSize(1<<20))
	for kind, by := range map[string]*zstd.Compressor{"": zstd.New(), ", with a dictionary": c} {
		for name, src := range originals() {
			t.Run(name+kind, func(t *testing.T) {
				t.Parallel()
				compressed := compress(t, by, src)
				every := len(compressed)/200 + 1 // of small ones, each value of each byte
				step := max(every, len(src)/1000)
				damaged, into := slices.Clone(compressed), make([]byte, 0, len(src)+100)
				for i := 0; i < len(compressed); i += every {
					for change := 1; change < 256; change += step {
						damaged[i] = compressed[i] ^ byte(change)
						got, err := c.Decompress(into, damaged)
						switch {
						case err == nil && !bytes.Equal(got, src):
							t.Fatalf("%x: other data came back", damaged)
						case err != nil && (!isTyped(err) || strings.Contains(err.Error(), "order") || got != nil):
							t.Fatalf("%x: got %d bytes and the error %v", damaged, len(got), err)
						}
					}
					damaged[i] = compressed[i]
				}
				for i := 0; i < len(compressed); i += every {
					if got, err := c.Decompress(nil, compressed[:i:i]); !isTyped(err) || got != nil {
						t.Fatalf("of the first %d of %d bytes, got %d bytes and the error %v", i, len(compressed), len(got), err)
					}
				}
				for _, more := range [][]byte{{0}, compressed, compressed[:1], []byte("\x50\x2a\x4d\x18\x00\x00\x00\x00")} {
					if _, err := c.Decompress(nil, append(slices.Clone(compressed), more...)); !isTyped(err) {
						t.Fatalf("with %d bytes too much, the error is %v", len(more), err)
					}
				}
			})
		}
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	d := train(t, events(0, 300), zstd.WithID(70_000))
	c := zstd.New(zstd.WithDictionary(d))
	foreign := func(opts ...klauspost.EOption) []byte {
		e, err := klauspost.NewWriter(nil, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return e.EncodeAll(bytes.Repeat(event(3), 9), nil)
	}
	good := compress(t, zstd.New(), event(3))
	change := func(at int, to byte) []byte {
		b := slices.Clone(good)
		b[(at+len(b))%len(b)] = to
		return b
	}
	const firstBlock = 6
	for name, test := range map[string]struct {
		damaged []byte
		want    string
	}{
		"nothing":                {nil, "it does not begin as a frame"},
		"three bytes":            {good[:3], "it does not begin as a frame"},
		"the magic alone":        {good[:4], "it does not begin as a frame"},
		"what was not made":      {event(3), "it does not begin as a frame"},
		"no checksum":            {foreign(klauspost.WithEncoderCRC(false), klauspost.WithSingleSegment(true)), "without its size or its checksum"},
		"a window":               {foreign(klauspost.WithSingleSegment(false)), "without its size or its checksum"},
		"no size":                {good[:5], "its end is missing"},
		"no dictionary id":       {compress(t, c, event(3))[:8], "its end is missing"},
		"no block":               {good[:firstBlock], "its end is missing"},
		"half a block":           {good[:firstBlock+10], "its end is missing"},
		"no checksum at the end": {good[:len(good)-4], "its end is missing"},
		"another checksum":       {change(-1, good[len(good)-1]+1), "its contents or its checksum are wrong"},
		"another size":           {change(5, good[5]-1), "its contents or its checksum are wrong"},
		"a block of no kind":     {change(firstBlock, good[firstBlock]|6), "it has a block of an unknown kind"},
		"two frames":             {append(slices.Clone(good), good...), "something follows its end"},
		"an impossible size":     {slices.Concat(good[:4], []byte("\x64\xff\xff\x01\x00\x00"), good[len(good)-4:]), "it says that it is larger than it can be"},
	} {
		var typed *zstd.DamagedError
		if _, err := c.Decompress(nil, test.damaged); !errors.As(err, &typed) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: the error is %v, want: %s", name, err, test.want)
		}
	}
	// What others made, with all that is needed, is read.
	if got, err := c.Decompress(nil, foreign(klauspost.WithSingleSegment(true))); err != nil || !bytes.Equal(got, bytes.Repeat(event(3), 9)) {
		t.Errorf("got %q and the error %v", got, err)
	}
}
