package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/annalstest"
	"github.com/annals-es/annals/examples/internal/running"
	"github.com/annals-es/annals/internal/pgserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// B47, B48, B49.
func TestTheProgramPrintsTheSameInEveryMode(t *testing.T) {
	t.Parallel()
	const want = `Fido learns: sit
Fido learns: Fido's own
Rex learns: sit
Rex learns: Rex's own
dogs that know "sit": 2
dogs that know "Fido's own": 1
dogs that know "fly": 0
`
	prints := func(t *testing.T, how running.Flags) {
		t.Helper()
		var out strings.Builder
		if err := run(t.Context(), how, &out); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, out.String()); d != "" {
			t.Error(d)
		}
	}
	for _, mode := range []string{"sync", "async"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			prints(t, running.Flags{Mode: mode, Recorder: "memory"})
			prints(t, running.Flags{Mode: mode, Recorder: "sqlite", Dir: filepath.Join(t.TempDir(), "new")})
			prints(t, running.Flags{Mode: mode, Recorder: "sqlite", Path: filepath.Join(t.TempDir(), "dogs.db")})
		})
		t.Run(mode+" on PostgreSQL", func(t *testing.T) {
			t.Parallel()
			prints(t, running.Flags{Mode: mode, Recorder: "postgres", URL: pgserver.TestPrivate(t, pgserver.Config{}).URL("postgres")})
		})
	}
}

// B46: what the README shows is the graph.
func TestTheReadmeHasTheGraph(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if graph := DogSchools.Mermaid(); !strings.Contains(string(readme), "```mermaid\n"+graph+"```") {
		t.Errorf("README.md does not have the graph:\n%s", graph)
	}
}

func TestADogLearnsATrickOnce(t *testing.T) {
	t.Parallel()
	annalstest.Given(t, Dogs, Registered{"Fido"}).
		When(func(d *Dog) error { return d.AddTrick("sit") }).
		Then(TrickAdded{"sit"}).
		When(func(d *Dog) error { return d.AddTrick("sit") }).
		ThenError(ErrTrickKnown)
}

func TestWrongFlagsSayWhatIsRight(t *testing.T) {
	t.Parallel()
	for _, how := range []running.Flags{
		{Mode: "never", Recorder: "memory"},
		{Mode: "sync", Recorder: "sqlite"},
		{Mode: "sync", Recorder: "memory", Dir: "x"},
		{Mode: "sync", Recorder: "paper"},
	} {
		if err := run(t.Context(), how, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "it is ") {
			t.Errorf("%+v: %v", how, err)
		}
	}
}
