package application

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Source is what [Application.Save] takes: an aggregate, what [Log.Next] returns,
// [Do] or [Join].
type Source interface {
	// PendingEvents returns the events to save, in order.
	PendingEvents() []annals.Event
	// CollectEvents returns the same events and forgets them.
	CollectEvents() []annals.Event
}

// Save stores the pending events of the aggregates in one atomic step, and
// returns one recording per event, in order. The aggregates forget their pending
// events once they are stored. Saving nothing returns nothing. What the metadata
// of an event leave empty is taken from the context, see
// [annals.ContextWithMetadata].
//
// If it fails, the events stay pending, and nothing is stored, unless the error
// is [annals.ErrOutcomeUnknown]: then repeat the same save, which stores no event
// twice. On [annals.ErrVersionConflict] somebody else was first: load the
// aggregate again and decide again, see [Repository.Update]. An event that would
// not come back as it is gives [annals.ErrUnencodable], one of a type that the
// application has not been told of [annals.ErrUnknownTopic], see [NewRepository],
// an id that cannot be one [annals.ErrInvalidID], and one aggregate given twice
// [annals.ErrConfiguration].
//
// A repeated save is recognised by the ids of its events, see [annals.WithEventID]. It
// returns the positions of the stored events, and otherwise what it was given.
//
// In a system that runs in one goroutine, or with [Application.AfterSave], the error may be
// an [*AfterSaveError]: then the save is done, and what follows failed.
//
// It panics if an aggregate has got more pending events while it was saved, by
// another goroutine or in a [Do]: an aggregate is not for concurrent use. What it had
// before is stored then; load the aggregate again.
func (a *Application) Save(ctx context.Context, sources ...Source) (Recordings, error) {
	if err := a.begin(); err != nil {
		return nil, a.errorf("save", err)
	}
	defer a.saves.Done()
	var s save
	counts, err := a.prepare(ctx, &s, make([]int, 0, 2), sources) // both on the stack, for a source or two
	if err == nil && a.effectsOf(ctx) != nil {
		err = fmt.Errorf("a policy must not save by its own application: collect it, see Processing: %w", annals.ErrConfiguration)
	}
	if err == nil && s.join == nil && ctx.Value(doing{}) == a {
		err = fmt.Errorf("a Do must not save by its application: the save that it is part of waits for it; use the transaction: %w",
			annals.ErrConfiguration)
	}
	if err == nil && (len(s.recordings) > 0 || s.batch.Do != nil) {
		err = a.record(ctx, &s)
	}
	if err != nil {
		return nil, a.errorf("save", err)
	}
	for i, source := range sources {
		if n := len(source.PendingEvents()); n > counts[i] {
			panic(fmt.Sprintf("application %s: save: source %d has %d pending events, and %d of them were saved: "+
				"an aggregate must not change while it is saved", a.name, i+1, n, counts[i]))
		}
		source.CollectEvents()
	}
	return s.recordings, a.saved(ctx, &s)
}

// save is what one call of Save stores.
type save struct {
	batch      persistence.Batch
	recordings Recordings
	join       *join // nil: a transaction of its own
}

// prepare encodes the pending events into an empty save, and takes the other sources apart. It
// appends to counts how many events each source has. The memory of both is the caller's, and
// is of no use after an error.
func (a *Application) prepare(ctx context.Context, s *save, counts []int, sources []Source) ([]int, error) {
	for i, source := range sources {
		if v := reflect.ValueOf(source); source == nil || v.Kind() == reflect.Pointer && v.IsNil() {
			return nil, fmt.Errorf("aggregate %d is nil: %w", i+1, annals.ErrConfiguration)
		}
		switch step := source.(type) {
		case do:
			s.addDo(step.f)
		case join:
			if s.join != nil {
				return nil, fmt.Errorf("Join is there twice: %w", annals.ErrConfiguration)
			}
			s.join = &step
		}
		pending := source.PendingEvents()
		counts = append(counts, len(pending))
		s.batch.Events, s.recordings = slices.Grow(s.batch.Events, len(pending)), slices.Grow(s.recordings, len(pending))
		for i := range pending {
			s.recordings = append(s.recordings, Notification{Event: pending[i].WithContext(ctx)})
			stored, err := a.mapper.Encode(ctx, &s.recordings[len(s.recordings)-1].Event)
			if err != nil {
				return nil, err
			}
			s.batch.Events = append(s.batch.Events, stored)
		}
	}
	if all := s.batch.Do; all != nil {
		s.batch.Do = func(ctx context.Context, tx any) error { return all(context.WithValue(ctx, doing{}, a), tx) }
	}
	return counts, checkSources(sources, &s.batch)
}

