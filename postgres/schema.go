package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// migrations are the SQL files that make the tables, in order. Who may not let a
// program change a schema runs them by hand, and then sets the version:
//
//	SET search_path = school;
//	\i 0001_initial.sql
//	DELETE FROM annals_schema; INSERT INTO annals_schema (version) VALUES (1);
//
//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the SQL files that [Recorder.Migrate] runs, in the order of
// their names, for those who run them by other means.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded
	}
	return sub
}

const defaultPrefix = "annals_"

// schemaVersion is the version of the tables that this code works with: the
// number of migrations.
const schemaVersion = 1

// queryer is a connection or a transaction.
type queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Migrate creates the tables, or brings older ones up to date, in one
// transaction. It does nothing if they are. Several processes may call it at once. It
// returns [persistence.ErrSchema] if the tables are newer than this code, or if there
// are tables of the same names that are not a recorder's, and
// [persistence.ErrPermission] if the user may not make tables.
func (r *Recorder) Migrate(ctx context.Context) error {
	if err := r.isOpen(); err != nil {
		return err
	}
	err := r.patiently(ctx, r.pool, func(conn *pgx.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error { return r.migrate(ctx, tx) })
	})
	if err == nil {
		err = r.usable(ctx)
	}
	return r.errorf(ctx, "migrate", err)
}

func (r *Recorder) migrate(ctx context.Context, tx pgx.Tx) error {
	// Others who migrate wait here.
	const lock = "SELECT pg_advisory_xact_lock($1)"
	if _, err := tx.Exec(ctx, lock, lockKey("migrate", "")); err != nil {
		return err
	}
	schema, err := r.schemaOf(ctx, tx)
	if errors.Is(err, errNoSchema) {
		_, err = tx.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{schema}.Sanitize())
	}
	if err != nil {
		return err
	}
	have, err := r.versionOf(ctx, tx, schema)
	if err != nil {
		return err
	}
	if have < 0 || have > r.cfg.version {
		return r.schemaError(schema, have)
	}
	if have == r.cfg.version {
		return nil
	}
	if _, err := tx.Exec(ctx, "SELECT set_config('search_path', $1, true)", pgx.Identifier{schema}.Sanitize()); err != nil {
		return err
	}
	files, err := fs.Glob(Migrations(), "*.sql")
	if err != nil {
		return err
	}
	for _, file := range files[have:] {
		text, err := fs.ReadFile(Migrations(), file)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, strings.ReplaceAll(string(text), defaultPrefix, r.cfg.prefix)); err != nil {
			return fmt.Errorf("%s: %w", path.Base(file), err)
		}
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("DELETE FROM %sschema", r.cfg.prefix)); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, fmt.Sprintf("INSERT INTO %sschema (version) VALUES ($1)", r.cfg.prefix), r.cfg.version)
	return err
}

// errNoSchema: the schema is not there yet.
var errNoSchema = errors.New("the schema does not exist")

// schemaOf returns the name of the schema of the tables, also with errNoSchema.
func (r *Recorder) schemaOf(ctx context.Context, q queryer) (string, error) {
	var current *string
	var there bool
	const text = "SELECT current_schema(), EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
	if err := q.QueryRow(ctx, text, r.mode, r.cfg.schema).Scan(&current, &there); err != nil {
		return "", err
	}
	switch {
	case r.cfg.schema != "" && !there:
		return r.cfg.schema, errNoSchema
	case r.cfg.schema != "":
		return r.cfg.schema, nil
	case current == nil:
		return "", fmt.Errorf("none of the schemas of search_path exists: create one, or name one by WithSchema, or POSTGRES_SCHEMA: %w",
			annals.ErrConfiguration)
	default:
		return *current, nil
	}
}

