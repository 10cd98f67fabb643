// Package sqlite is the recorder that stores events in a SQLite database: one
// file, no server, any number of processes of one machine.
//
// It uses the driver modernc.org/sqlite, which needs no C compiler; [New] takes
// another one. Saves of one process that wait at the same moment are committed
// together, each with its own result, so that they share the cost of making them
// durable.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver named "sqlite"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/chunk"
	"github.com/annals-es/annals/internal/group"
	"github.com/annals-es/annals/persistence"
)

// Recorder stores events in a SQLite database. It is safe for concurrent use, by
// any number of goroutines and processes of one machine.
type Recorder struct {
	cfg     config
	name    string  // the database, for errors
	writeDB *sql.DB // one connection, used by the writer and by Migrate
	readDB  *sql.DB
	opened  []io.Closer // what Open opened; the *sql.DB given to New is its caller's

	readying sync.Mutex // held while ready becomes true
	ready    atomic.Bool
	stmts    prepared    // there once ready is true
	prepared []*sql.Stmt // all that were prepared, for Close
	lock     string      // a statement that takes the write lock, if BEGIN does not
	buffers  chunk.Buffers
	readers  chan struct{} // has room for as many as may read; nil for the caller's own database

	writer *group.Writer

	mu      sync.Mutex
	closed  bool
	changed chan struct{} // closed and replaced after a commit that stored events
}

var _ persistence.Recorder = (*Recorder)(nil)

// Option sets a property of a recorder.
type Option interface{ apply(c *config) error }

type option func(*config) error

func (o option) apply(c *config) error { return o(c) }

type config struct {
	prefix       string
	synchronous  Synchronous
	busyTimeout  time.Duration
	pollInterval time.Duration
	mmapSize     int64
	cacheSize    int64
	readers      int
	errorCode    func(error) (int, bool)
	schema       int // the version of the tables that is worked with
}

// Synchronous says when a save is durable.
type Synchronous string

const (
	// Full makes a save durable before it is acknowledged: it survives the loss
	// of power.
	Full Synchronous = "FULL"
	// Normal survives the end of the process, but the last saves before a loss
	// of power may be gone. Nothing is damaged, and nothing is half there.
	Normal Synchronous = "NORMAL"
)

// WithSynchronous says when a save is durable. Default: [Full].
func WithSynchronous(s Synchronous) Option {
	return option(func(c *config) error {
		if s != Full && s != Normal {
			return fmt.Errorf("WithSynchronous(%q): neither Full nor Normal: %w", string(s), annals.ErrConfiguration)
		}
		c.synchronous = s
		return nil
	})
}

var validPrefix = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// WithTablePrefix gives the prefix of the names of the tables, so that several
// applications share one file: lower-case letters, digits and underscores, at
// most 32, the first a letter. Default: "annals_".
func WithTablePrefix(prefix string) Option {
	return option(func(c *config) error {
		if err := checkPrefix(prefix); err != nil {
			return err
		}
		c.prefix = prefix
		return nil
	})
}

func checkPrefix(prefix string) error {
	if !validPrefix.MatchString(prefix) || strings.HasPrefix(prefix, "sqlite_") {
		return fmt.Errorf("WithTablePrefix(%q): a prefix has up to 32 lower-case letters, digits and underscores, "+
			"the first a letter, and is not sqlite_: %w", prefix, annals.ErrConfiguration)
	}
	return nil
}

// WithBusyTimeout says how long to wait for the write lock while other processes
// hold it, between a millisecond and an hour; then the save fails with
// [persistence.ErrBusy]. Default: 5 seconds.
func WithBusyTimeout(d time.Duration) Option {
	return duration("WithBusyTimeout", d, func(c *config) { c.busyTimeout = d })
}

// WithPollInterval says how often a waiting subscription looks for events that
// other processes saved, between a millisecond and an hour; those of its own
// process wake it at once. Default: 20 milliseconds.
func WithPollInterval(d time.Duration) Option {
	return duration("WithPollInterval", d, func(c *config) { c.pollInterval = d })
}

func duration(name string, d time.Duration, set func(*config)) Option {
	return option(func(c *config) error {
		if d < time.Millisecond || d > time.Hour {
			return fmt.Errorf("%s(%v): not between a millisecond and an hour: %w", name, d, annals.ErrConfiguration)
		}
		set(c)
		return nil
	})
}

