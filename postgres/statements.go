package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// statements are the texts of what every call uses, with the names of the
// recorder's own tables.
type statements struct {
	channel      string    // of notifications
	lock         statement // takes the lock, with the lock timeout
	lockGroup    statement // the same, for a transaction that has nothing of a caller's own
	lockJoined   statement // takes the lock in a transaction of the caller, who says how long it waits
	insertOne    statement
	settled      bool   // insertOne may be used: the connection's settings are those of a save
	attend       string // says, for as long as the connection lasts, that somebody listens
	insertEvents statement
	insertGroup  statement
	storedIDs    string

	maxPosition, maxTracking     string
	maxVersion                   string
	recordSnapshot, readSnapshot string
	streams                      [2][2]string    // by whether hashes are read, and by descending
	logs                         [2][2][2]string // by whether hashes are read, by topics, and by story
}

// statement is a text, and the name by which connections have it prepared where the recorder
// sends it itself, see messages: no other text has it. They keep it as long as they last. The
// driver has names of its own.
type statement struct{ name, text string }

func newStatement(text string) statement {
	sum := sha256.Sum256([]byte(text))
	return statement{"annals_" + hex.EncodeToString(sum[:16]), text}
}

// The columns of an event, but for its position and its stream.
const columns = "version, event_id, topic, time, shape, encoding, state, correlation_id, causation_id, headers"

// lockText takes the lock under which positions are taken. It lasts to the end of
// the transaction, and is released after the transaction has become visible. The
// innermost query comes first: OFFSET 0 keeps its place. A commit that is not
// durable is not what a save promises, whatever the server's default.
const lockText = "SELECT pg_advisory_xact_lock({key}) FROM (SELECT set_config('lock_timeout', '{timeout}', true), " +
	"set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' " +
	"ELSE current_setting('synchronous_commit') END, true){plan} OFFSET 0) AS settings"

// planText spares the statements of a group from being planned each time: for the arrays of
// few events, the server takes a plan of their own to be better, and to make it is half the
// time of the save.
const planText = ", set_config('plan_cache_mode', 'force_generic_plan', true)"

// insertOneText stores one event, in a transaction that consists of nothing else: it
// takes the lock, and then a position. The statement's snapshot is older than the
// lock, so it may miss the event before this one, and then stores nothing: whoever
// gets no row asks again by insertEventsText. It may also miss the event that has this
// one's version. Then it fails, because no snapshot fools the unique index, and is asked
// again as well. ON CONFLICT DO NOTHING would say the same without an error, and costs
// every save a look into the index and a lock.
//
// How long it waits for the lock, the connection says. A commit that would not be durable
// is left to insertEventsText as well.
//
// A notification costs as much as the rest. It is left out while nobody listens: whoever
// does has the other lock, see attendText. If a save has it, and whoever begins to listen
// waits for the save, then the event is there when he looks.
const insertOneText = "INSERT INTO annals_events (stream_id, " + columns + ", hash) " +
	"SELECT $1::text, $2::bigint, $3::text, $4::text, $5::timestamptz, $6::integer, $7::text, $8::bytea, " +
	"$9::text, $10::text, $11::bytea, $12::bytea " +
	"FROM (SELECT pg_advisory_xact_lock({key}), " +
	"CASE WHEN pg_try_advisory_xact_lock({listeners}) THEN NULL ELSE pg_notify('{channel}', '')::text END OFFSET 0) AS lock " +
	"WHERE current_setting('synchronous_commit') <> 'off' " +
	"AND $2 = 1 + coalesce((SELECT version FROM annals_events WHERE stream_id = $1 AND version >= $2 - 1 " +
	"ORDER BY version DESC LIMIT 1), 0) " +
	"RETURNING position"

// attendText says that somebody listens, until the connection ends.
const attendText = "SELECT pg_advisory_lock_shared({listeners})"

