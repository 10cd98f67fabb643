package recordertest

import (
	"context"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/annals-es/annals/persistence"
)

func modelChecks() []check {
	return []check{
		{"random operations have the answers of the model", "B16, B17, B18, B21, B22, B29", Features{}, checkModel},
	}
}

// checkModel runs random operations on the recorder and on the model. Operations
// that do not agree are reduced to the fewest that still do not. All runs have one
// store: each begins at its head, with names of its own.
func checkModel(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	handles := s.handles(ctx, t, r, 2)
	runs := 0
	run := func(rt *rapid.T) {
		runs++
		base, _, err := r.MaxPosition(ctx)
		if err != nil {
			rt.Fatalf("max position: %v", err)
		}
		o := &operations{ctx: ctx, handles: handles, run: fmt.Sprintf("run %d: ", runs), model: model{base: base}}
		rt.Repeat(map[string]func(*rapid.T){
			"record":       o.record,
			"record more":  o.record, // twice as often as the others
			"record again": o.repeat,
			"read stream":  o.readStream,
			"read log":     o.readLog,
			"max position": o.maxPosition,
			"max tracking": o.maxTracking,
		})
		got, err := collect(handles[1].ReadLog(ctx, persistence.LogQuery{After: base, Hash: true}))
		if d := diff(got, o.model.log); d != "" || err != nil {
			rt.Fatalf("the log at the end: error %v; %s", err, d)
		}
	}
	for range rounds(1) {
		rapid.Check(t, run)
	}
}

// operations are those of one run.
type operations struct {
	ctx     context.Context //nolint:containedctx // rapid calls the operations, and has no context for them
	handles []Recorder      // of one store
	run     string          // begins the names of streams and trackings
	model   model
	batches []persistence.Batch // that were tried
}

// Streams, topics and trackings are few, so that they meet.

func (o *operations) stream(rt *rapid.T) string {
	return o.run + rapid.SampledFrom([]string{"a", "b", "c", "개"}).Draw(rt, "stream")
}

func (o *operations) tracking(rt *rapid.T) string {
	return o.run + rapid.SampledFrom([]string{"upstream", "Upstream", "other"}).Draw(rt, "tracking")
}

func topic() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{topicOpened, topicMoved, topicClosed})
}

func correlation() *rapid.Generator[string] { return rapid.SampledFrom([]string{"", "story", "Story"}) }

func (o *operations) handle(rt *rapid.T) Recorder {
	return o.handles[rapid.IntRange(0, 1).Draw(rt, "handle")]
}

// record saves a batch whose versions are mostly right.
func (o *operations) record(rt *rapid.T) {
	var b persistence.Batch
	next := make(map[string]int64)
	for range rapid.IntRange(0, 5).Draw(rt, "events") {
		stream := o.stream(rt)
		if next[stream] == 0 {
			next[stream] = o.model.version(stream) + 1 + o.mistake(rt, 8)
		}
		e := event(stream, next[stream]+o.mistake(rt, 20))
		e.Topic = topic().Draw(rt, "topic")
		e.State = rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(rt, "state")
		e.Hash = rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(rt, "hash")
		e.CorrelationID = correlation().Draw(rt, "correlation id")
		b.Events = append(b.Events, e)
		next[stream]++
	}
	if rapid.Bool().Draw(rt, "with tracking") {
		name := o.tracking(rt)
		b = tracked(b, name, o.model.tracking[name]+rapid.Int64Range(-1, 3).Draw(rt, "step"))
		if rapid.Bool().Draw(rt, "that follows") {
			b.Tracking.After = new(o.model.tracking[name] + o.mistake(rt, 5))
		}
	}
	o.try(rt, b)
}

// mistake is 0, but for one time in n.
func (o *operations) mistake(rt *rapid.T, n int) int64 {
	if rapid.IntRange(1, n).Draw(rt, "a mistake at the last") < n {
		return 0
	}
	return rapid.Int64Range(-2, 2).Draw(rt, "mistake")
}

