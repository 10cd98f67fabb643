package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annals-es/annals/examples/githistory/archive"
	"github.com/annals-es/annals/examples/githistory/git"
)

type importCommand struct {
	where

	EventsPerSave int `default:"1000" help:"Save at least so many events together. Default: ${default}." placeholder:"N"`

	codecs
}

// Validate is called before Run.
func (cmd *importCommand) Validate() error {
	if cmd.EventsPerSave < 1 {
		return errors.New("--events-per-save must be positive")
	}
	return nil
}

// Run imports, and tells on the way how far it is.
func (cmd *importCommand) Run(ctx context.Context, c console) error {
	return cmd.open(ctx, c, true, cmd.codecs, func(repo *git.Repository, a *archive.Archive) error {
		start := time.Now()
		progress := throttled(time.Now, func(done archive.Imported) {
			fmt.Fprintf(c.stderr, "%d of %d commits, %d events, %.0f events/s\n",
				done.Commits, done.Total, done.Events, perSecond(done.Events, time.Since(start)))
		})
		done, err := a.Import(ctx, repo, archive.ImportConfig{EventsPerSave: cmd.EventsPerSave, Saved: progress})
		switch {
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			return fmt.Errorf("%w: %d of %d commits are recorded; run the same command again to go on",
				errInterrupted, done.Commits, done.Total)
		case err != nil:
			return err
		case done.Head == "":
			fmt.Fprintln(c.stdout, "nothing to import: the repository has no commits yet")
		case done.Total == 0:
			fmt.Fprintf(c.stdout, "up to date: all commits up to %s are recorded\n", done.Head)
		default:
			took := time.Since(start)
			fmt.Fprintf(c.stdout, "imported %d commits, %d events in %.1f seconds, %.0f events/s%s\n",
				done.Commits, done.Events, took.Seconds(), perSecond(done.Events, took), peakMemory())
		}
		return nil
	})
}

// throttled returns a function that calls tell at most once a second, and not in
// the first one.
func throttled(now func() time.Time, tell func(archive.Imported)) func(archive.Imported) {
	last := now()
	return func(done archive.Imported) {
		if t := now(); t.Sub(last) >= time.Second {
			last = t
			tell(done)
		}
	}
}

func perSecond(n int, d time.Duration) float64 { return float64(n) / max(d.Seconds(), 1e-6) }

// peakMemory returns the end of a sentence about the greatest resident memory of
// the process; nothing where the system does not tell.
func peakMemory() string {
	if bytes := peakResident(); bytes > 0 {
		return fmt.Sprintf(", at most %d MB of memory", bytes>>20)
	}
	return ""
}