// checkSources finds what is no conflict with what is stored, but one within the
// save: the same aggregate given twice, or two that were loaded of one stream.
func checkSources(sources []Source, b *persistence.Batch) error {
	if len(sources) < 2 {
		return nil
	}
	last := make(map[string]int64)
	for i := range b.Events {
		e := &b.Events[i]
		if version, ok := last[e.StreamID]; ok && e.Version != version+1 {
			return fmt.Errorf("stream %q is there twice, with versions that do not follow each other; pass each aggregate once: %w",
				e.StreamID, annals.ErrConfiguration)
		}
		last[e.StreamID] = e.Version
	}
	return b.Check()
}

// record stores the save, and starts what follows a save.
func (a *Application) record(ctx context.Context, s *save) error {
	positions, err := a.store(ctx, s)
	if err != nil {
		return err
	}
	for i := range s.recordings {
		s.recordings[i].Position = positions[i]
	}
	a.snapshots.saved(s.batch.Events, s.join != nil) // what is joined is not certain before the caller commits
	return nil
}

func (a *Application) store(ctx context.Context, s *save) ([]int64, error) {
	if s.join == nil {
		if a.chain != nil {
			return a.chain.Record(ctx, s.batch)
		}
		return a.recorder.Record(ctx, s.batch)
	}
	recorder, ok := a.recorder.(persistence.TxRecorder)
	if !ok {
		return nil, fmt.Errorf("application: Join: a %T cannot save in a transaction of the caller: %w", a.recorder, annals.ErrUnsupported)
	}
	if a.chain != nil {
		return a.chain.RecordTx(ctx, s.join.tx, s.batch)
	}
	return recorder.RecordTx(ctx, s.join.tx, s.batch)
}

// InDo reports whether the context is that of a [Do], in whatever application: the save
// that it is part of is not done, and waits for it.
func InDo(ctx context.Context) bool { return ctx.Value(doing{}) != nil }

// doing is the key of the application whose save the context's Do is part of.
type doing struct{}

// noEvents is a source that has no events, but a say in how the others are stored: see prepare.
type noEvents struct{}

func (noEvents) PendingEvents() []annals.Event { return nil }
func (noEvents) CollectEvents() []annals.Event { return nil }

// Do adds the caller's own statements to a save: one commit, one rollback. The
// function is called with the recorder's transaction, a *sql.Tx for SQL
// databases, after the events are written; its error undoes the save, whose error
// wraps it. It is not called for a save that is recognised as stored already. A
// save without events is not recognised: if its outcome is unknown, and it is
// repeated, the function may have its effect twice.
//
//	_, err := school.Save(ctx, dog, application.Do(func(ctx context.Context, tx *sql.Tx) error {
//		_, err := tx.ExecContext(ctx, `UPDATE kennel SET dogs = dogs + 1`)
//		return err
//	}))
//
// While it runs, the recorder waits for it: it must not save by the application, which
// gives [annals.ErrConfiguration] if it uses the context that it was given. Reads do
// not see what the save writes.
//
// The save gives [annals.ErrUnsupported] on a recorder with other transactions,
// or with none; a function whose Tx is any is called there, with nil. Several are
// called in order.
func Do[Tx any](f func(ctx context.Context, tx Tx) error) Source {
	return do{f: func(ctx context.Context, tx any) error {
		t, ok := tx.(Tx)
		switch want := reflect.TypeFor[Tx](); {
		case tx == nil && want != reflect.TypeFor[any]():
			return fmt.Errorf("application: Do wants a transaction of type %v, and the recorder has none: %w", want, annals.ErrUnsupported)
		case tx != nil && !ok:
			return fmt.Errorf("application: Do wants a transaction of type %v, and that of the recorder is a %T: %w",
				want, tx, annals.ErrUnsupported)
		}
		return f(ctx, t)
	}}
}

type do struct {
	noEvents

	f func(ctx context.Context, tx any) error
}

// addDo adds statements behind those that are there.
func (s *save) addDo(f func(ctx context.Context, tx any) error) {
	before := s.batch.Do
	switch {
	case f == nil:
	case before == nil:
		s.batch.Do = f
	default:
		s.batch.Do = func(ctx context.Context, tx any) error {
			if err := before(ctx, tx); err != nil {
				return err
			}
			return f(ctx, tx)
		}
	}
}

// Join makes a save part of the caller's own transaction, a *sql.Tx for SQL
// databases: what it stores becomes visible when the caller commits.
//
//	_, err := school.Save(ctx, dog, application.Join(tx))
//
// Before that nobody sees it, [Repository.Get] neither. If the caller rolls back,
// nothing is stored, and the aggregates have to be thrown away: they have forgotten
// their events. A version conflict leaves the transaction usable.
//
// A snapshot that such a save asks for is taken when the aggregate is loaded or
// saved the next time after the commit. The save gives [annals.ErrUnsupported] on a
// recorder that cannot do it.
func Join(tx any) Source { return join{tx: tx} }

type join struct {
	noEvents

	tx any
}

// events is a source of events without an aggregate.
type events []annals.Event

func (e *events) PendingEvents() []annals.Event { return *e }

func (e *events) CollectEvents() []annals.Event {
	collected := *e
	*e = nil
	return collected
}
