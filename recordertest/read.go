package recordertest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annals-es/annals/persistence"
)

func readChecks() []check {
	return []check{
		{"an empty store has no events, no max position, no tracking", "B17, B21", Features{}, checkEmpty},
		{"every field comes back as it was", "B4, B12", Features{}, checkFields},
		{"names that are nearly the same are different", "B17, B22", Features{}, checkNames},
		{"a stream is read after, up to, descending and limited, in every combination", "B17", Features{}, checkStreamQueries},
		{"the log is read after, up to, limited and by topics, in every combination", "B18", Features{}, checkLogQueries},
		{"a hash is read if it is asked for", "B38, B17, B18", Features{}, checkHash},
		{"the events of a story are read by their correlation id", "B37, B18", Features{}, checkCorrelation},
		{"long streams and logs are read whole", "B17, B18", Features{}, checkLong},
		{"the max position is that of the last event", "B21", Features{}, checkMaxPosition},
		{"what was recorded does not change with the caller's memory", "B34", Features{}, checkCallersMemory},
		{"what was read is the reader's own", "B34", Features{}, checkReadersMemory},
		{"an early break leaves nothing behind", "B40", Features{}, checkBreak},
		{"events are recorded within a loop over the log", "B40", Features{}, checkRecordWhileReading},
		{"a read ends with the error of its context", "B40", Features{}, checkReadCancelled},
	}
}

func checkHash(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	one, two := event("a", 1), event("a", 2)
	one.Hash, two.Hash = bytes.Repeat([]byte{0, 255}, 16), bytes.Repeat([]byte{7}, 64)
	m.add(ctx, t, r, batch(one))
	m.add(ctx, t, r, batch(two, event("b", 1), event("a", 3))) // some without
	m.add(ctx, t, r, batch(one))                               // a repeat
	for _, q := range []persistence.StreamQuery{
		{}, {Hash: true}, {Hash: true, Descending: true}, {Hash: true, After: 1, Limit: 1}, {Descending: true, Limit: 2},
	} {
		equal(t, fmt.Sprintf("stream %+v", q), readStream(ctx, t, r, "a", q), m.readStream("a", q))
	}
	for _, q := range []persistence.LogQuery{
		{}, {Hash: true}, {Hash: true, Topics: []string{topicMoved}}, {Hash: true, After: 1, Limit: 2}, {Topics: []string{topicMoved}},
	} {
		equal(t, fmt.Sprintf("log %+v", q), readLog(ctx, t, r, q), m.readLog(q))
	}
}

func checkCorrelation(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	for i := range int64(40) {
		e := event(fmt.Sprintf("stream %d", i%4), i/4+1)
		e.CorrelationID = []string{"", "story", "Story", "story ", "é"}[i%5]
		m.add(ctx, t, r, batch(e))
	}
	for _, id := range []string{"story", "Story", "story ", "é", "unknown", ""} {
		for _, topics := range [][]string{nil, {topicOpened}, {topicMoved, topicOpened}, {topicUnknown}} {
			for _, hash := range []bool{false, true} {
				q := persistence.LogQuery{CorrelationID: id, Topics: topics, Hash: hash}
				equal(t, fmt.Sprintf("%+v", q), readLog(ctx, t, r, q), m.readLog(q))
				q.After, q.UpTo, q.Limit = m.log[3].Position, m.log[33].Position, 3
				equal(t, fmt.Sprintf("%+v", q), readLog(ctx, t, r, q), m.readLog(q))
			}
		}
	}
}

func checkEmpty(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	empty := func(state string) {
		if got := readStream(ctx, t, r, "nobody", persistence.StreamQuery{}); len(got) != 0 {
			t.Errorf("%s: an unknown stream has %d events", state, len(got))
		}
		if got := readStream(ctx, t, r, "", persistence.StreamQuery{Descending: true, Limit: 1}); len(got) != 0 {
			t.Errorf("%s: the stream without a name has %d events", state, len(got))
		}
		if position, ok := maxTracking(ctx, t, r, "nobody"); ok {
			t.Errorf("%s: a tracking that was never saved is at %d", state, position)
		}
	}
	empty("empty log")
	if got := readLog(ctx, t, r, persistence.LogQuery{}); len(got) != 0 {
		t.Errorf("the empty log has %d events", len(got))
	}
	if position, ok := maxPosition(ctx, t, r); ok {
		t.Errorf("the empty log has a max position: %d", position)
	}
	recordBatch(ctx, t, r, tracked(batch(event("somebody", 1)), "somebody", 1))
	empty("not empty log")
}

