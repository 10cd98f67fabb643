// Package postgres is the recorder that stores events in a PostgreSQL database, for
// any number of processes.
//
// Positions are taken under a lock that is held until they are visible, so that who
// follows the log misses nothing, whatever order transactions commit in. A save is
// one round trip, and saves of one process that wait at the same moment are
// committed together, each with its own result.
package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/chunk"
	"github.com/annals-es/annals/internal/group"
	"github.com/annals-es/annals/persistence"
)

// Recorder stores events in a PostgreSQL database. It is safe for concurrent use,
// by any number of goroutines and processes.
type Recorder struct {
	cfg     config
	name    string // the database, for errors
	pool    *pgxpool.Pool
	logs    *pgxpool.Pool // where the log is read: the pool, or that of a replica
	owned   []*pgxpool.Pool
	writer  *group.Writer
	watcher *watcher

	mode     pgx.QueryExecMode          // of queries
	plain    bool                       // see isPlain
	readying sync.Mutex                 // held while sql is made
	sql      atomic.Pointer[statements] // nil until the tables were seen to fit
	buffers  chunk.Buffers
	limits   limits
	messages messages // of the writer

	running sync.RWMutex // read-held by saves that the writer does not have

	closing context.Context //nolint:containedctx // done when Close is called
	cancel  context.CancelFunc
}

var _ persistence.Recorder = (*Recorder)(nil)

// Option sets a property of a recorder.
type Option interface{ apply(c *config) error }

type option func(*config) error

func (o option) apply(c *config) error { return o(c) }

type config struct {
	schema         string
	prefix         string
	connectTimeout time.Duration
	lockTimeout    time.Duration
	saveTimeout    time.Duration
	pollInterval   time.Duration
	pollOnly       bool
	version        int // of the tables that is worked with

	pool poolConfig
}

// poolConfig is what [Open] changes of what the URL says.
type poolConfig struct {
	set     []func(*pgxpool.Config)
	replica string
}

var validName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

const (
	maxSchema = 63
	maxPrefix = 32
)

// WithSchema gives the schema of the tables, which [Recorder.Migrate] creates if
// there is none: lower-case letters, digits and underscores, at most 63, the first no
// digit, and not beginning with pg_. Default: the first schema of the connection's
// search_path, which is "public" unless the database says otherwise.
func WithSchema(schema string) Option {
	return option(func(c *config) error {
		if !isSchema(schema) {
			return fmt.Errorf("WithSchema(%q): a schema has up to %d lower-case letters, digits and underscores, the first no digit, "+
				"and does not begin with pg_: %w", schema, maxSchema, annals.ErrConfiguration)
		}
		c.schema = schema
		return nil
	})
}

func isSchema(schema string) bool {
	return validName.MatchString(schema) && len(schema) <= maxSchema && !strings.HasPrefix(schema, "pg_")
}

// WithTablePrefix gives the prefix of the names of the tables, so that several
// applications share one schema: lower-case letters, digits and underscores, at
// most 32, the first no digit. Default: "annals_".
func WithTablePrefix(prefix string) Option {
	return option(func(c *config) error {
		if !isPrefix(prefix) {
			return fmt.Errorf("WithTablePrefix(%q): a prefix has up to %d lower-case letters, digits and underscores, the first no digit, "+
				"and does not begin with pg_: %w", prefix, maxPrefix, annals.ErrConfiguration)
		}
		c.prefix = prefix
		return nil
	})
}

func isPrefix(prefix string) bool { return isSchema(prefix) && len(prefix) <= maxPrefix }

// WithConnectTimeout says how long a call waits for a connection, while the server
// cannot be reached or all connections are in use, between a millisecond and an hour;
// then it fails with [persistence.ErrUnavailable] or [persistence.ErrBusy]. So reading
// and following go on behind a server that restarts in that time. Default: 10 seconds.
func WithConnectTimeout(d time.Duration) Option {
	return duration("WithConnectTimeout", d, func(c *config) { c.connectTimeout = d })
}