// WithMmapSize says how many bytes of the file may be mapped into memory, which
// makes reading several times faster; 0 switches it off. With it, a program dies
// if somebody cuts the file while it is open: replace a file with the programs
// stopped. Default: 1 GiB.
func WithMmapSize(bytes int64) Option {
	return option(func(c *config) error {
		if bytes < 0 {
			return fmt.Errorf("WithMmapSize(%d): negative: %w", bytes, annals.ErrConfiguration)
		}
		c.mmapSize = bytes
		return nil
	})
}

// WithCacheSize says how many bytes of pages the writer's connection keeps in
// memory; each reader's keeps a quarter of it. At least 1 MiB. Default: 64,000,000.
func WithCacheSize(bytes int64) Option {
	return option(func(c *config) error {
		if bytes < 1<<20 {
			return fmt.Errorf("WithCacheSize(%d): less than 1 MiB: %w", bytes, annals.ErrConfiguration)
		}
		c.cacheSize = bytes
		return nil
	})
}

// WithReaders says how many connections may read at the same time. Default: 8.
func WithReaders(n int) Option {
	return option(func(c *config) error {
		if n < 1 {
			return fmt.Errorf("WithReaders(%d): there must be one: %w", n, annals.ErrConfiguration)
		}
		c.readers = n
		return nil
	})
}

// WithErrorCode tells [New] how to find SQLite's extended result code in an error
// of another driver than modernc.org/sqlite, whose errors have a method Code.
func WithErrorCode(code func(error) (int, bool)) Option {
	return option(func(c *config) error {
		if code == nil {
			return fmt.Errorf("WithErrorCode(nil): %w", annals.ErrConfiguration)
		}
		c.errorCode = code
		return nil
	})
}

// defaults are what holds without options.
func defaults() config {
	return config{
		prefix:       defaultPrefix,
		synchronous:  Full,
		busyTimeout:  5 * time.Second,
		pollInterval: 20 * time.Millisecond,
		mmapSize:     1 << 30,
		cacheSize:    64_000_000,
		readers:      8,
		errorCode:    moderncCode,
		schema:       schemaVersion,
	}
}

func configure(opts []Option) (config, error) {
	cfg := defaults()
	for _, o := range opts {
		if err := o.apply(&cfg); err != nil {
			return config{}, err
		}
	}
	return cfg, nil
}

// Open opens the database in the file, which it creates if there is none. It takes a
// path, and no URI. The tables are created by [Recorder.Migrate].
//
// It returns [persistence.ErrNotDatabase] for a file that is something else,
// [persistence.ErrReadOnly] if it cannot be written, and
// [annals.ErrConfiguration] for a bad option or a folder that does not exist.
func Open(ctx context.Context, path string, opts ...Option) (*Recorder, error) {
	cfg, err := configure(opts)
	if err != nil {
		return nil, &Error{Database: path, Op: "open", Err: err}
	}
	if strings.HasPrefix(path, "file:") {
		return nil, &Error{Database: path, Op: "open", Err: fmt.Errorf(
			"a URI is not taken, only the path of a file: leave out file: and what is behind the ?; "+
				"the options of Open say the rest: %w", annals.ErrConfiguration)}
	}
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return nil, &Error{Database: path, Op: "open", Err: fmt.Errorf(
			"the path of a file is needed (for events in memory there is package memory): %w", annals.ErrConfiguration)}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, &Error{Database: path, Op: "open", Err: err}
	}
	writeDB, err := sql.Open("sqlite", cfg.dsn(abs, min(cfg.busyTimeout, lockWait), pageCache(cfg.cacheSize)))
	if err != nil {
		return nil, &Error{Database: path, Op: "open", Err: err}
	}
	writeDB.SetMaxOpenConns(1)
	readDB, err := sql.Open("sqlite", cfg.dsn(abs, cfg.busyTimeout, pageCache(cfg.cacheSize/4), "query_only(1)"))
	if err != nil {
		return nil, &Error{Database: path, Op: "open", Err: err}
	}
	readDB.SetMaxOpenConns(cfg.readers)
	readDB.SetMaxIdleConns(cfg.readers)
	return start(ctx, &Recorder{
		cfg: cfg, name: path, writeDB: writeDB, readDB: readDB, opened: []io.Closer{writeDB, readDB},
		readers: make(chan struct{}, cfg.readers),
	})
}

// pageCache returns the pragma for a page cache of a size, which SQLite takes in
// KiB.
func pageCache(bytes int64) string { return fmt.Sprintf("cache_size(-%d)", bytes/1024) }

