package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
)

// Names of environment variables.
const (
	EnvURL     = "ANNALS_TEST_POSTGRES_URL"
	EnvRequire = "ANNALS_REQUIRE"
)

// ErrNotOurs is returned by Kill and Restart for the server that ANNALS_TEST_POSTGRES_URL names.
var ErrNotOurs = errors.New("pgserver: the server was started by somebody else")

// UnavailableError says that no server can be had on this machine, and what to do about it.
type UnavailableError struct {
	Reason string
}

func (e *UnavailableError) Error() string {
	return "pgserver: there is no PostgreSQL server: " + e.Reason + "; install it (make deps; " +
		"Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; " +
		"Alpine: apk add postgresql; macOS: brew install postgresql), or set " + EnvURL + " to the URL of a server"
}

// Config is what a private server may be told.
type Config struct {
	// Dir is where the server's folder is made. If this process is root's, the server
	// runs as another user, who must be able to enter it. Defaults to the folder for
	// temporary files.
	Dir string

	// Settings are lines of postgresql.conf, such as "max_connections": "20". They win
	// over those that the package makes, except for the port. Defaults to none.
	Settings map[string]string

	// Files are put beside the folder of the data, so that settings name them by
	// "../NAME": keys and certificates, which only the server may read. Defaults to none.
	Files map[string][]byte

	// Primary makes the server a hot standby of another private server, which has to run
	// for as long as this one starts. Defaults to nil: a server of its own.
	Primary *Server

	bin  string              // folder of initdb and postgres; "" looks for it
	port func() (int, error) // proposes a port; nil proposes one that is free
}

// Server is a PostgreSQL server. It is safe for concurrent use.
type Server struct {
	url     url.URL  // of the server; the path is added
	private *private // nil: somebody else's
}

// Start starts a private server, and returns when it accepts connections: that takes
// about a second. Stop ends it. It returns an [UnavailableError] if there is none on
// this machine.
func Start(ctx context.Context, config Config) (*Server, error) {
	p, err := startPrivate(ctx, config)
	if err != nil {
		return nil, err
	}
	return &Server{
		url: url.URL{
			Scheme:   "postgres",
			User:     url.UserPassword("postgres", p.password),
			Host:     fmt.Sprintf("127.0.0.1:%d", p.port),
			RawQuery: "sslmode=disable",
		},
		private: p,
	}, nil
}

// URL returns the URL of a database on the server. A server has the database
// "postgres" to begin with.
func (s *Server) URL(database string) string {
	u := s.url
	u.Path, u.RawPath = "/"+database, ""
	return u.String()
}

// Env is for the environment of child processes: in them, [Shared] is this server.
func (s *Server) Env() string { return EnvURL + "=" + s.URL("postgres") }

// Kill ends all of the server's processes by SIGKILL, as a crash of the machine does,
// except that what was written and not synced is not lost. It returns when they are
// gone.
func (s *Server) Kill(ctx context.Context) error {
	if s.private == nil {
		return ErrNotOurs
	}
	return s.private.kill(ctx)
}

// Restart starts the server again, on the same folder and port, and returns when it
// accepts connections. A server that runs is shut down before, without waiting for
// its clients. If Restart fails, the server can only be stopped.
func (s *Server) Restart(ctx context.Context) error {
	if s.private == nil {
		return ErrNotOurs
	}
	return s.private.restart(ctx)
}

// Stop ends the server, and removes its folder. The second call does nothing, and so
// does one for the server that ANNALS_TEST_POSTGRES_URL names.
func (s *Server) Stop() error {
	if s.private == nil {
		return nil
	}
	return s.private.stop()
}

// shared is the server that this program's tests share.
var shared struct {
	mu     sync.Mutex
	server *Server
	err    error
}

// Shared returns the server that this whole program shares: the one that
// ANNALS_TEST_POSTGRES_URL names, otherwise a private one, which the first call
// starts. It ends by itself when the program does.
func Shared(ctx context.Context) (*Server, error) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil && shared.err == nil {
		s, err := sharedServer(ctx, os.Getenv(EnvURL))
		if err != nil && ctx.Err() != nil {
			return nil, err // the next caller may have more time
		}
		shared.server, shared.err = s, err
	}
	return shared.server, shared.err
}

func sharedServer(ctx context.Context, address string) (*Server, error) {
	if address == "" {
		return Start(ctx, Config{})
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, fmt.Errorf("pgserver: %s is not of the form postgres://user:password@host:port/database", EnvURL)
	}
	return &Server{url: *u}, nil
}
