// Package projectiontest is the suite of projections: what they promise, shown for an
// application's log on one database and a view on another, or the same, by processes that
// are killed and connections that are cut.
package projectiontest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/internal/child"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/projection"
)

// Row is a row of the view: an account, and which of its events was the last.
type Row struct{ Version, Balance int64 }

// Recorder is the log of the application.
type Recorder interface {
	persistence.Recorder
	io.Closer
}

// Backend is a log and a view.
type Backend[Tx any] struct {
	// Name names the backend, and is that of no other one of the test's program.
	Name string

	// CreateLog makes an empty store of events, and returns its address; OpenLog opens it.
	CreateLog func(tb testing.TB) (address string)
	OpenLog   func(ctx context.Context, address string) (Recorder, error)

	// CreateView makes an empty view, and returns its address; OpenView opens it. Nil: its
	// address is that of the log.
	CreateView func(tb testing.TB) (address string)
	OpenView   func(ctx context.Context, address string) (v persistence.View[Tx], end func(), err error)

	// Get reads a row, in a transaction, Put writes one.
	Get func(ctx context.Context, tx Tx, id string) (Row, error)
	Put func(ctx context.Context, tx Tx, id string, r Row) error

	// Rows returns what is committed.
	Rows func(ctx context.Context, v persistence.View[Tx]) (map[string]Row, error)

	// Processes says that other processes can open the addresses.
	Processes bool

	// Cut, if not nil, ends all connections to the servers of log and view.
	Cut func(tb testing.TB, address string)
}

// Account is the aggregate whose events are projected.
type Account struct {
	annals.Aggregate

	Balance int64
}

type (
	// Opened is the first event of an account. No handler wants it.
	Opened struct{ Owner string }
	// Deposited changes the balance.
	Deposited struct{ Cents int64 }
)

// Apply is what the event does to the aggregate.
func (Opened) Apply(*Account) {}

// Apply is what the event does to the aggregate.
func (e Deposited) Apply(a *Account) { a.Balance += e.Cents }

// Accounts are the aggregates.
var Accounts = annals.Define("Account", annals.On[Opened]("Opened"), annals.On[Deposited]("Deposited"))

// define returns the projection. Its handler fails if an event comes twice, or before the
// one that goes ahead of it.
func (b *Backend[Tx]) define(parts ...projection.Part[Tx]) *projection.Projection[Tx] {
	return projection.Define("balances", append(parts, projection.On(b.add))...)
}

func (b *Backend[Tx]) add(ctx context.Context, tx Tx, e Deposited, env annals.Event) error {
	r, err := b.Get(ctx, tx, env.StreamID)
	if err != nil {
		return err
	}
	if r.Version == 0 {
		r.Version = 1 // Opened
	}
	if env.Version != r.Version+1 {
		return fmt.Errorf("version %d of %s comes behind version %d", env.Version, env.StreamID, r.Version)
	}
	return b.Put(ctx, tx, env.StreamID, Row{env.Version, r.Balance + e.Cents})
}

// store is a backend in use by a test, or by its child process.
type store[Tx any] struct {
	*Backend[Tx]

	log, view string // the addresses
	app       *application.Application
	accounts  *application.Repository[Account]
	v         persistence.View[Tx]
	ends      []func()
}

func (b *Backend[Tx]) create(tb testing.TB) *store[Tx] {
	tb.Helper()
	s := &store[Tx]{Backend: b, log: b.CreateLog(tb)}
	s.view = s.log
	if b.CreateView != nil {
		s.view = b.CreateView(tb)
	}
	if err := s.open(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.close)
	return s
}

func (s *store[Tx]) open(ctx context.Context) error {
	r, err := s.OpenLog(ctx, s.log)
	if err != nil {
		return err
	}
	s.ends = append(s.ends, func() { _ = r.Close() })
	if s.app, err = application.Open(ctx, "bank", application.WithRecorder(r)); err != nil {
		return err
	}
	s.ends = append(s.ends, func() { _ = s.app.Close() })
	s.accounts = application.NewRepository(s.app, Accounts)
	v, end, err := s.OpenView(ctx, s.view)
	if err == nil {
		s.v, s.ends = v, append(s.ends, end)
	}
	return err
}

func (s *store[Tx]) close() {
	for _, end := range slices.Backward(s.ends) {
		end()
	}
	s.ends = nil
}

