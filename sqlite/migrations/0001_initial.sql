-- The tables of one application. The prefix annals_ is replaced by the one that
-- the recorder was given.

CREATE TABLE annals_schema (
	version INTEGER NOT NULL -- of these tables: the number of the last migration
) STRICT;

CREATE TABLE annals_events (
	position       INTEGER PRIMARY KEY, -- in commit order: there is one writer at a time, and events are never deleted
	stream_id      TEXT    NOT NULL,
	version        INTEGER NOT NULL CHECK (version > 0),
	event_id       TEXT    NOT NULL,
	topic          TEXT    NOT NULL,
	time           INTEGER NOT NULL,    -- microseconds since 1970-01-01 00:00 UTC
	shape          INTEGER NOT NULL,    -- version of the shape of the event's data
	encoding       TEXT    NOT NULL,    -- version of the stored format, and what state went through: 1:json, 1:json+zstd
	state          BLOB    NOT NULL,
	correlation_id TEXT,
	causation_id   TEXT,
	headers        BLOB,                -- a JSON object of strings
	tags           TEXT,                -- room for consistency boundaries across streams: a JSON array of strings
	hash           BLOB,                -- room for a hash chain over what is stored
	UNIQUE (stream_id, version)
) STRICT;

CREATE TABLE annals_tracking (
	name     TEXT    NOT NULL PRIMARY KEY,
	position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
