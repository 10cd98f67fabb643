package system

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/projection"
)

// Runner runs a system. It is safe for concurrent use.
type Runner struct {
	system    *System
	cfg       *config
	apps      map[*member]application.Embedding
	opened    []application.Embedding // in order
	followers []*follower             // in order
	hooks     []func()                // end what is registered with applications
	mode      mode

	hooking sync.Mutex // held while the hook of the user is called
	ending  sync.Once
	done    chan struct{}
	mu      sync.Mutex
	ended   bool  // or about to
	err     error // why it has ended; nil if it runs or was stopped
}

// mode is how a runner runs: synchronously or not.
type mode interface {
	start(ctx context.Context) error
	wait(ctx context.Context) error
	// with calls f, and has its effects follow as those of a save.
	with(ctx context.Context, f func(ctx context.Context) error) error
	// stop returns when nothing runs any more.
	stop()
}

// open opens the applications of the system, and connects them.
func open(ctx context.Context, s *System, opts []Option) (_ *Runner, err error) {
	r := &Runner{system: s, apps: make(map[*member]application.Embedding), done: make(chan struct{})}
	if r.cfg, err = configure(s, opts); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("system %s: %w", s.name, err), r.close())
		}
	}()
	turns := make(map[*member]chan struct{})
	for _, m := range s.members {
		a, err := m.open(ctx, append(slices.Clone(r.cfg.applications), r.cfg.application[m]...)...)
		if err != nil {
			return nil, err
		}
		r.apps[m], turns[m] = a, make(chan struct{}, 1)
		r.opened = append(r.opened, a)
		if name := application.Of(a).Name(); name != m.name {
			return nil, fmt.Errorf("application %s: it is opened with the name %s: %w", m.name, name, annals.ErrConfiguration)
		}
		if err := claim(ctx, application.Of(a)); err != nil {
			return nil, err
		}
	}
	for _, p := range s.pipes {
		r.followers = append(r.followers, newFollower(p, r.apps[p.leader], r.apps[p.follower], turns[p.follower]))
	}
	return r, nil
}

// claim writes the name of the application into its recorder, and returns an error if that
// of another is there: two applications must not have one log.
func claim(ctx context.Context, a *application.Application) error {
	const key = "application"
	var owner string
	_, err := a.Recorder().Record(ctx, persistence.Batch{Ledger: func(ctx context.Context, l persistence.Ledger) (err error) {
		claimed := false
		if owner, _, err = l.Get(ctx, key); err == nil && owner == "" {
			claimed, err = l.Swap(ctx, key, "", a.Name())
		}
		if err == nil && owner == "" && !claimed { // somebody else was first
			owner, _, err = l.Get(ctx, key)
		}
		return err
	}})
	switch {
	case errors.Is(err, annals.ErrUnsupported):
		return nil
	case err != nil:
		return fmt.Errorf("application %s: %w", a.Name(), err)
	case owner != "" && owner != a.Name():
		return fmt.Errorf("application %s: it is opened with the tables of application %s: "+
			"give it a database or a table prefix of its own, %s_SQLITE_PATH or %[3]s_POSTGRES_TABLE_PREFIX, say: %w",
			a.Name(), owner, prefixOf(a.Name()), annals.ErrConfiguration)
	default:
		return nil
	}
}

// begin runs the system, and returns the runner, or closes it.
func (r *Runner) begin(ctx context.Context, m mode) (*Runner, error) {
	r.mode = m
	if err := m.start(ctx); err != nil {
		m.stop()
		return nil, errors.Join(fmt.Errorf("system %s: %w", r.system.name, err), r.close())
	}
	return r, nil
}

// after registers a function with the saves of an application.
func (r *Runner) after(a *application.Application, f func(ctx context.Context, saved application.Saved) error) {
	r.hooks = append(r.hooks, a.AfterSave(f))
}

