package system

import (
	"context"
	"sync"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/projection"
)

// RunAsync opens the applications and runs the system in the background, until the context
// ends or [Runner.Stop] is called: each application follows each of its upstreams in a
// goroutine of its own. What was saved before, or is saved by other processes, is processed
// as what is saved here is.
//
// Of several processes that run the system, one follows for an application and upstream; the
// others take over when it ends, see [projection.WithLease]. Events are processed several per
// transaction. A follower reads ahead by two transactions at most, and waits then; whoever
// saves does not wait.
//
// When an application cannot follow another, the event that fails is one for [projection.Stop],
// say, the whole runner ends: see [Runner.Done] and [Runner.Err].
//
// It returns the errors of opening the applications.
func RunAsync(ctx context.Context, s *System, opts ...Option) (*Runner, error) {
	r, err := open(ctx, s, opts)
	if err != nil {
		return nil, err
	}
	return r.begin(ctx, &inBackground{r: r})
}

// inBackground is the mode of RunAsync.
type inBackground struct {
	r      *Runner
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (b *inBackground) start(ctx context.Context) error {
	ctx, b.cancel = context.WithCancel(ctx)
	b.wg.Go(func() { <-ctx.Done() }) // what is added to it later, is added to something
	handovers := make(map[*application.Application]*handover)
	for _, f := range b.r.followers {
		h := handovers[f.up]
		if h == nil {
			h = newHandover(f.up)
			handovers[f.up] = h
			b.r.after(f.up, h.saved)
		}
		var err error
		f.saved = h
		up := &feed{handover: h, running: ctx, waits: &b.wg}
		if f.runner, err = projection.Start(ctx, up, f.proj, f.view, f.options(b.r)...); err != nil {
			return f.errorf(err)
		}
		b.wg.Go(func() {
			<-f.runner.Done()
			b.r.end(f.errorf(f.runner.Err())) // the first is the reason
			b.cancel()
		})
	}
	go func() {
		b.wg.Wait()
		b.r.finish()
	}()
	return nil
}

// with calls f, whose effects follow as those of a save do.
func (b *inBackground) with(ctx context.Context, f func(ctx context.Context) error) error {
	return f(ctx)
}

// wait waits for each follower to be where its upstream is, until no upstream has got on.
func (b *inBackground) wait(ctx context.Context) error {
	waited := make(map[*follower]int64)
	for found := true; found; {
		found = false
		for _, f := range b.r.followers {
			head, err := f.up.Position(ctx)
			if err != nil {
				return err
			}
			if saved, _ := f.saved.now(); saved > head { // the log is read from a replica
				head = saved
			}
			if head <= waited[f] {
				continue
			}
			found = true
			if err := f.runner.Wait(ctx, head); err != nil {
				return f.errorf(err)
			}
			waited[f] = head
		}
	}
	return nil
}

func (b *inBackground) stop() {
	b.cancel()
	b.wg.Wait()
	b.r.end(nil)
	b.r.finish()
}
