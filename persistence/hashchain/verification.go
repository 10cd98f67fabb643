package hashchain

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/annals-es/annals/persistence"
)

const (
	// A worker gets so many events at a time, and has so many times as many ahead.
	jobEvents = 256
	jobsAhead = 4
	// A round is so many events, or so many bytes of state. When it is read, the
	// digest follows the round before, which the workers are then likely to have
	// hashed: no more than two rounds are in memory at a time.
	roundEvents = 16 * jobEvents
	roundBytes  = 4 << 20
	// A buffer of a job that is longer is not used again.
	keptBytes = 512 << 10
)

// verification is one call of Verify. The goroutine that called it reads, copies
// what is to be hashed into jobs, and makes the digest of the log. Each stream
// belongs to one of the workers, which follow its chain.
type verification struct {
	cfg     *Config
	workers []worker
	running sync.WaitGroup
	streams map[string]*stream
	heads   []*expected
	noted   map[string][]*expected // heads, by their streams
	free    chan []byte            // buffers of jobs, to be used again
	digest  digest
	report  Report
	last    int64 // the position of the event before
}

// stream is what is known of a stream while its chain is followed.
type stream struct {
	chain

	id     string
	worker *worker
	noted  []*expected
}

// worker follows the chains of some of the streams.
type worker struct {
	jobs         chan *job
	next         *job // is being filled
	problems     []Problem
	found        int64
	hashed       int64
	lastUnhashed int64
}

// job is a number of events for one worker.
type job struct {
	events []event
	buf    []byte
	done   chan struct{} // closed when all are hashed
	isDone bool          // seen by the digest
}

// event is what a worker needs of an event. In the buffer of its job are its form,
// and then the hash that is stored with it.
type event struct {
	stream           *stream
	version          int64
	position         int64
	start, form, end int        // in the buffer
	hash             [Size]byte // as computed
}

// expected is a head that was noted.
type expected struct {
	Head

	wrong Kind // what is wrong as long as it is not met
}

func expect(noted []Head) []*expected {
	heads := make([]*expected, len(noted))
	for i, h := range noted {
		heads[i] = &expected{Head: h, wrong: Cut}
		if h == (Head{StreamID: h.StreamID}) {
			heads[i].wrong = "" // there was no such stream
		}
	}
	return heads
}

// meet compares the head with an event of its stream.
func (h *expected) meet(version int64, hash [Size]byte) {
	if h.Version != version {
		return
	}
	h.wrong = Replaced
	if h.Hash == hash {
		h.wrong = ""
	}
}

func newVerification(cfg *Config) *verification {
	n := cfg.Workers
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	v := &verification{
		cfg: cfg, workers: make([]worker, n), streams: make(map[string]*stream),
		heads: expect(cfg.Heads), noted: make(map[string][]*expected),
		free: make(chan []byte, n*(jobsAhead+1)), digest: newDigest(cfg.Log),
	}
	for _, h := range v.heads {
		v.noted[h.StreamID] = append(v.noted[h.StreamID], h)
	}
	return v
}

// read reads the log up to a position, and returns when all of it is hashed.
func (v *verification) read(ctx context.Context, r persistence.LogRecorder, last int64) error {
	for i := range v.workers {
		w := &v.workers[i]
		w.jobs = make(chan *job, jobsAhead)
		v.running.Go(func() { w.run(v) })
	}
	defer func() { // also if the recorder or Progress panics
		for i := range v.workers {
			close(v.workers[i].jobs)
		}
		v.running.Wait()
	}()
	var now, before []place // the present round, and the one before
	bytes := 0
	flush := func(position int64) {
		bytes = 0
		for i := range v.workers {
			v.workers[i].send()
		}
		v.digest.follow(before)
		now, before = before[:0], now
		if v.cfg.Progress != nil {
			v.cfg.Progress(Progress{Position: position, Last: last, Events: v.report.Events})
		}
	}
	for n, err := range r.ReadLog(ctx, persistence.LogQuery{UpTo: last, Hash: true}) {
		if err != nil {
			flush(v.last)
			return err
		}
		now = append(now, v.add(&n))
		if bytes += len(n.State); len(now) == roundEvents || bytes >= roundBytes {
			flush(n.Position)
		}
	}
	flush(last)
	v.digest.follow(before)
	return nil
}

