package zstd_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	klauspost "github.com/klauspost/compress/zstd"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence/zstd"
)

// B15: without its dictionary nothing is read, and nothing wrong.
func TestAnotherDictionaryNeverYieldsOtherData(t *testing.T) {
	t.Parallel()
	const id = 7
	right := train(t, events(0, 300), zstd.WithID(id))
	sameID := train(t, events(5000, 5300), zstd.WithID(id))
	otherID := train(t, events(0, 300), zstd.WithID(8))
	if bytes.Equal(right.Bytes(), sameID.Bytes()) {
		t.Fatal("the dictionaries are the same")
	}
	by := zstd.New(zstd.WithDictionary(right))
	for _, c := range []struct {
		name  string
		c     *zstd.Compressor
		given bool
	}{
		{"none", zstd.New(), false},
		{"one with another id", zstd.New(zstd.WithDictionary(otherID)), false},
		{"another one with its id", zstd.New(zstd.WithDictionary(sameID)), true},
		{"another one with its id, only for reading", zstd.New(zstd.WithFormerDictionaries(otherID, sameID)), true},
	} {
		failed := 0
		for _, src := range events(300, 1300) {
			got, err := c.c.Decompress(nil, compress(t, by, src))
			var typed *zstd.DictionaryError
			switch {
			case err == nil && !bytes.Equal(got, src):
				t.Fatalf("%s: got %q of %q", c.name, got, src)
			case err != nil && (!errors.As(err, &typed) || typed.ID != id || typed.Given != c.given ||
				!errors.Is(err, annals.ErrConfiguration) || !errors.Is(err, annals.ErrUndecodable) ||
				!strings.Contains(err.Error(), "dictionary 7")):
				t.Fatalf("%s: the error is %v", c.name, err)
			case err != nil:
				failed++
			}
		}
		if failed < 990 { // one that matches nothing of the dictionary may come back
			t.Errorf("%s: %d of 1000 failed", c.name, failed)
		}
	}
}

// Numbers that were given twice lose nothing.
func TestDictionariesOfOneIDAreAllTried(t *testing.T) {
	t.Parallel()
	a, b, c := train(t, events(0, 300), zstd.WithID(7)), train(t, events(5000, 5300), zstd.WithID(7)), train(t, events(0, 300), zstd.WithID(8))
	for _, reader := range []*zstd.Compressor{
		zstd.New(zstd.WithDictionary(a, b, c)), zstd.New(zstd.WithDictionary(c, b, a, a, b)), zstd.New(zstd.WithFormerDictionaries(c, a, b)),
	} {
		for _, d := range []zstd.Dictionary{a, b, c} {
			writer := zstd.New(zstd.WithDictionary(d))
			for _, src := range events(300, 400) {
				got, err := reader.Decompress(nil, compress(t, writer, src))
				if err != nil || !bytes.Equal(got, src) {
					t.Fatalf("got %q and the error %v", got, err)
				}
			}
		}
	}
}

func TestADictionaryIsKeptAsBytes(t *testing.T) {
	t.Parallel()
	d := train(t, events(0, 300), zstd.WithID(300))
	kept := d.Bytes()
	back, err := zstd.ParseDictionary(kept)
	if err != nil || back.ID() != 300 || !bytes.Equal(back.Bytes(), d.Bytes()) {
		t.Fatalf("got %v and the error %v", back, err)
	}
	compressed := compress(t, zstd.New(zstd.WithDictionary(d)), event(300))
	clear(kept) // nobody keeps the caller's bytes
	got, err := zstd.New(zstd.WithDictionary(back)).Decompress(nil, compressed)
	if err != nil || !bytes.Equal(got, event(300)) {
		t.Errorf("got %q and the error %v", got, err)
	}
}

func TestADictionaryDoesNotShowItsContents(t *testing.T) {
	t.Parallel()
	d := train(t, events(0, 300), zstd.WithID(300))
	if !bytes.Contains(d.Bytes(), []byte("order")) {
		t.Fatal("there is nothing to be hidden")
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("open", "dictionary", d)
	for _, text := range []string{
		d.String(), fmt.Sprint([]any{d}), fmt.Sprintf("%v %+v %#v %s %q", d, d, d, d, d), fmt.Sprintf("%+v %#v", []zstd.Dictionary{d}, []zstd.Dictionary{d}), log.String(),
	} {
		if len(text) > 500 || !strings.Contains(text, "zstd dictionary 300") {
			t.Errorf("it is printed as %.100s", text)
		}
	}
}

func TestWhatIsNoDictionaryIsRefused(t *testing.T) {
	t.Parallel()
	good := train(t, events(0, 300)).Bytes()
	zeroID := bytes.Clone(good)
	binary.LittleEndian.PutUint32(zeroID[4:], 0)
	for name, b := range map[string][]byte{
		"nothing":             nil,
		"other bytes":         event(1),
		"the id 0":            zeroID,
		"only the beginning":  good[:100],
		"without its content": good[:8],
		"a frame":             compress(t, zstd.New(), event(1)),
	} {
		if d, err := zstd.ParseDictionary(b); !errors.Is(err, annals.ErrConfiguration) || d.ID() != 0 {
			t.Errorf("%s: got %v and the error %v", name, d, err)
		}
	}
}

// A dictionary that is damaged is either refused, or works as another one does.
func TestADamagedDictionaryReadsNothingWrong(t *testing.T) {
	t.Parallel()
	good := train(t, events(0, 300), zstd.WithID(1), zstd.WithDictionarySize(1024))
	src := event(300)
	compressed := compress(t, zstd.New(zstd.WithDictionary(good)), src)
	damaged := good.Bytes()
	refused := 0
	for i := 0; i < len(damaged); i += 1 + i/100 { // every byte of its tables
		before := damaged[i]
		damaged[i] ^= 1 << (i % 8)
		d, err := zstd.ParseDictionary(damaged)
		damaged[i] = before
		if err != nil {
			refused++
			continue
		}
		c := zstd.New(zstd.WithDictionary(d))
		if got, err := c.Decompress(nil, compressed); err == nil && !bytes.Equal(got, src) {
			t.Fatalf("byte %d: got %q", i, got)
		}
		if got, err := c.Decompress(nil, compress(t, c, src)); err != nil || !bytes.Equal(got, src) {
			t.Fatalf("byte %d: got %q and the error %v", i, got, err)
		}
	}
	if refused == 0 || refused == len(damaged) {
		t.Errorf("%d of %d were refused", refused, len(damaged))
	}
}

// A dictionary of another tool may be larger than those of Train, and than what an
// encoder looks back to.
func TestALargeDictionaryWorks(t *testing.T) {
	t.Parallel()
	history := bytes.Join(events(0, 15_000), nil)
	if len(history) < 3<<19 {
		t.Fatalf("it has only %d bytes", len(history))
	}
	b, err := klauspost.BuildDict(klauspost.BuildDictOptions{
		ID: 9, Contents: events(15_000, 15_300), History: history, Level: klauspost.SpeedFastest,
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.ParseDictionary(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range []int{1, 3, 6} {
		c := zstd.New(zstd.WithDictionary(d), zstd.WithLevel(level))
		for name, src := range originals() {
			if got, err := c.Decompress(nil, compress(t, c, src)); err != nil || !bytes.Equal(got, src) {
				t.Errorf("%s at level %d: got %d bytes and the error %v", name, level, len(got), err)
			}
		}
	}
}
