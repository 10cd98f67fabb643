package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/annals-es/annals/persistence"
)

// migrations are the SQL files that make the tables, in order. Who may not let a
// program change a schema runs them by hand, and then sets the version:
//
//	INSERT INTO annals_schema (version) VALUES (1)
//
//go:embed migrations/*.sql
var migrations embed.FS

const defaultPrefix = "annals_"

// schemaVersion is the version of the tables that this code works with: the
// number of migrations.
const schemaVersion = 1

// Migrate creates the tables, or brings older ones up to date, in one
// transaction. It does nothing if they are. It returns [persistence.ErrSchema] if
// they are newer than this code, or if there are tables of the same names that
// are not a recorder's.
func (r *Recorder) Migrate(ctx context.Context) error {
	if err := r.isOpen(); err != nil {
		return err
	}
	err := r.patiently(ctx, func() error { return r.migrate(ctx) })
	if err == nil {
		err = r.usable(ctx)
	}
	return r.errorf(ctx, "migrate", err)
}

func (r *Recorder) migrate(ctx context.Context) (err error) {
	tx, err := r.writeDB.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Close() }()
	if _, err := tx.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, _ = tx.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // it may be rolled back already
		}
	}()
	have, err := r.schemaVersion(ctx, tx)
	if err != nil {
		return err
	}
	if have < 0 || have > r.cfg.schema {
		return r.schemaError(have)
	}
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	for _, file := range files[have:] {
		text, err := migrations.ReadFile(file)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, strings.ReplaceAll(string(text), defaultPrefix, r.cfg.prefix)); err != nil {
			return fmt.Errorf("%s: %w", path.Base(file), err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("DELETE FROM %sschema", r.cfg.prefix)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO %sschema (version) VALUES (?)", r.cfg.prefix), r.cfg.schema); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "COMMIT")
	return err
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// schemaVersion returns the version of the tables; 0 if there are none, -1 if some
// are missing or they do not say it.
func (r *Recorder) schemaVersion(ctx context.Context, q queryer) (version int, err error) {
	var tables int
	const count = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN (?1 || 'schema', ?1 || 'events', ?1 || 'tracking')"
	if err := q.QueryRowContext(ctx, count, r.cfg.prefix).Scan(&tables); err != nil {
		return 0, err
	}
	if tables == 0 {
		return 0, nil
	}
	if tables < 3 {
		return -1, nil
	}
	var rows int
	const read = "SELECT count(*), coalesce(CAST(max(version) AS INTEGER), -1) FROM %sschema"
	err = q.QueryRowContext(ctx, fmt.Sprintf(read, r.cfg.prefix)).Scan(&rows, &version)
	if rows != 1 || version < 1 {
		version = -1
	}
	return version, err
}

func (r *Recorder) schemaError(have int) error {
	return &persistence.SchemaError{Where: fmt.Sprintf("sqlite: %s: %s*", r.name, r.cfg.prefix), Have: have, Want: r.cfg.schema}
}

// ensureReady checks the version of the tables and prepares the statements, once.
func (r *Recorder) ensureReady(ctx context.Context) error {
	if r.ready.Load() {
		return nil
	}
	r.readying.Lock()
	defer r.readying.Unlock()
	if r.ready.Load() {
		return nil
	}
	have, err := r.schemaVersion(ctx, r.readDB)
	if err != nil {
		return err
	}
	if have != r.cfg.schema {
		return r.schemaError(have)
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	r.ready.Store(true)
	return nil
}

// prepared are the statements that every call uses.
type prepared struct {
	insertFirst, insertNext, track          *sql.Stmt // of the writer
	stream, streamDesc, log, logTopics      *sql.Stmt // of the readers
	maxPosition, maxTracking                *sql.Stmt
	storedEvent, maxVersion, storedTracking *sql.Stmt // of the writer, after a conflict
}

// The columns of an event, but for its position and its stream.
const columns = "version, event_id, topic, time, shape, encoding, state, correlation_id, causation_id, headers"

func (r *Recorder) prepare(ctx context.Context) error {
	s := &r.stmts
	for _, p := range []struct {
		stmt **sql.Stmt
		db   *sql.DB
		text string
	}{
		{&s.insertFirst, r.writeDB, "INSERT INTO annals_events (stream_id, " + columns + ") VALUES (?,?,?,?,?,?,?,?,?,?,?)"},
		// Without a predecessor the version is NULL, which the table refuses: a
		// stream has no gaps. That the version is free is what the unique index is
		// for. (INSERT … SELECT … WHERE EXISTS would copy the row to a temporary table.)
		{&s.insertNext, r.writeDB, "INSERT INTO annals_events (stream_id, " + columns + ") VALUES (?1," +
			"(SELECT version + 1 FROM annals_events WHERE stream_id = ?1 AND version = ?2 - 1),?3,?4,?5,?6,?7,?8,?9,?10,?11)"},
		{&s.track, r.writeDB, "INSERT INTO annals_tracking (name, position) VALUES (?, ?) " +
			"ON CONFLICT (name) DO UPDATE SET position = excluded.position WHERE excluded.position > position"},
		{&s.storedEvent, r.writeDB, "SELECT position, event_id FROM annals_events WHERE stream_id = ? AND version = ?"},
		{&s.maxVersion, r.writeDB, "SELECT coalesce(max(version), 0) FROM annals_events WHERE stream_id = ?"},
		{&s.storedTracking, r.writeDB, "SELECT position FROM annals_tracking WHERE name = ?"},
		{&s.stream, r.readDB, "SELECT " + columns + " FROM annals_events " +
			"WHERE stream_id = ? AND version > ? AND version <= ? ORDER BY version LIMIT ?"},
		{&s.streamDesc, r.readDB, "SELECT " + columns + " FROM annals_events " +
			"WHERE stream_id = ? AND version > ? AND version <= ? ORDER BY version DESC LIMIT ?"},
		{&s.log, r.readDB, "SELECT position, stream_id, " + columns + " FROM annals_events " +
			"WHERE position > ? AND position <= ? ORDER BY position LIMIT ?"},
		{&s.logTopics, r.readDB, "SELECT position, stream_id, " + columns + " FROM annals_events " +
			"WHERE position > ? AND position <= ? AND topic IN (SELECT value FROM json_each(?)) ORDER BY position LIMIT ?"},
		{&s.maxPosition, r.readDB, "SELECT max(position) FROM annals_events"},
		{&s.maxTracking, r.readDB, "SELECT position FROM annals_tracking WHERE name = ?"},
	} {
		stmt, err := p.db.PrepareContext(ctx, strings.ReplaceAll(p.text, defaultPrefix, r.cfg.prefix)) //nolint:sqlclosecheck // by Close
		if err != nil {
			return err
		}
		r.prepared = append(r.prepared, stmt)
		*p.stmt = stmt
	}
	return nil
}
