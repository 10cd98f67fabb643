package postgres

import "github.com/jackc/pgx/v5/pgxpool"

// PoolOf returns the pool of the recorder.
func PoolOf(r *Recorder) *pgxpool.Pool { return r.pool }

// ChannelOf returns the channel of a recorder's notifications.
func ChannelOf(r *Recorder) string { return r.sql.Load().channel }

// Take is how the writer takes a group out of its queue.
var Take = take

// AppendColumn is how a column of events is sent.
var AppendColumn = appendColumn
