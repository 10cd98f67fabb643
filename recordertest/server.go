package recordertest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Server is a database server that one check has for itself, with an empty store.
type Server struct {
	// Address is the address of the store.
	Address string
	// Target is where the server listens: "host:port".
	Target string
	// Through returns the address of the same store on a server that listens
	// elsewhere: at "host:port".
	Through func(target string) (address string)
	// Disconnect has the server end all connections to it but its own.
	Disconnect func(ctx context.Context) error
	// Crash ends all processes of the server by SIGKILL, and starts it again, in the
	// same place. It returns when the server takes connections.
	Crash func(ctx context.Context) error
}

func serverChecks() []check {
	needs := Features{Server: true, Durable: true, Processes: true, Transactions: true}
	return []check{
		{"connections that the server ends lose nothing and store nothing twice", "B20, B27, B29, B40", needs, checkDisconnect},
		{"a server that is killed and started again has what was acknowledged", "B20, B27, B29, B40", needs, checkCrash},
		{"connections that are cut lose nothing and store nothing twice", "B20, B27, B29, B40", needs, checkCut},
		{"answers that are lost after the commit store nothing twice", "B20, B27, B29, B40", needs, checkAnswersLost},
		{"answers that are late change nothing", "B20, B27, B29", needs, checkAnswersLate},
	}
}

func checkDisconnect(t *testing.T, s *store) {
	server := s.server(t)
	s.disturb(t, server.Address, rounds(20), server.Disconnect)
}

func checkCrash(t *testing.T, s *store) {
	server := s.server(t)
	s.disturb(t, server.Address, rounds(3), server.Crash)
}

func checkCut(t *testing.T, s *store) {
	server := s.server(t)
	p := newProxy(t, server.Target)
	s.disturb(t, server.Through(p.address()), rounds(20), func(context.Context) error { p.cut(); return nil })
}

func checkAnswersLost(t *testing.T, s *store) {
	server := s.server(t)
	p := newProxy(t, server.Target)
	s.disturb(t, server.Through(p.address()), rounds(20), p.loseAnswers)
}

func checkAnswersLate(t *testing.T, s *store) {
	server := s.server(t)
	p := newProxy(t, server.Target)
	s.disturb(t, server.Through(p.address()), rounds(20), p.delayAnswers)
}

func (s *store) server(t *testing.T) Server {
	t.Helper()
	if s.backend.Server == nil {
		t.Fatal("Features.Server is true, and there is no Server to test it with")
	}
	server := s.backend.Server(t)
	s.address = server.Address
	return server
}

// disturbedWriters is how many goroutines save while a server is treated badly.
const disturbedWriters = 8

// disturbed is a load that goes on until the server was disturbed a number of times.
type disturbed struct {
	t    *testing.T
	s    *store
	acks chan struct{} // tells of acknowledged saves
	over atomic.Bool   // the writers may end
	own  atomic.Int64  // saves with a statement of the user's own
}

