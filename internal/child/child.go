// Package child starts the program of a test again, as a process that is killed.
package child

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Process is a child process, seen by its parent.
type Process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser // it ends when this is closed, with its parent say
	out    *bufio.Scanner
	stderr bytes.Buffer
}

// Spawn starts the program of the test, with more in its environment.
func Spawn(tb testing.TB, env ...string) *Process {
	tb.Helper()
	program, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	p := &Process{cmd: exec.CommandContext(context.WithoutCancel(tb.Context()), program)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if p.in, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// Context returns, in the child, a context that ends when the parent is gone.
func Context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx, cancel
}

// Line reads a line of the child, and fails the test if it has ended.
func (p *Process) Line(tb testing.TB) string {
	tb.Helper()
	if !p.out.Scan() {
		p.Kill(tb)
		tb.Fatalf("the child process ended: %s", p.stderr.String())
	}
	return p.out.Text()
}

// Lines reads so many lines of the child.
func (p *Process) Lines(tb testing.TB, n int) {
	tb.Helper()
	for range n {
		p.Line(tb)
	}
}

// Kill ends the child by SIGKILL.
func (p *Process) Kill(tb testing.TB) {
	tb.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		tb.Error(err)
	}
	for p.out.Scan() { // whatever it had said
	}
	err := p.cmd.Wait()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != -1 {
		tb.Errorf("the child process ended by itself: %v: %s", err, strings.TrimSpace(p.stderr.String()))
	}
}
