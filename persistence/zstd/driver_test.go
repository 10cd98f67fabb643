package zstd_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/zstd"
)

// B35.
func TestTheEnvironmentChoosesLevelAndDictionaries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a, b := train(t, events(0, 300), zstd.WithID(1)), train(t, events(300, 600), zstd.WithID(2))
	pathA, pathB := file("a.dict", a.Bytes()), file("b.dict", b.Bytes())
	wrong, missing := file("secret-name", event(1)), filepath.Join(dir, "secret-missing")
	src := bytes.Repeat(event(3), 20)
	for _, c := range []struct {
		environ []string
		like    *zstd.Compressor
		wrong   string // what the error says, if there is one
	}{
		{nil, zstd.New(), ""},
		{[]string{"ZSTD_LEVEL=6"}, zstd.New(zstd.WithLevel(6)), ""},
		{[]string{"ZSTD_LEVEL=6", "SHOP_ZSTD_LEVEL=3"}, zstd.New(zstd.WithLevel(3)), ""},
		{[]string{"ZSTD_DICTIONARY=" + pathA}, zstd.New(zstd.WithDictionary(a)), ""},
		{[]string{"ZSTD_DICTIONARY=" + pathB + ", " + pathA, "ZSTD_LEVEL=6"}, zstd.New(zstd.WithDictionary(b), zstd.WithLevel(6)), ""},
		{[]string{"ZSTD_LEVEL=23"}, zstd.New(), "ZSTD_LEVEL is not a whole number between 1 and 22"},
		{[]string{"ZSTD_DICTIONARY=" + pathA + "," + missing}, zstd.New(), "ZSTD_DICTIONARY is wrong: file number 2 does not exist"},
		{[]string{"SHOP_ZSTD_DICTIONARY=" + wrong}, zstd.New(), "SHOP_ZSTD_DICTIONARY is wrong: file number 1 is no dictionary"},
		{[]string{"ZSTD_DICTIONARY=" + dir}, zstd.New(), "file number 1 cannot be read"},
		{[]string{"ZSTD_DICTIONARY=" + pathA + ","}, zstd.New(), "file number 2"},
	} {
		s := persistence.NewSettings("shop", c.environ)
		got, err := zstd.Driver.Compressor(t.Context(), s)
		if err != nil || got == nil || got.Name() != zstd.Driver.Name {
			t.Fatalf("%v: the compressor is %v, the error %v", c.environ, got, err)
		}
		if compressed, err := got.Compress(nil, src); err != nil || !bytes.Equal(compressed, compress(t, c.like, src)) {
			t.Errorf("%v: it is another compressor; the error is %v", c.environ, err)
		}
		switch err := s.Err(); {
		case c.wrong == "" && err != nil:
			t.Error(err)
		case c.wrong != "" && (!errors.Is(err, annals.ErrConfiguration) || !strings.Contains(err.Error(), c.wrong) ||
			strings.Contains(err.Error(), "secret")):
			t.Errorf("%v: the error is %v, want: %s", c.environ, err, c.wrong)
		}
	}
	s := persistence.NewSettings("shop", []string{"ZSTD_DICTIONARY=" + pathB + "," + pathA})
	got, err := zstd.Driver.Compressor(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := got.Decompress(nil, compress(t, zstd.New(zstd.WithDictionary(a)), src)); err != nil || !bytes.Equal(back, src) {
		t.Errorf("the second file is not there for reading: %v", err)
	}
}