// versionOf returns the version of the tables; 0 if there are none, -1 if some
// are missing, or they do not say it.
func (r *Recorder) versionOf(ctx context.Context, q queryer, schema string) (version int, err error) {
	var tables int
	var said bool
	const count = "SELECT count(*), coalesce(bool_or(c.relname = $2 || 'schema' AND EXISTS (SELECT FROM pg_attribute a " +
		"WHERE a.attrelid = c.oid AND a.attname = 'version' AND a.atttypid = 'int4'::regtype)), false) " +
		"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') " +
		"AND c.relname IN ($2 || 'schema', $2 || 'events', $2 || 'tracking', $2 || 'snapshots')"
	if err := q.QueryRow(ctx, count, r.mode, schema, r.cfg.prefix).Scan(&tables, &said); err != nil {
		return 0, err
	}
	switch {
	case tables == 0:
		return 0, nil
	case tables < 4 || !said:
		return -1, nil
	}
	var rows int
	const read = "SELECT count(*), coalesce(max(version), -1) FROM "
	err = q.QueryRow(ctx, read+r.tables(schema)+"schema", r.mode).Scan(&rows, &version)
	if rows != 1 || version < 1 {
		version = -1
	}
	return version, err
}

func (r *Recorder) schemaError(schema string, have int) error {
	if schema == "" {
		schema = r.cfg.schema
	}
	where := fmt.Sprintf("postgres: %s: %s.%s*", r.name, schema, r.cfg.prefix)
	return &persistence.SchemaError{Where: where, Have: have, Want: r.cfg.version}
}

// texts returns the statements, which may have been taken back since the recorder was
// usable: because the tables were changed.
func (r *Recorder) texts() (*statements, error) {
	if sql := r.sql.Load(); sql != nil {
		return sql, nil
	}
	return nil, r.schemaError("", 0)
}

// ensureReady checks the database and the version of the tables, once.
func (r *Recorder) ensureReady(ctx context.Context) error {
	if r.sql.Load() != nil {
		return nil
	}
	r.readying.Lock()
	defer r.readying.Unlock()
	if r.sql.Load() != nil {
		return nil
	}
	return r.patiently(ctx, r.pool, func(conn *pgx.Conn) error { return r.prepare(ctx, conn) })
}

// prepare makes the recorder ready, if the database is.
func (r *Recorder) prepare(ctx context.Context, q queryer) error {
	settled, err := r.checkDatabase(ctx, q)
	if err != nil {
		return err
	}
	schema, err := r.schemaOf(ctx, q)
	if errors.Is(err, errNoSchema) {
		return r.schemaError(schema, 0)
	}
	if err != nil {
		return err
	}
	have, err := r.versionOf(ctx, q, schema)
	if err != nil {
		return err
	}
	if have != r.cfg.version {
		return r.schemaError(schema, have)
	}
	sql := r.statements(schema)
	sql.settled = settled
	r.sql.Store(sql)
	return nil
}

// checkDatabase looks at what the code relies on. Settled says whether statements of their
// own wait as long as they should, and are durable.
func (r *Recorder) checkDatabase(ctx context.Context, q queryer) (settled bool, err error) {
	var encoding, isolation string
	const text = "SELECT current_setting('server_encoding'), current_setting('default_transaction_isolation'), " +
		"(SELECT setting FROM pg_settings WHERE name = 'lock_timeout') = $1 AND current_setting('synchronous_commit') <> 'off'"
	wait := strconv.FormatInt(r.cfg.lockTimeout.Milliseconds(), 10)
	if err := q.QueryRow(ctx, text, r.mode, wait).Scan(&encoding, &isolation, &settled); err != nil {
		return false, err
	}
	if encoding != "UTF8" {
		return false, fmt.Errorf("the database's encoding is %s, and UTF8 is needed: %w", encoding, annals.ErrConfiguration)
	}
	if isolation != "read committed" {
		return false, fmt.Errorf("default_transaction_isolation is %q, and \"read committed\" is needed: ALTER ROLE … SET it, "+
			"or add it to the URL: %w", isolation, annals.ErrConfiguration)
	}
	return settled, nil
}