// repeat saves a batch again, or a part of it.
func (o *operations) repeat(rt *rapid.T) {
	if len(o.batches) == 0 {
		rt.Skip("nothing to repeat")
	}
	b := rapid.SampledFrom(o.batches).Draw(rt, "batch")
	if n := len(b.Events); n > 1 && rapid.Bool().Draw(rt, "a part") {
		from := rapid.IntRange(0, n-1).Draw(rt, "from")
		b.Events = b.Events[from:rapid.IntRange(from+1, n).Draw(rt, "to")]
	}
	o.try(rt, b)
}

func (o *operations) try(rt *rapid.T, b persistence.Batch) {
	o.batches = append(o.batches, b)
	positions, err := o.handle(rt).Record(o.ctx, b)
	if problem := o.model.record(b, positions, err); problem != "" {
		rt.Fatalf("record %s: %s", describe(b), problem)
	}
}

func describe(b persistence.Batch) string {
	var events []string
	for _, e := range b.Events {
		events = append(events, fmt.Sprintf("%s/%d (%s)", e.StreamID, e.Version, e.ID))
	}
	return fmt.Sprintf("%v with tracking %+v", events, b.Tracking)
}

func (o *operations) readStream(rt *rapid.T) {
	id := o.stream(rt)
	q := persistence.StreamQuery{
		After:      rapid.Int64Range(0, 12).Draw(rt, "after"),
		UpTo:       rapid.Int64Range(0, 12).Draw(rt, "up to"),
		Descending: rapid.Bool().Draw(rt, "descending"),
		Limit:      rapid.IntRange(0, 5).Draw(rt, "limit"),
		Hash:       rapid.Bool().Draw(rt, "hash"),
	}
	got, err := collect(o.handle(rt).ReadStream(o.ctx, id, q))
	if d := diff(got, o.model.readStream(id, q)); d != "" || err != nil {
		rt.Fatalf("read stream %q %+v: error %v; %s", id, q, err, d)
	}
}

func (o *operations) readLog(rt *rapid.T) {
	q := persistence.LogQuery{
		After:  max(o.model.base, o.position(rt, "after")),
		UpTo:   o.position(rt, "up to"),
		Topics: rapid.SliceOfN(topic(), 0, 3).Draw(rt, "topics"),
		Limit:  rapid.IntRange(0, 8).Draw(rt, "limit"),
		Hash:   rapid.Bool().Draw(rt, "hash"),

		CorrelationID: correlation().Draw(rt, "correlation id"),
	}
	got, err := collect(o.handle(rt).ReadLog(o.ctx, q))
	if d := diff(got, o.model.readLog(q)); d != "" || err != nil {
		rt.Fatalf("read log %+v: error %v; %s", q, err, d)
	}
}

// position is near that of an event, or 0.
func (o *operations) position(rt *rapid.T, label string) int64 {
	if len(o.model.log) == 0 || rapid.Bool().Draw(rt, "no "+label) {
		return 0
	}
	at := rapid.IntRange(0, len(o.model.log)-1).Draw(rt, label)
	return max(0, o.model.log[at].Position+rapid.Int64Range(-1, 1).Draw(rt, label+", beside"))
}

func (o *operations) maxPosition(rt *rapid.T) {
	position, ok, err := o.handle(rt).MaxPosition(o.ctx)
	if problem := o.model.maxPosition(position, ok); problem != "" || err != nil {
		rt.Fatalf("max position: error %v; %s", err, problem)
	}
}

func (o *operations) maxTracking(rt *rapid.T) {
	name := o.tracking(rt)
	position, ok, err := o.handle(rt).MaxTracking(o.ctx, name)
	want, there := o.model.tracking[name]
	if err != nil || ok != there || ok && position != want {
		rt.Fatalf("max tracking %q: %d, %t, error %v; want %d, %t", name, position, ok, err, want, there)
	}
}
