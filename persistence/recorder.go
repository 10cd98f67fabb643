package persistence

import (
	"context"
	"iter"
)

// Batch is what one call of Record stores, in one atomic step: the events of any
// number of streams, a tracking, entries of the ledger, and the caller's own
// statements. Each part may be missing.
type Batch struct {
	// Events are stored in this order. Those of one stream must have
	// consecutive versions; the version before the first of them is the version
	// that the stream is expected to have.
	Events []StoredEvent

	// Tracking is stored with the events; nil if there is none.
	Tracking *Tracking

	// Ledger, if not nil, is called in the atomic step, once events and tracking are
	// written and before Do, with the ledger that the recorder keeps beside them. All
	// that holds for Do holds for it. A recorder may have no ledger: it returns
	// [annals.ErrUnsupported], and stores nothing.
	Ledger func(ctx context.Context, l Ledger) error

	// Do, if not nil, is called in the atomic step, once the rest is written,
	// with the recorder's own transaction: *sql.Tx for SQL databases. It must
	// not end the transaction nor use the recorder. Its error undoes the whole
	// batch, and is returned as it is. A recorder without transactions passes
	// nil. It is not called for a batch that is recognised as stored already.
	Do func(ctx context.Context, tx any) error

	// Fresh, if not nil, is set to true if this call stored the batch. It is left
	// alone for a batch that is recognised as stored already, whose bytes may be
	// others than those that are stored, and after an error.
	Fresh *bool
}

// OpenLedger makes Ledger a part of Do, for a recorder that opens its ledger in the
// transaction that it passes to Do.
func (b *Batch) OpenLedger(open func(ctx context.Context, tx any) (Ledger, error)) {
	f, do := b.Ledger, b.Do
	if f == nil {
		return
	}
	b.Ledger = nil
	b.Do = func(ctx context.Context, tx any) error {
		l, err := open(ctx, tx)
		if err == nil {
			err = f(ctx, l)
		}
		if err == nil && do != nil {
			err = do(ctx, tx)
		}
		return err
	}
}

// StreamRecorder writes events and reads those of one stream.
type StreamRecorder interface {
	// Record stores a batch in one atomic step and returns the position of each
	// event, in order.
	//
	//   - It must store all of the batch or nothing, also when the context is
	//     cancelled or the process killed.
	//   - It must give each event a position greater than that of every event
	//     committed before. The events of a batch are not interleaved with others.
	//   - It must return an [*annals.VersionConflictError], and store nothing,
	//     unless each stream is at the version before the first of its events.
	//   - It must recognise a batch that is stored already: its events by their
	//     ids, and its tracking. It then returns their positions, stores nothing,
	//     and does not call Do.
	//   - It must set Fresh for a batch that it stored, and for no other.
	//   - It must return an [*annals.TrackingConflictError], and store nothing,
	//     unless the tracking follows the position stored, see [Tracking.Follows].
	//   - It must return the error of [Batch.Check], and store nothing, if the
	//     batch is not valid.
	//   - If it returns the context's error, it must have stored nothing.
	//   - If it cannot tell whether it stored the batch, its error must be
	//     [annals.ErrOutcomeUnknown].
	//   - It must be safe for concurrent use, also by other processes.
	Record(ctx context.Context, b Batch) (positions []int64, err error)

	// ReadStream yields events of a stream. An unknown stream yields none.
	//
	//   - It must not hold a transaction or a lock while it yields.
	//   - What it yields, bytes included, must belong to the reader.
	//   - An error must be the last that it yields.
	//   - It must end with the context's error when the context is done.
	ReadStream(ctx context.Context, streamID string, q StreamQuery) iter.Seq2[StoredEvent, error]
}

// LogRecorder reads the log: the events of all streams in commit order.
type LogRecorder interface {
	// ReadLog yields the notifications that are there now, in ascending order.
	// The rules of ReadStream hold. The filter must run in the database.
	ReadLog(ctx context.Context, q LogQuery) iter.Seq2[Notification, error]

	// MaxPosition returns the greatest position; ok is false if the log is empty.
	MaxPosition(ctx context.Context) (position int64, ok bool, err error)

	// Wait returns when the log has a position greater than after: at once if it
	// has one already. It may return sooner, for no reason. It must not depend
	// on a wake-up that can be lost: a bounded poll stands behind every push.
	// Events saved by other processes must end it as well. It must return the
	// context's error when the context is done.
	Wait(ctx context.Context, after int64) error
}

