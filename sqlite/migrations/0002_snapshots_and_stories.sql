-- The latest snapshot of each stream: the state of its aggregate at a version.

CREATE TABLE annals_snapshots (
	stream_id   TEXT    NOT NULL PRIMARY KEY,
	version     INTEGER NOT NULL CHECK (version > 0),
	topic       TEXT    NOT NULL, -- the type of aggregate
	created_at  INTEGER NOT NULL, -- of the first event; microseconds since 1970-01-01 00:00 UTC
	modified_at INTEGER NOT NULL, -- of the event with the version
	shape       INTEGER NOT NULL, -- version of the shape of the state
	mark        TEXT    NOT NULL, -- tells apart what has the same shape
	encoding    TEXT    NOT NULL, -- as that of events
	state       BLOB    NOT NULL
) STRICT;

-- The events of a story. An event without a correlation id costs nothing here.
CREATE INDEX annals_events_correlation ON annals_events (correlation_id) WHERE correlation_id IS NOT NULL;
