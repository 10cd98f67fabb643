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
//	DELETE FROM annals_schema; INSERT INTO annals_schema (version) VALUES (2)
//
//go:embed migrations/*.sql
var migrations embed.FS

const defaultPrefix = "annals_"

// schemaVersion is the version of the tables that this code works with: the
// number of migrations.
const schemaVersion = 2

// Migrate creates the tables, or brings older ones up to date, in one
// transaction. It does nothing if they are, and does not wait then for those who
// write. It returns [persistence.ErrSchema] if they are newer than this code, or if
// there are tables of the same names that are not a recorder's.
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
	// That the tables are current is certain also without the lock. Anything else may
	// be somebody's migration, half seen.
	if have, err := r.schemaVersion(ctx, r.readDB); err != nil || have == r.cfg.schema {
		return err
	}
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
	var tables, later int
	const count = "SELECT count(*) FILTER (WHERE name <> ?1 || 'snapshots'), count(*) FILTER (WHERE name = ?1 || 'snapshots') " +
		"FROM sqlite_schema WHERE type = 'table' AND name IN (?1 || 'schema', ?1 || 'events', ?1 || 'tracking', ?1 || 'snapshots')"
	if err := q.QueryRowContext(ctx, count, r.cfg.prefix).Scan(&tables, &later); err != nil {
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
	if rows != 1 || version < 1 || version > 1 && later == 0 {
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
	writer                   [writerStatements]*sql.Stmt
	streams, logs            [2][2]*sql.Stmt // by whether hashes are read, and by descending or topics
	maxPosition, maxTracking *sql.Stmt
	readSnapshot             *sql.Stmt
	recordSnapshot           *sql.Stmt
}

// The statements of the writer, by their place in writerTexts.
const (
	insertFirst = iota
	insertNext
	track
	trackFirst
	trackNext
	storedEvent // this and the others after a conflict
	maxVersion
	storedTracking
	writerStatements
)

//nolint:gochecknoglobals // a table of constants
var writerTexts = [writerStatements]string{
	insertFirst: "INSERT INTO annals_events (stream_id, " + columns + ", hash) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
	// Without a predecessor the version is NULL, which the table refuses: a
	// stream has no gaps. That the version is free is what the unique index is
	// for. (INSERT … SELECT … WHERE EXISTS would copy the row to a temporary table.)
	insertNext: "INSERT INTO annals_events (stream_id, " + columns + ", hash) VALUES (?1," +
		"(SELECT version + 1 FROM annals_events WHERE stream_id = ?1 AND version = ?2 - 1),?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
	track: "INSERT INTO annals_tracking (name, position) VALUES (?, ?) " +
		"ON CONFLICT (name) DO UPDATE SET position = excluded.position WHERE excluded.position > position",
	trackFirst:     "INSERT INTO annals_tracking (name, position) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
	trackNext:      "UPDATE annals_tracking SET position = ?2 WHERE name = ?1 AND position = ?3",
	storedEvent:    "SELECT position, event_id FROM annals_events WHERE stream_id = ? AND version = ?",
	maxVersion:     "SELECT coalesce(max(version), 0) FROM annals_events WHERE stream_id = ?",
	storedTracking: "SELECT position FROM annals_tracking WHERE name = ?",
}

// text returns a statement with the names of the recorder's own tables.
func (r *Recorder) text(statement string) string {
	return strings.ReplaceAll(statement, defaultPrefix, r.cfg.prefix)
}

// The columns of an event, but for its position and its stream.
const columns = "version, event_id, topic, time, shape, encoding, state, correlation_id, causation_id, headers"

// selection returns the columns of an event, with its hash if that is wanted.
func selection(hash bool) string {
	if hash {
		return columns + ", hash"
	}
	return columns
}

// The conditions of queries. They end with the parameters for what is left of a
// query that is cut into chunks.
const (
	ofStream = " FROM annals_events WHERE stream_id = ? AND version > ? AND version <= ? ORDER BY version"
	ofLog    = " FROM annals_events WHERE position > ? AND position <= ?"
	ofTopics = " AND topic IN (SELECT value FROM json_each(?))"
	inOrder  = " ORDER BY position LIMIT ?"
)

// streamText returns the query for events of a stream.
func streamText(hash, descending bool) string {
	text := "SELECT " + selection(hash) + ofStream
	if descending {
		text += " DESC"
	}
	return text + " LIMIT ?"
}

func (r *Recorder) prepare(ctx context.Context) error {
	s := &r.stmts
	type toPrepare struct {
		stmt **sql.Stmt
		db   *sql.DB
		text string
	}
	all := []toPrepare{
		{&s.maxPosition, r.readDB, "SELECT max(position) FROM annals_events"},
		{&s.maxTracking, r.readDB, "SELECT position FROM annals_tracking WHERE name = ?"},
		{&s.readSnapshot, r.readDB, "SELECT version, topic, created_at, modified_at, shape, mark, encoding, state " +
			"FROM annals_snapshots WHERE stream_id = ?"},
		{&s.recordSnapshot, r.writeDB, "INSERT INTO annals_snapshots " +
			"(stream_id, version, topic, created_at, modified_at, shape, mark, encoding, state) VALUES (?,?,?,?,?,?,?,?,?) " +
			"ON CONFLICT (stream_id) DO UPDATE SET version = excluded.version, topic = excluded.topic, created_at = excluded.created_at, " +
			"modified_at = excluded.modified_at, shape = excluded.shape, mark = excluded.mark, encoding = excluded.encoding, " +
			"state = excluded.state WHERE excluded.version >= version"},
	}
	for i, text := range writerTexts {
		all = append(all, toPrepare{&s.writer[i], r.writeDB, text})
	}
	for i, hash := range []bool{false, true} {
		all = append(all,
			toPrepare{&s.streams[i][0], r.readDB, streamText(hash, false)},
			toPrepare{&s.streams[i][1], r.readDB, streamText(hash, true)},
			toPrepare{&s.logs[i][0], r.readDB, "SELECT position, stream_id, " + selection(hash) + ofLog + inOrder},
			toPrepare{&s.logs[i][1], r.readDB, "SELECT position, stream_id, " + selection(hash) + ofLog + ofTopics + inOrder},
		)
	}
	for _, p := range all {
		stmt, err := p.db.PrepareContext(ctx, r.text(p.text)) //nolint:sqlclosecheck // by Close
		if err != nil {
			return err
		}
		r.prepared = append(r.prepared, stmt)
		*p.stmt = stmt
	}
	return nil
}
