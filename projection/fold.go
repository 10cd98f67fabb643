package projection

import (
	"context"

	"github.com/annals-es/annals/application"
)

// Fold answers a question from the log itself: a state that the handlers of a projection
// make of the events, when it is asked for. It is kept in memory, so that the next one who
// asks waits for the events since then only. It is safe for concurrent use.
type Fold[S any] struct {
	up     Upstream
	p      *Projection[*S]
	begin  func() *S
	topics []string

	turn     chan struct{} // holds a token while somebody reads
	state    *S            // nil: it has to be made from the first event on
	position int64
}

// NewFold returns a fold of the application's log. Begin returns the state before the
// first event. It returns [annals.ErrConfiguration] as [Start] does. Nothing is read yet.
func NewFold[S any](up Upstream, p *Projection[*S], begin func() *S) (*Fold[S], error) {
	if p.err != nil {
		return nil, p.err
	}
	if begin == nil {
		return nil, wrong("NewFold of %s: begin is nil", p.name)
	}
	f := &Fold[S]{up: up, p: p, begin: begin, turn: make(chan struct{}, 1)}
	if types := p.types(); types != nil {
		var err error
		if f.topics, err = up.TopicsOf(types...); err != nil {
			return nil, p.errorf("fold", err)
		}
	}
	return f, nil
}

// Read brings the state up to the end of the log, and calls the function with it, one call
// after another: the state must not be changed, nor used afterwards. It returns the
// position that the state is of.
//
// An error of the log, or of the function, leaves the state as it is. After that of a
// handler, an [*EventError], the state is made anew by the next call.
func (f *Fold[S]) Read(ctx context.Context, read func(state *S) error) (position int64, err error) {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return 0, f.p.errorf("fold", ctx.Err())
	}
	if err := f.catchUp(ctx); err != nil {
		return 0, f.p.errorf("fold", err)
	}
	return f.position, read(f.state)
}

func (f *Fold[S]) catchUp(ctx context.Context) error {
	head, err := f.up.Position(ctx)
	if err != nil {
		return err
	}
	if f.state == nil {
		f.state, f.position = f.begin(), 0
	}
	if head <= f.position {
		return nil
	}
	opts := []application.ReadOption{application.After(f.position), application.UpTo(head), application.Topics(f.topics...)}
	for n, err := range f.up.Notifications(ctx, opts...) {
		if err != nil {
			return err
		}
		if err := f.p.handle(ctx, f.state, &n); err != nil {
			f.state = nil // the handler may have changed half of it
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &EventError{
				Projection: f.p.name, Position: n.Position, Topic: n.Event.Topic, StreamID: n.Event.StreamID, Attempts: 1, Err: err,
				title: f.p.what(),
			}
		}
		f.position = n.Position
	}
	f.position = head
	return nil
}
