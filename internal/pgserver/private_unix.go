//go:build unix

package pgserver

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// keeperScript keeps the server; it says how.
//
//go:embed keeper.sh
var keeperScript string

const (
	keeperFile   = "keeper.sh" // in the server's folder, and so are the next two
	passwordFile = "password"
	primaryFile  = "primary"
	ports        = 5                    // how many ports are tried
	pause        = 5 * time.Millisecond // between two looks at what does not report
)

// private is a server that this process has started: its folder, and the keeper that
// runs it. The folder is the keeper's to remove.
type private struct {
	bin      string              // folder of initdb and postgres
	owner    *syscall.Credential // whom the server runs as; nil: as this process
	folder   string
	password string
	port     int
	settings map[string]string

	mu     sync.Mutex
	keeper *exec.Cmd // nil: not started
	hold   *os.File  // standard input of the keeper: closing it ends the server
	said   *os.File  // standard output of the keeper
	heard  string    // the beginning of a line that it says
	pid    int       // the server's process; 0: it has ended
	ended  bool      // so has the keeper
}

func startPrivate(ctx context.Context, config Config) (*private, error) {
	bin := config.bin
	if bin == "" {
		var err error
		if bin, err = find(); err != nil {
			return nil, err
		}
	}
	owner, err := owner()
	if err != nil {
		return nil, err
	}
	p := &private{bin: bin, owner: owner, password: rand.Text(), settings: config.Settings}
	files := maps.Clone(config.Files)
	if files == nil {
		files = make(map[string][]byte)
	}
	if primary := config.Primary; primary != nil {
		if primary.private == nil {
			return nil, ErrNotOurs
		}
		p.password = primary.private.password // the standby has the same users
		files[primaryFile] = []byte(primary.URL("postgres"))
	}
	files[passwordFile] = []byte(p.password + "\n")
	if err := p.makeFolder(config.Dir, files); err != nil {
		return nil, fmt.Errorf("pgserver: %w", err)
	}
	port := config.port
	if port == nil {
		port = freePort
	}
	if err := p.first(ctx, port); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// owner returns the user that the server runs as: nil, which is this process's own,
// unless that is root, whom initdb and postgres refuse.
func owner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no credential is the process's own
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("pgserver: user id of %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("pgserver: group id of %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, &UnavailableError{"it does not run as root, and there is neither a user postgres nor nobody"}
}

// makeFolder makes the server's folder, with the script in it, and files that only the
// server may read.
func (p *private) makeFolder(dir string, files map[string][]byte) error {
	if dir == "" {
		dir = os.TempDir()
		if p.owner != nil && !enterable(dir) {
			dir = "/tmp" // TMPDIR is the folder of root alone
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if p.owner != nil && !enterable(dir) {
		return fmt.Errorf("the server does not run as root, and its user may not enter %s", dir)
	}
	if p.folder, err = os.MkdirTemp(dir, "annals-postgres-"); err != nil {
		return err
	}
	err = os.WriteFile(filepath.Join(p.folder, keeperFile), []byte(keeperScript), 0o644) //nolint:gosec // the server's user reads it
	owned := []string{p.folder}
	for name, content := range files {
		name = filepath.Join(p.folder, filepath.Base(name))
		owned = append(owned, name)
		err = errors.Join(err, os.WriteFile(name, content, 0o600))
	}
	if p.owner != nil {
		for _, name := range owned {
			err = errors.Join(err, os.Chown(name, int(p.owner.Uid), int(p.owner.Gid)))
		}
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(p.folder))
	}
	return nil
}

// enterable reports whether every user may enter a folder and those above it.
func enterable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		above := filepath.Dir(dir)
		if above == dir {
			return true
		}
		dir = above
	}
}

// startKeeper starts the keeper in a session of its own, which the interrupt key of a
// terminal does not reach. No goroutine of this process looks after it.
func (p *private) startKeeper() error {
	in, hold, err := os.Pipe()
	if err != nil {
		return err
	}
	said, out, err := os.Pipe()
	if err != nil {
		return errors.Join(err, in.Close(), hold.Close())
	}
	keeper := exec.Command("/bin/sh", keeperFile, p.folder, p.bin) //nolint:gosec,noctx // our own script, which ends by itself
	keeper.Dir = p.folder
	keeper.Env = environment(os.Environ())
	keeper.Stdin, keeper.Stdout = in, out
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: p.owner}
	err = errors.Join(keeper.Start(), in.Close(), out.Close())
	if err != nil {
		return errors.Join(err, hold.Close(), said.Close())
	}
	p.keeper, p.hold, p.said = keeper, hold, said
	return nil
}

// environment leaves out what would change the server: PGPORT for instance, and the
// language of its messages.
func environment(environ []string) []string {
	kept := slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "LC_") || strings.HasPrefix(v, "LANG")
	})
	return append(kept, "LC_ALL=C")
}

