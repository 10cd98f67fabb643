package main

import (
	"context"
	"errors"
	"fmt"
)

// handles is how often the store is opened: several processes would save as well.
const handles = 4

// watched is what a reader saw that followed the log while others saved.
type watched struct {
	stored int // events
	lost   int // those of them that the reader did not see, and will not see
}

// watch has 64 goroutines save a number of events each, while a reader follows the log:
// it reads to the end, and then again from behind the last event that it has seen, until
// all is saved and read. What a reader that begins only then finds, is what is stored.
func watch(ctx context.Context, p places, l library, k kind, each int) (w watched, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stores, done, err := p.openSeveral(ctx, l, k, handles)
	if err != nil {
		return watched{}, err
	}
	defer func() { err = errors.Join(err, done()) }()
	reader, ok := stores[0].(logged)
	if !ok {
		return watched{}, fmt.Errorf("%s on %s has no order of events", l.name, k)
	}
	finished := make(chan error, 1)
	go func() {
		finished <- together(writers, func(i int) error {
			var s saver
			s.prepare(each)
			return s.save(ctx, stores[i%handles], each)
		})
	}()
	limit := writers * each
	seen := make(map[int64]bool)
	read := reader.follow(limit)
	for running := true; running && err == nil; {
		select {
		case err = <-finished:
			running = false
		default:
		}
		if err == nil {
			err = read(ctx, func(position int64) { seen[position] = true })
		}
		if err != nil && running {
			cancel()
			err = errors.Join(err, <-finished)
		}
	}
	if err != nil {
		return watched{}, err
	}
	err = reader.follow(limit)(ctx, func(position int64) {
		w.stored++
		if !seen[position] {
			w.lost++
		}
	})
	if err == nil && w.stored != limit {
		err = fmt.Errorf("%s on %s: %d events are stored, want %d", l.name, k, w.stored, limit)
	}
	return w, err
}
