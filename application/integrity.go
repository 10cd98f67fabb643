package application

import (
	"context"

	"github.com/annals-es/annals/persistence/hashchain"
)

// Verify checks the hash chains of the application's log, see [WithHashChain]. It
// needs no keys, and runs beside saves. It returns what [hashchain.Verify] does: a
// report, and an error that is [hashchain.ErrBroken] if the log is not what was
// saved. Note the head in the report elsewhere, and give it to the next verification:
// a chain alone does not tell of what was cut off.
func (a *Application) Verify(ctx context.Context, cfg hashchain.Config) (hashchain.Report, error) {
	if err := a.usable(); err != nil {
		return hashchain.Report{}, a.errorf("verify", err)
	}
	report, err := hashchain.Verify(ctx, a.recorder, cfg)
	return report, a.errorf("verify", err)
}

// VerifyStream is [Application.Verify] for the stream of one aggregate, and for heads
// of it that were noted, see [Application.StreamHead]. A stream that is not there has
// nothing wrong with it, unless a head was noted.
func (a *Application) VerifyStream(ctx context.Context, id string, noted ...hashchain.Head) (hashchain.Report, error) {
	if err := a.usableID(id); err != nil {
		return hashchain.Report{}, a.errorf("verify", err)
	}
	report, err := hashchain.VerifyStream(ctx, a.recorder, id, noted...)
	return report, a.errorf("verify", err)
}

// StreamHead returns the head of the stream of one aggregate, to be noted elsewhere:
// with a receipt, say. Its version is 0 if there is no such stream.
func (a *Application) StreamHead(ctx context.Context, id string) (hashchain.Head, error) {
	if err := a.usableID(id); err != nil {
		return hashchain.Head{}, a.errorf("stream head", err)
	}
	head, err := hashchain.StreamHead(ctx, a.recorder, id)
	return head, a.errorf("stream head", err)
}
