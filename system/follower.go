package system

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/projection"
)

// follower is an application that follows another: a projection of that one's log whose
// view is the recorder of this one.
type follower struct {
	pipe pipe

	up     *application.Application
	app    *application.Application
	turn   chan struct{} // of the application: one of its followers works at a time
	policy application.Policy
	proj   *projection.Projection[*step]
	view   persistence.View[*step]

	inline *projection.Inline[*step] // of RunSync
	runner *projection.Runner[*step] // of RunAsync
	saved  *handover                 // of RunAsync: what the upstream saved here
}

// step is a transaction of the view. Where the policy is called, it has the turn of the
// application: two followers of one would only get in each other's way. What is written
// without it, leases say, waits for nobody.
type step struct {
	effects *application.Effects
	turn    chan struct{}
	hasTurn bool
}

func (s *step) handle(ctx context.Context, n application.Notification, p application.Policy) error {
	if !s.hasTurn {
		select {
		case s.turn <- struct{}{}:
			s.hasTurn = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.effects.Handle(ctx, n, p)
}

func (s *step) end() {
	if s.hasTurn {
		<-s.turn
	}
}

func newFollower(p pipe, leader, app application.Embedding, turn chan struct{}) *follower {
	f := &follower{pipe: p, up: application.Of(leader), app: application.Of(app), turn: turn}
	f.policy, _ = app.(application.Policy) // as was found when the system was made
	f.proj = projection.Define(p.leader.name, projection.Title[*step](f.title()), f.events())
	tracking := func(string) string { return p.leader.name }
	f.view = projection.Recorded(f.app.Recorder(), "follow", tracking, f.update)
	return f
}

// title is what errors call the follower.
func (f *follower) title() string { return titleOf(f.pipe.follower.name, f.pipe.leader.name) }

func titleOf(app, upstream string) string {
	return fmt.Sprintf("application %s, which follows %s", app, upstream)
}

func (f *follower) events() projection.Part[*step] {
	handle := func(ctx context.Context, s *step, n application.Notification) error {
		return s.handle(ctx, n, f.policy)
	}
	if len(f.pipe.only) > 0 {
		return projection.OnTypes(f.pipe.only, handle)
	}
	return projection.OnAll(handle)
}

// update is a transaction of the view. What a policy does is done again when somebody else
// saved one of its aggregates, as commands are.
func (f *follower) update(ctx context.Context, work func(context.Context, *step) error, rest func() persistence.Batch) error {
	s := &step{turn: f.turn}
	defer s.end()
	var last annals.VersionConflictError
	var failure error // what is not to be tried again, whatever it is
	err := f.app.Retry(ctx, func(ctx context.Context) error {
		s.effects = f.app.NewEffects()
		if failure = work(ctx, s); failure != nil {
			return nil //nolint:nilerr // see failure
		}
		_, err := s.effects.Save(ctx, rest())
		if _, saved := err.(*application.AfterSaveError); saved { //nolint:errorlint // within another error it is that of another save
			err = nil
		}
		if conflict, ok := errors.AsType[*annals.VersionConflictError](err); ok {
			if *conflict == last { // nobody has got on: it will be the same the next time
				failure, err = err, nil
			}
			last = *conflict
		}
		return err
	})
	if failure != nil {
		return failure
	}
	return err
}

// options are those of the projection.
func (f *follower) options(r *Runner, defaults ...projection.Option) []projection.Option {
	opts := slices.Concat(defaults, r.cfg.followers, r.cfg.follower[f.pipe.follower])
	if hook := r.cfg.hook; hook != nil {
		opts = append(opts, projection.WithHook(func(s projection.Status) {
			r.hooking.Lock()
			defer r.hooking.Unlock()
			hook(f.statusOf(s))
		}))
	}
	return opts
}

// Status is how a follower is, see [projection.Status].
type Status struct {
	// Application is the application that follows, Upstream the one that is followed.
	Application, Upstream string
	projection.Status
}

func (f *follower) statusOf(s projection.Status) Status {
	return Status{Application: f.pipe.follower.name, Upstream: f.pipe.leader.name, Status: s}
}

// refresh has the status say what is parked, in RunSync; otherwise the runner notices.
func (f *follower) refresh(ctx context.Context) error {
	if f.inline == nil {
		return nil
	}
	f.inline.Reset()
	return f.errorf(f.inline.CatchUp(ctx))
}

func (f *follower) status() Status {
	if f.inline != nil {
		return f.statusOf(f.inline.Status())
	}
	return f.statusOf(f.runner.Status())
}

// Health returns nil if the follower is well, see [projection.Status.Health].
func (s Status) Health(longest time.Duration) error {
	if err := s.Status.Health(longest); err != nil {
		return &Error{Application: s.Application, Upstream: s.Upstream, Err: err}
	}
	return nil
}

// Error says which application could not follow which.
type Error struct {
	// Application is the application that follows, Upstream the one that is followed.
	Application, Upstream string
	// Err is the reason. A [*projection.EventError] has the position, topic and stream of
	// the event, and wraps the error of the policy.
	Err error
}

// Error names both applications, the event and the reason.
func (e *Error) Error() string {
	reason, title := e.Err.Error(), titleOf(e.Application, e.Upstream)
	if strings.HasPrefix(reason, title) {
		return reason
	}
	return title + ": " + reason
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

func (f *follower) errorf(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Application: f.pipe.follower.name, Upstream: f.pipe.leader.name, Err: err}
}
