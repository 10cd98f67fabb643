package hashchain

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"sync"

	"github.com/annals-es/annals/persistence"
)

// ErrBroken: the log is not what was saved. See [*BrokenError].
var ErrBroken = errors.New("hash chain is broken")

// Kind says what is wrong with an event.
type Kind string

// What may be wrong.
const (
	// Changed: the hash is not that of the event and of those before it. The event
	// was changed, or one before it that has no hash of its own, or it took the
	// place of another one.
	Changed Kind = "changed"
	// Missing: events before it in its stream are not there.
	Missing Kind = "missing before it"
	// Inserted: its version was there already, or a later one.
	Inserted Kind = "inserted or moved"
	// Unhashed: it has no hash, and one before it in its stream has one.
	Unhashed Kind = "without its hash"
	// Cut: the stream, or the log, ends before a head that was noted.
	Cut Kind = "cut off"
	// Replaced: a head that was noted is another one now.
	Replaced Kind = "not what was noted"
)

// Problem is something that is wrong.
type Problem struct {
	// Kind says what is wrong.
	Kind Kind
	// StreamID and Version say with which event; both are zero for the log as a
	// whole.
	StreamID string
	Version  int64
	// Position is the event's position; 0 if it is not known.
	Position int64
}

// String says what is wrong with which event.
func (p Problem) String() string {
	if p.StreamID == "" {
		return fmt.Sprintf("the log up to position %d: %s", p.Position, p.Kind)
	}
	at := ""
	if p.Position > 0 {
		at = fmt.Sprintf(" (position %d)", p.Position)
	}
	return fmt.Sprintf("version %d of stream %q%s: %s", p.Version, p.StreamID, at, p.Kind)
}

// maxProblems is how many problems a report has.
const maxProblems = 100

// Report says what was verified.
type Report struct {
	// Streams and Events were verified. Hashed of the events have a hash; the others
	// are from before the chain was switched on, and are covered by the next hash in
	// their stream.
	Streams, Events, Hashed, Unhashed int64
	// Head is to be noted elsewhere, for a later verification.
	Head LogHead
	// Problems are the first that were found, at most 100, in the order of
	// positions. Found is how many there were.
	Problems []Problem
	Found    int64
}

func (r *Report) add(p Problem) {
	r.Found++
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, p)
	}
}

// err returns a [*BrokenError] if something is wrong.
func (r *Report) err() error {
	if r.Found == 0 {
		return nil
	}
	return &BrokenError{First: r.Problems[0], Found: r.Found}
}

// BrokenError says that a log is not what was saved. It is [ErrBroken].
type BrokenError struct {
	// First is the first of the problems, Found their number.
	First Problem
	Found int64
}

// Error names the first problem and their number.
func (e *BrokenError) Error() string {
	return fmt.Sprintf("%v: %v (%d in all): do not write to this database; compare it with a backup", ErrBroken, e.First, e.Found)
}

// Is reports whether target is [ErrBroken].
func (e *BrokenError) Is(target error) bool { return target == ErrBroken }

// Progress says how far a verification has come.
type Progress struct {
	// Position is the last position that was read, Last the last of the log when the
	// verification began. Events were read.
	Position, Last, Events int64
}

// Config says what [Verify] does beside following the chains.
type Config struct {
	// Workers is how many goroutines hash. Defaults to runtime.GOMAXPROCS.
	Workers int
	// Progress is called now and then, by one goroutine. Defaults to nil.
	Progress func(Progress)
	// Log is a head of the log that was noted: what is stored up to there must be
	// the same. Defaults to nil.
	Log *LogHead
	// Heads are heads of streams that were noted. Defaults to none.
	Heads []Head
}

// chunkSize is how many events of a worker's streams are hashed at a time.
const chunkSize = 256

// Verify follows the chains of all streams of a log, up to its present head, and
// returns what it found. The error is a [*BrokenError] if something is wrong, and
// otherwise that of the recorder or of the context. Saves may go on meanwhile. It
// keeps some hundred bytes in memory for each stream.
func Verify(ctx context.Context, r persistence.LogRecorder, cfg Config) (Report, error) {
	last, _, err := r.MaxPosition(ctx)
	if err != nil {
		return Report{}, err
	}
	v := newVerification(&cfg)
	err = v.read(ctx, r, last, &cfg)
	v.end()
	report := v.report
	if err != nil {
		return report, err
	}
	report.Head = v.digest.at
	for i := range v.workers {
		w := &v.workers[i]
		report.Streams += int64(len(w.chains))
		v.problems = append(v.problems, w.problems...)
		report.Found += w.found - int64(len(w.problems))
	}
	slices.SortStableFunc(v.problems, func(a, b Problem) int { return int(min(1, max(-1, a.Position-b.Position))) })
	for _, p := range v.problems {
		report.add(p)
	}
	for _, h := range cfg.Heads {
		w := v.workerOf(h.StreamID)
		if kind := w.noted[h]; kind != "" {
			report.add(Problem{Kind: kind, StreamID: h.StreamID, Version: h.Version})
		}
	}
	if cfg.Log != nil && *cfg.Log != (LogHead{}) && !v.digest.met {
		kind := Replaced
		if report.Head.Position < cfg.Log.Position {
			kind = Cut
		}
		report.add(Problem{Kind: kind, Position: cfg.Log.Position})
	}
	return report, report.err()
}

// verification is one call of Verify: a reader, workers that have a part of the
// streams each, and a digest of the whole log, which follows in the order of
// positions.
type verification struct {
	workers  []worker
	seed     maphash.Seed
	running  sync.WaitGroup
	digest   digest
	report   Report
	problems []Problem
}

