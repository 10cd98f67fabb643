package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/examples/internal/running"
	"github.com/annals-es/annals/internal/pgserver"
)

var update = flag.Bool("update", false, "write the golden file")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const golden = "testdata/output.golden"

func prints(t *testing.T, how running.Flags) string {
	t.Helper()
	var out strings.Builder
	if err := run(t.Context(), how, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// B46-B49, and B37: the stories are printed.
func TestTheProgramPrintsTheSameInEveryMode(t *testing.T) {
	t.Parallel()
	if *update {
		if err := os.WriteFile(golden, []byte(prints(t, running.Flags{Mode: "sync", Recorder: "memory"})), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	same := func(t *testing.T, how running.Flags) {
		t.Helper()
		if d := cmp.Diff(string(want), prints(t, how)); d != "" {
			t.Errorf("%+v: %s", how, d)
		}
	}
	for _, mode := range []string{"sync", "async"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			same(t, running.Flags{Mode: mode, Recorder: "memory"})
			same(t, running.Flags{Mode: mode, Recorder: "sqlite", Dir: t.TempDir()})
			same(t, running.Flags{Mode: mode, Recorder: "sqlite", Path: filepath.Join(t.TempDir(), "trips.db")})
		})
		t.Run(mode+" on PostgreSQL", func(t *testing.T) {
			t.Parallel()
			same(t, running.Flags{Mode: mode, Recorder: "postgres", URL: pgserver.TestPrivate(t, pgserver.Config{}).URL("postgres")})
		})
	}
}

func TestASecondRunOnTheSameFilesBooksNothingAgain(t *testing.T) {
	t.Parallel()
	how := running.Flags{Mode: "sync", Recorder: "sqlite", Dir: t.TempDir()}
	_, first, _ := strings.Cut(prints(t, how), "An hour later:")
	_, second, _ := strings.Cut(prints(t, how), "An hour later:")
	if d := cmp.Diff(first, second); d != "" {
		t.Error(d)
	}
}

// B46: what the README shows is the graph.
func TestTheReadmeHasTheGraph(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if graph := define().System.Mermaid(); !strings.Contains(string(readme), "```mermaid\n"+graph+"```") {
		t.Errorf("README.md does not have what -graph prints:\n%s", graph)
	}
}
