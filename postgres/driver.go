package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals/persistence"
)

// The keys of the environment.
const (
	settingURL              = "POSTGRES_URL"
	settingSchema           = "POSTGRES_SCHEMA"
	settingPrefix           = "POSTGRES_TABLE_PREFIX"
	settingMaxConns         = "POSTGRES_MAX_CONNS"
	settingMinConns         = "POSTGRES_MIN_CONNS"
	settingConnLifetime     = "POSTGRES_CONN_LIFETIME"
	settingConnIdleTime     = "POSTGRES_CONN_IDLE_TIME"
	settingConnectTimeout   = "POSTGRES_CONNECT_TIMEOUT"
	settingLockTimeout      = "POSTGRES_LOCK_TIMEOUT"
	settingSaveTimeout      = "POSTGRES_SAVE_TIMEOUT"
	settingPolling          = "POSTGRES_POLLING"
	settingPollInterval     = "POSTGRES_POLL_INTERVAL"
	settingPrepared         = "POSTGRES_PREPARED_STATEMENTS"
	settingReplica          = "POSTGRES_REPLICA_URL"
	settingApplicationName  = "POSTGRES_APPLICATION_NAME"
	defaultConnLifetime     = time.Hour
	defaultConnIdleTime     = 30 * time.Minute
	defaultConnectTimeout   = 10 * time.Second
	defaultLockTimeout      = 10 * time.Second
	defaultSaveTimeout      = 30 * time.Second
	defaultPollInterval     = time.Second
	defaultPollIntervalOnly = 20 * time.Millisecond
)

// Driver is chosen by RECORDER=postgres.
var Driver = persistence.Driver{
	Name: "postgres",
	Settings: []persistence.Setting{
		{Key: settingURL, Text: "the database: `postgres://user:password@host:5432/database`, with TLS by `sslmode`, `sslrootcert`, …"},
		{Key: settingSchema, Text: "the schema of the tables; if not set, the first of the connection's `search_path`"},
		{Key: settingPrefix, Default: defaultPrefix, Text: "how the names of the tables begin: several applications share one schema"},
		{Key: settingMaxConns, Text: "connections at most, beside the one that listens; if not set, 4 or the number of processors"},
		{Key: settingMinConns, Default: "0", Text: "connections that are kept at least; read if `" + settingMaxConns + "` is set"},
		{Key: settingConnLifetime, Default: "1h", Text: "after how long a connection is replaced"},
		{Key: settingConnIdleTime, Default: "30m", Text: "after how long an unused connection is closed"},
		{Key: settingConnectTimeout, Default: "10s", Text: "how long a call waits for a connection, also while the server restarts"},
		{Key: settingLockTimeout, Default: "10s", Text: "how long a save waits while other processes save"},
		{Key: settingSaveTimeout, Default: "30s", Text: "how long a save waits for the server's answer"},
		{Key: settingPolling, Default: "false", Text: "true: no connection listens: behind a PgBouncer that pools transactions"},
		{Key: settingPollInterval, Text: "how often a subscription looks; if not set, 1s, or 20ms with `" + settingPolling + "`"},
		{Key: settingPrepared, Default: "true", Text: "false: statements are not prepared, as behind a PgBouncer that pools transactions"},
		{Key: settingReplica, Text: "the URL of a replica that notifications and subscriptions are read from"},
		{Key: settingApplicationName, Default: "annals", Text: "the name of the connections in `pg_stat_activity`"},
	},
	Recorder: func(ctx context.Context, s *persistence.Settings) (persistence.Recorder, error) {
		opts := optionsOf(s)
		url, key, ok := s.Lookup(settingURL)
		switch {
		case !ok:
			s.Fail(settingURL, "is not set: it is of the form "+formOfURL)
		case !isURL(url):
			s.Fail(settingURL, "cannot be understood: it is of the form "+formOfURL)
		}
		if err := s.Err(); err != nil {
			return nil, err
		}
		r, err := Open(ctx, url, opts...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		return r, nil
	},
}

// optionsOf returns the options that the settings are.
func optionsOf(s *persistence.Settings) []Option {
	const day = 24 * time.Hour
	duration := func(key string, otherwise time.Duration) time.Duration {
		return s.Duration(key, otherwise, time.Millisecond, time.Hour)
	}
	opts := []Option{
		WithConnectTimeout(duration(settingConnectTimeout, defaultConnectTimeout)),
		WithLockTimeout(duration(settingLockTimeout, defaultLockTimeout)),
		WithSaveTimeout(duration(settingSaveTimeout, defaultSaveTimeout)),
	}
	if schema := s.Text(settingSchema, ""); schema != "" {
		if !isSchema(schema) {
			s.Fail(settingSchema, "is not up to 63 lower-case letters, digits and underscores, the first no digit, or begins with pg_")
		}
		opts = append(opts, WithSchema(schema))
	}
	if prefix := s.Text(settingPrefix, defaultPrefix); !isPrefix(prefix) {
		s.Fail(settingPrefix, "is not up to 32 lower-case letters, digits and underscores, the first no digit, or begins with pg_")
	} else {
		opts = append(opts, WithTablePrefix(prefix))
	}
	if most := s.Int(settingMaxConns, 0, 1, 10_000); most > 0 {
		opts = append(opts, WithPoolSize(int(s.Int(settingMinConns, 0, 0, most)), int(most)))
	}
	_, _, lifetime := s.Lookup(settingConnLifetime)
	_, _, idle := s.Lookup(settingConnIdleTime)
	if lifetime || idle {
		opts = append(opts, WithConnectionAge(s.Duration(settingConnLifetime, defaultConnLifetime, time.Millisecond, 30*day),
			s.Duration(settingConnIdleTime, defaultConnIdleTime, time.Millisecond, 30*day)))
	}
	if s.Bool(settingPolling, false) {
		opts = append(opts, WithPolling())
	}
	if _, _, ok := s.Lookup(settingPollInterval); ok {
		opts = append(opts, WithPollInterval(duration(settingPollInterval, defaultPollInterval)))
	}
	if !s.Bool(settingPrepared, true) {
		opts = append(opts, WithoutPreparedStatements())
	}
	if replica := s.Text(settingReplica, ""); replica != "" {
		if !isURL(replica) {
			s.Fail(settingReplica, "cannot be understood: it is of the form "+formOfURL)
		}
		opts = append(opts, WithReplica(replica))
	}
	if name := s.Text(settingApplicationName, ""); name != "" {
		opts = append(opts, WithApplicationName(name))
	}
	return opts
}

const formOfURL = "postgres://user:password@host:5432/database" //nolint:gosec // an example

// isURL reports whether it can be understood. Why not is not told: it may have a
// password.
func isURL(url string) bool {
	_, err := pgxpool.ParseConfig(url)
	return err == nil
}