// fieldCases are events at the limits of what may be stored.
func fieldCases() map[string]func(e *persistence.StoredEvent) {
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	at := func(year int, m time.Month, d, h, minute, s, micros int) func(*persistence.StoredEvent) {
		return func(e *persistence.StoredEvent) { e.Time = time.Date(year, m, d, h, minute, s, 1000*micros, time.UTC) }
	}
	return map[string]func(e *persistence.StoredEvent){
		"plain":                      func(*persistence.StoredEvent) {},
		"the first moment of year 1": at(1, 1, 1, 0, 0, 0, 0),
		"the second":                 at(1, 1, 1, 0, 0, 0, 1),
		"before the epoch":           at(1969, 12, 31, 23, 59, 59, 999_999),
		"the epoch":                  at(1970, 1, 1, 0, 0, 0, 0),
		"after the epoch":            at(1970, 1, 1, 0, 0, 0, 1),
		"long before the epoch":      at(1815, 12, 10, 11, 12, 13, 141_516),
		"the last of year 9999":      at(9999, 12, 31, 23, 59, 59, 999_999),
		"no state":                   func(e *persistence.StoredEvent) { e.State = nil },
		"empty state":                func(e *persistence.StoredEvent) { e.State = []byte{} },
		"all bytes":                  func(e *persistence.StoredEvent) { e.State = slices.Clone(all[:]) },
		"1 MiB of state":             func(e *persistence.StoredEvent) { e.State = bytes.Repeat(all[:], 4096) },
		"unicode ids":                func(e *persistence.StoredEvent) { e.ID, e.StreamID = "id-\U0001F415-é", "\"개\" \\ 'x' %s\t\n" },
		"long ids": func(e *persistence.StoredEvent) {
			e.ID, e.StreamID = strings.Repeat("i", 255), strings.Repeat("s", 255)
		},
		"long unicode ids": func(e *persistence.StoredEvent) {
			e.ID, e.StreamID = strings.Repeat("개", 85), strings.Repeat("개", 85)
		},
		"long topic":         func(e *persistence.StoredEvent) { e.Topic = strings.Repeat("t", 255) },
		"long encoding":      func(e *persistence.StoredEvent) { e.Encoding = strings.Repeat("e", 255) },
		"shape and encoding": func(e *persistence.StoredEvent) { e.Shape, e.Encoding = 12345, "7:json+zstd+aesgcm" },
		"causes": func(e *persistence.StoredEvent) {
			e.CorrelationID, e.CausationID = strings.Repeat("ø", 127), "cause"
		},
		"only a correlation id": func(e *persistence.StoredEvent) { e.CorrelationID = "story" },
		"only a causation id":   func(e *persistence.StoredEvent) { e.CausationID = "cause" },
		"headers":               func(e *persistence.StoredEvent) { e.Headers = []byte(`{"user":"O'Brien","trace":"é"}`) },
		"empty headers":         func(e *persistence.StoredEvent) { e.Headers = []byte{} },
	}
}

func checkFields(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var alone, together []persistence.StoredEvent
	for name, change := range fieldCases() {
		one, other := event("alone "+name, 1), event("together "+name, 1)
		change(&one)
		change(&other)
		if one.StreamID == other.StreamID { // then both are the same place
			other.ID, other.StreamID = other.ID[:len(other.ID)-3], other.StreamID[:len(other.StreamID)-3]
		}
		alone, together = append(alone, one), append(together, other)
	}
	var want []persistence.Notification
	for _, e := range alone {
		want = append(want, notifications(record(ctx, t, r, e), []persistence.StoredEvent{e})...)
	}
	want = append(want, notifications(record(ctx, t, r, together...), together)...)
	equal(t, "log", readLog(ctx, t, r, persistence.LogQuery{}), want)
	for _, n := range want {
		one := []persistence.StoredEvent{n.StoredEvent}
		equal(t, fmt.Sprintf("stream %q", n.StreamID), readStream(ctx, t, r, n.StreamID, persistence.StreamQuery{}), one)
		equal(t, fmt.Sprintf("stream %q, descending", n.StreamID),
			readStream(ctx, t, r, n.StreamID, persistence.StreamQuery{Descending: true}), one)
	}
}

