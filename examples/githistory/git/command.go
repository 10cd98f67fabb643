package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

// command returns a git command that is yet to be started. It is killed when the
// context is done.
func (r *Repository) command(ctx context.Context, args ...string) (*exec.Cmd, *tail) {
	// Replaced objects are not those that the hashes mean; the setting counts more than GIT_NO_REPLACE_OBJECTS.
	settings := []string{"-c", "core.useReplaceRefs=false", "-c", "core.fsmonitor=false"}
	cmd := exec.CommandContext(ctx, "git", append(settings, args...)...)
	cmd.Env = r.env
	cmd.Dir = r.dir
	stderr := &tail{}
	cmd.Stderr = stderr
	detach(cmd)
	return cmd, stderr
}

// output runs a command and returns what it prints.
func (r *Repository) output(ctx context.Context, args ...string) (string, error) {
	cmd, stderr := r.command(ctx, args...)
	out, err := cmd.Output()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return string(out), failure(args, err, stderr)
}

// failure says which command failed, with the last of what it told people.
func failure(args []string, err error, stderr *tail) error {
	if err == nil {
		return nil
	}
	name := args[0]
	if name == "-C" {
		name = args[2]
	}
	if text := strings.TrimSpace(string(stderr.bytes)); text != "" {
		return fmt.Errorf("git %s: %w: %s", name, err, text)
	}
	return fmt.Errorf("git %s: %w", name, err)
}

// isExit reports whether a command ended with the code.
func isExit(err error, code int) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == code
}

// tail keeps the end of what is written to it.
type tail struct{ bytes []byte }

// Write keeps at most the last 4 KiB.
func (t *tail) Write(p []byte) (int, error) {
	t.bytes = append(t.bytes, p...)
	if n := len(t.bytes) - 4096; n > 0 {
		t.bytes = bytes.Clone(t.bytes[n:])
	}
	return len(p), nil
}

// pipe is commands, each of which reads what the one before it writes.
type pipe struct {
	out      io.ReadCloser // what the last command prints
	commands []started
	feeding  chan error // has the result of what copies from the first command to the second
	done     func() error
	cancel   context.CancelFunc
	finished bool
}

type started struct {
	cmd    *exec.Cmd
	args   []string
	stderr *tail
}

// start runs a command whose output is read from the pipe.
func (r *Repository) start(ctx context.Context, args ...string) (*pipe, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &pipe{done: ctx.Err, cancel: cancel}
	cmd, stderr := r.command(ctx, args...)
	if err := p.add(cmd, args, stderr); err != nil {
		cancel()
		return nil, err
	}
	return p, nil
}

// startTwo runs two commands; the second reads what change makes of the first
// one's output.
func (r *Repository) startTwo(
	ctx context.Context, first []string, change func(dst io.Writer, src io.Reader) error, second []string,
) (*pipe, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &pipe{done: ctx.Err, cancel: cancel}
	cmd, stderr := r.command(ctx, first...)
	if err := p.add(cmd, first, stderr); err != nil {
		cancel()
		return nil, err
	}
	src := p.out
	cmd, stderr = r.command(ctx, second...)
	dst, err := cmd.StdinPipe()
	if err == nil {
		err = p.add(cmd, second, stderr)
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	p.feeding = make(chan error, 1)
	go func() {
		err := change(dst, src)
		// If the second command failed, the first one has to learn that nobody reads any more.
		p.feeding <- errors.Join(err, dst.Close(), src.Close())
	}()
	return p, nil
}

func (p *pipe) add(cmd *exec.Cmd, args []string, stderr *tail) error {
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("git %s: %w", args[0], err)
	}
	p.out = out
	p.commands = append(p.commands, started{cmd, args, stderr})
	return nil
}

// finish waits for the commands, once everything was read. When a command fails,
// those before it cannot write any more, and fail for that: the error is that of
// the last one which failed.
func (p *pipe) finish() error {
	defer p.cancel()
	p.finished = true
	var fed error
	if p.feeding != nil {
		fed = <-p.feeding
	}
	var failed error
	for i, c := range slices.Backward(p.commands) {
		err := c.cmd.Wait()
		if err != nil && p.done() != nil {
			err = p.done()
		}
		if err != nil && failed == nil {
			failed = failure(c.args, err, c.stderr)
		}
		if i == len(p.commands)-1 && failed == nil {
			failed = fed
		}
	}
	return failed
}

// stop ends the commands, whatever they are doing, if they have not finished.
func (p *pipe) stop() {
	if p.finished {
		return
	}
	p.cancel()
	for _, c := range p.commands {
		_ = c.cmd.Wait() // it was killed
	}
	if p.feeding != nil {
		<-p.feeding //nolint:errcheck // it was cut off
	}
}
