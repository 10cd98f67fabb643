//go:build unix

package pgserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// envRole makes the test's program play a child process.
const envRole = "ANNALS_PGSERVER_ROLE"

const (
	roleShare   = "share"   // starts the shared server, says what it is, and ends when standard input does
	roleMissing = "missing" // runs tests where there is no PostgreSQL
)

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case roleShare:
		if err := playShare(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case roleMissing:
		places = nil
	}
	goleak.VerifyTestMain(m)
}

func playShare(ctx context.Context) error {
	s, err := Shared(ctx)
	if err != nil {
		return err
	}
	again, err := Shared(ctx)
	if err != nil || again != s {
		return fmt.Errorf("the second call returns %p, want %p: %w", again, s, err)
	}
	if err := goleak.Find(); err != nil { // a program that has the server is done with it, and never stops it
		return err
	}
	pid, folder := 0, "somebody's"
	if s.private != nil {
		pid, folder = s.private.pid, s.private.folder
	}
	if _, err := fmt.Fprintln(os.Stdout, s.URL("postgres"), pid, folder); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func TestTheSharedServerEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*child) error{
		"that is killed":   (*child).kill,
		"that is finished": (*child).end,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := share(t, nil)
			if got := psql(t, c.url, "SELECT 1"); got != "1" {
				t.Errorf("SELECT 1: %q", got)
			}
			if !runs(t, c.server) || gone(c.folder) {
				t.Errorf("the server %d does not run in %s", c.server, c.folder)
			}
			if err := end(c); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool { return !runs(t, c.server) && gone(c.folder) })
		})
	}
}

func TestChildProcessesShareTheServerOfTheirParent(t *testing.T) {
	t.Parallel()
	s := TestPrivate(t, Config{})
	c := share(t, nil, s.Env())
	if got := s.URL("postgres"); c.url != got {
		t.Errorf("the child has %s, want %s", c.url, got)
	}
	if err := c.end(); err != nil {
		t.Fatal(err)
	}
	if got := psql(t, s.URL("postgres"), "SELECT 1"); got != "1" {
		t.Errorf("SELECT 1, after the child has ended: %q", got)
	}
}

// The tests run as root in most containers, and the server then as another user. Here
// they are somebody else from the beginning, with a folder for temporary files that
// they share with nobody.
func TestAProcessThatIsNotOfRootStartsAServer(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the other tests show it: they do not run as root")
	}
	somebody := &syscall.Credential{Uid: 65534, Gid: 65534}
	temp := filepath.Join(folder(t), "temp")
	if err := errors.Join(os.Mkdir(temp, 0o700), os.Chown(temp, int(somebody.Uid), int(somebody.Gid))); err != nil {
		t.Fatal(err)
	}
	c := share(t, somebody, "TMPDIR="+temp)
	if filepath.Dir(c.folder) != temp {
		t.Errorf("the folder is %s", c.folder)
	}
	if got := psql(t, c.url, "SELECT 1"); got != "1" {
		t.Errorf("SELECT 1: %q", got)
	}
	if err := c.end(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return !runs(t, c.server) && gone(c.folder) })
}

func TestOfRootTheServerIsSomebodyElses(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the tests do not run as root")
	}
	private := t.TempDir()
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err := Start(t.Context(), Config{Dir: private}); err == nil || !strings.Contains(err.Error(), private) {
		t.Errorf("in a folder of root's: %v, %v", s, err)
	}
	c := share(t, nil, "TMPDIR="+private)
	if got := filepath.Dir(c.folder); got != "/tmp" {
		t.Errorf("the folder is in %s", got)
	}
	info, err := os.Stat(c.folder)
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid == 0 || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is of user %d and has the mode %v", stat.Uid, info.Mode())
	}
}

// It is run again by itself where there is no PostgreSQL.
func TestATestThatLacksAServerIsSkippedUnlessItIsRequired(t *testing.T) {
	t.Parallel()
	if os.Getenv(envRole) == roleMissing {
		Test(t)
		t.Fatal("there is a server")
	}
	for _, c := range []struct{ require, url, want string }{
		{"", "", "--- SKIP: "},
		{"mysql,postgresql", "", "--- SKIP: "},
		{"mysql,postgres", "", "--- FAIL: "},
		{"", "nonsense", "--- FAIL: "},
	} {
		t.Run("ANNALS_REQUIRE="+c.require+c.url, func(t *testing.T) {
			t.Parallel()
			parent, _, _ := strings.Cut(t.Name(), "/")
			cmd := self(t, nil, "-test.v", "-test.run=^"+parent+"$")
			cmd.Env = append(cmd.Env, envRole+"="+roleMissing, "PATH=", EnvRequire+"="+c.require, EnvURL+"="+c.url)
			out, err := cmd.CombinedOutput()
			if text := string(out); !strings.Contains(text, c.want+parent) ||
				c.url == "" && !strings.Contains(text, "apt-get install postgresql") || (err != nil) != (c.want == "--- FAIL: ") {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}

// child is a process that shares a server.
type child struct {
	url    string
	server int
	folder string

	cmd *exec.Cmd
	in  io.Closer
}

// share starts a child process in the role. It has started the server when share
// returns.
func share(t *testing.T, as *syscall.Credential, env ...string) *child {
	t.Helper()
	c := &child{cmd: self(t, as)}
	c.cmd.Env = append(c.cmd.Env, envRole+"="+roleShare, EnvURL+"=")
	c.cmd.Env = append(c.cmd.Env, env...)
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in = in
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.kill() }) // it may have ended
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the child process says %q: %v", line, err)
	}
	if _, err := fmt.Sscan(line, &c.url, &c.server, &c.folder); err != nil {
		t.Fatalf("the child process says %q: %v", line, err)
	}
	return c
}

func (c *child) end() error {
	if err := c.in.Close(); err != nil {
		return err
	}
	return c.cmd.Wait()
}

func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = c.cmd.Wait() // the error is that it was killed
	return nil
}

// self returns a command that runs the test's own program, as another user if that is
// not nil: then it is a copy in a folder that the user may enter.
func self(t *testing.T, as *syscall.Credential, args ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := ""
	if as != nil {
		dir = folder(t)
		text, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		program = filepath.Join(dir, "program")
		syscall.ForkLock.RLock() // a process that another test starts would inherit the open file
		err = os.WriteFile(program, text, 0o755)
		syscall.ForkLock.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = os.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	return cmd
}
