package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/annals-es/annals/internal/compare"
)

// contest is a workload on a kind of store, by the libraries that can do it: ours, then
// others.
type contest struct {
	kind      kind
	workload  workload
	libraries []library
	turns     *compare.Turns
	done      []func() error
}

// newContest opens the stores, and fills them.
func newContest(ctx context.Context, p places, k kind, w workload) (*contest, error) {
	c := &contest{kind: k, workload: w}
	var sides []compare.Side
	for _, l := range libraries() {
		if l.on[k] == nil {
			continue
		}
		open := func(ctx context.Context) (store, func() error, error) { return p.openNew(ctx, l, k) }
		side, done, err := w.side(ctx, open, k == inMemory, k.size())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %s on %s: %w", w.name, l.name, k, err), c.close())
		}
		c.done = append(c.done, done)
		if side.Round != nil {
			c.libraries, sides = append(c.libraries, l), append(sides, side)
		}
	}
	c.turns = compare.NewTurns(sides...)
	return c, nil
}

// turn has each library do a round.
func (c *contest) turn() error {
	if err := c.turns.Next(); err != nil {
		return fmt.Errorf("%s on %s: %w", c.workload.name, c.kind, err)
	}
	return nil
}

// rate is what a library did in a second.
func (c *contest) rate(i int) float64 { return compare.PerSecond(c.turns.PerEvent(i)) }

// bestPeer returns the number of the fastest of the others; 0 if there is none.
func (c *contest) bestPeer() int {
	best := 0
	for i := 1; i < len(c.libraries); i++ {
		if best == 0 || c.rate(i) > c.rate(best) {
			best = i
		}
	}
	return best
}

func (c *contest) close() error {
	var errs []error
	for _, done := range c.done {
		errs = append(errs, done())
	}
	return errors.Join(errs...)
}
