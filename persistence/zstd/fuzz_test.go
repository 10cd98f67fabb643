package zstd_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence/zstd"
)

func FuzzDecompress(f *testing.F) {
	d := train(f, events(0, 300), zstd.WithID(1))
	plain, with := zstd.New(), zstd.New(zstd.WithDictionary(d))
	const most = 10_000
	bounded := zstd.New(zstd.WithDictionary(d), zstd.WithMaxSize(most))
	for _, src := range originals() {
		f.Add(compress(f, plain, src))
		f.Add(compress(f, with, src))
		f.Add(src[:min(len(src), 1000)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := []byte("before")
		original, err := bounded.Decompress(before, b)
		switch {
		case err != nil && !isTyped(err):
			t.Fatalf("the error is %v", err)
		case err == nil && (!bytes.HasPrefix(original, before) || len(original) > len(before)+most):
			t.Fatalf("got %d bytes", len(original))
		}
		// And any bytes come back.
		for _, c := range []*zstd.Compressor{plain, with} {
			if got, err := with.Decompress(nil, compress(t, c, b)); err != nil || !bytes.Equal(got, b) {
				t.Fatalf("got %x and the error %v", got, err)
			}
		}
	})
}

// Whatever is taken as a dictionary compresses and decompresses.
func FuzzParseDictionary(f *testing.F) {
	f.Add(train(f, events(0, 300)).Bytes(), event(301))
	f.Add(train(f, events(0, 16), zstd.WithDictionarySize(1024)).Bytes(), noise(300))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, b, src []byte) {
		d, err := zstd.ParseDictionary(b)
		if err != nil {
			if !errors.Is(err, annals.ErrConfiguration) {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		for _, level := range []int{1, 3, 6} {
			c := zstd.New(zstd.WithDictionary(d), zstd.WithLevel(level))
			if got, err := c.Decompress(nil, compress(t, c, src)); err != nil || !bytes.Equal(got, src) {
				t.Fatalf("level %d: got %x and the error %v", level, got, err)
			}
		}
	})
}
