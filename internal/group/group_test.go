package group_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/group"
	"github.com/annals-es/annals/persistence"
)

var errLost = errors.New("lost")

// gate is a commit function that waits until it may go on.
type gate struct {
	mu     sync.Mutex
	groups []int // how many requests each had
	open   chan struct{}
	commit func(reqs []*group.Request)
}

func (g *gate) writer() *group.Writer {
	return group.New(group.Config{
		Take: func(queue []*group.Request) (taken, rest []*group.Request) { return queue, nil },
		Commit: func(reqs []*group.Request) {
			g.mu.Lock()
			g.groups = append(g.groups, len(reqs))
			g.mu.Unlock()
			<-g.open
			if g.commit != nil {
				g.commit(reqs)
				return
			}
			for _, req := range reqs {
				req.Answer(group.Result{Positions: []int64{7}})
			}
		},
		Lost: errLost,
	})
}

func TestWhatWaitsIsCommittedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		w := g.writer()
		var wg sync.WaitGroup
		save := func() {
			if positions, err := w.Record(t.Context(), &persistence.Batch{}); err != nil || len(positions) != 1 {
				t.Errorf("Record: %v, %v", positions, err)
			}
		}
		wg.Go(save)
		synctest.Wait()
		for range 9 {
			wg.Go(save)
		}
		synctest.Wait()
		close(g.open)
		wg.Wait()
		if len(g.groups) != 2 || g.groups[0] != 1 || g.groups[1] != 9 {
			t.Errorf("groups of %v", g.groups)
		}
		if !w.Close() || w.Close() {
			t.Error("Close does not say who was first")
		}
		if _, err := w.Record(t.Context(), &persistence.Batch{}); !errors.Is(err, annals.ErrClosed) {
			t.Errorf("Record after Close: %v", err)
		}
	})
}

// A request whose context ends is left out while it waits; once it is taken, only the
// answer says what became of it.
func TestAContextThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		w := g.writer()
		ctx, cancel := context.WithCancel(t.Context())
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = w.Record(ctx, &persistence.Batch{}) })
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		if !errors.Is(errs[1], context.Canceled) {
			t.Errorf("the one that waited: %v", errs[1])
		}
		close(g.open)
		wg.Wait()
		if errs[0] != nil {
			t.Errorf("the one that was taken: %v", errs[0])
		}
		w.Close()
		if len(g.groups) != 1 {
			t.Errorf("groups of %v", g.groups)
		}
	})
}

func TestNobodyWaitsForEverForACommitThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{}), commit: func([]*group.Request) { panic("driver") }}
		w := g.writer()
		done := make(chan any)
		go func() {
			defer func() { done <- recover() }()
			_, _ = w.Record(t.Context(), &persistence.Batch{})
		}()
		synctest.Wait()
		close(g.open)
		if v := <-done; v != "driver" {
			t.Errorf("recovered %v", v)
		}
		g.commit = nil
		if _, err := w.Record(t.Context(), &persistence.Batch{}); err != nil {
			t.Errorf("the next one: %v", err)
		}
		w.Close()
	})
}

// Do is called in the goroutine of the caller, with the transaction, and its error comes
// back to the commit.
func TestDoIsCalledByTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := errors.New("own")
		g := &gate{open: make(chan struct{}), commit: func(reqs []*group.Request) {
			for _, req := range reqs {
				req.Answer(group.Result{Err: req.Do("tx")})
				req.Answer(group.Result{}) // changes nothing
			}
		}}
		close(g.open)
		w := g.writer()
		_, err := w.Record(t.Context(), &persistence.Batch{Do: func(_ context.Context, tx any) error {
			if tx != "tx" {
				t.Errorf("tx %v", tx)
			}
			return own
		}})
		if !errors.Is(err, own) {
			t.Errorf("Record: %v", err)
		}
		w.Close()
	})
}
