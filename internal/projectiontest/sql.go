package projectiontest

import (
	"context"
	"database/sql"
	"errors"

	"github.com/annals-es/annals/persistence"
)

// CreateBalances makes the table of a view on an SQL database.
const CreateBalances = "CREATE TABLE IF NOT EXISTS balances (id text PRIMARY KEY, version bigint NOT NULL, balance bigint NOT NULL)"

// Statements runs statements by a transaction. Parameters are written $1, $2.
type Statements[Tx any] struct {
	// Exec runs a statement.
	Exec func(ctx context.Context, tx Tx, statement string, args ...any) error
	// Query scans each row of a query into dest, and then calls row.
	Query func(ctx context.Context, tx Tx, query string, args, dest []any, row func()) error
}

// WithStatements returns the backend with its view in the table that [CreateBalances] makes.
func WithStatements[Tx any](b Backend[Tx], s Statements[Tx]) Backend[Tx] {
	b.Get = func(ctx context.Context, tx Tx, id string) (r Row, err error) {
		const query = "SELECT version, balance FROM balances WHERE id = $1"
		err = s.Query(ctx, tx, query, []any{id}, []any{&r.Version, &r.Balance}, func() {})
		return r, err
	}
	b.Put = func(ctx context.Context, tx Tx, id string, r Row) error {
		return s.Exec(ctx, tx, "INSERT INTO balances (id, version, balance) VALUES ($1, $2, $3) "+
			"ON CONFLICT (id) DO UPDATE SET version = excluded.version, balance = excluded.balance", id, r.Version, r.Balance)
	}
	b.Rows = func(ctx context.Context, v persistence.View[Tx]) (all map[string]Row, err error) {
		err = v.Update(ctx, func(ctx context.Context, tx Tx, _ persistence.Ledger) error {
			all = make(map[string]Row)
			var id string
			var r Row
			const query = "SELECT id, version, balance FROM balances"
			return s.Query(ctx, tx, query, nil, []any{&id, &r.Version, &r.Balance}, func() { all[id] = r })
		})
		return all, err
	}
	return b
}

// SQL are the statements of database/sql.
var SQL = Statements[*sql.Tx]{
	Exec: func(ctx context.Context, tx *sql.Tx, statement string, args ...any) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	},
	Query: func(ctx context.Context, tx *sql.Tx, query string, args, dest []any, row func()) (err error) {
		rows, err := tx.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		for rows.Next() {
			if err := rows.Scan(dest...); err != nil {
				return err
			}
			row()
		}
		return rows.Err()
	},
}