// insertEventsText stores those of several requests that fit to what is stored. No
// two of them have a stream in common. It follows lockText in the
// same transaction, so that its snapshot is newer than the lock: what it sees is
// what is there.
//
// Parameters: 1-3 the number of the request, the stream and the version of the first
// event of each stream; 4-16 the events.
var insertEventsText = "WITH " + refusedText + ", " + strings.Replace(storedText, "{left_out}", "refused", 1) +
	" SELECT " + storedColumns + storedFrom

// insertGroupText is insertEventsText for requests of which some have a tracking: no two
// the same. Parameters: also 17-20 the trackings, the last of them the position to follow,
// or -1 for any.
var insertGroupText = "WITH " + refusedText + ", untracked AS MATERIALIZED (" +
	"SELECT t.request, coalesce(k.position, 0) AS position " +
	"FROM unnest($17::integer[], $18::text[], $19::bigint[], $20::bigint[]) AS t (request, name, position, after) " +
	"LEFT JOIN annals_tracking AS k ON k.name = t.name " +
	"WHERE k.position >= t.position OR t.after >= 0 AND t.after <> coalesce(k.position, 0)" +
	"), left_out AS MATERIALIZED (SELECT request FROM refused UNION SELECT request FROM untracked" +
	"), " + strings.Replace(storedText, "{left_out}", "left_out", 1) +
	", tracked AS (" +
	"INSERT INTO annals_tracking (name, position) " +
	"SELECT name, position FROM unnest($17::integer[], $18::text[], $19::bigint[]) AS t (request, name, position) " +
	"WHERE request NOT IN (SELECT request FROM left_out) " +
	"ON CONFLICT (name) DO UPDATE SET position = excluded.position" +
	") SELECT " + storedColumns + ", u.*" + storedFrom + ", (SELECT array_agg(request), array_agg(position) FROM untracked) AS u"

// The look-up of a stream's last version begins at the version that the event follows: from the
// end, the server would read the whole page of the index, some hundred versions of the stream. A
// stream that is behind that version is looked up again, to say where it is.
//
// Arrays are unnested in a target list: it yields rows to the end of the longest, with NULL
// behind the end of the others (since PostgreSQL 10), as FROM unnest(…, …) would. That fills a
// store of its own for each array first, a few percent of the time of a group.
const (
	refusedText = "refused AS MATERIALIZED (" +
		"SELECT h.request, h.stream_id, " +
		"coalesce(l.version, (SELECT max(e.version) FROM annals_events AS e WHERE e.stream_id = h.stream_id), 0) AS actual " +
		"FROM (SELECT unnest($1::integer[]) AS request, unnest($2::text[]) AS stream_id, unnest($3::bigint[]) AS version) AS h " +
		"LEFT JOIN LATERAL (SELECT e.version FROM annals_events AS e WHERE e.stream_id = h.stream_id " +
		"AND e.version >= h.version - 1 ORDER BY e.version DESC LIMIT 1) AS l ON true " +
		"WHERE coalesce(l.version, 0) <> h.version - 1)"
	storedText = "stored AS (" +
		"INSERT INTO annals_events (stream_id, " + columns + ", hash) " +
		"SELECT stream_id, " + columns + ", hash " +
		"FROM (SELECT generate_subscripts($4::integer[], 1) AS n, " +
		"unnest($4::integer[]) AS request, unnest($5::text[]) AS stream_id, unnest($6::bigint[]) AS version, " +
		"unnest($7::text[]) AS event_id, unnest($8::text[]) AS topic, unnest($9::timestamptz[]) AS time, " +
		"unnest($10::integer[]) AS shape, unnest($11::text[]) AS encoding, unnest($12::bytea[]) AS state, " +
		"unnest($13::text[]) AS correlation_id, unnest($14::text[]) AS causation_id, unnest($15::bytea[]) AS headers, " +
		"unnest($16::bytea[]) AS hash) AS e " +
		"WHERE request NOT IN (SELECT request FROM {left_out}) ORDER BY n RETURNING position)"
	storedColumns = "s.positions, r.*, CASE WHEN s.positions IS NOT NULL THEN pg_notify('{channel}', '')::text END"
	storedFrom    = " FROM (SELECT array_agg(position) AS positions FROM stored) AS s, " +
		"(SELECT array_agg(request), array_agg(stream_id), array_agg(actual) FROM refused) AS r"
)