// freePort returns a port that nobody listens on. It is below those that systems
// give to outgoing connections: none of them can take it while the server restarts.
func freePort() (int, error) {
	const from, to = 16384, 32768
	for range 1000 {
		port := from + mathrand.IntN(to-from) //nolint:gosec // a port is no secret
		if isFree(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no port of 127.0.0.1 between %d and %d is free", from, to)
}

// first starts the server for the first time. Another process may have taken the port
// in the meantime: then the next one is tried.
func (p *private) first(ctx context.Context, port func() (int, error)) error {
	for n := 1; ; n++ {
		var err error
		if p.port, err = port(); err != nil {
			return fmt.Errorf("pgserver: %w", err)
		}
		if err := p.writeSettings(); err != nil {
			return fmt.Errorf("pgserver: %w", err)
		}
		if n == 1 {
			err = p.startKeeper()
		} else {
			err = p.again()
		}
		if err == nil {
			err = p.accepts(ctx)
		}
		if err == nil || p.pid != 0 || n == ports || isFree(p.port) {
			return err
		}
	}
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // it does not wait
	return err == nil && l.Close() == nil
}

// writeSettings writes what the server is told beyond its defaults, which the speed
// of tests needs, and none of which changes what is promised: fsync is on.
func (p *private) writeSettings() error {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"max_connections":         "200",
		"shared_buffers":          "256MB",
	}
	maps.Copy(settings, p.settings)
	settings["port"] = strconv.Itoa(p.port)
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = '%s'\n", key, strings.ReplaceAll(settings[key], "'", "''"))
	}
	return os.WriteFile(filepath.Join(p.folder, "settings.conf"), []byte(b.String()), 0o644) //nolint:gosec // the server's user reads it
}

// again has the keeper start the server once more.
func (p *private) again() error {
	if _, err := p.hold.WriteString("again\n"); err != nil {
		return fmt.Errorf("pgserver: telling the keeper of the server: %w", err)
	}
	return nil
}

// accepts waits until the server accepts connections. The server says so in a file.
// If it has ended instead, the error has what it logged.
func (p *private) accepts(ctx context.Context) error {
	for {
		line, err := p.hear(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("pgserver: starting the server: %w", err)
		case line == "" && p.ready():
			return nil
		case line == "" || p.note(line):
		default:
			return fmt.Errorf("pgserver: the server does not start: it %s\n%s", line, p.log())
		}
	}
}

// note takes note of what the keeper says, and reports whether the server was
// started.
func (p *private) note(line string) (started bool) {
	pid, started := strings.CutPrefix(line, "started ")
	p.pid = 0
	if started {
		p.pid, _ = strconv.Atoi(pid) // the keeper says a number
	}
	return started
}

// ready reports whether the server has said that it is ready.
func (p *private) ready() bool {
	text, err := os.ReadFile(filepath.Join(p.folder, "data", "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(text), "\n")
	return p.pid != 0 && len(lines) > 7 && lines[0] == strconv.Itoa(p.pid) && strings.TrimSpace(lines[7]) == "ready"
}

// log returns the end of what the server has logged.
func (p *private) log() string {
	const enough = 4096
	text, err := os.ReadFile(filepath.Join(p.folder, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-enough):])
}

// hear returns the next line that the keeper says, or "" after a pause.
func (p *private) hear(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := p.said.SetReadDeadline(time.Now().Add(pause)); err != nil {
		return "", err
	}
	buffer := make([]byte, 256)
	for {
		if line, rest, whole := strings.Cut(p.heard, "\n"); whole {
			p.heard = rest
			return line, nil
		}
		n, err := p.said.Read(buffer)
		p.heard += string(buffer[:n])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return "", nil
		case err != nil:
			return "", fmt.Errorf("the keeper of the server says nothing more: %w", err)
		}
	}
}

// runs reports whether the server runs: it may have ended by itself.
func (p *private) runs(ctx context.Context) (bool, error) {
	if p.ended || p.pid == 0 {
		return false, nil
	}
	line, err := p.hear(ctx)
	if err != nil {
		return false, fmt.Errorf("pgserver: %w", err)
	}
	if line != "" {
		p.note(line)
	}
	return p.pid != 0, nil
}

// gone waits until the keeper says that the server has ended.
func (p *private) gone(ctx context.Context) error {
	for p.pid != 0 {
		line, err := p.hear(ctx)
		if err != nil {
			return fmt.Errorf("pgserver: ending the server: %w", err)
		}
		if line != "" {
			p.note(line)
		}
	}
	return nil
}

// signal sends the server a signal, if it has not ended.
func (p *private) signal(s syscall.Signal) error {
	if err := syscall.Kill(p.pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("pgserver: signal to the server: %w", err)
	}
	return nil
}

func (p *private) kill(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if runs, err := p.runs(ctx); err != nil || !runs {
		return err
	}
	// One that is stopped starts no process, and does not see that one has ended.
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err := p.killChildren(ctx)
	if err := errors.Join(err, p.signal(syscall.SIGKILL)); err != nil {
		return err
	}
	return p.gone(ctx)
}

// killChildren kills the processes that the server has started, and returns when they
// are gone: they hold memory that a server on the same folder waits for.
func (p *private) killChildren(ctx context.Context) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		var children []int
		err := processes(func(pid, parent int) {
			if parent == p.pid {
				children = append(children, pid)
			}
		})
		if err != nil || len(children) == 0 {
			return err
		}
		for _, pid := range children {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (p *private) restart(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return errors.New("pgserver: the server was stopped, and its folder is gone")
	}
	runs, err := p.runs(ctx)
	if err != nil {
		return err
	}
	if runs {
		if err := p.signal(syscall.SIGINT); err != nil {
			return err
		}
		if err := p.gone(ctx); err != nil {
			return err
		}
	}
	if err := p.again(); err != nil {
		return err
	}
	return p.accepts(ctx)
}

func (p *private) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil
	}
	p.ended = true
	var err error
	if p.keeper != nil {
		err = p.hold.Close()
		_ = p.keeper.Wait() // its status is that of the last command, and says nothing
		err = errors.Join(err, p.said.Close())
	}
	if err := errors.Join(err, os.RemoveAll(p.folder)); err != nil {
		return fmt.Errorf("pgserver: stopping the server: %w", err)
	}
	return nil
}
