package recordertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between recorders and a server, and does to their connections what
// networks do.
type proxy struct {
	t        *testing.T
	listener net.Listener
	target   string
	pumps    sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[*proxied]bool
	lose   bool          // answers are lost, and their connections cut
	gate   chan struct{} // answers wait until it is closed; nil: they do not
	held   chan struct{} // tells of an answer that waits, or was lost
}

// proxied is a connection through the proxy.
type proxied struct{ client, server net.Conn }

// cut ends the connection at once, without a farewell.
func (c *proxied) cut() {
	for _, conn := range []net.Conn{c.client, c.server} {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // the close is then a reset
		}
		_ = conn.Close() // it may be closed already
	}
}

// newProxy starts a proxy to the target, "host:port".
func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, listener: listener, target: target, conns: make(map[*proxied]bool), held: make(chan struct{}, 1)}
	p.pumps.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// address returns where the proxy listens: "host:port".
func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // it is closed
		}
		var dialer net.Dialer
		server, err := dialer.DialContext(p.t.Context(), "tcp", p.target)
		if err != nil {
			_ = client.Close() // the server is down, and so is its proxy
			continue
		}
		c := &proxied{client, server}
		p.mu.Lock()
		p.conns[c] = true
		closed := p.closed
		p.mu.Unlock()
		if closed {
			c.cut()
		}
		p.pumps.Go(func() {
			_, _ = io.Copy(c.server, c.client) // until one of them ends
			p.end(c)
		})
		p.pumps.Go(func() {
			p.answers(c)
			p.end(c)
		})
	}
}

// answers passes on what the server says.
func (p *proxy) answers(c *proxied) {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.server.Read(buf)
		if n > 0 && !p.answer(c, buf[:n]) {
			return
		}
		if err != nil {
			return
		}
	}
}

// answer passes a part of an answer on, when it may. It returns false if it was lost.
func (p *proxy) answer(c *proxied, part []byte) bool {
	p.mu.Lock()
	lose, gate := p.lose, p.gate
	p.mu.Unlock()
	if lose || gate != nil {
		select {
		case p.held <- struct{}{}:
		default:
		}
	}
	if lose {
		return false
	}
	if gate != nil {
		<-gate
	}
	_, err := c.client.Write(part)
	return err == nil
}

func (p *proxy) end(c *proxied) {
	c.cut()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.cut()
	}
}

// loseAnswers loses what the server says, and cuts the connections on which it says
// something, until an answer was lost.
func (p *proxy) loseAnswers(ctx context.Context) error { return p.hold(ctx, true, nil) }

// delayAnswers keeps what the server says until an answer has had to wait.
func (p *proxy) delayAnswers(ctx context.Context) error {
	gate := make(chan struct{})
	defer close(gate)
	return p.hold(ctx, false, gate)
}

func (p *proxy) hold(ctx context.Context, lose bool, gate chan struct{}) error {
	select {
	case <-p.held: // of an earlier time
	default:
	}
	change := func(lose bool, gate chan struct{}) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.lose, p.gate = lose, gate
	}
	change(lose, gate)
	defer change(false, nil)
	select {
	case <-p.held:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the server does not answer: %w", ctx.Err())
	}
}

func (p *proxy) close() {
	if err := p.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		p.t.Error(err)
	}
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cut()
	p.pumps.Wait()
}
