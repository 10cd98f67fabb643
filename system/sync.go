package system

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/projection"
)

// RunSync opens the applications and runs the system in the goroutines of those who save:
// when Save of one of its applications returns, all effects are there, in all applications.
// The pipes are gone through in the order in which they were defined, again and again until
// nothing is left. What was not processed when the system was run before is processed first.
//
// When a policy fails, the save that it follows has succeeded, and its error is an
// [*application.AfterSaveError] whose Err is an [*Error]. Nothing of the event's effects is
// there, nor of later events of this pipe; other pipes go on. It is tried again with the next
// save of an application of the system, or by [Runner.Wait].
//
// One save is followed at a time: others wait for it. A policy that saves by another
// application of the system has to pass its context on. Effects come with the next save of
// the same application, or with Wait, where nobody can wait for them: of a save that joins a
// transaction ([application.Join]); of one within a function of another save
// ([application.Do]), unless that other is of this system and succeeds; and of saves by
// others: another process, or another runner.
//
// It returns the errors of opening the applications, and of what was not processed before.
func RunSync(ctx context.Context, s *System, opts ...Option) (*Runner, error) {
	r, err := open(ctx, s, opts)
	if err != nil {
		return nil, err
	}
	return r.begin(ctx, &inTurn{r: r, turn: make(chan struct{}, 1)})
}

// inTurn is the mode of RunSync.
type inTurn struct {
	r    *Runner
	turn chan struct{} // whoever holds it calls the policies

	mu    sync.Mutex
	dirty map[*follower]bool                 // those whose upstream may have more for them
	heads map[*application.Application]int64 // the last positions that were saved here
}

// following is the key of the runner whose policies are being called.
type following struct{}

func (t *inTurn) start(ctx context.Context) error {
	once := projection.WithFailures(1, 0, 0, projection.Stop)
	t.dirty, t.heads = make(map[*follower]bool), make(map[*application.Application]int64)
	for _, f := range t.r.followers {
		var err error
		if f.inline, err = projection.NewInline(ctx, f.up, f.proj, f.view, f.options(t.r, once)...); err != nil {
			return f.errorf(err)
		}
		t.dirty[f] = true
	}
	for _, a := range t.r.opened {
		t.r.after(application.Of(a), func(ctx context.Context, saved application.Saved) error {
			t.saved(application.Of(a), saved.Position())
			if ctx.Value(following{}) == t || application.InDo(ctx) {
				return nil // whoever waits for this goes on with it
			}
			return t.follow(ctx)
		})
	}
	return t.follow(ctx)
}

// saved notes that an application has more for those that follow it, up to a position.
func (t *inTurn) saved(a *application.Application, position int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heads[a] = max(t.heads[a], position)
	for _, f := range t.r.followers {
		if f.up == a {
			t.dirty[f] = true
		}
	}
}

// take reports whether there may be more for a follower, and notes that it is looked for.
func (t *inTurn) take(f *follower) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	dirty := t.dirty[f]
	t.dirty[f] = false
	return dirty
}

// wait also goes through the pipes of which nobody here has heard.
func (t *inTurn) wait(ctx context.Context) error {
	return t.with(ctx, func(context.Context) error {
		t.allDirty()
		return nil
	})
}

func (t *inTurn) allDirty() {
	for _, f := range t.r.followers {
		t.saved(f.up, 0)
	}
}

// follow goes through the pipes, when nobody else does.
func (t *inTurn) follow(ctx context.Context) error {
	return t.with(ctx, func(context.Context) error { return nil })
}

// with calls f when nobody else calls policies, and goes through the pipes then.
func (t *inTurn) with(ctx context.Context, f func(ctx context.Context) error) error {
	if ctx.Value(following{}) == t {
		return fmt.Errorf("a policy waits for itself: %w", annals.ErrConfiguration)
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx = context.WithValue(ctx, following{}, t)
	err := f(ctx)
	if err != nil {
		t.allDirty() // it may have found something, and not got through
	}
	return errors.Join(err, t.goThrough(ctx))
}

// goThrough goes through the pipes until nothing is left.
func (t *inTurn) goThrough(ctx context.Context) error {
	failed := make(map[*follower]error)
	for found := true; found; {
		found = false
		for _, f := range t.r.followers {
			if failed[f] != nil || !t.take(f) {
				continue
			}
			found = true
			if err := t.catchUp(ctx, f); err != nil {
				failed[f] = f.errorf(err)
			}
		}
	}
	var all []error
	for _, f := range t.r.followers {
		if err := failed[f]; err != nil {
			all = append(all, err)
			t.saved(f.up, 0) // it is to be tried again
		}
	}
	return errors.Join(all...)
}

// catchUp processes what the upstream has, at least what was saved here: a log that is read
// from a replica may not show it yet.
func (t *inTurn) catchUp(ctx context.Context, f *follower) error {
	for {
		if err := f.inline.CatchUp(ctx); err != nil {
			return err
		}
		t.mu.Lock()
		head := t.heads[f.up]
		t.mu.Unlock()
		position := f.inline.Status().Position
		if position >= head {
			return nil
		}
		if err := f.up.Await(ctx, position); err != nil {
			return err
		}
	}
}

func (t *inTurn) stop() {
	t.turn <- struct{}{} // nobody is at it
	<-t.turn
}
