package annalstest

import (
	"context"
	"testing"
	"time"

	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/projection"
)

// Project brings a view up to the end of the application's log, once, and then again, to
// see that nothing is applied twice; the rows are the test's to look at. It fails the test
// if a handler fails, at the first time:
//
//	school.Save(ctx, fido)                    // given events
//	annalstest.Project(t, school, counts, v)  // when projected
//	row, _ := v.Get("sit")                    // then rows
//
// It gives up after a minute.
func Project[Tx any](tb testing.TB, up projection.Upstream, p *projection.Projection[Tx], v persistence.View[Tx]) {
	tb.Helper()
	const patience = time.Minute
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), patience)
	defer cancel()
	head, err := up.Position(ctx)
	if err != nil {
		tb.Fatalf("Project: %v", err)
	}
	for again := range 2 {
		r, err := projection.Start(ctx, up, p, v, projection.WithFailures(1, 0, 0, projection.Stop))
		if err != nil {
			tb.Fatalf("Project: %v", err)
		}
		err = r.Wait(ctx, head)
		_ = r.Stop() // its error is that of Wait
		if err != nil {
			tb.Fatalf("Project: %v", err)
		}
		if n := r.Status().Handled; again == 1 && n > 0 {
			tb.Errorf("Project: %d events were handled again", n)
		}
	}
}