// checkNames uses names that a database with a generous collation takes for one.
func checkNames(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	names := []string{
		"dog", "Dog", "DOG", "dog ", " dog", "dog\t", "dóg", "do\u0301g", "do", "dog%", "d_g", "dg", "d\u200bog",
		"straße", "strasse", "I", "ı", "İ", "i", "1", "01", "1.0", "٣", "3", "\ufeffdog", "ｄｏｇ", "'dog'", "\"dog\"", "null", "NULL",
	}
	for i, name := range names {
		e := event(name, 1)
		e.Topic = name
		m.add(ctx, t, r, tracked(batch(e), name, int64(i+1)))
	}
	m.check(ctx, t, r)
	for i, name := range names {
		q := persistence.StreamQuery{}
		equal(t, fmt.Sprintf("stream %q", name), readStream(ctx, t, r, name, q), m.readStream(name, q))
		topic := persistence.LogQuery{Topics: []string{name}}
		equal(t, fmt.Sprintf("topic %q", name), readLog(ctx, t, r, topic), m.readLog(topic))
		if position, ok := maxTracking(ctx, t, r, name); !ok || position != int64(i+1) {
			t.Errorf("tracking %q: %d, %t; want %d", name, position, ok, i+1)
		}
	}
}

// interleave fills the store with three streams of several topics, in batches of
// several sizes, and returns the model of it.
func interleave(ctx context.Context, t *testing.T, r Recorder, perStream int) *model {
	t.Helper()
	topics := []string{topicOpened, topicMoved, topicClosed, topicMoved, topicMoved}
	var all []persistence.StoredEvent
	for v := range perStream {
		for i, stream := range []string{"a", "b", "c"} {
			e := event(stream, int64(v+1))
			e.Topic = topics[(v+2*i)%len(topics)]
			all = append(all, e)
		}
	}
	var m model
	for len(all) > 0 {
		size := 1 + len(m.log)%4
		if perStream >= 100 {
			size = 997
		}
		size = min(size, len(all))
		m.add(ctx, t, r, batch(all[:size]...))
		all = all[size:]
	}
	return &m
}

func checkStreamQueries(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	m := interleave(ctx, t, r, 7)
	for _, after := range []int64{0, 1, 3, 6, 7, 8} {
		for _, upTo := range []int64{0, 1, 3, 4, 7, 9} {
			for _, limit := range []int{0, 1, 3, 7, 100} {
				for _, descending := range []bool{false, true} {
					q := persistence.StreamQuery{After: after, UpTo: upTo, Descending: descending, Limit: limit}
					equal(t, fmt.Sprintf("%+v", q), readStream(ctx, t, r, "b", q), m.readStream("b", q))
				}
			}
		}
	}
}

func checkLogQueries(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	m := interleave(ctx, t, r, 7)
	at := func(i int) int64 { return m.log[i].Position }
	end := at(len(m.log) - 1)
	for _, after := range []int64{0, at(0), at(8), end - 1, end, end + 1} {
		for _, upTo := range []int64{0, at(0), at(8), at(14), end, end + 1} {
			for _, limit := range []int{0, 1, 4, 100} {
				for _, topics := range [][]string{
					nil, {}, {topicMoved}, {topicUnknown}, {topicClosed, topicOpened},
					{topicMoved, topicUnknown, topicMoved}, {topicOpened, topicMoved, topicClosed},
				} {
					q := persistence.LogQuery{After: after, UpTo: upTo, Topics: topics, Limit: limit}
					equal(t, fmt.Sprintf("%+v", q), readLog(ctx, t, r, q), m.readLog(q))
				}
			}
		}
	}
}

// checkLong reads more than fits into one batch of a recorder's own.
func checkLong(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	m := interleave(ctx, t, r, 1100)
	at := func(i int) int64 { return m.log[i].Position }
	for _, n := range []int64{1, 100, 255, 256, 499, 500, 501, 512, 1000, 1001, 1024, 1099} {
		for _, q := range []persistence.StreamQuery{
			{After: n}, {UpTo: n}, {Limit: int(n)}, {Descending: true, Limit: int(n)},
			{After: 17, UpTo: n}, {Descending: true, After: 17, UpTo: 1077, Limit: int(n)},
		} {
			equal(t, fmt.Sprintf("stream %+v", q), readStream(ctx, t, r, "b", q), m.readStream("b", q))
		}
		for _, q := range []persistence.LogQuery{
			{Limit: int(n)}, {After: at(int(n)), Limit: 1001}, {After: at(3), UpTo: at(int(n))},
			{Topics: []string{topicClosed}, Limit: int(n)}, {Topics: []string{topicClosed, topicOpened}, After: at(int(n)), Limit: 513},
		} {
			equal(t, fmt.Sprintf("log %+v", q), readLog(ctx, t, r, q), m.readLog(q))
		}
	}
	m.check(ctx, t, r)
}