// worker follows the chains of some of the streams.
type worker struct {
	jobs     chan *job
	next     *job // is being filled
	chains   map[string]*chain
	noted    map[Head]Kind // heads to be met: what is wrong with each as long as it is not
	problems []Problem
	found    int64
	hashed   int64
}

// job is a number of events for one worker.
type job struct {
	events []persistence.Notification
	hashes [][Size]byte // as computed
	done   chan struct{}
}

func newVerification(cfg *Config) *verification {
	n := cfg.Workers
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	v := &verification{workers: make([]worker, n), seed: maphash.MakeSeed(), digest: digest{want: cfg.Log}}
	for i := range v.workers {
		w := &v.workers[i]
		w.jobs = make(chan *job, 4)
		w.chains, w.noted = make(map[string]*chain), make(map[Head]Kind)
		v.running.Go(w.run)
	}
	for _, h := range cfg.Heads {
		v.workerOf(h.StreamID).noted[h] = Cut
	}
	return v
}

func (v *verification) workerOf(stream string) *worker {
	return &v.workers[maphash.String(v.seed, stream)%uint64(len(v.workers))]
}

// end waits for the workers.
func (v *verification) end() {
	for i := range v.workers {
		close(v.workers[i].jobs)
	}
	v.running.Wait()
	for i := range v.workers {
		v.report.Hashed += v.workers[i].hashed
	}
	v.report.Unhashed = v.report.Events - v.report.Hashed
}

// round is what is read before the digest follows: the workers are then sure to
// have hashed the round before.
const round = 16 * chunkSize

func (v *verification) read(ctx context.Context, r persistence.LogRecorder, last int64, cfg *Config) error {
	if last == 0 {
		return nil
	}
	var rounds [2][]place // the present round, and the one before
	flush := func() {
		for i := range v.workers {
			v.workers[i].send()
		}
		v.digest.follow(rounds[1])
		rounds[0], rounds[1] = rounds[1][:0], rounds[0]
	}
	progress := func(position int64) {
		if cfg.Progress != nil {
			cfg.Progress(Progress{Position: position, Last: last, Events: v.report.Events})
		}
	}
	for n, err := range r.ReadLog(ctx, persistence.LogQuery{UpTo: last, Hash: true}) {
		if err != nil {
			return err
		}
		v.report.Events++
		rounds[0] = append(rounds[0], v.workerOf(n.StreamID).add(n))
		if len(rounds[0]) == round {
			flush()
			progress(n.Position)
		}
	}
	flush()
	flush()
	progress(last)
	return nil
}

// place is where the hash of an event will be.
type place struct {
	job      *job
	i        int
	position int64
}

// add puts an event into the worker's next job.
func (w *worker) add(n persistence.Notification) place {
	if w.next == nil {
		w.next = &job{done: make(chan struct{}), events: make([]persistence.Notification, 0, chunkSize)}
	}
	at := place{w.next, len(w.next.events), n.Position}
	w.next.events = append(w.next.events, n)
	if len(w.next.events) == chunkSize {
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

func (w *worker) run() {
	for j := range w.jobs {
		j.hashes = make([][Size]byte, len(j.events))
		for i := range j.events {
			j.hashes[i] = w.hash(&j.events[i])
		}
		for i := range j.events {
			j.events[i].StoredEvent = persistence.StoredEvent{} // memory for what is still read
		}
		close(j.done)
	}
}

func (w *worker) hash(n *persistence.Notification) [Size]byte {
	c := w.chains[n.StreamID]
	if c == nil {
		c = new(chain)
		w.chains[n.StreamID] = c
	}
	wrong := c.next(&n.StoredEvent)
	if wrong != "" {
		if w.found++; len(w.problems) < maxProblems {
			w.problems = append(w.problems, Problem{wrong, n.StreamID, n.Version, n.Position})
		}
	}
	if len(n.Hash) > 0 {
		w.hashed++
	}
	if len(w.noted) > 0 {
		w.meet(n.StreamID, c)
	}
	return c.hash
}

// meet compares the heads that were noted of this event.
func (w *worker) meet(stream string, c *chain) {
	for h := range w.noted {
		if h.StreamID != stream || h.Version != c.version {
			continue
		}
		w.noted[h] = Replaced
		if h.Hash == c.hash {
			w.noted[h] = ""
		}
	}
}

// VerifyStream follows the chain of one stream, and compares the heads that were
// noted of it. It returns what [Verify] does, but for the head of the log and
// positions.
func VerifyStream(ctx context.Context, r persistence.StreamRecorder, streamID string, noted ...Head) (Report, error) {
	var report Report
	w := worker{chains: make(map[string]*chain), noted: make(map[Head]Kind)}
	for _, h := range noted {
		w.noted[h] = Cut
	}
	for e, err := range r.ReadStream(ctx, streamID, persistence.StreamQuery{Hash: true}) {
		if err != nil {
			return report, err
		}
		report.Streams = 1
		report.Events++
		w.hash(&persistence.Notification{StoredEvent: e})
	}
	report.Hashed, report.Unhashed = w.hashed, report.Events-w.hashed
	report.Problems, report.Found = w.problems, w.found
	for _, h := range noted {
		if kind := w.noted[h]; kind != "" {
			report.add(Problem{Kind: kind, StreamID: h.StreamID, Version: h.Version})
		}
	}
	return report, report.err()
}

// StreamHead returns the head of a stream, to be noted elsewhere. Its version is 0
// if there is no such stream. It does not verify what is stored with a hash.
func StreamHead(ctx context.Context, r persistence.StreamRecorder, streamID string) (Head, error) {
	read := reader(r.ReadStream)
	version, err := read.last(ctx, streamID)
	if err != nil || version == 0 {
		return Head{StreamID: streamID}, err
	}
	h, err := read.head(ctx, streamID, version)
	return Head{StreamID: streamID, Version: h.version, Hash: h.hash}, err
}
