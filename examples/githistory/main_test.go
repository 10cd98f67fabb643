package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/examples/githistory/archive"
	"github.com/annals-es/annals/examples/githistory/gittest"
	"github.com/annals-es/annals/examples/githistory/history"
	"github.com/annals-es/annals/internal/pgserver"
	"github.com/annals-es/annals/sqlite"
)

// envProgram makes the test's program be githistory.
const envProgram = "GITHISTORY_TEST_PROGRAM"

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// result is what a run of the program did.
type result struct {
	code           int
	stdout, stderr string
}

func githistory(t *testing.T, args ...string) result {
	t.Helper()
	return runWith(t.Context(), args...)
}

func runWith(ctx context.Context, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, console{&stdout, &stderr, gittest.Environ()})
	return result{code, stdout.String(), stderr.String()}
}

// must runs the program and fails the test if the program fails.
func must(t *testing.T, args ...string) string {
	t.Helper()
	res := githistory(t, args...)
	if res.code != exitOK {
		t.Fatalf("githistory %q ended with %d: %s%s", args, res.code, res.stdout, res.stderr)
	}
	return res.stdout
}

// command is the program as a process.
func command(tb testing.TB, args ...string) *exec.Cmd {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), self, args...)
	cmd.Env = append(gittest.Environ(), envProgram+"=1")
	return cmd
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
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
		t.Errorf("%s: %s", file, diff)
	}
}

// TestOutput holds what the program prints, on a history that has everything.
func TestOutput(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	db := filepath.Join(t.TempDir(), "odd.db")
	importsAndVerifies(t, r, db)

	var shown strings.Builder
	chain := r.Chain()
	for _, args := range [][]string{
		{"life"},
		{"life", "--version=9"},
		{"life", "--at=" + chain[9]},
		{"x", "--at", "HEAD~20"},
		{"x", "--at", chain[0]},
		{"times"},
		{"authors"},
		{"n1"}, {"m1"},
		{"\xff"},
		{`\xff`},
		{"new\nline"},
		{"--", "-dash"},
		{"--", "--"},
	} {
		command := append([]string{"show", "--repo", r.Dir, "--db", db}, args...)
		fmt.Fprintf(&shown, "$ githistory show %q\n%s\n", args, must(t, command...))
	}
	golden(t, "show.golden", shown.String())
}

// importsAndVerifies holds what the program prints, whatever the database is.
func importsAndVerifies(t *testing.T, r *gittest.Repo, db string) {
	t.Helper()
	on := func(args ...string) []string { return append(args, "--repo", r.Dir, "--db", db) }
	out := must(t, on("import")...)
	out += must(t, on("import")...)
	out += must(t, on("verify", "--samples", "1000")...)
	out += must(t, on("verify", "--samples=0")...)
	measured := regexp.MustCompile(`in [0-9.]+ seconds, [0-9]+ events/s(, at most [0-9]+ MB of memory)?`)
	golden(t, "import-verify.golden", measured.ReplaceAllString(out, "in S seconds, E events/s, at most M MB of memory"))
}

