package recordertest

import (
	"context"

	"github.com/annals-es/annals/persistence"
)

// Bare is the plain driver of a database, without Annals: the baseline of the
// benchmarks. It is opened on a store of its own, with the same tables and
// indexes, the same settings and the same durability as the recorder, and it
// does what a program with nothing but the driver would do, well: with prepared
// statements, and on connections that stay open.
type Bare interface {
	// Save stores one event in a transaction of its own, and returns when it is
	// as durable as the recorder makes it. One goroutine calls it.
	Save(ctx context.Context, e *persistence.StoredEvent) error

	// Fill stores many events, in order, as fast as it can. It is not measured.
	Fill(ctx context.Context, events []persistence.StoredEvent) error

	// Load selects the state column, and no other, of the events of a stream, in
	// the order of versions, and calls row for each. Row does not keep state.
	Load(ctx context.Context, streamID string, row func(state []byte) error) error

	// Scan selects every column of every event, in the order of positions, and
	// scans each row into plain variables of the driver's own types. It returns
	// the number of rows.
	Scan(ctx context.Context) (rows int, err error)

	// Close closes it.
	Close() error
}