// WithLockTimeout says how long a save waits while other processes save, or while a
// caller's transaction holds the log (see [Recorder.RecordTx]), between a millisecond
// and an hour; then it fails with [persistence.ErrBusy]. Default: 10 seconds.
func WithLockTimeout(d time.Duration) Option {
	return duration("WithLockTimeout", d, func(c *config) { c.lockTimeout = d })
}

// WithSaveTimeout says how long a save waits for the server's answer once it has
// the lock, between a millisecond and an hour. A save without an answer is repeated,
// which stores nothing twice; without one in [WithConnectTimeout] it fails with
// [annals.ErrOutcomeUnknown]. Default: 30 seconds.
func WithSaveTimeout(d time.Duration) Option {
	return duration("WithSaveTimeout", d, func(c *config) { c.saveTimeout = d })
}

// WithPollInterval says how often a waiting subscription looks for events although
// no notification came, between a millisecond and an hour. Default: 1 second; with
// [WithPolling], 20 milliseconds.
func WithPollInterval(d time.Duration) Option {
	return duration("WithPollInterval", d, func(c *config) { c.pollInterval = d })
}

// WithPolling makes subscriptions look for events every [WithPollInterval], and
// spares the connection that listens for notifications. It is needed behind a
// PgBouncer that pools transactions. Saves still notify those who listen.
func WithPolling() Option {
	return option(func(c *config) error { c.pollOnly = true; return nil })
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

// WithPoolSize says how many connections [Open] keeps at least, and how many there
// are at most, beside the one that listens. Default: what the URL says (pool_min_conns,
// pool_max_conns), or 0, and the greater of 4 and the number of processors.
func WithPoolSize(least, most int) Option {
	const limit = 10_000
	return option(func(c *config) error {
		if least < 0 || most < 1 || least > most || most > limit {
			return fmt.Errorf("WithPoolSize(%d, %d): not 0 to the second, and 1 to %d: %w", least, most, limit, annals.ErrConfiguration)
		}
		c.pool.set = append(c.pool.set, func(p *pgxpool.Config) {
			p.MinConns, p.MaxConns = int32(least), int32(most) //nolint:gosec // see limit
		})
		return nil
	})
}

// WithConnectionAge says after how long a connection is replaced by a new one, and
// after how long an unused one is closed; each between a millisecond and 30 days.
// Default: what the URL says (pool_max_conn_lifetime, pool_max_conn_idle_time), or one
// hour and 30 minutes.
func WithConnectionAge(lifetime, idle time.Duration) Option {
	const limit = 30 * 24 * time.Hour
	return option(func(c *config) error {
		if min(lifetime, idle) < time.Millisecond || max(lifetime, idle) > limit {
			return fmt.Errorf("WithConnectionAge(%v, %v): not between a millisecond and %v: %w",
				lifetime, idle, limit, annals.ErrConfiguration)
		}
		c.pool.set = append(c.pool.set, func(p *pgxpool.Config) {
			p.MaxConnLifetime, p.MaxConnIdleTime = lifetime, idle
		})
		return nil
	})
}

// WithPassword gives a function that is called for the password of each new
// connection: for passwords that change, tokens of a cloud. Default: none.
func WithPassword(password func(ctx context.Context) (string, error)) Option {
	return option(func(c *config) error {
		if password == nil {
			return fmt.Errorf("WithPassword(nil): %w", annals.ErrConfiguration)
		}
		c.pool.set = append(c.pool.set, func(p *pgxpool.Config) {
			p.BeforeConnect = func(ctx context.Context, cc *pgx.ConnConfig) (err error) {
				cc.Password, err = password(ctx)
				return err
			}
		})
		return nil
	})
}

// WithTLS gives the configuration of TLS, in the place of what the URL says by
// sslmode, sslrootcert, sslcert and sslkey. The name of the server is filled in if it
// is empty. Default: the URL's.
func WithTLS(t *tls.Config) Option {
	return option(func(c *config) error {
		if t == nil {
			return fmt.Errorf("WithTLS(nil): %w", annals.ErrConfiguration)
		}
		c.pool.set = append(c.pool.set, func(p *pgxpool.Config) {
			own := t.Clone()
			if own.ServerName == "" {
				own.ServerName = p.ConnConfig.Host
			}
			p.ConnConfig.TLSConfig = own
			for _, f := range p.ConnConfig.Fallbacks {
				f.TLSConfig = own
			}
		})
		return nil
	})
}

// WithApplicationName gives the name under which the connections appear in
// pg_stat_activity. Default: what the URL says (application_name), or "annals".
func WithApplicationName(name string) Option {
	return option(func(c *config) error {
		c.pool.set = append(c.pool.set, func(p *pgxpool.Config) { p.ConnConfig.RuntimeParams["application_name"] = name })
		return nil
	})
}

// WithoutPreparedStatements sends each statement with its text, as a PgBouncer that
// pools transactions needs it; see also [WithPolling]. Default: statements are
// prepared once for each connection.
func WithoutPreparedStatements() Option {
	return option(func(c *config) error {
		c.pool.set = append(c.pool.set, func(p *pgxpool.Config) {
			p.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		})
		return nil
	})
}

// WithReplica gives the URL of a replica of the database, from which [Open] reads the
// log: notifications and subscriptions, which then come later by as much as the replica
// lags, still each once and in order. Aggregates, trackings and snapshots are read
// from the database itself. Default: none.
func WithReplica(url string) Option {
	return option(func(c *config) error { c.pool.replica = url; return nil })
}

func configure(opts []Option) (config, error) {
	cfg := config{
		prefix:         defaultPrefix,
		connectTimeout: defaultConnectTimeout,
		lockTimeout:    defaultLockTimeout,
		saveTimeout:    defaultSaveTimeout,
		version:        schemaVersion,
	}
	for _, o := range opts {
		if err := o.apply(&cfg); err != nil {
			return config{}, err
		}
	}
	if cfg.pool.replica != "" {
		cfg.pollOnly = true // a replica does not pass notifications on
	}
	switch {
	case cfg.pollInterval > 0:
	case cfg.pollOnly:
		cfg.pollInterval = defaultPollIntervalOnly
	default:
		cfg.pollInterval = defaultPollInterval
	}
	return cfg, nil
}

// Open connects to the database of the URL, or of the text of keywords and values
// (host=… dbname=…), as libpq and pgx take it, environment variables such as
// PGPASSWORD included. The tables are created by [Recorder.Migrate].
//
// It returns [annals.ErrConfiguration] for a bad option, a wrong URL, user, password
// or database, and [persistence.ErrUnavailable] if no server answers within
// [WithConnectTimeout].
func Open(ctx context.Context, url string, opts ...Option) (*Recorder, error) {
	cfg, err := configure(opts)
	if err != nil {
		return nil, &Error{Database: "database", Op: "open", Err: err}
	}
	pool, err := cfg.connect(url) //nolint:contextcheck // it connects to nothing yet
	if err != nil {
		return nil, err
	}
	owned := []*pgxpool.Pool{pool}
	logs := pool
	if cfg.pool.replica != "" {
		if logs, err = cfg.connect(cfg.pool.replica); err != nil { //nolint:contextcheck // as above
			pool.Close()
			return nil, err
		}
		owned = append(owned, logs)
	}
	return start(ctx, cfg, pool, logs, owned)
}

// connect makes a pool. It connects to nothing yet.
func (c *config) connect(url string) (*pgxpool.Pool, error) {
	fail := func(err error) (*pgxpool.Pool, error) {
		// The error of a URL may quote it, and that has a password.
		return nil, &Error{Database: "database", Op: "open", Kind: annals.ErrConfiguration, Err: err}
	}
	p, err := pgxpool.ParseConfig(url)
	if err != nil {
		return fail(errors.New("the URL cannot be understood; it is of the form " + formOfURL))
	}
	if p.ConnConfig.RuntimeParams["application_name"] == "" {
		p.ConnConfig.RuntimeParams["application_name"] = "annals"
	}
	if p.ConnConfig.ConnectTimeout == 0 {
		p.ConnConfig.ConnectTimeout = c.connectTimeout
	}
	for _, set := range c.pool.set {
		set(p)
	}
	prepares := p.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
	if params := p.ConnConfig.RuntimeParams; params["lock_timeout"] == "" && prepares {
		// It also holds for what waits before a statement begins: for a migration, say.
		// A PgBouncer would refuse it.
		params["lock_timeout"] = strconv.FormatInt(c.lockTimeout.Milliseconds(), 10)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), p)
	if err != nil {
		return fail(err)
	}
	return pool, nil
}

