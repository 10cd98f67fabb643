package postgres

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimitsEndContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l limits
		defer l.stop()
		start := time.Now()
		long, doneLong := l.within(t.Context(), time.Minute)
		short, doneShort := l.within(t.Context(), time.Second)
		defer doneLong()
		defer doneShort()
		if short.Err() != nil || long.Err() != nil {
			t.Fatal("ended before its time")
		}
		<-short.Done()
		if took := time.Since(start); took != time.Second {
			t.Errorf("the short one ended after %v", took)
		}
		if err := short.Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Err() = %v", err)
		}
		<-long.Done()
		if took := time.Since(start); took != time.Minute {
			t.Errorf("the long one ended after %v", took)
		}
	})
}

// The timer runs on behind a call that is over: the next one has its whole time.
func TestLimitsOfACallThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l limits
		defer l.stop()
		_, done := l.within(t.Context(), time.Second)
		half, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		<-half.Done()
		done()
		start := time.Now()
		ctx, done := l.within(t.Context(), time.Second)
		defer done()
		<-ctx.Done()
		if took := time.Since(start); took != time.Second {
			t.Errorf("ended after %v", took)
		}
	})
}

func TestLimitsEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l limits
		defer l.stop()
		parent, cancel := context.WithCancelCause(t.Context())
		ctx, done := l.within(parent, time.Second)
		defer done()
		child, stop := context.WithCancel(ctx)
		defer stop()
		cancel(errors.New("no more"))
		<-child.Done()
		if err := ctx.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("Err() = %v", err)
		}
		if err := child.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("Err() of a child = %v", err)
		}
	})
}

func TestLimitsEndWhatAConnectionWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l limits
		defer l.stop()
		conn, server := net.Pipe()
		defer func() { _, _ = conn.Close(), server.Close() }()
		start := time.Now()
		done := l.guard(conn, time.Second)
		_, err := conn.Read(make([]byte, 1))
		if took := time.Since(start); !isTimeout(err) || took != time.Second {
			t.Errorf("what it waited for ended after %v, with error %v", took, err)
		}
		if !done() {
			t.Error("it does not say that the time was over")
		}
		again, other := net.Pipe()
		defer func() { _, _ = again.Close(), other.Close() }()
		if done := l.guard(again, time.Minute); done() {
			t.Error("it says that the time was over")
		}
	})
}