// Wait returns when all that was saved before the call has had its effects, in all
// applications, and these theirs: read what you wrote. Where applications follow each other
// in a circle, it returns when nothing is left to do. It returns the error that has ended
// the runner, an [*Error], or that of the context.
//
// Events that are skipped or parked count as processed. It must not be called by a policy.
func (r *Runner) Wait(ctx context.Context) error {
	err := r.mode.wait(ctx)
	if ended := r.Err(); ended != nil {
		err = ended
	}
	if err != nil {
		return fmt.Errorf("system %s: %w", r.system.name, err)
	}
	return nil
}

// Done is closed when the runner has ended: it was stopped, or an application cannot follow
// another, see [Runner.Err]. Then none follows any more; the applications stay open until
// [Runner.Stop].
func (r *Runner) Done() <-chan struct{} { return r.done }

// Err returns why the runner has ended, an [*Error]; nil if it runs or was stopped.
func (r *Runner) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// end notes why the runner ends, if nothing has ended it before.
func (r *Runner) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.ended, r.err = true, err
	}
}

// finish says that nothing runs any more.
func (r *Runner) finish() { r.ending.Do(func() { close(r.done) }) }

// Stop ends the runner, waits until nothing runs any more, and closes the applications. What
// is not processed is processed when the system is run again. It returns the error that had
// ended the runner before, if one had, and those of closing. It must not be called by a
// policy, which it would wait for.
func (r *Runner) Stop() error {
	r.end(nil)
	r.mode.stop()
	r.finish()
	if err := errors.Join(r.Err(), r.close()); err != nil {
		return fmt.Errorf("system %s: %w", r.system.name, err)
	}
	return nil
}

// close closes the applications, those that follow first.
func (r *Runner) close() error {
	for _, stop := range r.hooks {
		stop()
	}
	var all []error
	for _, a := range slices.Backward(r.opened) {
		all = append(all, application.Of(a).Close())
	}
	return errors.Join(all...)
}

// Status returns how each follower is, in the order of the pipes.
func (r *Runner) Status() []Status {
	all := make([]Status, len(r.followers))
	for i, f := range r.followers {
		all[i] = f.status()
	}
	return all
}

// Parked is an event that an application has put aside, see [projection.Park].
type Parked struct {
	// Application is the application that has parked it, Upstream the one whose event it is.
	Application, Upstream string
	projection.ParkedEvent
}

// Parked returns the parked events of all applications, in the order of the pipes and of
// the logs.
func (r *Runner) Parked(ctx context.Context) ([]Parked, error) {
	var all []Parked
	for _, f := range r.followers {
		parked, err := projection.Parked(ctx, f.proj, f.view)
		if err != nil {
			return nil, f.errorf(err)
		}
		for _, e := range parked {
			all = append(all, Parked{f.pipe.follower.name, f.pipe.leader.name, e})
		}
	}
	return all, nil
}

// Retry processes the parked events of a stream, of an upstream application, in order, until
// one fails again, see [projection.Retry]. It says how many were processed. It must not be
// called by a policy.
func (r *Runner) Retry(ctx context.Context, app, upstream, streamID string) (int, error) {
	f, err := r.follower(app, upstream)
	if err != nil {
		return 0, err
	}
	n := 0
	err = r.mode.with(ctx, func(ctx context.Context) (err error) {
		n, err = projection.Retry(ctx, f.up, f.proj, f.view, streamID)
		return errors.Join(f.errorf(err), f.refresh(ctx))
	})
	return n, err
}

// Drop removes a parked event, which is never processed then, see [projection.Drop]. It must
// not be called by a policy.
func (r *Runner) Drop(ctx context.Context, app, upstream string, position int64) error {
	f, err := r.follower(app, upstream)
	if err != nil {
		return err
	}
	return r.mode.with(ctx, func(ctx context.Context) error {
		err := projection.Drop(ctx, f.proj, f.view, position)
		return errors.Join(f.errorf(err), f.refresh(ctx))
	})
}

func (r *Runner) follower(app, upstream string) (*follower, error) {
	for _, f := range r.followers {
		if f.pipe.follower.name == app && f.pipe.leader.name == upstream {
			return f, nil
		}
	}
	return nil, fmt.Errorf("system %s: %s does not follow %s: %w", r.system.name, app, upstream, annals.ErrConfiguration)
}
