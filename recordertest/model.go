package recordertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// model is what a recorder promises, in the fewest words: one list, and no
// concurrency. Positions are those that the recorder under test gave, because
// it may leave gaps.
type model struct {
	base     int64 // the position after which its log begins
	log      []persistence.Notification
	tracking map[string]int64
}

// verdict is what Record must answer to a batch.
type verdict struct {
	invalid   error                          // the error of Batch.Check
	repeated  []int64                        // the positions of a batch that is stored already
	conflicts []annals.VersionConflictError  // of the streams that conflict: any of them
	tracking  []annals.TrackingConflictError // at most one, which may be told instead
}

func (m *model) judge(b persistence.Batch) (v verdict) {
	if v.invalid = b.Check(); v.invalid != nil {
		return v
	}
	if positions, ok := m.stored(b.Events); ok && (b.Tracking == nil || m.tracking[b.Tracking.Name] >= b.Tracking.Position) {
		v.repeated = positions
		return v
	}
	seen := make(map[string]bool)
	for _, e := range b.Events {
		if actual := m.version(e.StreamID); !seen[e.StreamID] && actual != e.Version-1 {
			v.conflicts = append(v.conflicts, conflict(e.StreamID, e.Version-1, actual))
		}
		seen[e.StreamID] = true
	}
	if t := b.Tracking; t != nil && !t.Follows(m.tracking[t.Name]) {
		v.tracking = append(v.tracking, annals.TrackingConflictError{Name: t.Name, Position: t.Position, Actual: m.tracking[t.Name]})
	}
	return v
}

// stored returns the positions of events that are all stored already.
func (m *model) stored(events []persistence.StoredEvent) (positions []int64, ok bool) {
	for _, e := range events {
		i := slices.IndexFunc(m.log, func(n persistence.Notification) bool {
			return n.ID == e.ID && n.StreamID == e.StreamID && n.Version == e.Version
		})
		if i < 0 {
			return nil, false
		}
		positions = append(positions, m.log[i].Position)
	}
	return positions, len(events) > 0
}

func (m *model) version(stream string) int64 {
	n := int64(0)
	for i := range m.log {
		if m.log[i].StreamID == stream {
			n++
		}
	}
	return n
}

// head returns the greatest position.
func (m *model) head() int64 {
	if len(m.log) == 0 {
		return m.base
	}
	return m.log[len(m.log)-1].Position
}

// record says what is wrong with the recorder's answer to a batch, and takes the
// batch over if it is stored.
func (m *model) record(b persistence.Batch, positions []int64, err error) (problem string) {
	v := m.judge(b)
	switch {
	case v.invalid != nil:
		if err == nil || err.Error() != v.invalid.Error() {
			return fmt.Sprintf("got error %v, want that of Batch.Check: %v", err, v.invalid)
		}
	case v.repeated != nil:
		if err != nil || !slices.Equal(positions, v.repeated) {
			return fmt.Sprintf("a repeat: got positions %v and error %v, want the same as before, %v", positions, err, v.repeated)
		}
	case len(v.conflicts)+len(v.tracking) > 0:
		return v.refused(err)
	case err != nil:
		return fmt.Sprintf("got error %v, want none", err)
	default:
		return m.take(b, positions)
	}
	return ""
}

func (v *verdict) refused(err error) (problem string) {
	if conflict, ok := errors.AsType[*annals.VersionConflictError](err); ok && slices.Contains(v.conflicts, *conflict) {
		return ""
	}
	if tracking, ok := errors.AsType[*annals.TrackingConflictError](err); ok && slices.Contains(v.tracking, *tracking) {
		return ""
	}
	return fmt.Sprintf("got error %v, want one of %+v %+v", err, v.conflicts, v.tracking)
}

func (m *model) take(b persistence.Batch, positions []int64) (problem string) {
	if len(positions) != len(b.Events) {
		return fmt.Sprintf("%d positions for %d events", len(positions), len(b.Events))
	}
	if !ascending(append([]int64{m.head()}, positions...)) {
		return fmt.Sprintf("positions %v do not grow from %d on", positions, m.head())
	}
	m.log = append(m.log, notifications(positions, b.Events)...)
	if t := b.Tracking; t != nil {
		if m.tracking == nil {
			m.tracking = make(map[string]int64)
		}
		m.tracking[t.Name] = t.Position
	}
	return ""
}

// add records a batch that must be stored, by the recorder and the model.
func (m *model) add(ctx context.Context, t *testing.T, r Recorder, b persistence.Batch) []int64 {
	t.Helper()
	positions, err := r.Record(ctx, b)
	if problem := m.record(b, positions, err); problem != "" || err != nil {
		t.Fatalf("record: %s (error: %v)", problem, err)
	}
	return positions
}

// readStream returns what ReadStream must yield.
func (m *model) readStream(id string, q persistence.StreamQuery) (events []persistence.StoredEvent) {
	for _, n := range m.log {
		if n.StreamID == id && n.Version > q.After && (q.UpTo == 0 || n.Version <= q.UpTo) {
			events = append(events, withHash(n.StoredEvent, q.Hash))
		}
	}
	if q.Descending {
		slices.Reverse(events)
	}
	return first(events, q.Limit)
}

// readLog returns what ReadLog must yield.
func (m *model) readLog(q persistence.LogQuery) (log []persistence.Notification) {
	for _, n := range m.log {
		if n.Position > q.After && (q.UpTo == 0 || n.Position <= q.UpTo) &&
			(len(q.Topics) == 0 || slices.Contains(q.Topics, n.Topic)) &&
			(q.CorrelationID == "" || q.CorrelationID == n.CorrelationID) {
			n.StoredEvent = withHash(n.StoredEvent, q.Hash)
			log = append(log, n)
		}
	}
	return first(log, q.Limit)
}

// withHash returns the event as it is read, without its hash if that is not asked
// for.
func withHash(e persistence.StoredEvent, hash bool) persistence.StoredEvent {
	if !hash {
		e.Hash = nil
	}
	return e
}

func first[E any](all []E, limit int) []E {
	if limit > 0 && limit < len(all) {
		return all[:limit]
	}
	return all
}

// check compares all that a recorder can be asked with the model.
func (m *model) check(ctx context.Context, t *testing.T, r Recorder) {
	t.Helper()
	for _, q := range []persistence.LogQuery{{}, {Hash: true}} {
		equal(t, "log", readLog(ctx, t, r, q), m.readLog(q))
	}
	position, ok := maxPosition(ctx, t, r)
	if problem := m.maxPosition(position, ok); problem != "" {
		t.Error(problem)
	}
	got := make(map[string]int64)
	for name := range m.tracking {
		if position, ok := maxTracking(ctx, t, r, name); ok {
			got[name] = position
		}
	}
	if !maps.Equal(m.tracking, got) {
		t.Errorf("trackings are %v, want %v", got, m.tracking)
	}
}

func (m *model) maxPosition(position int64, ok bool) (problem string) {
	switch {
	case ok != (m.head() > 0):
		return fmt.Sprintf("max position: ok is %t, and the last position is %d", ok, m.head())
	case ok && position != m.head():
		return fmt.Sprintf("max position: %d, want %d", position, m.head())
	default:
		return ""
	}
}
