package postgres

import "github.com/jackc/pgx/v5/pgxpool"

// PoolOf returns the pool of the recorder.
func PoolOf(r *Recorder) *pgxpool.Pool { return r.pool }

// Channel is that of the notifications.
func (r *Recorder) Channel() string { return r.sql.Load().channel }