// storedIDsText returns the positions of events, and their ids, by stream and version.
const storedIDsText = "SELECT e.position, e.event_id FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS w (stream_id, version, n) " +
	"JOIN annals_events AS e ON e.stream_id = w.stream_id AND e.version = w.version ORDER BY w.n"

const (
	ofStream = " FROM annals_events WHERE stream_id = $1 AND version > $2 AND version <= $3 ORDER BY version{order} LIMIT $4"
	ofLog    = " FROM annals_events WHERE position > $1 AND position <= $2{wanted} ORDER BY position LIMIT $3"
)

const recordSnapshotText = "INSERT INTO annals_snapshots AS s " +
	"(stream_id, version, topic, created_at, modified_at, shape, mark, encoding, state) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9) " +
	"ON CONFLICT (stream_id) DO UPDATE SET version = excluded.version, topic = excluded.topic, created_at = excluded.created_at, " +
	"modified_at = excluded.modified_at, shape = excluded.shape, mark = excluded.mark, encoding = excluded.encoding, " +
	"state = excluded.state WHERE excluded.version >= s.version"

func (r *Recorder) statements(schema string) *statements {
	key, listeners := lockKey(schema, r.cfg.prefix), lockKey(schema, r.cfg.prefix+"listeners ")
	channel := fmt.Sprintf("annals_%016x", uint64(key)) //nolint:gosec // the same bits
	// In one pass: nothing is replaced in what was put in.
	text := func(statement string, also ...string) string {
		return strings.NewReplacer(append(also, defaultPrefix, r.tables(schema),
			"{key}", strconv.FormatInt(key, 10), "{listeners}", strconv.FormatInt(listeners, 10), "{channel}", channel,
			"{timeout}", strconv.FormatInt(r.cfg.lockTimeout.Milliseconds(), 10))...).Replace(statement)
	}
	s := &statements{
		channel:        channel,
		lock:           newStatement(text(lockText, "{plan}", "")),
		lockGroup:      newStatement(text(lockText, "{plan}", planText)),
		attend:         text(attendText),
		lockJoined:     newStatement(text("SELECT pg_advisory_xact_lock({key})")),
		insertOne:      newStatement(text(insertOneText)),
		insertEvents:   newStatement(text(insertEventsText)),
		insertGroup:    newStatement(text(insertGroupText)),
		storedIDs:      text(storedIDsText),
		maxPosition:    text("SELECT max(position) FROM annals_events"),
		maxTracking:    text("SELECT position FROM annals_tracking WHERE name = $1"),
		maxVersion:     text("SELECT coalesce(max(version), 0) FROM annals_events WHERE stream_id = $1"),
		recordSnapshot: text(recordSnapshotText),
		readSnapshot: text("SELECT version, topic, created_at, modified_at, shape, mark, encoding, state " +
			"FROM annals_snapshots WHERE stream_id = $1"),
	}
	for hash, selected := range []string{columns, columns + ", hash"} {
		s.streams[hash] = [2]string{
			text("SELECT "+selected+ofStream, "{order}", ""),
			text("SELECT "+selected+ofStream, "{order}", " DESC"),
		}
		for topics, wanted := range []string{"", " AND topic = ANY ($4::text[])"} {
			story := fmt.Sprintf(" AND correlation_id = $%d", 4+topics)
			s.logs[hash][topics] = [2]string{
				text("SELECT position, stream_id, "+selected+ofLog, "{wanted}", wanted),
				text("SELECT position, stream_id, "+selected+ofLog, "{wanted}", wanted+story),
			}
		}
	}
	return s
}

// tables is what the names of the recorder's own tables begin with, in statements.
func (r *Recorder) tables(schema string) string {
	return pgx.Identifier{schema}.Sanitize() + "." + r.cfg.prefix
}
