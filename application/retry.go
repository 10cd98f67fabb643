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
//
// When a repeat fails in another way, what became of the first try is still not
// known. Only a conflict says that it is not stored. Who found the other error in the
// one that is returned would take it for what became of the save: it is a text there.
func (a *Application) saveAgain(ctx context.Context, sources ...Source) (recordings Recordings, err error) {
	var unknown error
	for n := 0; ; n++ {
		recordings, err = a.Save(ctx, sources...)
		if _, saved := err.(*AfterSaveError); saved { //nolint:errorlint // within another error it is that of another save
			return recordings, err
		}
		switch {
		case errors.Is(err, annals.ErrOutcomeUnknown):
			unknown = err
		case err == nil || unknown == nil || errors.Is(err, annals.ErrVersionConflict):
			return recordings, err
		default:
			return nil, fmt.Errorf("%w; when it was repeated: %v", unknown, err) //nolint:errorlint // see above
		}
		if n == maxRepeats || !slices.ContainsFunc(sources, func(s Source) bool { return len(s.PendingEvents()) > 0 }) {
			return nil, err
		}
		if err := pause(ctx, n); err != nil {
			return nil, fmt.Errorf("%w; before it was repeated: %v", unknown, err) //nolint:errorlint // see above
		}
	}
}

// pause waits before another try, of which n have failed, counted from 0.
func pause(ctx context.Context, n int) error {
	longest := min(firstPause<<min(n, 10), lastPause)
	timer := time.NewTimer(rand.N(longest)) //nolint:gosec // jitter needs no secure randomness
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() // both may have come
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
	for n := 0; ; n++ {
		again, err := try()
		if !again {
			return err
		}
		if n == a.retries {
			return fmt.Errorf("application %s: gave up after %d tries: %w", a.name, n+1, err)
		}
		if e := pause(ctx, n); e != nil {
			return fmt.Errorf("application %s: %w while waiting to try again after: %w", a.name, e, err)
		}
	}
}
