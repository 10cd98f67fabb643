package persistence

import "context"

// View is a database that read models are written to. Tx is what its handlers write
// by: *sql.Tx, say.
type View[Tx any] interface {
	// Update calls f in a transaction: it is committed if f returns nil, and undone
	// otherwise, also if f panics. The [Ledger] is in the same transaction.
	//
	//   - It must have done all of what f did, or nothing.
	//   - It must return the error of f so that errors.Is and errors.As find it.
	//   - Its error must be, as errors.Is sees it, [ErrUnavailable] if there is no
	//     connection or it was lost, [ErrBusy] if it waited too long for others, and
	//     [annals.ErrOutcomeUnknown] if it cannot tell whether it was committed,
	//     whatever f returned.
	//   - It must create the tables of the ledger if they are not there.
	//   - It must be safe for concurrent use, also by other processes.
	Update(ctx context.Context, f func(ctx context.Context, tx Tx, l Ledger) error) error
}

// Ledger is a small table of texts by keys, in the database of a view or of a recorder.
// In it projections note how far they are, in the transaction of what they have
// written. A ledger must not be used after the function that it was given to.
type Ledger interface {
	// Get returns the value of a key; ok is false if there is none.
	Get(ctx context.Context, key string) (value string, ok bool, err error)

	// List returns the entries whose keys begin with a prefix, in ascending order of
	// the bytes of the keys; at most limit, if that is greater than 0.
	List(ctx context.Context, prefix string, limit int) ([]LedgerEntry, error)

	// Swap puts a value in the place of another one. An empty old value says that
	// there is none; an empty new one removes the key.
	//
	//   - It must report false, and change nothing, if the value is another.
	//   - It must wait for other transactions that swapped the key and have not ended;
	//     when it has reported true, others wait for this one.
	Swap(ctx context.Context, key, old, value string) (bool, error)
}

// LedgerEntry is a row of a [Ledger].
type LedgerEntry struct{ Key, Value string }
