package zstd_test

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annals-es/annals/persistence/zstd"
)

// What the first version of this package made, and what the zstd command 1.5.4 made
// of the same: a dictionary of events(0, 1000), a frame of events(0, 200), and one of
// event(1234) with the dictionary.
//
//go:embed testdata
var testdata embed.FS

func stored(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := testdata.ReadFile("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// B15. What is stored stays readable: these files never change.
func TestWhatWasStoredIsReadForEver(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"first", "command"} {
		d, err := zstd.ParseDictionary(stored(t, by+".dict"))
		if err != nil {
			t.Fatalf("%s: %v", by, err)
		}
		c := zstd.New(zstd.WithDictionary(d))
		for name, want := range map[string][]byte{by + ".zst": bytes.Join(events(0, 200), nil), by + "-with.zst": event(1234)} {
			if got, err := c.Decompress(nil, stored(t, name)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: got %q and the error %v", name, got, err)
			}
		}
	}
}

// B15. The format is that of Zstandard, and so are the dictionaries.
func TestTheCommandUnderstandsWhatIsStored(t *testing.T) {
	t.Parallel()
	command, err := exec.LookPath("zstd")
	if err != nil {
		if strings.Contains(os.Getenv("ANNALS_REQUIRE"), "zstd") {
			t.Fatal(err)
		}
		t.Skip("the zstd command is not installed")
	}
	run := func(input []byte, args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), command, args...)
		cmd.Stdin = bytes.NewReader(input)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("zstd %s: %v", strings.Join(args, " "), err)
		}
		return out
	}
	d := train(t, events(0, 300))
	dictionary := filepath.Join(t.TempDir(), "dictionary")
	if err := os.WriteFile(dictionary, d.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	with := zstd.New(zstd.WithDictionary(d))
	for name, src := range originals() {
		if got := run(compress(t, zstd.New(), src), "-dc"); !bytes.Equal(got, src) {
			t.Errorf("%s: the command read %d bytes of %d", name, len(got), len(src))
		}
		if got := run(compress(t, with, src), "-dc", "-D", dictionary); !bytes.Equal(got, src) {
			t.Errorf("%s, with a dictionary: the command read %d bytes of %d", name, len(got), len(src))
		}
		size := "--stream-size=" + fmt.Sprint(len(src)) // so that the frame has it
		got, err := with.Decompress(nil, run(src, "-c", "-D", dictionary, size))
		if err != nil || !bytes.Equal(got, src) {
			t.Errorf("%s: of what the command made, got %d bytes and the error %v", name, len(got), err)
		}
	}
}