// deposit saves an event to an account, the first time also that it is opened, and returns
// its position.
func (s *store[Tx]) deposit(ctx context.Context, id string, cents int64) (int64, error) {
	var at int64
	err := s.app.Retry(ctx, func(ctx context.Context) error {
		a, err := s.accounts.GetOrNew(ctx, id, func() *Account { return Accounts.New(id, Opened{Owner: "Ada"}) })
		if err != nil {
			return err
		}
		annals.Trigger(a, Deposited{Cents: cents})
		recordings, err := s.app.Save(ctx, a)
		at = recordings.Position()
		return err
	})
	return at, err
}

// fold returns what the view must be: the events of the log, one by one.
func (s *store[Tx]) fold(ctx context.Context) (map[string]Row, error) {
	all := make(map[string]Row)
	for n, err := range s.app.Notifications(ctx) {
		if err != nil {
			return nil, err
		}
		if e, ok := n.Event.Data.(Deposited); ok {
			all[n.Event.StreamID] = Row{n.Event.Version, all[n.Event.StreamID].Balance + e.Cents}
		}
	}
	return all, nil
}

// same fails unless the view is the fold of the log.
func (s *store[Tx]) same(tb testing.TB) {
	tb.Helper()
	want, err := s.fold(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	have, err := s.Rows(tb.Context(), s.v)
	for tries := 0; errors.Is(err, persistence.ErrUnavailable) && tries < 20; tries++ { // connections that were cut
		have, err = s.Rows(tb.Context(), s.v)
	}
	if err != nil {
		tb.Fatal(err)
	}
	if len(have) != len(want) {
		tb.Errorf("the view has %d rows, and should have %d", len(have), len(want))
	}
	for id, r := range want {
		if have[id] != r {
			tb.Errorf("%s is %+v, and should be %+v", id, have[id], r)
		}
	}
}

func (s *store[Tx]) start(tb testing.TB, opts ...projection.Option) *projection.Runner[Tx] {
	tb.Helper()
	return s.startOf(tb, s.define(), opts...)
}

func (s *store[Tx]) startOf(tb testing.TB, p *projection.Projection[Tx], opts ...projection.Option) *projection.Runner[Tx] {
	tb.Helper()
	r, err := projection.Start(context.WithoutCancel(tb.Context()), s.app, p, s.v, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Stop() })
	return r
}

func wait[Tx any](tb testing.TB, r *projection.Runner[Tx], position int64) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Minute)
	defer cancel()
	if err := r.Wait(ctx, position); err != nil {
		tb.Fatalf("%v; status %+v", err, r.Status())
	}
}

// How a child process is told what it is to do.
const (
	envChild      = "ANNALS_PROJECTIONTEST_CHILD"
	envLog        = "ANNALS_PROJECTIONTEST_LOG"
	envView       = "ANNALS_PROJECTIONTEST_VIEW"
	envPartitions = "ANNALS_PROJECTIONTEST_PARTITIONS"
)

// Child plays the child process of a test, if this process is one; then it ends the
// process. A test's program with this suite calls it first, for each backend.
func Child[Tx any](b Backend[Tx]) {
	if os.Getenv(envChild) != b.Name {
		return
	}
	if err := b.child(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:revive // a test's program calls it first
	}
	os.Exit(0) //nolint:revive // as above
}

// lease is short in tests, so that a process that was killed is not waited for.
const lease = 60 * time.Millisecond

// child runs the projection until its parent is gone, and says a line for each
// transaction.
func (b *Backend[Tx]) child() error {
	s := &store[Tx]{Backend: b, log: os.Getenv(envLog), view: os.Getenv(envView)}
	ctx, cancel := child.Context()
	defer cancel()
	if err := s.open(ctx); err != nil {
		return err
	}
	defer s.close()
	partitions := 1
	_, _ = fmt.Sscan(os.Getenv(envPartitions), &partitions)
	r, err := projection.Start(ctx, s.app, s.define(), s.v, projection.WithLease(lease), projection.WithPartitions(partitions),
		projection.WithBatch(20, time.Second), projection.WithFailures(1, 0, 0, projection.Stop),
		projection.WithHook(func(st projection.Status) { _, _ = fmt.Fprintln(os.Stdout, "at", st.Position) }))
	if err != nil {
		return err
	}
	<-r.Done()
	return r.Err()
}

// spawn starts a child process.
func (s *store[Tx]) spawn(tb testing.TB, partitions int) *child.Process {
	tb.Helper()
	return child.Spawn(tb, envChild+"="+s.Name, envLog+"="+s.log, envView+"="+s.view, fmt.Sprintf("%s=%d", envPartitions, partitions))
}
