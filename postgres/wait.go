package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-es/annals"
)

// watcher wakes those who wait for events. While somebody waits for the first time,
// it begins to listen for notifications, by one connection for all, until the recorder
// is closed.
type watcher struct {
	r *Recorder

	mu        sync.Mutex
	changed   chan struct{} // closed when there may be new events; nil: nobody waits
	closed    bool
	listening bool
	listeners sync.WaitGroup
}

func newWatcher(r *Recorder) *watcher { return &watcher{r: r} }

// saved wakes those who wait.
func (w *watcher) saved() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wake()
}

// wake wakes those who wait. The lock is held.
func (w *watcher) wake() {
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// next returns what is closed when there may be new events.
func (w *watcher) next() (changed <-chan struct{}, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.listening && !w.closed && !w.r.cfg.pollOnly {
		w.listening = true
		w.listeners.Go(w.listen)
	}
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.changed, w.closed
}

func (w *watcher) close() {
	w.mu.Lock()
	w.closed = true
	w.wake()
	w.mu.Unlock()
	w.listeners.Wait()
}

// The pauses before connecting again grow from the first to the last of these. The
// poll of each who waits goes on meanwhile.
const (
	firstReconnect = 10 * time.Millisecond
	lastReconnect  = 2 * time.Second

	// silence is how long no notification comes before the connection is tried.
	silence = 15 * time.Second
)

// listen listens, on one connection after the other, until the recorder is closed.
func (w *watcher) listen() {
	ctx := w.r.closing
	for pause := firstReconnect; ctx.Err() == nil; {
		if w.listenOnce(ctx) {
			pause = firstReconnect
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		pause = min(2*pause, lastReconnect)
	}
}

// listenOnce listens until the connection ends, and reports whether it listened.
func (w *watcher) listenOnce(ctx context.Context) (listened bool) {
	s := w.r.sql.Load()
	if s == nil {
		return false
	}
	conn, err := w.connect(ctx)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, statement := range []string{s.attend, "LISTEN " + s.channel} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return false
		}
	}
	for {
		w.saved() // also before the first: what came while nobody listened
		waiting, cancel := context.WithTimeout(ctx, silence)
		_, err := conn.WaitForNotification(waiting)
		quiet := waiting.Err() != nil
		cancel()
		switch {
		case err == nil:
		case ctx.Err() != nil || !quiet:
			return true
		default:
			if !w.isAlive(ctx, conn) {
				return true
			}
		}
	}
}

func (w *watcher) isAlive(ctx context.Context, conn *pgx.Conn) bool {
	if conn.IsClosed() {
		return false
	}
	trying, cancel := context.WithTimeout(ctx, w.r.cfg.connectTimeout)
	defer cancel()
	return conn.Ping(trying) == nil
}

// connect makes a connection as the pool does.
func (w *watcher) connect(ctx context.Context) (*pgx.Conn, error) {
	connecting, cancel := context.WithTimeout(ctx, w.r.cfg.connectTimeout)
	defer cancel()
	pool := w.r.pool.Config()
	cc := pool.ConnConfig.Copy()
	if pool.BeforeConnect != nil {
		if err := pool.BeforeConnect(connecting, cc); err != nil {
			return nil, err
		}
	}
	return pgx.ConnectConfig(connecting, cc)
}

// Wait returns when there may be an event after the position. Saves of this recorder
// wake it at once, those of others by a notification of the server, or when it looks
// itself, as often as [WithPollInterval] says.
func (r *Recorder) Wait(ctx context.Context, after int64) error {
	ticker := time.NewTicker(r.cfg.pollInterval)
	defer ticker.Stop()
	for {
		if err := r.usable(ctx); err != nil {
			return r.errorf(ctx, "wait", err)
		}
		changed, closed := r.watcher.next()
		if closed {
			return annals.ErrClosed
		}
		if position, ok, err := r.MaxPosition(ctx); err != nil || ok && position > after {
			return err
		}
		select {
		case <-changed:
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
