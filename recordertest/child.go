package recordertest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// How a child process is told what it is to do.
const (
	envRole    = "ANNALS_RECORDERTEST_ROLE"
	envAddress = "ANNALS_RECORDERTEST_ADDRESS"
	envRound   = "ANNALS_RECORDERTEST_ROUND"
)

// The roles of child processes.
const (
	roleFollow = "follow" // follows a storm, and says what it sees
	roleRace   = "race"   // races for a version for each line that it is told, and says which events won
	roleSave   = "save"   // saves an event for each line that it is told
	roleMixed  = "mixed"  // saves, also in transactions of callers that are undone, and says what is stored
	roleCrash  = "crash"  // saves until it is killed, and says what it tries and what was acknowledged
)

// child plays a child process. It says "ready" when it has the store open, and
// begins when it is told a line. It ends with its parent.
func (b *Backend) child(role string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := b.Open(ctx, os.Getenv(envAddress))
	if err != nil {
		return err
	}
	sayf("ready")
	told := make(chan string)
	go func() {
		defer cancel() // the parent is gone, or has heard enough
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			told <- in.Text()
		}
		close(told)
	}()
	if _, ok := <-told; !ok {
		return r.Close()
	}
	switch role {
	case roleFollow:
		err = playFollow(ctx, r)
	case roleRace:
		err = playRace(ctx, r, told)
	case roleSave:
		err = playSave(ctx, r, told)
	case roleMixed:
		s := &store{backend: *b, address: os.Getenv(envAddress)}
		err = s.playMixed(ctx, r, os.Getenv(envRound))
	case roleCrash:
		err = playCrash(ctx, r, os.Getenv(envRound))
	default:
		err = fmt.Errorf("there is no such role")
	}
	if e := r.Close(); err == nil {
		err = e
	}
	return err
}

// sayf writes a line for the parent, in one piece, so that it is out when the
// process is killed the next moment.
func sayf(format string, args ...any) {
	_, _ = os.Stdout.Write(fmt.Appendf(nil, format+"\n", args...)) // a parent that is gone needs no answer
}

// process is a child process, seen by its parent.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	stderr bytes.Buffer
	ended  bool
}

// start starts a child process on the store. It has the store open when start
// returns.
func (s *store) start(ctx context.Context, t *testing.T, role string, env ...string) *process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.CommandContext(ctx, program)}
	p.cmd.Env = append(os.Environ(), envRole+"="+role, envAddress+"="+s.address)
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = &p.stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if line, _ := p.line(); line != "ready" {
		p.kill()
		t.Fatalf("the child process did not become ready, but said %q\n%s", line, p.stderr.String())
	}
	return p
}

// tell sends the child a line.
func (p *process) tell(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Errorf("telling the child process: %v", err)
	}
}

// line returns the next line of the child; ok is false once it has ended.
func (p *process) line() (line string, ok bool) {
	if !p.out.Scan() {
		return "", false
	}
	return p.out.Text(), true
}

// wait returns when the child has ended by itself; it must have done so well.
func (p *process) wait() {
	p.t.Helper()
	for ok := true; ok; {
		_, ok = p.line()
	}
	p.ended = true
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the child process: %v\n%s", err, p.stderr.String())
	}
}

// end tells the child that nothing more will come, and waits for it.
func (p *process) end() {
	p.t.Helper()
	if err := p.in.Close(); err != nil {
		p.t.Errorf("telling the child process: %v", err)
	}
	p.wait()
}

// kill ends the child by SIGKILL, if it is not ended yet.
func (p *process) kill() {
	if p.ended {
		return
	}
	p.ended = true
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()         // the error is that it was killed
}
