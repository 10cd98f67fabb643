// Package systemtest is the suite of systems: what they promise, shown for random graphs of
// applications, and for applications whose events are on one kind of database, in one
// process and in several, which are killed.
package systemtest

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/system"
)

// Recorder is where the events of an application are.
type Recorder interface {
	persistence.Recorder
	io.Closer
}

// Backend is a kind of recorder.
type Backend struct {
	// Name names the backend, and is that of no other one of the test's program.
	Name string

	// Create makes an empty store of events for each of the applications, and returns their
	// addresses.
	Create func(tb testing.TB, applications ...string) []string

	// Open opens a store. It may be called several times for one address.
	Open func(ctx context.Context, address string) (Recorder, error)

	// Processes says that other processes can open the addresses.
	Processes bool
}

// Migrate makes the tables of a recorder that was opened for that, and closes it.
func Migrate(tb testing.TB, r interface {
	persistence.Migrator
	io.Closer
}, err error,
) {
	tb.Helper()
	if err == nil {
		err = errors.Join(r.Migrate(tb.Context()), r.Close())
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// Memory is the backend that every other is compared with.
func Memory() Backend {
	stores := make(chan map[string]*memory.Recorder, 1)
	stores <- make(map[string]*memory.Recorder)
	return Backend{
		Name: "memory",
		Create: func(tb testing.TB, applications ...string) []string {
			tb.Helper()
			all := <-stores
			defer func() { stores <- all }()
			addresses := make([]string, len(applications))
			for i, name := range applications {
				addresses[i] = tb.Name() + "/" + name
				all[addresses[i]] = memory.New()
			}
			return addresses
		},
		Open: func(_ context.Context, address string) (Recorder, error) {
			all := <-stores
			defer func() { stores <- all }()
			return shared{all[address]}, nil
		},
	}
}

// shared is a recorder that stays open.
type shared struct{ *memory.Recorder }

// Close does nothing.
func (shared) Close() error { return nil }

// stores are the recorders of a system's applications.
type stores struct {
	names []string
	all   []Recorder
}

func (b *Backend) open(ctx context.Context, names, addresses []string) (*stores, error) {
	s := &stores{names: names}
	for _, address := range addresses {
		r, err := b.Open(ctx, address)
		if err != nil {
			s.close()
			return nil, err
		}
		s.all = append(s.all, r)
	}
	return s, nil
}

func (s *stores) close() {
	for _, r := range s.all {
		_ = r.Close()
	}
}

// options give each application its recorder.
func (s *stores) options(members []system.Member) []system.Option {
	opts := make([]system.Option, len(members))
	for i, m := range members {
		opts[i] = system.WithApplication(m, application.WithRecorder(s.all[i]))
	}
	return opts
}

// runAt runs a system until the test ends.
func (b *Backend) runAt(
	tb testing.TB, names, addresses []string, members []system.Member,
	run func(context.Context, *system.System, ...system.Option) (*system.Runner, error), s *system.System, opts ...system.Option,
) *system.Runner {
	tb.Helper()
	recorders, err := b.open(tb.Context(), names, addresses)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := run(tb.Context(), s, append(recorders.options(members), opts...)...)
	if err != nil {
		recorders.close()
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ended := r.Err() != nil // as the test wanted it
		if err := r.Stop(); err != nil && !ended {
			tb.Error(err)
		}
		recorders.close()
	})
	return r
}

// rounds returns n, or 20 times n when soaking.
func rounds(n int) int {
	if os.Getenv("ANNALS_SOAK") == "1" {
		return 20 * n
	}
	return n
}
