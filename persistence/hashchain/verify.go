package hashchain

import (
	"context"
	"errors"
	"fmt"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// ErrBroken says that the log is not what was saved. See [*BrokenError].
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
	// Inserted: its version was there already, or a later one; or its position is
	// not behind that of the event before it in the log.
	Inserted Kind = "inserted or moved"
	// Unhashed: it has no hash, and one before it in its stream has one, or it is
	// one of those that must have one: see [Config].
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
	if p.Position != 0 {
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
	// their stream, if it has one.
	Streams, Events, Hashed, Unhashed int64
	// LastUnhashed is the position of the last event that has no hash; 0 if there is
	// none, and for a single stream.
	LastUnhashed int64
	// Head is the head of the log. Note it elsewhere, if nothing is wrong, for a later
	// verification. Zero if the log was not read to its end, and for a single stream.
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

// addHeads adds the noted heads that are not what they were.
func (r *Report) addHeads(heads []*expected) {
	for _, h := range heads {
		if h.wrong != "" {
			r.add(Problem{Kind: h.wrong, StreamID: h.StreamID, Version: h.Version})
		}
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
	// Workers is how many goroutines hash, beside the one that reads. Defaults to
	// runtime.GOMAXPROCS.
	Workers int
	// Progress is called now and then, by one goroutine. Defaults to nil.
	Progress func(Progress)
	// Log is a head of the log that was noted: what is stored up to there must be
	// the same. Defaults to nil.
	Log *LogHead
	// Heads are heads of streams that were noted. Defaults to none.
	Heads []Head
	// HashedFrom is a position from which on every event must have a hash. For a log
	// that had the chain from the beginning it is 1; for an older one, the position
	// after [Report.LastUnhashed]. Without it, who removes all hashes of a stream is
	// only found by a head that was noted, and only if he also changed what is stored.
	// Defaults to 0. An event must also have a hash if one before it in its stream has
	// one.
	HashedFrom int64
	// Unhashed are the positions of events that have no hash and were looked at: a
	// program without the chain saved them. Defaults to none.
	Unhashed []int64
}

// Verify follows the chains of all streams of a log, up to its present end, and
// returns what it found. The error is a [*BrokenError] if something is wrong. If the
// log cannot be read to its end, it is that of the recorder or of the context,
// joined with what is wrong in the part that was read. Saves may go on meanwhile. It
// keeps some two hundred bytes in memory for each stream, and a few megabytes
// beside.
func Verify(ctx context.Context, r persistence.LogRecorder, cfg Config) (Report, error) {
	last, ok, err := r.MaxPosition(ctx)
	if err != nil {
		return Report{}, err
	}
	v := newVerification(&cfg)
	if ok {
		err = v.read(ctx, r, last)
	}
	report := v.result()
	if err != nil {
		report.Head = LogHead{}
		return report, errors.Join(err, report.err())
	}
	v.compare(&report)
	err = report.err()
	return report, err
}

// VerifyStream follows the chain of one stream, and compares the heads that were
// noted of it. It returns what [Verify] does, but for what a log has, and
// [annals.ErrConfiguration] for a head of another stream.
func VerifyStream(ctx context.Context, r persistence.StreamRecorder, streamID string, noted ...Head) (Report, error) {
	for _, h := range noted {
		if h.StreamID != streamID {
			return Report{}, fmt.Errorf("hashchain: the head is one of stream %q, not of %q: %w",
				h.StreamID, streamID, annals.ErrConfiguration)
		}
	}
	var report Report
	var c chain
	var buf []byte
	heads := expect(noted)
	for e, err := range r.ReadStream(ctx, streamID, persistence.StreamQuery{Hash: true}) {
		if err != nil {
			return report, errors.Join(err, report.err())
		}
		report.Streams = 1
		report.Events++
		if len(e.Hash) > 0 {
			report.Hashed++
		}
		var hash [Size]byte
		var wrong Kind
		hash, wrong, buf = c.next(buf, &e, c.hashed)
		if wrong != "" {
			report.add(Problem{Kind: wrong, StreamID: streamID, Version: e.Version})
		}
		for _, h := range heads {
			h.meet(e.Version, hash)
		}
	}
	report.Unhashed = report.Events - report.Hashed
	report.addHeads(heads)
	err := report.err()
	return report, err
}

// StreamHead returns the head of a stream, to be noted elsewhere. Its version is 0
// if there is no such stream; to note that says nothing. It does not verify what is
// stored with a hash.
func StreamHead(ctx context.Context, r persistence.StreamRecorder, streamID string) (Head, error) {
	read := reader(r.ReadStream)
	version, err := read.last(ctx, streamID)
	if err != nil || version == 0 {
		return Head{StreamID: streamID}, err
	}
	h, err := read.head(ctx, streamID, version)
	return Head{StreamID: streamID, Version: h.version, Hash: h.hash}, err
}
