// Package projection keeps read models up to date: views of the events of an
// application, made for a question. A [Projection] says by handlers what events do to
// a view; [Start] runs it. How far it is, is saved in the transaction of what its
// handlers write, so that each event has its effect exactly once, whatever is killed
// when, and however many processes run the projection.
//
//	counts := projection.Define[*sql.Tx]("trick_counts",
//		projection.On(func(ctx context.Context, tx *sql.Tx, e dogschool.TrickAdded, env annals.Event) error {
//			_, err := tx.ExecContext(ctx, `…`, e.Trick)
//			return err
//		}))
//	runner, err := projection.Start(ctx, school, counts, sqlite.View(db))
//
// A view is a database that the handlers write to: sqlite.View, postgres.View,
// memory.View. What is no database, a mail server say, is a [Consumer], whose handlers
// may be called again for an event after a crash, with the same [Delivery.Key]. A
// [Fold] answers from the log itself, and keeps no view.
package projection