// dsn returns the data source name of the driver modernc.org/sqlite.
func (c *config) dsn(path string, busy time.Duration, pragmas ...string) string {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{
		fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()), // first: what follows may have to wait
		"journal_mode(WAL)", "wal_autocheckpoint(4000)",
		fmt.Sprintf("synchronous(%s)", c.synchronous),
		fmt.Sprintf("mmap_size(%d)", c.mmapSize),
	}, pragmas...)}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	return u.String()
}

// New returns a recorder on the caller's own database, a file, which may be used
// through any driver of SQLite; see [WithErrorCode]. Journal mode, synchronous,
// timeouts and connections are the caller's, who also closes it, after the
// recorder; the options for these have no effect, but [WithBusyTimeout]. Use WAL,
// synchronous FULL and a busy timeout of some 50 milliseconds.
//
// It returns [annals.ErrConfiguration] for a database in memory, and for a driver
// whose errors it cannot tell apart.
func New(ctx context.Context, db *sql.DB, opts ...Option) (*Recorder, error) {
	fail := func(err error) (*Recorder, error) {
		return nil, &Error{Database: "database", Op: "open", Err: err}
	}
	cfg, err := configure(opts)
	if err != nil {
		return fail(err)
	}
	file, err := cfg.check(ctx, "New", db)
	if err != nil {
		return fail(err)
	}
	return start(ctx, &Recorder{
		cfg: cfg, name: file, writeDB: db, readDB: db,
		lock: fmt.Sprintf("UPDATE %sschema SET version = version WHERE 0", cfg.prefix),
	})
}

// check looks at a database of the caller, and returns the path of its file.
func (c *config) check(ctx context.Context, caller string, db *sql.DB) (string, error) {
	if db == nil {
		return "", fmt.Errorf("%s: the database is nil: %w", caller, annals.ErrConfiguration)
	}
	var file sql.NullString
	if err := db.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&file); err != nil {
		return "", err
	}
	if file.String == "" {
		return "", fmt.Errorf("%s: the database is in memory, where each connection has its own; use package memory: %w",
			caller, annals.ErrConfiguration)
	}
	_, wrong := db.ExecContext(ctx, "SELECT annals_no_such_column")
	if c.primaryCode(wrong) != codeError {
		return "", fmt.Errorf("%s: cannot tell the driver's errors apart; use WithErrorCode: %w", caller, annals.ErrConfiguration)
	}
	return file.String, nil
}

func start(ctx context.Context, r *Recorder) (_ *Recorder, err error) {
	r.changed = make(chan struct{})
	r.writer = group.New(group.Config{
		Take:   take,
		Commit: r.commit,
		Lost:   r.unknown(errors.New("the writer did not return")),
	})
	defer func() {
		if err != nil {
			err = errors.Join(err, r.closeDatabases())
		}
	}()
	// The writer's connection comes first: it makes the file a database in WAL
	// mode, which a reader cannot.
	for _, db := range []*sql.DB{r.writeDB, r.readDB} {
		if err := r.patiently(ctx, func() error { return db.PingContext(ctx) }); err != nil {
			return nil, r.errorf(ctx, "open", err)
		}
		var n int
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil {
			return nil, r.errorf(ctx, "open", err)
		}
	}
	if err := r.ensureReady(ctx); err != nil && !errors.Is(err, persistence.ErrSchema) {
		return nil, r.errorf(ctx, "open", err)
	}
	return r, nil
}

// Close waits for running saves, and closes the database if [Open] opened it.
// Afterwards every call returns [annals.ErrClosed].
func (r *Recorder) Close() error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.changed)
	}
	r.mu.Unlock()
	if !r.writer.Close() {
		return nil
	}
	return r.errorf(context.Background(), "close", r.closeDatabases())
}

func (r *Recorder) closeDatabases() error {
	r.readying.Lock()
	defer r.readying.Unlock()
	var errs []error
	for _, stmt := range r.prepared {
		errs = append(errs, stmt.Close())
	}
	for _, c := range r.opened {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// isOpen returns an error if the recorder is closed.
func (r *Recorder) isOpen() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return annals.ErrClosed
	}
	return nil
}

// usable returns an error if the recorder is closed, the context is done, or the
// tables do not fit.
func (r *Recorder) usable(ctx context.Context) error {
	if err := r.isOpen(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.ensureReady(ctx)
}