// disturb has writers save, each a batch again and again until it is acknowledged, and
// followers follow, while the server is disturbed: after every few saves, a number of
// times. Then each batch has to be there once, and the followers have to have seen the
// log, without an error.
func (s *store) disturb(t *testing.T, address string, times int, disturbance func(ctx context.Context) error) {
	t.Helper()
	ctx := s.context(t)
	direct := s.open(ctx, t)
	s.address = address
	r, other := s.open(ctx, t), s.open(ctx, t)
	d := &disturbed{t: t, s: s, acks: make(chan struct{}, 1024)}
	type result struct {
		seen []persistence.Notification
		err  error
	}
	followers := []func() result{
		background(func() result { seen, err := follow(ctx, r, 0); return result{seen, err} }),
		background(func() result { seen, err := poll(ctx, other); return result{seen, err} }),
	}
	disturbing := background(func() error {
		defer d.over.Store(true)
		for range times {
			for range 2 * disturbedWriters {
				select {
				case <-d.acks:
				case <-ctx.Done():
					return fmt.Errorf("the writers get nowhere: %w", ctx.Err())
				}
			}
			if err := disturbance(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	batches := make([][][]persistence.StoredEvent, disturbedWriters)
	together(disturbedWriters, func(i int) { batches[i] = d.write(ctx, []Recorder{r, other}[i%2], i) })
	if err := disturbing(); err != nil {
		t.Error(err)
	}
	d.save(ctx, direct, batch(event(endStream, 1)))
	d.check(ctx, direct, batches)
	for i, wait := range followers {
		got := wait()
		if got.err != nil {
			t.Errorf("follower %d: %v", i, got.err)
		}
		equal(t, fmt.Sprintf("what follower %d saw", i), got.seen, readLog(ctx, t, direct, persistence.LogQuery{}))
	}
}

// ownKey is the key of the rows that are written with saves.
const ownKey = "disturbed"

// errOwn: the user's own statement failed, and nothing is stored.
var errOwn = errors.New("own statement")

// write saves until it is over, and returns the events of its batches.
func (d *disturbed) write(ctx context.Context, r Recorder, writer int) (all [][]persistence.StoredEvent) {
	var versions [2]int64
	for n := 1; !d.over.Load() && ctx.Err() == nil; n++ {
		b := crashBatch("disturbed", writer, n, versions)
		if n%3 == 0 { // and with a statement of the user's own
			b.Do = func(ctx context.Context, tx any) error {
				if err := d.s.backend.Statements.Insert(ctx, tx, ownKey); err != nil {
					return errors.Join(errOwn, err)
				}
				return nil
			}
			d.own.Add(1)
		}
		if !d.save(ctx, r, b) {
			return all
		}
		all = append(all, b.Events)
		versions[0] += 2
		versions[1]++
		select {
		case d.acks <- struct{}{}:
		default:
		}
	}
	return all
}

// save saves a batch, again and again until it is acknowledged.
func (d *disturbed) save(ctx context.Context, r Recorder, b persistence.Batch) bool {
	for ctx.Err() == nil {
		_, err := r.Record(ctx, b)
		switch {
		case err == nil:
			return true
		case errors.Is(err, annals.ErrOutcomeUnknown), errors.Is(err, persistence.ErrUnavailable), errors.Is(err, persistence.ErrBusy),
			errors.Is(err, errOwn): // once more
		default:
			d.t.Errorf("a save of %s: %v", brief(b.Events[0]), err)
			return false
		}
	}
	d.t.Errorf("a save of %s is not acknowledged: %v", brief(b.Events[0]), ctx.Err())
	return false
}

// check checks that each batch is there once, whole, and in order, with its tracking
// and its row, and nothing else.
func (d *disturbed) check(ctx context.Context, r Recorder, batches [][][]persistence.StoredEvent) {
	d.t.Helper()
	log := readLog(ctx, d.t, r, persistence.LogQuery{})
	checkLog(d.t, log)
	want := 1 // endStream
	var all [][]persistence.StoredEvent
	for writer, own := range batches {
		all = append(all, own...)
		for _, b := range own {
			want += len(b)
		}
		if position, _ := maxTracking(ctx, d.t, r, crashTracking("disturbed", writer)); position != int64(len(own)) {
			d.t.Errorf("writer %d: the tracking says %d, and %d batches were acknowledged", writer, position, len(own))
		}
	}
	if len(log) != want {
		d.t.Errorf("the log has %d events, want %d", len(log), want)
	}
	for id, there := range checkContiguous(d.t, log, all) {
		if !there {
			d.t.Errorf("%s was acknowledged, and is not there", id)
		}
	}
	rows, err := d.s.backend.Statements.Count(ctx, d.s.address, ownKey)
	if err != nil || rows != int(d.own.Load()) {
		d.t.Errorf("there are %d rows of the user's own (error %v), and %d saves had one", rows, err, d.own.Load())
	}
	d.t.Logf("%d batches, %d rows of the user's own", len(all), rows)
}
