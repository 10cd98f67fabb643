package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// envProgram makes the test's program be the program.
const envProgram = "ANNALS_TESTREPORT_PROGRAM"

var update = flag.Bool("update", false, "write the golden file")

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func TestTheReportOfAModule(t *testing.T) {
	t.Parallel()
	events, err := goTest(t, "-json", "-shuffle=1", "./...")
	if err == nil {
		t.Error("go test does not fail")
	}
	got, ok := reportOf(t, events, "server")
	if ok {
		t.Error("all is well")
	}
	got = normal(got)
	file := filepath.Join("testdata", "fixture.golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func TestAboveTheTableStandsWhatGoTestPrints(t *testing.T) {
	t.Parallel()
	args := []string{"-shuffle=3", "./fails", "./none", "./ok", "./panics"}
	want, _ := goTest(t, args...)
	events, _ := goTest(t, append([]string{"-json"}, args...)...)
	got, _ := reportOf(t, events)
	got, _, _ = strings.Cut(got, "\n\nrecorder ")
	if diff := cmp.Diff(normal(strings.TrimSuffix(want, "\nFAIL\n")), normal(got)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNoEventIsPrinted(t *testing.T) {
	t.Parallel()
	lines := "BenchmarkSave64-2   \t       1\t  12 ns/op\n{\"no\": \"event\"}\n{broken\n\nthe last line"
	got, ok := reportOf(t, lines)
	if !strings.HasPrefix(got, lines) || !ok {
		t.Errorf("%q, %t", got, ok)
	}
}

func TestAStreamThatBreaksOffIsAFailure(t *testing.T) {
	t.Parallel()
	got, ok := reportOf(t, stream(
		event{Action: "start", Package: "p"},
		event{Action: "output", Package: "p", Output: "-test.shuffle 5\n"},
		event{Action: "run", Package: "p", Test: "TestOne"},
		event{Action: "run", Package: "p", Test: "TestOne/sub"},
		event{Action: "output", Package: "p", Test: "TestOne/sub", Output: "    p_test.go:1: logged\n"},
		event{Action: "run", Package: "p", Test: "TestTwo"},
		event{Action: "pass", Package: "p", Test: "TestTwo"},
	))
	want := `-test.shuffle 5
--- FAIL: TestOne (not ended)
    --- FAIL: TestOne/sub (not ended)
        p_test.go:1: logged

recorder        run  skipped  failed  off
other tests       2        0       1
FAIL: p
`
	if diff := cmp.Diff(want, got); ok || diff != "" {
		t.Errorf("%t %s", ok, diff)
	}
}

func TestAPanicAfterATestHasPassedIsPrinted(t *testing.T) {
	t.Parallel()
	got, ok := reportOf(t, stream(
		event{Action: "run", Package: "p", Test: "TestOne"},
		event{Action: "run", Package: "p", Test: "TestOne/sub"},
		event{Action: "output", Package: "p", Test: "TestOne/sub", Output: "    p_test.go:1: logged\n"},
		event{Action: "output", Package: "p", Test: "TestOne/sub", Output: "--- PASS: TestOne/sub (0.00s)\n"},
		event{Action: "pass", Package: "p", Test: "TestOne/sub"},
		event{Action: "output", Package: "p", Test: "TestOne", Output: "    p_test.go:2: logged\n"},
		event{Action: "output", Package: "p", Test: "TestOne", Output: "--- PASS: TestOne (0.00s)\n"},
		event{Action: "output", Package: "p", Test: "TestOne", Output: "panic: oh\n"},
		event{Action: "pass", Package: "p", Test: "TestOne"},
		event{Action: "output", Package: "p", Output: "FAIL\tp\t0.1s\n"},
		event{Action: "fail", Package: "p"},
	))
	if want := "panic: oh\nFAIL\tp\t0.1s\n\n"; ok || !strings.HasPrefix(got, want) {
		t.Errorf("%t %s", ok, got)
	}
}

func TestARecorderThatIsRequiredMayNotBeSkipped(t *testing.T) {
	t.Parallel()
	events := func(results ...string) string {
		e := []event{{Action: "attr", Package: "p", Test: "T", Key: "recorder", Value: "postgres.New"}}
		for _, result := range results {
			e = append(e, event{Action: result, Package: "p", Test: "T/" + result})
		}
		return stream(append(e, event{Action: "pass", Package: "p", Test: "T"}, event{Action: "pass", Package: "p"})...)
	}
	for name, c := range map[string]struct {
		events   string
		required []string
		ok       bool
	}{
		"skipped, and not required": {events("skip"), []string{"mysql"}, true},
		"skipped":                   {events("skip"), []string{"mysql", "postgres"}, false},
		"skipped in part":           {events("skip", "pass"), []string{"postgres"}, true},
		"not there":                 {"", []string{"postgres"}, true},
	} {
		got, ok := reportOf(t, c.events, c.required...)
		if ok != c.ok || strings.Contains(got, "FAIL: no test of postgres.New ran") == ok {
			t.Errorf("%s: %t\n%s", name, ok, got)
		}
	}
}

func TestTheStatusTellsOfFailures(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	skipped := stream(
		event{Action: "attr", Package: "p", Test: "T", Key: "recorder", Value: "postgres"},
		event{Action: "skip", Package: "p", Test: "T/a"},
		event{Action: "pass", Package: "p", Test: "T"},
		event{Action: "pass", Package: "p"},
	)
	for name, c := range map[string]struct {
		in, require string
		status      int
	}{
		"a package that passes":      {stream(event{Action: "pass", Package: "p"}), "", 0},
		"a package that fails":       {stream(event{Action: "fail", Package: "p"}), "", 1},
		"a recorder that is skipped": {skipped, "", 0},
		"and required":               {skipped, "mysql,postgres", 1},
	} {
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Env = append(os.Environ(), envProgram+"=1", "ANNALS_REQUIRE="+c.require)
		cmd.Stdin = strings.NewReader(c.in)
		out, err := cmd.Output()
		if got := cmd.ProcessState.ExitCode(); got != c.status || len(out) == 0 {
			t.Errorf("%s: status %d, %v\n%s", name, got, err, out)
		}
	}
}

func TestAnErrorOfWritingIsReturned(t *testing.T) {
	t.Parallel()
	failed := errors.New("the disk is full")
	r := newReport(writer(func([]byte) (int, error) { return 0, failed }), nil)
	if err := r.read(strings.NewReader("text\n")); !errors.Is(err, failed) {
		t.Errorf("read: %v", err)
	}
	if _, err := r.finish(); !errors.Is(err, failed) {
		t.Errorf("finish: %v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// goTest runs go test in the fixture, as a module of its own, one package after the
// other, and returns its standard output.
func goTest(t *testing.T, args ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "fixture"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/fixture\n\ngo 1.26\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-p=1", "-vet=off"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GOPROXY=off")
	out, err := cmd.Output()
	return string(out), err
}

func reportOf(t *testing.T, events string, required ...string) (text string, ok bool) {
	t.Helper()
	var out bytes.Buffer
	r := newReport(&out, required)
	if err := r.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	ok, err := r.finish()
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), ok
}

// stream writes events as go test -json does.
func stream(events ...event) string {
	var b strings.Builder
	for _, e := range events {
		if err := json.NewEncoder(&b).Encode(e); err != nil {
			panic(err)
		}
	}
	return b.String()
}

// normal leaves out what differs from run to run.
func normal(text string) string {
	text = regexp.MustCompile(`\d+\.\d+s|\(cached\)`).ReplaceAllString(text, "1.00s")
	return regexp.MustCompile(`(?s)goroutine \d+ \[running\]:\n.*?\nFAIL`).ReplaceAllString(text, "the stack\nFAIL")
}
