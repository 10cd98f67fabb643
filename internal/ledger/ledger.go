// Package ledger is the ledger of a view in a transaction of an SQL database: what
// SQLite and PostgreSQL say in the same words.
package ledger

import (
	"context"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/annals-es/annals/persistence"
)

// Tx is a transaction. Parameters are written $1, $2, in the order of the arguments.
type Tx interface {
	// Exec returns how many rows a statement changed.
	Exec(ctx context.Context, statement string, args ...any) (changed int64, err error)
	// Entries returns the rows of a query, all of them.
	Entries(ctx context.Context, query string, args ...any) ([]persistence.LedgerEntry, error)
}

// Errors returns a transaction whose errors are what f makes of them.
func Errors(tx Tx, f func(ctx context.Context, err error) error) Tx { return errorsTx{tx, f} }

type errorsTx struct {
	tx Tx
	f  func(ctx context.Context, err error) error
}

func (t errorsTx) Exec(ctx context.Context, statement string, args ...any) (int64, error) {
	changed, err := t.tx.Exec(ctx, statement, args...)
	return changed, t.f(ctx, err)
}

func (t errorsTx) Entries(ctx context.Context, query string, args ...any) ([]persistence.LedgerEntry, error) {
	entries, err := t.tx.Entries(ctx, query, args...)
	return entries, t.f(ctx, err)
}

// Ledger is a table with the columns key, which is compared by its bytes, and value.
type Ledger struct {
	tx    Tx
	table string
}

var _ persistence.Ledger = (*Ledger)(nil)

// New returns the ledger in the table, whose name is written as SQL.
func New(tx Tx, table string) *Ledger { return &Ledger{tx, table} }

// Get returns the value of a key.
func (l *Ledger) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	entries, err := l.tx.Entries(ctx, "SELECT key, value FROM "+l.table+" WHERE key = $1", key)
	if err != nil || len(entries) == 0 {
		return "", false, err
	}
	return entries[0].Value, true, nil
}

// List returns entries in the order of their keys.
func (l *Ledger) List(ctx context.Context, prefix string, limit int) ([]persistence.LedgerEntry, error) {
	query, args := "SELECT key, value FROM "+l.table+" WHERE key >= $1", []any{prefix}
	if upper := after(prefix); upper != "" {
		query, args = query+" AND key < $2", append(args, upper)
	}
	most := int64(math.MaxInt64)
	if limit > 0 {
		most = int64(limit)
	}
	args = append(args, most)
	return l.tx.Entries(ctx, fmt.Sprintf("%s ORDER BY key LIMIT $%d", query, len(args)), args...)
}

// after returns the first text after all that begin with the prefix, or "" if there
// is none. The bytes of UTF-8 are in the order of the code points.
func after(prefix string) string {
	for prefix != "" {
		last, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch {
		case last == utf8.MaxRune:
			continue
		case utf8.ValidRune(last + 1):
			return prefix + string(last+1)
		default:
			return prefix + "\ue000" // behind the surrogates
		}
	}
	return ""
}

// Swap puts a value in the place of another one. It waits where a statement finds
// what another transaction has written. None holds an empty value for longer than
// Swap takes.
func (l *Ledger) Swap(ctx context.Context, key, old, value string) (bool, error) {
	if old == "" {
		ok, err := l.exec(ctx, "INSERT INTO "+l.table+" (key, value) VALUES ($1, $2) ON CONFLICT DO NOTHING", key, value)
		if !ok || err != nil || value != "" {
			return ok, err
		}
	}
	if value == "" {
		return l.exec(ctx, "DELETE FROM "+l.table+" WHERE key = $1 AND value = $2", key, old)
	}
	return l.exec(ctx, "UPDATE "+l.table+" SET value = $1 WHERE key = $2 AND value = $3", value, key, old)
}

// exec reports whether a statement changed a row.
func (l *Ledger) exec(ctx context.Context, statement string, args ...any) (bool, error) {
	changed, err := l.tx.Exec(ctx, statement, args...)
	return changed > 0, err
}
