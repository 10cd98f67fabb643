package application

import (
	"context"
	"fmt"
	"iter"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Policy is implemented by process applications: it decides what an event of another
// application leads to.
//
// It loads aggregates of its own application, by the context that it is given, lets them
// decide, and collects them. What it collects is saved in one atomic step with the fact
// that the event was processed: each event has its effect exactly once. If that fails,
// because somebody else saved one of the aggregates, say, the policy is called again: it
// must have no other effect that cannot be had twice.
//
// The event may be shared with others, and must not be changed.
type Policy interface {
	Policy(ctx context.Context, n Notification, p *Processing) error
}

// Processing is given to a policy, for one event. It is for the goroutine of the policy,
// while that runs.
type Processing struct{ sources []Source }

// Collect adds aggregates to what is saved for the event, in this order, and other
// sources: what [Log.Next] returns, or [Do]. What an aggregate has pending is taken when
// the policy returns, so that it may be collected before it decides.
func (p *Processing) Collect(sources ...Source) { p.sources = append(p.sources, sources...) }

// Effects are what a policy does for one or several events of another application: all of
// it is saved in one step. It is what a runner of policies works with; see package system.
// It is for one goroutine at a time.
type Effects struct {
	app     *Application
	save    save
	streams map[string][]int // where in the batch the events of a stream are
}

// NewEffects returns effects of which there are none yet.
func (a *Application) NewEffects() *Effects {
	return &Effects{app: a, streams: make(map[string][]int)}
}

// Handle calls the policy for an event, with a context that says what caused what it does,
// and in which repositories and logs of the application see what was collected for the
// events before. It returns the error of the policy, and then collects nothing.
func (e *Effects) Handle(ctx context.Context, n Notification, policy Policy) error {
	ctx = context.WithValue(annals.CausedBy(ctx, n.Event), effectsKey{}, e)
	p := new(Processing)
	if err := policy.Policy(ctx, n, p); err != nil || len(p.sources) == 0 {
		return err
	}
	var s save
	if _, err := e.app.prepare(ctx, &s, nil, p.sources); err != nil {
		return err
	}
	if s.join != nil {
		return fmt.Errorf("a policy cannot Join a transaction: what it collects is saved in its runner's: %w", annals.ErrConfiguration)
	}
	for i := range s.batch.Events {
		stored := &s.batch.Events[i]
		if at := e.streams[stored.StreamID]; len(at) > 0 {
			if last := e.save.batch.Events[at[len(at)-1]].Version; last != stored.Version-1 {
				return &annals.VersionConflictError{StreamID: stored.StreamID, Expected: stored.Version - 1, Actual: last}
			}
		}
	}
	for _, source := range p.sources {
		source.CollectEvents()
	}
	for i := range s.batch.Events {
		id := s.batch.Events[i].StreamID
		e.streams[id] = append(e.streams[id], len(e.save.batch.Events)+i)
	}
	e.save.batch.Events = append(e.save.batch.Events, s.batch.Events...)
	e.save.recordings = append(e.save.recordings, s.recordings...)
	e.save.addDo(s.batch.Do)
	return nil
}

// Save stores what was collected in one atomic step, with the parts of a batch that are
// the runner's: the tracking and the entries of the ledger. It returns the errors of
// [persistence.StreamRecorder], or an [*AfterSaveError], which is not wrapped: then all is
// stored. Nothing can be done with the effects afterwards.
func (e *Effects) Save(ctx context.Context, runners persistence.Batch) (Recordings, error) {
	a := e.app
	if err := a.begin(); err != nil {
		return nil, a.errorf("process", err)
	}
	defer a.saves.Done()
	b := &e.save.batch
	b.Tracking, b.Ledger = runners.Tracking, runners.Ledger
	if len(b.Events) == 0 && b.Tracking == nil && b.Ledger == nil && b.Do == nil {
		return nil, nil
	}
	if err := a.record(ctx, &e.save); err != nil {
		return nil, a.errorf("process", err)
	}
	return e.save.recordings, a.saved(ctx, &e.save)
}

// effectsKey is the key of the effects that a context's policy is called for.
type effectsKey struct{}

// withoutEffects returns a context that sees what is stored, and nothing else.
func withoutEffects(ctx context.Context) context.Context {
	return context.WithValue(ctx, effectsKey{}, (*Effects)(nil))
}

// effectsOf returns the effects of the application that the context is of; nil if it is
// of none.
func (a *Application) effectsOf(ctx context.Context) *Effects {
	if e, ok := ctx.Value(effectsKey{}).(*Effects); ok && e != nil && e.app == a {
		return e
	}
	return nil
}

// collected returns the events of a stream that were collected before in the same step.
func (a *Application) collected(ctx context.Context, id string) []persistence.StoredEvent {
	e := a.effectsOf(ctx)
	if e == nil || len(e.streams[id]) == 0 {
		return nil
	}
	all := make([]persistence.StoredEvent, len(e.streams[id]))
	for i, at := range e.streams[id] {
		all[i] = e.save.batch.Events[at]
	}
	return all
}

// readStream yields the events of a stream: those that are stored, and behind them those
// that were collected before in the same step.
func (a *Application) readStream(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	behind := a.collected(ctx, id)
	if len(behind) == 0 {
		return a.recorder.ReadStream(ctx, id, q)
	}
	first := behind[0].Version // what others stored since then is a conflict, to be found by the save
	stored := q
	if stored.UpTo <= 0 || stored.UpTo >= first {
		stored.UpTo = first - 1
	}
	return func(yield func(persistence.StoredEvent, error) bool) {
		left := q.Limit
		some := func(s persistence.StoredEvent, err error) bool {
			left--
			return yield(s, err) && err == nil && left != 0
		}
		if q.Descending && !each(behind, q, some) {
			return
		}
		if stored.UpTo > 0 { // 0 would be no bound
			stored.Limit = max(left, 0)
			for s, err := range a.recorder.ReadStream(ctx, id, stored) {
				if !some(s, err) {
					return
				}
			}
		}
		if !q.Descending {
			each(behind, q, some)
		}
	}
}

// each yields those of the events that a query selects, but for its limit, and reports
// whether it is to go on.
func each(events []persistence.StoredEvent, q persistence.StreamQuery, yield func(persistence.StoredEvent, error) bool) bool {
	for i := range events {
		if q.Descending {
			i = len(events) - 1 - i
		}
		if v := events[i].Version; v > q.After && (q.UpTo <= 0 || v <= q.UpTo) && !yield(events[i], nil) {
			return false
		}
	}
	return true
}
