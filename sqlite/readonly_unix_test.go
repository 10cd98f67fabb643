//go:build unix

package sqlite_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// nobody is the user id that the program gets.
const nobody = 65534

func TestReadOnlyDatabase(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, folder os.FileMode }{
		"a file that may not be written":             {0o444, 0o777},
		"a file in a folder that may not be written": {0o444, 0o555},
		"a folder that may not be written":           {0o666, 0o555},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := create(t)
			r := open(t, path)
			if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			program := copyProgram(t, path)
			if err := os.Chmod(path, c.file); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Dir(path), c.folder); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Env = append(os.Environ(), envReadOnly+"="+path)
			if os.Geteuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			if err := os.Chmod(filepath.Dir(path), 0o755); err != nil { // so that it can be removed
				t.Fatal(err)
			}
			if n := count(t, open(t, path)); n != 1 {
				t.Errorf("%d events, want the one of before", n)
			}
		})
	}
}

// copyProgram copies the test's program to where every user finds it, and makes
// the folders on the way to the database accessible.
func copyProgram(t *testing.T, path string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, from)
	program := filepath.Join(t.TempDir(), "program")
	// A process that another test starts meanwhile would inherit the open file for a
	// moment, in which the program cannot be run.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	to, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{path, program} {
		if err := os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return program
}