func checkMaxPosition(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	for v := range int64(5) {
		positions := record(ctx, t, r, events("a", 3*v+1, 3)...)
		if got, ok := maxPosition(ctx, t, r); !ok || got != positions[2] {
			t.Errorf("max position %d, %t, want %d", got, ok, positions[2])
		}
	}
}

func checkCallersMemory(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	full := func() persistence.StoredEvent {
		e := event("a", 1)
		e.ID, e.State, e.Headers = "id", []byte("state"), []byte(`{"a":"b"}`)
		return e
	}
	b := tracked(batch(full()), "upstream", 1)
	positions := recordBatch(ctx, t, r, b)
	want := notifications(slices.Clone(positions), []persistence.StoredEvent{full()})
	spoil(&b.Events[0])
	b.Events[0].StreamID, b.Tracking.Position, positions[0] = "b", 99, 99
	equal(t, "log", readLog(ctx, t, r, persistence.LogQuery{}), want)
	if position, _ := maxTracking(ctx, t, r, "upstream"); position != 1 {
		t.Errorf("the tracking is at %d, want 1", position)
	}
}

func spoil(e *persistence.StoredEvent) {
	clear(e.State)
	clear(e.Headers)
}

func checkReadersMemory(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	e := event("a", 1)
	e.Headers = []byte(`{"a":"b"}`)
	twin := e
	twin.State, twin.Headers = slices.Clone(e.State), slices.Clone(e.Headers)
	want := notifications(record(ctx, t, r, e), []persistence.StoredEvent{twin})
	spoil(&readLog(ctx, t, r, persistence.LogQuery{})[0].StoredEvent)
	spoil(&readStream(ctx, t, r, "a", persistence.StreamQuery{})[0])
	equal(t, "log", readLog(ctx, t, r, persistence.LogQuery{}), want)
}

func checkBreak(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	m := interleave(ctx, t, r, 400)
	for i := range 50 {
		for _, err := range r.ReadStream(ctx, "a", persistence.StreamQuery{Descending: i%2 == 0}) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		for n, err := range r.ReadLog(ctx, persistence.LogQuery{}) {
			if err != nil {
				t.Fatal(err)
			}
			if n.Position >= m.log[i].Position {
				break
			}
		}
	}
	for i := range 200 {
		q := persistence.StreamQuery{After: int64(i), Limit: 2}
		equal(t, fmt.Sprintf("%+v", q), readStream(ctx, t, r, "a", q), m.readStream("a", q))
	}
	m.add(ctx, t, r, batch(event("a", 401)))
	m.check(ctx, t, r)
}

// checkRecordWhileReading would hang if the read held a lock or the only
// connection while it yields.
func checkRecordWhileReading(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	m := interleave(ctx, t, r, 400)
	want := slices.Clone(m.log)
	var got []persistence.Notification
	for n, err := range r.ReadLog(ctx, persistence.LogQuery{UpTo: want[len(want)-1].Position}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, n); len(got)%10 == 0 {
			m.add(ctx, t, r, batch(event("new", int64(len(got)/10))))
			readStream(ctx, t, r, n.StreamID, persistence.StreamQuery{Descending: true, Limit: 1})
		}
	}
	equal(t, "the read", got, want)
	m.check(ctx, t, r)
}

func checkReadCancelled(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	m := interleave(ctx, t, r, 400)
	for target, done := range doneContexts(ctx) {
		_, err := collect(r.ReadStream(done, "a", persistence.StreamQuery{}))
		wantIs(t, "read stream", err, target)
		_, err = collect(r.ReadLog(done, persistence.LogQuery{}))
		wantIs(t, "read log", err, target)
		_, _, err = r.MaxPosition(done)
		wantIs(t, "max position", err, target)
		_, _, err = r.MaxTracking(done, "a")
		wantIs(t, "max tracking", err, target)
	}
	during, cancel := context.WithCancel(ctx)
	defer cancel()
	var got []persistence.Notification
	var ended error
	for n, err := range r.ReadLog(during, persistence.LogQuery{}) {
		if ended != nil {
			t.Fatalf("something was yielded after the error %v: %v, %v", ended, brief(n), err)
		}
		if ended = err; err == nil {
			got = append(got, n)
		}
		cancel()
	}
	wantIs(t, "the read that was cancelled at its first event", ended, context.Canceled)
	equal(t, "what was read before", got, m.log[:len(got)])
}
