package system

import (
	"context"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/projection"
)

// MaxKept is how many events are kept for followers, MaxKeptSize how many bytes of them.
const (
	MaxKept     = maxKept
	MaxKeptSize = maxKeptSize
)

// Handover is what is kept of the events of an application.
type Handover struct{ h *handover }

// NewHandover keeps nothing yet.
func NewHandover(a *application.Application) Handover { return Handover{newHandover(a)} }

// Saved keeps the events of a save.
func (h Handover) Saved(ctx context.Context, s application.Saved) error { return h.h.saved(ctx, s) }

// Feed returns the upstream of a follower, which does not wait for the log.
func (h Handover) Feed() projection.Upstream { return &feed{handover: h.h} }

// Kept says how many events are kept, and of what size.
func (h Handover) Kept() (n, size int) {
	for i := range h.h.slots {
		if s := &h.h.slots[i]; s.n.Position > 0 {
			n++
			size += s.size
		}
	}
	return n, size
}
