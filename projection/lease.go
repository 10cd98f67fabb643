package projection

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// lease is who runs a projection, so that not all processes do the same in vain. The
// holder writes a text that nobody wrote before, again and again. Who wants the lease
// takes it when the text has stayed the same, by the own clock, for as long as it holds:
// no two clocks are compared. A holder that was only slow finds another text, and gives
// up; what it wrote to the view meanwhile, or did not, the fence has decided.
type lease struct {
	update func(ctx context.Context, f func(ctx context.Context, l persistence.Ledger) error) error
	key    string
	holds  time.Duration
	holder string

	beats int
	text  string    // what we wrote, if we hold it, or what we saw
	since time.Time // when we saw it first
}

func newLease(key string, holds time.Duration) *lease {
	return &lease{key: key, holds: holds, holder: annals.NewID()}
}

func (l *lease) interval() time.Duration { return l.holds / 3 }

// try takes the lease, or renews it, and reports whether we hold it.
func (l *lease) try(ctx context.Context) (held bool, err error) {
	now := time.Now()
	var seen time.Time
	var text string
	err = l.update(ctx, func(ctx context.Context, ledger persistence.Ledger) error {
		held = false
		there, _, err := ledger.Get(ctx, l.key)
		if err != nil {
			return err
		}
		text, seen = there, time.Now() // the transaction may have been waited for
		if !l.isOurs(there) && there != "" && (there != l.text || now.Sub(l.since) < l.holds) {
			return nil
		}
		text = fmt.Sprintf("%s %d", l.holder, l.beats+1)
		held, err = ledger.Swap(ctx, l.key, there, text)
		return err
	})
	if errors.Is(err, errFenced) { // by a ledger that finds it out at the end
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if held {
		l.beats++
	}
	if text != l.text {
		l.text, l.since = text, seen
	}
	return held, nil
}

func (l *lease) isOurs(text string) bool { return strings.HasPrefix(text, l.holder+" ") }

// free gives the lease back, so that nobody has to wait for its end.
func (l *lease) free(ctx context.Context) error {
	return l.update(ctx, func(ctx context.Context, ledger persistence.Ledger) error {
		there, ok, err := ledger.Get(ctx, l.key)
		if err != nil || !ok || !l.isOurs(there) {
			return err
		}
		_, err = ledger.Swap(ctx, l.key, there, "")
		return err
	})
}
