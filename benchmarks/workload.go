package main

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/compare"
)

const (
	writers      = 64
	streamLength = 10  // how many events an account gets, before who saves opens another one
	loadedLength = 100 // how many an account has that is loaded, and one of the log that is scanned
	loadStreams  = 21  // the events of a loaded account lie among those of 20 others
)

// size is how much is done in a round.
type size struct {
	save1   int // saves of the one goroutine
	save64  int // saves of each of 64
	load    int // loads
	streams int // accounts of the log that is scanned
}

// size returns what every library does alike. Rounds are short, so that there can be
// many turns: on a disk that others use as well, no other way gives figures that come
// out alike twice.
func (k kind) size() size {
	if k == inMemory {
		return size{save1: 5_000, save64: 100, load: 100, streams: 50}
	}
	return size{save1: 40, save64: 10, load: 40, streams: 50}
}

// opener opens a new store. Done closes and removes it.
type opener func(ctx context.Context) (s store, done func() error, err error)

// workload is what every library does.
type workload struct {
	name string
	unit string // what is counted
	// side has a library do it, on a store that it opens. Fresh: on a new one in every
	// round. It returns no Round if the library cannot do it.
	side func(ctx context.Context, open opener, fresh bool, z size) (side compare.Side, done func() error, err error)
}

func save1() workload {
	return workload{
		name: "save, 1 goroutine", unit: "events/s",
		side: func(ctx context.Context, open opener, fresh bool, z size) (compare.Side, func() error, error) {
			return saves(ctx, open, fresh, make([]saver, 1), z.save1)
		},
	}
}

func save64() workload {
	return workload{
		name: "save, 64 goroutines", unit: "events/s",
		side: func(ctx context.Context, open opener, fresh bool, z size) (compare.Side, func() error, error) {
			return saves(ctx, open, fresh, make([]saver, writers), z.save64)
		},
	}
}

func load100() workload { return workload{name: "load, 100 events", unit: "loads/s", side: loads} }

func scanLog() workload { return workload{name: "scan of the log", unit: "events/s", side: scans} }

// workloads returns all of them.
func workloads() []workload { return []workload{save1(), save64(), load100(), scanLog()} }

// saver saves single events, to one account after another.
type saver struct {
	ids     []string // of the accounts that it will open
	account account  // the one that it has opened last
	events  int      // of that account
}

// prepare makes the ids that n saves may need.
func (s *saver) prepare(n int) {
	for range n/streamLength + 1 - len(s.ids) {
		s.ids = append(s.ids, annals.NewID())
	}
}

// save saves n events, one by one.
func (s *saver) save(ctx context.Context, to store, n int) (err error) {
	opened, moved := newOpened(), newMoved()
	for range n {
		if s.account == nil || s.events == streamLength {
			if s.account, err = to.open(s.ids[0], &opened); err != nil {
				return err
			}
			s.ids, s.events = s.ids[1:], 0
		} else {
			s.account.pay(&moved)
		}
		s.events++
		if err := to.save(ctx, s.account); err != nil {
			return err
		}
	}
	return nil
}

// saves has each of the savers, in a goroutine of its own, save a number of events.
func saves(ctx context.Context, open opener, fresh bool, savers []saver, each int) (compare.Side, func() error, error) {
	s, done, err := open(ctx)
	if err != nil {
		return compare.Side{}, nil, err
	}
	side := compare.Side{Events: len(savers) * each}
	side.Prepare = func() {
		if fresh {
			err = done()
			done = func() error { return nil }
			clear(savers)
			if err == nil {
				s, done, err = open(ctx)
			}
		}
		for i := range savers {
			savers[i].prepare(each)
		}
		runtime.GC() // what another side has left is not to be paid for by this one
	}
	side.Round = func() error {
		if err != nil {
			return err
		}
		return together(len(savers), func(i int) error { return savers[i].save(ctx, s, each) })
	}
	return side, func() error { return done() }, nil
}

// together runs f in n goroutines.
func together(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// loads has one account loaded again and again.
func loads(ctx context.Context, open opener, _ bool, z size) (compare.Side, func() error, error) {
	s, done, err := open(ctx)
	if err != nil {
		return compare.Side{}, nil, err
	}
	ids, err := fill(ctx, s, loadStreams)
	if err != nil {
		return compare.Side{}, nil, errors.Join(err, done())
	}
	return compare.Side{Events: z.load, Prepare: runtime.GC, Round: func() error {
		for range z.load {
			a, err := s.load(ctx, ids[0])
			if err != nil {
				return err
			}
			if err := a.state().check(loadedLength); err != nil {
				return err
			}
		}
		return nil
	}}, done, nil
}

// scans has the whole log read.
func scans(ctx context.Context, open opener, _ bool, z size) (compare.Side, func() error, error) {
	s, done, err := open(ctx)
	if err != nil {
		return compare.Side{}, nil, err
	}
	l, ok := s.(logged)
	if !ok {
		return compare.Side{}, done, nil
	}
	if _, err := fill(ctx, s, z.streams); err != nil {
		return compare.Side{}, nil, errors.Join(err, done())
	}
	n := z.streams * loadedLength
	return compare.Side{Events: n, Prepare: runtime.GC, Round: func() error { return scan(ctx, l, n) }}, done, nil
}

// fill saves accounts of a hundred events each, whose events lie in the log in turn, ten
// by ten. It returns their ids.
func fill(ctx context.Context, s store, streams int) ([]string, error) {
	opened, moved := newOpened(), newMoved()
	ids, accounts := make([]string, streams), make([]account, streams)
	for n := 0; n < loadedLength; n += streamLength {
		for i := range accounts {
			events := streamLength
			if n == 0 {
				var err error
				ids[i] = annals.NewID()
				if accounts[i], err = s.open(ids[i], &opened); err != nil {
					return nil, err
				}
				events--
			}
			for range events {
				accounts[i].pay(&moved)
			}
			if err := s.save(ctx, accounts[i]); err != nil {
				return nil, err
			}
		}
	}
	return ids, nil
}