// TrackingRecorder reads trackings. They are written by Record.
type TrackingRecorder interface {
	// MaxTracking returns the tracked position; ok is false if there is none.
	MaxTracking(ctx context.Context, name string) (position int64, ok bool, err error)
}

// Recorder is what an application needs of a database. A closed recorder returns
// [annals.ErrClosed] from every method.
type Recorder interface {
	StreamRecorder
	LogRecorder
	TrackingRecorder
}

// SnapshotRecorder is a recorder that keeps snapshots: the latest of each stream.
// Optional: an application that wants snapshots needs it.
type SnapshotRecorder interface {
	// RecordSnapshot stores a snapshot in the place of the one that the stream has.
	//
	//   - It must keep the one that is there, and return nil, if that has a
	//     greater version.
	//   - It must return the error of [StoredSnapshot.Check], and store nothing, if
	//     the snapshot is not valid.
	//   - It must be safe for concurrent use, also by other processes.
	RecordSnapshot(ctx context.Context, s StoredSnapshot) error

	// ReadSnapshot returns the snapshot of a stream; ok is false if it has none.
	// What it returns, bytes included, must belong to the reader.
	ReadSnapshot(ctx context.Context, streamID string) (s StoredSnapshot, ok bool, err error)
}

// TxRecorder is a recorder that can save in a transaction of the caller, and read
// what was saved in it. Optional.
type TxRecorder interface {
	// RecordTx stores a batch as [StreamRecorder.Record] does, in the caller's own
	// transaction: what it stores becomes visible when the caller commits, and is
	// gone if the caller rolls back. The transaction is a *sql.Tx for SQL
	// databases; it must be of the recorder's database.
	//
	//   - It must keep the promises of Record about versions, repeats, tracking
	//     and positions, whatever others save meanwhile, by Record or by RecordTx.
	//   - If it returns an error for what the batch is (a conflict, say, or the
	//     error of Do), it must have changed nothing, and the caller's transaction
	//     must be usable as before.
	//   - It must leave Batch.Fresh alone: the caller may still roll back.
	//   - It must return [annals.ErrUnsupported] for a transaction of another kind.
	RecordTx(ctx context.Context, tx any, b Batch) (positions []int64, err error)

	// ReadStreamTx yields events of a stream as the caller's transaction sees it:
	// also those that RecordTx stored in it. The rules of ReadStream hold, but that
	// it reads in the transaction of the caller, and uses no other connection.
	ReadStreamTx(ctx context.Context, tx any, streamID string, q StreamQuery) iter.Seq2[StoredEvent, error]
}

// StreamQuery selects events of a stream. Its zero value selects all, ascending.
type StreamQuery struct {
	// After excludes the versions up to this one. Defaults to 0: from the first. In
	// a query, a number below 0 is as 0.
	After int64
	// UpTo is the last version. Defaults to 0: no bound.
	UpTo int64
	// Descending yields the last event first. Defaults to false.
	Descending bool
	// Limit is the greatest number of events. Defaults to 0: no limit.
	Limit int
	// Hash reads the hashes of the events as well. Defaults to false: they are nil.
	Hash bool
}

// LogQuery selects notifications. Its zero value selects all.
type LogQuery struct {
	// After excludes the positions up to this one. Defaults to 0: from the first. In
	// a query, a number below 0 is as 0.
	After int64
	// UpTo is the last position. Defaults to 0: no bound.
	UpTo int64
	// Topics are the stored names wanted. Defaults to none: all.
	Topics []string
	// CorrelationID selects the events of one story. Defaults to "": all.
	CorrelationID string
	// Limit is the greatest number of notifications; it counts what is yielded,
	// not what is filtered out. Defaults to 0: no limit.
	Limit int
	// Hash reads the hashes of the events as well. Defaults to false: they are nil.
	Hash bool
}
