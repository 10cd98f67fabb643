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
	jobEvents = 512
	jobsAhead = 4
	// A round is so many events, or so many bytes of state. When it is read, the
	// digest follows the round before, which the workers are then likely to have
	// hashed: no more than two rounds are in memory at a time.
	roundEvents = 8 * jobEvents
	roundBytes  = 4 << 20
	// A buffer that is longer is not used again.
	keptBytes = 512 << 10
)

// verification is one call of Verify. The goroutine that called it reads, deals out
// the events in jobs, and makes the digest of the log. Each stream belongs to one of
// the workers, which follow its chain.
type verification struct {
	cfg     *Config
	known   map[int64]bool // Config.Unhashed
	workers []*worker
	filling []*job // the next job of each worker; nil if it has no event yet
	free    []*job // to be used again
	running sync.WaitGroup
	streams map[string]route
	heads   []*expected
	noted   map[string][]*expected // heads, by their streams
	digest  digest
	report  Report
	last    int64 // the position of the event before
}

// route says which worker follows the chain of a stream. It is apart from what that
// worker changes, so that the goroutine that reads does not wait for memory that
// another one has just written.
type route struct {
	stream *stream
	worker int
}

// stream is what is known of a stream while its chain is followed.
type stream struct {
	chain

	noted []*expected
}

// worker follows the chains of some of the streams.
type worker struct {
	jobs         chan *job
	buf          []byte // what is hashed of the present event
	problems     []Problem
	found        int64
	hashed       int64
	lastUnhashed int64
}

// job is a number of events for one worker. It is used again when the digest has
// followed them all.
type job struct {
	events []event
	hashes [][Size]byte  // as computed; apart, because the digest needs nothing else
	done   chan struct{} // gets one value, when all are hashed
	isDone bool          // seen by the digest
	left   int           // events that the digest has not followed
}

// event is an event of a job.
type event struct {
	persistence.Notification

	stream *stream
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
		cfg: cfg, known: make(map[int64]bool), workers: make([]*worker, n), filling: make([]*job, n), streams: make(map[string]route),
		heads: expect(cfg.Heads), noted: make(map[string][]*expected), digest: newDigest(cfg.Log),
	}
	for _, position := range cfg.Unhashed {
		v.known[position] = true
	}
	for i := range v.workers {
		v.workers[i] = &worker{jobs: make(chan *job, jobsAhead)}
	}
	for _, h := range v.heads {
		v.noted[h.StreamID] = append(v.noted[h.StreamID], h)
	}
	return v
}

// read reads the log up to a position, and returns when all of it is hashed.
func (v *verification) read(ctx context.Context, r persistence.LogRecorder, last int64) error {
	for _, w := range v.workers {
		v.running.Go(func() { w.run(v) })
	}
	defer func() { // also if the recorder or Progress panics
		for _, w := range v.workers {
			close(w.jobs)
		}
		v.running.Wait()
	}()
	var now, before []place // the present round, and the one before
	bytes := 0
	flush := func(position int64) {
		bytes = 0
		for i := range v.workers {
			v.send(i)
		}
		v.follow(before)
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
	v.follow(before)
	return nil
}

// place is where an event is.
type place struct {
	job      *job
	i        int
	position int64
}

// add puts an event into the next job of its stream's worker.
func (v *verification) add(n *persistence.Notification) place {
	v.report.Events++
	if n.Position <= max(v.last, 0) {
		v.report.add(Problem{Kind: Inserted, StreamID: n.StreamID, Version: n.Version, Position: n.Position})
	}
	v.last = n.Position
	to, ok := v.streams[n.StreamID]
	if !ok {
		to = route{&stream{noted: v.noted[n.StreamID]}, len(v.streams) % len(v.workers)}
		v.streams[n.StreamID] = to
	}
	j := v.filling[to.worker]
	if j == nil {
		j = v.job()
		v.filling[to.worker] = j
	}
	j.events = append(j.events, event{Notification: *n, stream: to.stream})
	at := place{j, len(j.events) - 1, n.Position}
	if len(j.events) == jobEvents {
		v.send(to.worker)
	}
	return at
}

// job returns an empty job.
func (v *verification) job() *job {
	if n := len(v.free); n > 0 {
		j := v.free[n-1]
		v.free = v.free[:n-1]
		return j
	}
	return &job{events: make([]event, 0, jobEvents), hashes: make([][Size]byte, jobEvents), done: make(chan struct{}, 1)}
}

// send gives a worker the job that was filled for it.
func (v *verification) send(worker int) {
	if j := v.filling[worker]; j != nil {
		v.filling[worker] = nil
		j.left = len(j.events)
		v.workers[worker].jobs <- j
	}
}

// follow adds the events of a round to the digest.
func (v *verification) follow(round []place) {
	for _, p := range round {
		j := p.job
		if !j.isDone {
			<-j.done
			j.isDone = true
		}
		v.digest.add(p.position, &j.hashes[p.i])
		if j.left--; j.left == 0 {
			v.release(j)
		}
	}
	v.digest.flush()
}

// release keeps a job to be used again.
func (v *verification) release(j *job) {
	clear(j.events)
	j.events, j.isDone = j.events[:0], false
	v.free = append(v.free, j)
}

// run hashes the events of all jobs.
func (w *worker) run(v *verification) {
	for j := range w.jobs {
		for i := range j.events {
			j.hashes[i] = w.hash(&j.events[i], v)
		}
		j.done <- struct{}{}
	}
}

// hash follows a chain to an event.
func (w *worker) hash(e *event, v *verification) (hash [Size]byte) {
	s := e.stream
	must := s.hashed || v.cfg.HashedFrom > 0 && e.Position >= v.cfg.HashedFrom
	if len(e.Hash) == 0 && v.known[e.Position] {
		must = false
	}
	var wrong Kind
	hash, wrong, w.buf = s.next(w.buf, &e.StoredEvent, must)
	if wrong != "" {
		if w.found++; len(w.problems) < maxProblems {
			w.problems = append(w.problems, Problem{wrong, e.StreamID, e.Version, e.Position})
		}
	}
	if len(e.Hash) > 0 {
		w.hashed++
	} else {
		w.lastUnhashed = e.Position
	}
	for _, h := range s.noted {
		h.meet(e.Version, hash)
	}
	return hash
}

// result returns the report on what was read.
func (v *verification) result() Report {
	report := v.report
	report.Streams = int64(len(v.streams))
	report.Head = v.digest.head()
	problems := report.Problems
	for _, w := range v.workers {
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