func TestOutputOnPostgreSQL(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	db := pgserver.TestPrivate(t, pgserver.Config{}).URL("postgres")
	if res := githistory(t, "verify", "--repo", r.Dir, "--db", db); res.code != exitFailure || !strings.Contains(res.stderr, "tables are missing") {
		t.Errorf("before the first import: %+v", res)
	}
	importsAndVerifies(t, r, db)
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	dir := t.TempDir()
	db := filepath.Join(dir, "history.db")
	must(t, "import", "--repo", r.Dir, "--db", db)
	noDatabase := filepath.Join(dir, "text")
	if err := os.WriteFile(noDatabase, []byte(strings.Repeat("no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	emptyFile := filepath.Join(dir, "empty")
	if err := os.WriteFile(emptyFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	absent := filepath.Join(dir, "absent.db")
	empty := gittest.New(t)
	for _, c := range []struct {
		args []string
		code int
		want string // in what is printed
	}{
		{[]string{}, 2, "expected one of"},
		{[]string{"-h"}, 0, "Usage: githistory <command>"},
		{[]string{"import", "--help"}, 0, "Usage: githistory import"},
		{[]string{"export"}, 2, "unexpected argument export"},
		{[]string{"import"}, 2, "missing flags: --db"},
		{[]string{"import", "--db", db, "--no-such-flag"}, 2, "unknown flag --no-such-flag"},
		{[]string{"import", "--db", db, "path"}, 2, "unexpected argument path"},
		{[]string{"import", "--db", db, "--events-per-save=0"}, 2, "must be positive"},
		{[]string{"verify", "--db", db, "--samples", "many"}, 2, "--samples"},
		{[]string{"verify", "--db", db, "--samples=-1"}, 2, "must not be negative"},
		{[]string{"show", "--db", db}, 2, "expected \"<path>\""},
		{[]string{"show", "--db", db, "x", "--at=HEAD", "--version=1"}, 2, "can't be used together"},

		{[]string{"import", "--repo", dir, "--db", absent}, 1, "not a git repository"},
		{[]string{"import", "--repo", filepath.Join(dir, "nowhere"), "--db", absent}, 1, "no such file"},
		{[]string{"import", "--repo", r.Dir, "--db", noDatabase}, 1, "not a database"},
		{[]string{"import", "--repo", r.Dir, "--db", filepath.Join(dir, "nowhere", "x.db")}, 1, filepath.Join(dir, "nowhere")},
		{[]string{"import", "--repo", empty.Dir, "--db", absent + "2"}, 0, "the repository has no commits yet"},
		{[]string{"import", "--repo", empty.Dir, "--db", db}, 1, "the repository has no commits"},
		{[]string{"verify", "--repo", empty.Dir, "--db", absent + "2"}, 0, "the repository has no commits yet"},
		{[]string{"verify", "--repo", r.Dir, "--db", absent}, 1, "there is no database " + absent + ": run import first"},
		{[]string{"verify", "--repo", r.Dir, "--db", absent + "2"}, 1, "run import first"},
		{[]string{"verify", "--repo", r.Dir, "--db", emptyFile}, 1, "tables are missing"},
		{[]string{"verify", "--repo", empty.Dir, "--db", db}, 1, "the repository has no commits"},
		{[]string{"show", "--repo", r.Dir, "--db", absent, "life"}, 1, "there is no database"},
		{[]string{"show", "--repo", r.Dir, "--db", db, "no such path"}, 1, `path "no such path" is not in the recorded history`},
		{[]string{"show", "--repo", r.Dir, "--db", db, "caf\xff"}, 1, `path "caf\xff" is not in`},
		{[]string{"show", "--repo", r.Dir, "--db", db, "life", "--version=99"}, 1, `path "life" has no version 99`},
		{[]string{"show", "--repo", r.Dir, "--db", db, "life", "--version=-1"}, 1, `path "life" has no version -1`},
		{[]string{"show", "--repo", r.Dir, "--db", db, "life", "--at=nowhere"}, 1, `there is no commit "nowhere"`},
		{[]string{"show", "--repo", r.Dir, "--db", db, "life", "--at=left"}, 1, "is not in the recorded history, which follows first parents"},
	} {
		res := githistory(t, c.args...)
		if res.code != c.code || !strings.Contains(res.stdout+res.stderr, c.want) {
			t.Errorf("githistory %q ended with %d and printed %q; want %d and %q", c.args, res.code, res.stdout+res.stderr, c.code, c.want)
		}
		if (res.code == 0) != (res.stderr == "") || res.code != 0 && res.stdout != "" {
			t.Errorf("githistory %q ended with %d and printed %q and %q", c.args, res.code, res.stdout, res.stderr)
		}
	}
	if _, err := os.Stat(absent); err == nil {
		t.Error("a command that only reads, or failed early, made a database")
	}
}

// TestVerifyFindsWhatSQLAltered alters copies of a database.
func TestVerifyFindsWhatSQLAltered(t *testing.T) {
	t.Parallel()
	var s gittest.Script
	for n := range 20 {
		s.Commit(gittest.Commit{Ops: []gittest.Op{
			gittest.Put("changing", gittest.File, fmt.Sprint(n)), gittest.Put(fmt.Sprint("file ", n), gittest.File, fmt.Sprint(n)),
		}})
	}
	r := gittest.New(t)
	r.Write(&s)
	chain := r.Chain()
	db := filepath.Join(t.TempDir(), "history.db")
	must(t, "import", "--repo", r.Dir, "--db", db)
	blob := r.Git("rev-parse", "HEAD:file 7")
	for name, c := range map[string]struct{ statement, want string }{
		"a hash":                       {"UPDATE annals_events SET state = CAST(replace(state, '" + blob + "', '" + strings.Repeat("1", 40) + "') AS BLOB)", `first difference: path "changing" at commit ` + chain[7]},
		"an event in the middle":       {"DELETE FROM annals_events WHERE position = 31", "has events of 1 paths, and touched 2"},
		"the last event of a path":     {"DELETE FROM annals_events WHERE position = (SELECT max(position) FROM annals_events WHERE CAST(state AS TEXT) LIKE '%file 3%')", "commit " + chain[3]},
		"a whole commit":               {"DELETE FROM annals_events WHERE CAST(state AS TEXT) LIKE '%" + chain[5] + "%'", `path "changing": version 7 follows version 5`},
		"two events in another order":  {"UPDATE annals_events SET position = CASE position WHEN 20 THEN -1 WHEN 21 THEN 20 END WHERE position IN (20, 21)", "position"},
		"the event that ends the log":  {"DELETE FROM annals_events WHERE topic = 'Record.Extended'", "run import first"},
		"a type of event":              {"UPDATE annals_events SET topic = 'Path.Modified' WHERE topic = 'Path.Added' AND CAST(state AS TEXT) LIKE '%file 9%'", `path "file 9"`},
		"a type of event that is none": {"UPDATE annals_events SET topic = 'Path.Invented' WHERE position = 5", "Path.Invented"},
		"nothing":                      {"SELECT 1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			altered := filepath.Join(t.TempDir(), "altered.db")
			data, err := os.ReadFile(db)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(altered, data, 0o600); err != nil {
				t.Fatal(err)
			}
			execSQL(t, altered, c.statement)
			res := githistory(t, "verify", "--repo", r.Dir, "--db", altered, "--samples", "1000")
			if c.want == "" {
				if res.code != exitOK {
					t.Errorf("ended with %d: %s", res.code, res.stderr)
				}
			} else if res.code != exitFailure || !strings.Contains(res.stderr, c.want) {
				t.Errorf("ended with %d: %s; want %s", res.code, res.stderr, c.want)
			}
		})
	}
}

func execSQL(t *testing.T, db, statement string) {
	t.Helper()
	handle, err := sql.Open("sqlite", db)
	if err != nil {
		t.Fatal(err)
	}
	_, err = handle.ExecContext(t.Context(), statement)
	if err := errors.Join(err, handle.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherRepository(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "history.db")
	r, other := gittest.Odd(t), gittest.New(t)
	var s gittest.Script
	s.Commit(gittest.Commit{Author: "Eve <eve@example.org>"})
	other.Write(&s)
	must(t, "import", "--repo", r.Dir, "--db", db)
	for _, command := range []string{"import", "verify"} {
		res := githistory(t, command, "--repo", other.Dir, "--db", db)
		for _, want := range []string{r.Git("rev-parse", "HEAD"), other.Git("rev-parse", "HEAD"), "it is another repository"} {
			if res.code != exitFailure || !strings.Contains(res.stderr, want) {
				t.Errorf("%s ended with %d: %q; want %s", command, res.code, res.stderr, want)
			}
		}
	}
}

func TestProgressIsToldOnceASecond(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	var told []int
	saved := throttled(func() time.Time { return now }, func(done archive.Imported) { told = append(told, done.Commits) })
	for n := range 50 { // five seconds
		saved(archive.Imported{Commits: n})
		now = now.Add(100 * time.Millisecond)
	}
	if diff := cmp.Diff([]int{10, 20, 30, 40}, told); diff != "" {
		t.Error(diff)
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	db := filepath.Join(t.TempDir(), "history.db")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if res := runWith(ctx, "import", "--repo", r.Dir, "--db", db); res.code != exitFailure || !strings.Contains(res.stderr, "interrupted") {
		t.Errorf("before it began: %+v", res)
	}
}

// TestSignals interrupts importing processes, as Ctrl-C and as a shutdown do, and
// goes on until all is imported.
func TestSignals(t *testing.T) {
	t.Parallel()
	r := gittest.Large(t, 800)
	db := filepath.Join(t.TempDir(), "history.db")
	message := regexp.MustCompile(`^githistory: interrupted: ([0-9]+) of [0-9]+ commits are recorded; run the same command again to go on\n$`)
	interrupted := 0
	for n := 0; ; n++ {
		cmd := command(t, "import", "--repo", r.Dir, "--db", db, "--events-per-save", "50")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		signal := []os.Signal{os.Interrupt, syscall.SIGTERM}[n%2]
		err := startAndWait(t, cmd, db, 400, func() { _ = cmd.Process.Signal(signal) })
		if err == nil {
			break
		}
		interrupted++
		if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != exitFailure || stdout.Len() > 0 {
			t.Fatalf("after %v it ended with %v: %s%s", signal, err, &stdout, &stderr)
		}
		lines := strings.SplitAfter(stderr.String(), "\n")
		if last := lines[len(lines)-2]; !message.MatchString(last) {
			t.Errorf("after %v it printed %q", signal, last)
		}
	}
	if interrupted == 0 {
		t.Error("no import was interrupted")
	}
	agrees(t, r, db)
}

// TestKill kills importing processes at random moments, and starts new ones until
// all is imported: every commit is there once.
func TestKill(t *testing.T) {
	t.Parallel()
	r := gittest.Large(t, 600)
	db := filepath.Join(t.TempDir(), "history.db")
	killed := 0
	for {
		cmd := command(t, "import", "--repo", r.Dir, "--db", db, "--events-per-save", "50")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		err := startAndWait(t, cmd, db, 1+rand.Int64N(500), func() { _ = cmd.Process.Kill() })
		if err == nil {
			break
		}
		if killed++; stderr.Len() > 0 && strings.Contains(stderr.String(), "githistory:") {
			t.Fatalf("it failed: %s", &stderr)
		}
	}
	if killed < 3 {
		t.Errorf("only %d imports were killed", killed)
	}
	agrees(t, r, db)
}

// startAndWait starts an import, ends it a random moment after it stored a number
// of events, and returns how it ended.
func startAndWait(t *testing.T, cmd *exec.Cmd, db string, events int64, end func()) error {
	t.Helper()
	recorder, err := sqlite.Open(t.Context(), db)
	if err == nil {
		err = recorder.Migrate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	before, _, err := recorder.MaxPosition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		if recorder.Wait(ctx, before+events) != nil {
			return // it has ended by itself
		}
		select {
		case <-time.After(time.Duration(rand.Int64N(int64(30 * time.Millisecond)))):
			end()
		case <-ctx.Done():
		}
	}()
	err = cmd.Wait()
	cancel()
	<-waited
	if err := recorder.Close(); err != nil {
		t.Fatal(err)
	}
	return err
}

// agrees fails the test unless every commit is recorded once and agrees with git.
func agrees(t *testing.T, r *gittest.Repo, db string) {
	t.Helper()
	out := must(t, "verify", "--repo", r.Dir, "--db", db, "--samples", "100")
	if !strings.Contains(out, "101 of 101 compared commits agree") {
		t.Errorf("verify printed %s", out)
	}
	recorder, err := sqlite.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	a, err := archive.Open(t.Context(), application.WithRecorder(recorder))
	if err != nil {
		t.Fatal(err)
	}
	var commits []string
	for n, err := range a.Notifications(t.Context(), application.Topics("Author.Committed")) {
		if err != nil {
			t.Fatal(err)
		}
		committed, _ := n.Event.Data.(history.Committed)
		commits = append(commits, string(committed.Commit))
	}
	if err := errors.Join(a.Close(), recorder.Close()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r.Chain(), commits); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkImport imports 10,000 commits, in a process of its own, into SQLite. It
// reports the events a second, and the greatest resident memory of that process.
func BenchmarkImport(b *testing.B) {
	r := gittest.Large(b, 10_000)
	line := regexp.MustCompile(`imported ([0-9]+) commits, ([0-9]+) events in ([0-9.]+) seconds, ([0-9]+) events/s(?:, at most ([0-9]+) MB)?`)
	var events, memory float64
	runs := 0
	for b.Loop() {
		cmd := command(b, "import", "--repo", r.Dir, "--db", filepath.Join(b.TempDir(), "history.db"))
		cmd.Stderr = io.Discard
		out, err := cmd.Output()
		if err != nil {
			b.Fatal(err)
		}
		var commits, n, mb int
		var seconds, perSecond float64
		found := line.FindSubmatch(out)
		if found == nil {
			b.Fatalf("it printed %s", out)
		}
		if _, err := fmt.Sscan(string(bytes.Join(found[1:], []byte(" "))), &commits, &n, &seconds, &perSecond, &mb); err != nil && len(found[5]) > 0 {
			b.Fatalf("%s: %v", out, err)
		}
		events += perSecond
		memory = max(memory, float64(mb))
		runs++
	}
	b.ReportMetric(events/float64(runs), "events/s")
	b.ReportMetric(memory, "peak-MB")
}
