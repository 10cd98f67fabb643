//go:build !unix

package pgserver

import (
	"context"
	"runtime"
)

// private would be a server that this process has started.
type private struct {
	password string
	port     int
}

func startPrivate(context.Context, Config) (*private, error) {
	return nil, &UnavailableError{"it cannot be started by tests on " + runtime.GOOS}
}

func (p *private) kill(context.Context) error    { return ErrNotOurs }
func (p *private) restart(context.Context) error { return ErrNotOurs }
func (p *private) stop() error                   { return nil }
