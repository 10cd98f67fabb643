package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// lostError says that there was no connection, or that it was lost.
type lostError struct {
	err  error
	sent bool // what was to be done may have been done
	busy bool // all connections were in use
}

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// isLost reports whether it is worth trying again, on another connection.
func isLost(err error) (*lostError, bool) { return errors.AsType[*lostError](err) }

// try calls f with a connection. If there is none, or it is lost, the error is a
// [*lostError].
func (r *Recorder) try(ctx context.Context, pool *pgxpool.Pool, f func(conn *pgx.Conn) error) error {
	acquiring, done := r.limits.within(ctx, r.cfg.connectTimeout)
	conn, err := pool.Acquire(acquiring)
	waited := acquiring.Err() != nil
	done()
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case waited && pool.Stat().AcquiredConns() == pool.Config().MaxConns:
		return &lostError{err: fmt.Errorf("all %d connections are in use", pool.Config().MaxConns), busy: true}
	case isRefused(err):
		return err
	case r.isOpen() != nil:
		return annals.ErrClosed
	default:
		return &lostError{err: err}
	}
	defer conn.Release()
	err = f(conn.Conn())
	_, known := isLost(err)
	switch {
	case err == nil || known || !conn.Conn().IsClosed():
		return err
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return err
	default:
		return &lostError{err: err, sent: !pgconn.SafeToRetry(err)}
	}
}

// isTimeout reports whether what a connection waited for did not come in time.
func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// isRefused reports whether the server says of a connection that it will not have
// it: trying again is of no use.
func isRefused(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch codeOf(e) {
	case codeCannotConnectNow, codeTooManyConnections:
		return false
	default:
		return !isShutdown(e)
	}
}

// patiently calls f with a connection, and again while connections are lost, for as
// long as [WithConnectTimeout] says. F must have no effect, or the same one when it
// is called twice.
func (r *Recorder) patiently(ctx context.Context, pool *pgxpool.Pool, f func(conn *pgx.Conn) error) error {
	p := r.patience()
	for {
		err := r.try(ctx, pool, f)
		if _, lost := isLost(err); !lost || !p.again(ctx) {
			return err
		}
	}
}

// patience is how long to try again, from the first loss on.
type patience struct {
	timeout time.Duration
	until   time.Time
	pause   time.Duration
	closing <-chan struct{}
}

// The pauses between tries are random, up to a bound that doubles from the first to
// the last of these.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

func (r *Recorder) patience() *patience {
	return &patience{timeout: r.cfg.connectTimeout, pause: firstPause, closing: r.closing.Done()}
}

// again waits a little, and reports whether to try again.
func (p *patience) again(ctx context.Context) bool {
	now := time.Now()
	if p.until.IsZero() {
		p.until = now.Add(p.timeout)
	}
	if now.After(p.until) {
		return false
	}
	timer := time.NewTimer(rand.N(p.pause)) //nolint:gosec // jitter needs no secure randomness
	defer timer.Stop()
	p.pause = min(2*p.pause, lastPause)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-p.closing:
		return false
	}
}

// kindOfLost is the sentinel for a connection that was not to be had.
func kindOfLost(e *lostError) error {
	if e.busy {
		return persistence.ErrBusy
	}
	return persistence.ErrUnavailable
}
