//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-es/annals/internal/pgserver"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
	"github.com/annals-es/annals/recordertest"
)

// envBouncer has the address of the PgBouncer of [TestConformanceBehindPgBouncer], for its
// child processes as well.
const envBouncer = "ANNALS_TEST_PGBOUNCER"

// TestConformanceBehindPgBouncer runs the suite through a PgBouncer that gives each
// transaction another connection.
func TestConformanceBehindPgBouncer(t *testing.T) {
	t.Parallel()
	if err := os.Setenv(envBouncer, startBouncer(t)); err != nil { //nolint:usetesting // for child processes, and tests are parallel
		t.Fatal(err)
	}
	recordertest.Run(t, bouncerBackend())
}

// TestViewConformanceBehindPgBouncer runs the suite of views through it.
func TestViewConformanceBehindPgBouncer(t *testing.T) {
	t.Parallel()
	bouncer := startBouncer(t)
	b := viewBackend()
	open := b.Open
	b.Create = func(tb testing.TB) string {
		tb.Helper()
		address := newDatabase(tb)
		execute(tb, address, createRows)
		return address
	}
	b.Open = func(tb testing.TB, address string) persistence.View[pgx.Tx] {
		tb.Helper()
		u, err := url.Parse(address)
		if err != nil {
			tb.Fatal(err)
		}
		u.Host = bouncer
		q := u.Query()
		q.Set("default_query_exec_mode", "cache_describe")
		u.RawQuery = q.Encode()
		return open(tb, u.String())
	}
	recordertest.RunView(t, b)
}

// bouncerBackend is that of the tests, whose recorders go through the PgBouncer.
func bouncerBackend() recordertest.Backend {
	b := backend()
	b.Name = "postgres behind PgBouncer"
	b.Features.Server = false // it is the same server
	b.Open = func(ctx context.Context, address string) (recordertest.Recorder, error) {
		u, err := url.Parse(address)
		if err != nil {
			return nil, err
		}
		u.Host = os.Getenv(envBouncer)
		return postgres.Open(ctx, u.String(), postgres.WithPolling(), postgres.WithoutPreparedStatements())
	}
	b.Create = func(tb testing.TB) string {
		tb.Helper()
		address := newDatabase(tb) // it does not pass a search_path on
		migrate(tb, address)
		return address
	}
	return b
}

// bouncerScript runs a PgBouncer for as long as standard input is open.
const bouncerScript = `"$0" "$@" & trap 'kill $!' EXIT; cat >/dev/null`

// startBouncer starts a PgBouncer for this test, and returns its address.
func startBouncer(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(program); err != nil {
		pgserver.Missing(t, "pgbouncer", "there is no pgbouncer (make deps installs it on Debian and Ubuntu)")
	}
	server, err := url.Parse(serverURL(t))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := server.User.Password()
	dir, err := os.MkdirTemp("", "annals-pgbouncer-") //nolint:usetesting // another user has to be able to enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	config := fmt.Sprintf("[databases]\n* = host=%s port=%s user=%s password=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %s\n"+
		"unix_socket_dir =\nauth_type = any\npool_mode = transaction\nmax_client_conn = 1000\ndefault_pool_size = 30\nserver_idle_timeout = 1\nlogfile = %s\n",
		server.Hostname(), server.Port(), server.User.Username(), password, port, filepath.Join(dir, "log"))
	args := []string{"-q", filepath.Join(dir, "pgbouncer.ini")}
	if os.Geteuid() == 0 { // it refuses to be root
		args = append([]string{"-u", bouncerUser(t)}, args...)
	}
	for name, err := range map[string]error{
		"chmod":  os.Chmod(dir, 0o777),
		"write":  os.WriteFile(args[len(args)-1], []byte(config), 0o644),
		"listen": listener.Close(),
	} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	command := exec.Command("/bin/sh", append([]string{"-c", bouncerScript, program}, args...)...) //nolint:noctx // it ends with its input
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = input.Close()
		_ = command.Wait() // it was killed
	})
	address := net.JoinHostPort("127.0.0.1", port)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		var dialer net.Dialer
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
			return address
		}
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatalf("the PgBouncer does not listen: %v", err)
		}
	}
}

func bouncerUser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"postgres", "nobody"} {
		if _, err := user.Lookup(name); err == nil {
			return name
		}
	}
	t.Fatal("pgbouncer refuses to be root, and there is neither a user postgres nor nobody")
	return ""
}
