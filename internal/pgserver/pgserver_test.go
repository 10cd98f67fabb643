//go:build unix

package pgserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAServerKeepsNobodyInWithoutThePassword(t *testing.T) {
	t.Parallel()
	s := TestPrivate(t, Config{})
	if got := psql(t, s.URL("postgres"), "SHOW fsync"); got != "on" {
		t.Errorf("fsync is %q", got)
	}
	wrong := strings.Replace(s.URL("postgres"), s.private.password, "guess", 1)
	if out, err := runPsql(t, wrong, "SELECT 1"); err == nil {
		t.Errorf("a wrong password is let in: %s", out)
	}
	// Without a password, the answer to a startup message is a request for one: R, its
	// length, and 10 for SASL.
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.url.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, conn)
	startup := binary.BigEndian.AppendUint32(nil, 196608) // version 3.0
	startup = append(startup, "user\x00postgres\x00\x00"...)
	startup = append(binary.BigEndian.AppendUint32(nil, uint32(4+len(startup))), startup...)
	if _, err := conn.Write(startup); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 9)
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
	if answer[0] != 'R' || binary.BigEndian.Uint32(answer[5:]) != 10 {
		t.Errorf("the answer to a client without a password is %q", answer)
	}
}

func TestAServerThatIsStoppedLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s, other := TestPrivate(t, Config{Dir: dir}), TestPrivate(t, Config{})
	psql(t, s.URL("postgres"), "CREATE TABLE facts ()")
	server := s.private.pid
	for range 2 {
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if runs(t, server) {
		t.Error("the server runs")
	}
	if !isFree(s.private.port) {
		t.Error("the port is taken")
	}
	wantEmpty(t, dir)
	if err := s.Restart(t.Context()); err == nil {
		t.Error("it can be started again")
	}
	if err := s.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	if got := psql(t, other.URL("postgres"), "SELECT to_regclass('facts') IS NULL"); got != "t" {
		t.Errorf("the other server has the table of the first: %q", got)
	}
}

func TestAServerThatWasKilledKeepsWhatItHadCommitted(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := TestPrivate(t, Config{Dir: dir})
	address := s.URL("postgres")
	psql(t, address, "CREATE TABLE facts (fact text)")
	var all []int // the server's processes
	for n := range 3 {
		psql(t, address, fmt.Sprintf("INSERT INTO facts VALUES ('%d')", n))
		all = append(all, s.private.pid)
		err := processes(func(pid, parent int) {
			if parent == s.private.pid {
				all = append(all, pid)
			}
		})
		if err != nil || len(all) < 4*(n+1) {
			t.Fatalf("the server has the processes %d, %v", all, err)
		}
		for range 2 {
			if err := s.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if i := slices.IndexFunc(all, func(pid int) bool { return runs(t, pid) }); i >= 0 {
			t.Fatalf("of the processes %d, %d runs", all, all[i])
		}
		if out, err := runPsql(t, address, "SELECT 1"); err == nil {
			t.Fatalf("it answers: %s", out)
		}
		if text := s.private.log(); strings.Contains(text, "terminated by signal") {
			t.Errorf("it has seen its processes end:\n%s", text)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := psql(t, address, "SELECT string_agg(fact, ' ' ORDER BY fact) FROM facts"); got != "0 1 2" {
		t.Errorf("%q", got)
	}
	if got := s.URL("postgres"); got != address {
		t.Errorf("the URL was %s and is %s", address, got)
	}

	segment := sharedMemory(t, s)
	if err := s.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, dir)
	if text, err := os.ReadFile("/proc/sysvipc/shm"); err == nil && slices.Contains(strings.Fields(string(text)), segment) {
		t.Errorf("the shared memory %s is not freed:\n%s", segment, text)
	}
}

func TestAServerIsRestarted(t *testing.T) {
	t.Parallel()
	s := TestPrivate(t, Config{Settings: map[string]string{"max_connections": "7", "cluster_name": "it's", "port": "1"}})
	address := s.URL("postgres")
	psql(t, address, "ALTER SYSTEM SET work_mem = '5MB'")
	before := s.private.pid
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if runs(t, before) {
		t.Error("the process of before runs")
	}
	for setting, want := range map[string]string{"work_mem": "5MB", "max_connections": "7", "cluster_name": "it's", "shared_buffers": "256MB"} {
		if got := psql(t, address, "SHOW "+setting); got != want {
			t.Errorf("%s is %s, want %s", setting, got, want)
		}
	}

	// It ends by itself. psql may see that, or not.
	out, copyErr := runPsql(t, address, "COPY (SELECT 1) TO PROGRAM 'kill -QUIT $(head -n 1 postmaster.pid)'")
	waitFor(t, func() bool { return !runs(t, s.private.pid) })
	if err := s.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatalf("%v; before: %s, %v", err, out, copyErr)
	}
	if got := psql(t, address, "SHOW work_mem"); got != "5MB" {
		t.Errorf("work_mem is %q", got)
	}
}

func TestAPortThatIsTakenIsPassedOver(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, taken)
	var tried int
	s := TestPrivate(t, Config{port: func() (int, error) {
		if tried++; tried <= 2 {
			return taken.Addr().(*net.TCPAddr).Port, nil
		}
		return freePort()
	}})
	if got := psql(t, s.URL("postgres"), "SELECT 1"); got != "1" || tried != 3 {
		t.Errorf("SELECT 1: %q, %d ports tried", got, tried)
	}
}

func TestAServerThatDoesNotStartSaysWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"an initdb that fails": {Config{bin: programs(t, "echo the disk is full; exit 1", "exit 1")}, "the disk is full"},
		"a server that fails":  {Config{bin: programs(t, "mkdir data", "echo no memory; exit 1")}, "no memory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.config.Dir = folder(t)
			s, err := Start(t.Context(), c.config)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %v", s, err)
			}
			wantEmpty(t, c.config.Dir)
		})
	}
	t.Run("a folder that is not there", func(t *testing.T) {
		t.Parallel()
		if s, err := Start(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "absent")}); err == nil {
			t.Errorf("%v", s)
		}
	})
}

// The server does not listen: it ignores the signal that ends it, and is killed.
func TestAStartIsGivenUpWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	dir, started := folder(t), filepath.Join(folder(t), "started")
	bin := programs(t, "mkdir data", "echo $$ >"+started+".new; mv "+started+".new "+started+"; exec tail -f /dev/null")
	errs := make(chan error)
	go func() {
		_, err := Start(ctx, Config{Dir: dir, bin: bin})
		errs <- err
	}()
	waitFor(t, func() bool { return !gone(started) })
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wantEmpty(t, dir)
	text, err := os.ReadFile(started)
	if err != nil {
		t.Fatal(err)
	}
	server, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || runs(t, server) {
		t.Errorf("the server %d runs, %v", server, err)
	}
}

func TestThePathOfAURLIsTheDatabase(t *testing.T) {
	t.Parallel()
	s, err := sharedServer(t.Context(), "postgresql://me:a%2Fb@example.com:5433/template1?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.URL("a b/c"), "postgresql://me:a%2Fb@example.com:5433/a%20b/c?sslmode=require"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := s.Env(), "ANNALS_TEST_POSTGRES_URL="+s.URL("postgres"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := errors.Join(s.Kill(t.Context()), s.Restart(t.Context())); !errors.Is(err, ErrNotOurs) {
		t.Errorf("kill and restart: %v", err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"host=localhost", "mysql://localhost/x", "postgres:///x", "postgres://a b/"} {
		if s, err := sharedServer(t.Context(), bad); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v, %v", bad, s, err)
		}
	}
}

func TestTheNewestServerIsFound(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, version := range []string{"9.6", "10", "17", "18"} {
		from := programs(t, "exit 0", "exit 0")
		if version == "18" { // only clients
			if err := os.Remove(filepath.Join(from, "postgres")); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Rename(from, filepath.Join(root, version)); err != nil {
			t.Fatal(err)
		}
	}
	got := withServer(append([]string{root}, installed([]string{filepath.Join(root, "absent*"), filepath.Join(root, "*")})...))
	if want := filepath.Join(root, "17"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestMakeDepsLooksWhereTheTestsDo(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../tools/deps.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range places {
		if !slices.Contains(strings.Fields(strings.ReplaceAll(string(script), ";", " ")), place) {
			t.Errorf("%s does not stand in deps.sh", place)
		}
	}
}

func TestTheEnvironmentDoesNotReachTheServer(t *testing.T) {
	t.Parallel()
	got := environment([]string{"PATH=/bin", "PGPORT=1", "LANG=de_DE", "LC_TIME=de_DE", "HOME=/root"})
	if diff := cmp.Diff([]string{"PATH=/bin", "HOME=/root", "LC_ALL=C"}, got); diff != "" {
		t.Error(diff)
	}
}

// programs makes a folder with an initdb and a postgres that are shell scripts.
func programs(t *testing.T, initdb, postgres string) string {
	t.Helper()
	dir := folder(t)
	for name, script := range map[string]string{"initdb": initdb, "postgres": postgres} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// folder makes a folder that every user may use: the server is not root's.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("what is left: %v, %v", entries, err)
	}
}

// waitFor returns when the condition holds; the test's deadline is the limit.
func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for !condition() {
		<-tick.C
	}
}

// runs reports whether a process is there and has not ended.
func runs(t *testing.T, pid int) bool {
	t.Helper()
	var found bool
	if err := processes(func(p, _ int) { found = found || p == pid }); err != nil {
		t.Fatal(err)
	}
	return found
}

func closing(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func gone(name string) bool {
	_, err := os.Stat(name)
	return errors.Is(err, fs.ErrNotExist)
}

// sharedMemory returns the id of the server's segment of shared memory.
func sharedMemory(t *testing.T, s *Server) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.private.folder, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(strings.Split(string(text), "\n")[6])
	if _, err := strconv.Atoi(fields[1]); err != nil {
		t.Fatalf("%q: %v", fields, err)
	}
	return fields[1]
}

// psql returns what a statement does.
func psql(t *testing.T, url, statement string) string {
	t.Helper()
	out, err := runPsql(t, url, statement)
	if err != nil {
		t.Fatalf("%s: %v\n%s", statement, err, out)
	}
	return out
}

func runPsql(t *testing.T, url, statement string) (string, error) {
	t.Helper()
	program, err := exec.LookPath("psql")
	if err != nil {
		bin, _ := find()
		program = filepath.Join(bin, "psql")
	}
	if !isProgram(program) {
		Missing(t, "postgres", "there is no psql")
	}
	cmd := exec.CommandContext(t.Context(), program, "--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--quiet", "--command="+statement, url)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return strings.TrimSpace(out.String()), err
}
