package zstd_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/annals-es/annals/persistence/zstd"
)

func TestTheSameSamplesMakeTheSameDictionary(t *testing.T) {
	t.Parallel()
	a, b := train(t, events(0, 1000)), train(t, events(0, 1000))
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two dictionaries of the same samples are different")
	}
	if id := a.ID(); id < 1<<15 || id >= 1<<16 {
		t.Errorf("the id is %d, want one of two bytes that is not reserved", id)
	}
	if other := train(t, events(1, 1001)); other.ID() == a.ID() {
		t.Error("two different dictionaries have one id")
	}
}

func TestADictionaryIsNoLargerThanItMayBe(t *testing.T) {
	t.Parallel()
	samples := events(0, 3000)
	for i := range samples {
		samples[i] = append(samples[i], noise(50 + i)[:30]...) // so that its tables become large
	}
	for _, size := range []int{1024, 4096, 16 << 10, 64 << 10} {
		if got := len(train(t, samples, zstd.WithDictionarySize(size)).Bytes()); got > size || got < size*7/10 {
			t.Errorf("it has %d bytes, want %d", got, size)
		}
	}
	if got := len(train(t, samples).Bytes()); got > 16<<10 || got < 12<<10 {
		t.Errorf("it has %d bytes, want the default", got)
	}
}

// A type of event that is rare is in the dictionary all the same.
func TestEveryTypeOfEventIsKnown(t *testing.T) {
	t.Parallel()
	rare := func(n int) []byte {
		return append([]byte(`{"warehouse_closed_because":"of an inspection by the authorities","until":"2024-0`), byte('1'+n%9), '"', '}')
	}
	samples := events(0, 3000)
	for n := range 10 {
		samples[200*n+7] = rare(n)
	}
	with := zstd.New(zstd.WithDictionary(train(t, samples, zstd.WithDictionarySize(4096))))
	for n := range 3 {
		if src, compressed := event(4000+n), compress(t, with, event(4000+n)); len(compressed) > len(src)/2 {
			t.Errorf("%d bytes become %d", len(src), len(compressed))
		}
	}
	if src := rare(4); len(compress(t, with, src)) > len(src)/3 {
		t.Errorf("a rare one: %d bytes become %d", len(src), len(compress(t, with, src)))
	}
}

func TestSamplesThatMakeNoDictionary(t *testing.T) {
	t.Parallel()
	var different [][]byte
	for n := range 100 {
		different = append(different, noise(100+n))
	}
	for _, c := range []struct {
		name    string
		samples [][]byte
		opts    []zstd.TrainOption
		want    string
	}{
		{"none", nil, nil, "there are 0 samples of 8 bytes or more, and 16 are needed"},
		{"too few", events(0, 15), nil, "there are 15 samples"},
		{"too small", append(slices.Repeat([][]byte{[]byte("1234567")}, 1000), events(0, 3)...), nil, "there are 3 samples"},
		{"nothing in common", different, nil, "nothing in common"},
		{"of one byte", slices.Repeat([][]byte{bytes.Repeat([]byte("a"), 100)}, 16), nil, "in common"},
		{"small and the same", slices.Repeat([][]byte{[]byte("12345678")}, 16), nil, "in common"},
		{"the id 0", events(0, 300), []zstd.TrainOption{zstd.WithID(0)}, "WithID(0)"},
		{"too small a dictionary", events(0, 300), []zstd.TrainOption{zstd.WithDictionarySize(1023)}, "WithDictionarySize(1023)"},
		{"too large a dictionary", events(0, 300), []zstd.TrainOption{zstd.WithDictionarySize(256<<10 + 1)}, "WithDictionarySize(262145)"},
	} {
		d, err := zstd.Train(c.samples, c.opts...)
		var typed *zstd.TrainError
		if !errors.As(err, &typed) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "order") || d.ID() != 0 {
			t.Errorf("%s: got %v and the error %v, want: %s", c.name, d, err, c.want)
		}
	}
}

func TestSamplesOfAllKindsMakeADictionary(t *testing.T) {
	t.Parallel()
	for name, samples := range map[string][][]byte{
		"as few as may be":     events(0, 16),
		"all the same":         slices.Repeat([][]byte{event(1)}, 1000),
		"large":                slices.Repeat([][]byte{bytes.Join(events(0, 2000), nil)}, 16),
		"large and small":      append(events(0, 300), bytes.Join(events(300, 3000), nil), nil, []byte("{}")),
		"much too large":       slices.Repeat([][]byte{bytes.Repeat(bytes.Join(events(0, 2000), nil), 20)}, 16),
		"more than is used":    slices.Repeat(events(0, 1000), 160),
		"binary, in all bytes": slices.Repeat([][]byte{noise(500), noise(600), noise(700)}, 10),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := slices.Clone(samples[0])
			d, err := zstd.Train(samples)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(samples[0], kept) {
				t.Error("a sample was changed")
			}
			c := zstd.New(zstd.WithDictionary(d))
			for _, src := range append(slices.Clone(samples[:min(len(samples), 20)]), event(1), noise(100)) {
				if got, err := c.Decompress(nil, compress(t, c, src)); err != nil || !bytes.Equal(got, src) {
					t.Fatalf("got %q and the error %v", got, err)
				}
			}
		})
	}
}

// What Train takes makes a dictionary that works, or an error.
func TestAnySamplesAreTaken(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		alphabet := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "alphabet")
		word := rapid.SliceOfN(rapid.SampledFrom(alphabet), 0, 30)
		words := rapid.SliceOfN(word, 1, 8).Draw(t, "words")
		sample := rapid.Map(rapid.SliceOfN(rapid.SampledFrom(words), 0, 10), func(w [][]byte) []byte { return bytes.Join(w, nil) })
		samples := rapid.SliceOfN(sample, 10, 60).Draw(t, "samples")
		d, err := zstd.Train(samples, zstd.WithDictionarySize(rapid.IntRange(1024, 20_000).Draw(t, "size")))
		if err != nil {
			if _, ok := errors.AsType[*zstd.TrainError](err); !ok {
				t.Fatal(err)
			}
			return
		}
		c := zstd.New(zstd.WithDictionary(d), zstd.WithLevel(rapid.SampledFrom([]int{1, 3, 6}).Draw(t, "level")))
		for _, src := range append(samples, event(1)) {
			compressed, err := c.Compress(nil, src)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := c.Decompress(nil, compressed); err != nil || !bytes.Equal(got, src) {
				t.Fatalf("got %q and the error %v", got, err)
			}
		}
	})
}