// place is where an event is.
type place struct {
	job *job
	i   int
}

// add puts an event into the next job of its stream's worker.
func (v *verification) add(n *persistence.Notification) place {
	v.report.Events++
	if n.Position <= max(v.last, 0) {
		v.report.add(Problem{Kind: Inserted, StreamID: n.StreamID, Version: n.Version, Position: n.Position})
	}
	v.last = n.Position
	s := v.streams[n.StreamID]
	if s == nil {
		s = &stream{id: n.StreamID, worker: &v.workers[len(v.streams)%len(v.workers)], noted: v.noted[n.StreamID]}
		v.streams[n.StreamID] = s
	}
	w := s.worker
	if w.next == nil {
		w.next = &job{events: make([]event, 0, jobEvents), done: make(chan struct{})}
		select {
		case w.next.buf = <-v.free:
		default:
		}
	}
	j := w.next
	e := event{stream: s, version: n.Version, position: n.Position, start: len(j.buf)}
	j.buf = appendRoom(j.buf, &n.StoredEvent)
	e.form = len(j.buf)
	j.buf = append(j.buf, n.Hash...)
	e.end = len(j.buf)
	j.events = append(j.events, e)
	at := place{j, len(j.events) - 1}
	if len(j.events) == jobEvents {
		w.send()
	}
	return at
}

func (w *worker) send() {
	if w.next != nil {
		w.jobs <- w.next
		w.next = nil
	}
}

func (w *worker) run(v *verification) {
	for j := range w.jobs {
		for i := range j.events {
			w.hash(j.buf, &j.events[i], v.cfg.HashedFrom)
		}
		if cap(j.buf) <= keptBytes {
			select {
			case v.free <- j.buf[:0]:
			default:
			}
		}
		j.buf = nil
		close(j.done)
	}
}

func (w *worker) hash(buf []byte, e *event, from int64) {
	s := e.stream
	stored, must := buf[e.form:e.end], s.hashed
	if from > 0 {
		must = e.position >= from
	}
	var wrong Kind
	e.hash, wrong = s.next(e.version, stored, buf[e.start:e.form], must)
	if wrong != "" {
		if w.found++; len(w.problems) < maxProblems {
			w.problems = append(w.problems, Problem{wrong, s.id, e.version, e.position})
		}
	}
	if len(stored) > 0 {
		w.hashed++
	} else {
		w.lastUnhashed = e.position
	}
	for _, h := range s.noted {
		h.meet(e.version, e.hash)
	}
}

// result returns the report on what was read.
func (v *verification) result() Report {
	report := v.report
	report.Streams = int64(len(v.streams))
	report.Head = v.digest.head()
	problems := report.Problems
	for i := range v.workers {
		w := &v.workers[i]
		report.Hashed += w.hashed
		report.LastUnhashed = max(report.LastUnhashed, w.lastUnhashed)
		report.Found += w.found
		problems = append(problems, w.problems...)
	}
	report.Unhashed = report.Events - report.Hashed
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Position, b.Position) })
	report.Problems = problems[:min(len(problems), maxProblems)]
	return report
}

// compare adds the heads that were noted and are other ones now.
func (v *verification) compare(report *Report) {
	report.addHeads(v.heads)
	if log := v.cfg.Log; log != nil && *log != (LogHead{}) && !v.digest.met {
		kind := Replaced
		if report.Head.Position < log.Position {
			kind = Cut
		}
		report.add(Problem{Kind: kind, Position: log.Position})
	}
}