// New returns a recorder on the caller's own pool, who also closes it, after the
// recorder. The options that are about connections have no effect: those for pool,
// password, TLS, name and replica. It returns what [Open] does.
func New(ctx context.Context, pool *pgxpool.Pool, opts ...Option) (*Recorder, error) {
	cfg, err := configure(opts)
	if err != nil {
		return nil, &Error{Database: "database", Op: "open", Err: err}
	}
	if pool == nil {
		return nil, &Error{Database: "database", Op: "open", Kind: annals.ErrConfiguration, Err: errors.New("the pool is nil")}
	}
	return start(ctx, cfg, pool, pool, nil)
}

// nameOf says which database, on which server.
func nameOf(pool *pgxpool.Pool) string {
	cc := pool.Config().ConnConfig
	return fmt.Sprintf("%s on %s:%d", cc.Database, cc.Host, cc.Port)
}

// modeOf is how queries are run whose types of parameters have to be known.
func modeOf(pool *pgxpool.Pool) pgx.QueryExecMode {
	mode := pool.Config().ConnConfig.DefaultQueryExecMode
	if mode == pgx.QueryExecModeSimpleProtocol || mode == pgx.QueryExecModeExec {
		return pgx.QueryExecModeCacheDescribe
	}
	return mode
}

func start(ctx context.Context, cfg config, pool, logs *pgxpool.Pool, owned []*pgxpool.Pool) (*Recorder, error) {
	r := &Recorder{cfg: cfg, name: nameOf(pool), pool: pool, logs: logs, owned: owned, mode: modeOf(pool), plain: isPlain(pool)}
	r.closing, r.cancel = context.WithCancel(context.Background())
	r.watcher = newWatcher(r)
	r.writer = group.New(group.Config{
		Take:   take,
		Commit: r.commit,
		Lost:   r.unknown(errors.New("the writer did not return")),
	})
	if err := r.ensureReady(ctx); err != nil && !errors.Is(err, persistence.ErrSchema) {
		err = r.errorf(ctx, "open", err)
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Close waits for running saves, and closes the connections that [Open] made.
// Afterwards every call returns [annals.ErrClosed].
func (r *Recorder) Close() error {
	if !r.writer.Close() {
		return nil
	}
	r.cancel()
	r.running.Lock()
	defer r.running.Unlock()
	r.watcher.close()
	for _, pool := range r.owned {
		pool.Close()
	}
	r.limits.stop()
	return nil
}

// isOpen returns an error if the recorder is closed.
func (r *Recorder) isOpen() error {
	if r.closing.Err() != nil {
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

// lockKey is the key of the advisory lock under which positions of the events of a
// table are taken. It is made of the names of schema and table, so that whoever
// writes to the table by any connection takes the same.
func lockKey(schema, prefix string) int64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "annals:%s.%sevents", schema, prefix)
	return int64(h.Sum64()) //nolint:gosec // any number will do
}
