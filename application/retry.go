package application

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/annals-es/annals"
)

// The pauses between tries are random, up to a bound that doubles from the first
// to the last of these.
const (
	firstPause = 2 * time.Millisecond
	lastPause  = 100 * time.Millisecond
)

// maxRepeats is how often saveAgain repeats a save.
const maxRepeats = 3

// saveAgain is Save, but repeats a save whose outcome is unknown a few times. It is
// the same events each time, so that what is stored is recognised; a save without
// events would not be, and is not repeated.
func (a *Application) saveAgain(ctx context.Context, sources ...Source) (recordings Recordings, err error) {
	for n := 0; ; n++ {
		recordings, err = a.Save(ctx, sources...)
		if n == maxRepeats || !errors.Is(err, annals.ErrOutcomeUnknown) ||
			!slices.ContainsFunc(sources, func(s Source) bool { return len(s.PendingEvents()) > 0 }) {
			return recordings, err
		}
	}
}

// Retry calls work until it returns anything but [annals.ErrVersionConflict], as
// often as [WithRetries] says, with growing random pauses. Work loads what it
// needs, decides, and saves, from the start each time: it is [Repository.Update]
// for several aggregates.
//
//	err := bank.Retry(ctx, func(ctx context.Context) error {
//		from, err := bank.accounts.Get(ctx, fromID)
//		…
//		to, err := bank.accounts.Get(ctx, toID)
//		…
//		_, err = bank.Save(ctx, from, to)
//		return err
//	})
func (a *Application) Retry(ctx context.Context, work func(ctx context.Context) error) error {
	return a.retry(ctx, func() (bool, error) {
		err := work(ctx)
		return errors.Is(err, annals.ErrVersionConflict), err
	})
}

func (a *Application) retry(ctx context.Context, try func() (again bool, err error)) error {
	pause := firstPause
	for n := 0; ; n++ {
		again, err := try()
		if !again {
			return err
		}
		if n == a.retries {
			return fmt.Errorf("application %s: gave up after %d tries: %w", a.name, n+1, err)
		}
		timer := time.NewTimer(rand.N(pause)) //nolint:gosec // jitter needs no secure randomness
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("application %s: %w while waiting to try again after: %w", a.name, ctx.Err(), err)
		}
		pause = min(2*pause, lastPause)
	}
}
