package hashchain_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/hashchain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tampered is a log that somebody else wrote to: it yields what it is given.
type tampered struct {
	persistence.Recorder

	log []persistence.Notification
}

func (r *tampered) MaxPosition(context.Context) (position int64, ok bool, err error) {
	for i := range r.log {
		position = max(position, r.log[i].Position)
	}
	return position, len(r.log) > 0, nil
}

func (r *tampered) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	return func(yield func(persistence.Notification, error) bool) {
		for _, n := range r.log {
			if ctx.Err() != nil {
				yield(persistence.Notification{}, ctx.Err())
				return
			}
			if (q.UpTo <= 0 || n.Position <= q.UpTo) && !yield(n, nil) {
				return
			}
		}
	}
}

func (r *tampered) ReadStream(_ context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	return func(yield func(persistence.StoredEvent, error) bool) {
		for i := range r.log {
			n := r.log[i]
			if q.Descending {
				n = r.log[len(r.log)-1-i]
			}
			if n.StreamID != id || n.Version <= q.After || q.UpTo > 0 && n.Version > q.UpTo {
				continue
			}
			if !yield(n.StoredEvent, nil) || q.Limit == 1 {
				return
			}
		}
	}
}

func event(stream string, version int64) persistence.StoredEvent {
	return persistence.StoredEvent{
		ID: annals.NewID(), StreamID: stream, Version: version, Topic: "Account.Moved", Shape: 1, Encoding: "1:json",
		Time:  time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC).Add(time.Duration(version) * time.Second),
		State: fmt.Appendf(nil, `{"stream":%q,"version":%d}`, stream, version), CorrelationID: "story", CausationID: "cause",
		Headers: []byte(`{"a":"b"}`),
	}
}

// records is a recorder, or a linker on one.
type records interface {
	Record(ctx context.Context, b persistence.Batch) ([]int64, error)
}

func save(tb testing.TB, r records, events ...persistence.StoredEvent) {
	tb.Helper()
	if _, err := r.Record(tb.Context(), persistence.Batch{Events: events}); err != nil {
		tb.Fatal(err)
	}
}

func logOf(tb testing.TB, r persistence.LogRecorder) (log []persistence.Notification) {
	tb.Helper()
	for n, err := range r.ReadLog(tb.Context(), persistence.LogQuery{Hash: true}) {
		if err != nil {
			tb.Fatal(err)
		}
		log = append(log, n)
	}
	return log
}

// B38: what is hashed never changes.
func TestHashesAreThoseOfEver(t *testing.T) {
	t.Parallel()
	one := event("a", 1)
	one.ID = "e1"
	two := one
	two.Version, two.ID, two.Headers, two.CorrelationID = 2, "e2", nil, ""
	first := hashchain.Sum(nil, &one)
	second := hashchain.Sum(first[:], &two)
	r := memory.New()
	save(t, hashchain.NewLinker(r), one, two)
	stored := logOf(t, r)
	report, err := hashchain.Verify(t.Context(), r, hashchain.Config{})
	if err != nil {
		t.Fatal(err)
	}
	head, err := hashchain.StreamHead(t.Context(), r, "a")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ got, want string }{
		"the first event":           {hex.EncodeToString(first[:]), goldenOne},
		"the second":                {hex.EncodeToString(second[:]), goldenTwo},
		"the first that is stored":  {hex.EncodeToString(stored[0].Hash), goldenOne},
		"the second that is stored": {hex.EncodeToString(stored[1].Hash), goldenTwo},
		"the stream":                {head.String(), goldenHead},
		"the log":                   {report.Head.String(), goldenLog},
	} {
		if c.got != c.want {
			t.Errorf("%s has %s, and had %s: what is stored cannot be verified any more", what, c.got, c.want)
		}
	}
}

// B38: also a field that is added to the struct later.
func TestEveryFieldIsCovered(t *testing.T) {
	t.Parallel()
	whole := event("a", 1)
	want := hashchain.Sum(nil, &whole)
	fields := reflect.TypeFor[persistence.StoredEvent]()
	for i := range fields.NumField() {
		e := whole
		switch field := reflect.ValueOf(&e).Elem().Field(i).Addr().Interface().(type) {
		case *string:
			*field += "x"
		case *int64:
			*field++
		case *int:
			*field++
		case *[]byte:
			*field = append(slices.Clone(*field), 'x')
		case *time.Time:
			*field = field.Add(time.Microsecond)
		default:
			t.Errorf("%s has a type that this test does not know", fields.Field(i).Name)
		}
		if same := hashchain.Sum(nil, &e) == want; same != (fields.Field(i).Name == "Hash") {
			t.Errorf("%s is covered: %t", fields.Field(i).Name, !same)
		}
	}
	if hashchain.Sum(want[:], &whole) == want {
		t.Error("the hash before is not covered")
	}
	nothing, empty := whole, whole
	nothing.Headers, empty.Headers = nil, []byte{}
	if hashchain.Sum(nil, &nothing) != hashchain.Sum(nil, &empty) {
		t.Error("nil and empty headers differ")
	}
}

// What moves from one field to its neighbour is another event.
func TestFieldsDoNotRunIntoEachOther(t *testing.T) {
	t.Parallel()
	fields := map[string]func(e *persistence.StoredEvent) (left, right *string){
		"id, stream":             func(e *persistence.StoredEvent) (left, right *string) { return &e.ID, &e.StreamID },
		"stream, topic":          func(e *persistence.StoredEvent) (left, right *string) { return &e.StreamID, &e.Topic },
		"topic, encoding":        func(e *persistence.StoredEvent) (left, right *string) { return &e.Topic, &e.Encoding },
		"encoding, correlation":  func(e *persistence.StoredEvent) (left, right *string) { return &e.Encoding, &e.CorrelationID },
		"correlation, causation": func(e *persistence.StoredEvent) (left, right *string) { return &e.CorrelationID, &e.CausationID },
	}
	for name, of := range fields {
		one, other := event("a", 1), event("a", 1)
		other.ID = one.ID
		left, right := of(&one)
		*left, *right = "ab", "c"
		left, right = of(&other)
		*left, *right = "a", "bc"
		if hashchain.Sum(nil, &one) == hashchain.Sum(nil, &other) {
			t.Errorf("%s run into each other", name)
		}
	}
	one, other := event("a", 1), event("a", 1)
	other.ID = one.ID
	one.CausationID, one.Headers = "ab", []byte("c")
	other.CausationID, other.Headers = "a", []byte("bc")
	if hashchain.Sum(nil, &one) == hashchain.Sum(nil, &other) {
		t.Error("causation and headers run into each other")
	}
}
