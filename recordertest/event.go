package recordertest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// The topics of the events that checks store.
const (
	topicOpened  = "Account.Opened"
	topicMoved   = "Account.Moved"
	topicClosed  = "Account.Closed"
	topicUnknown = "Account.Unknown"
)

// event returns an event of about the size of real ones, with an id of its own.
func event(stream string, version int64) persistence.StoredEvent {
	return eventWithID(annals.NewID(), stream, version)
}

// eventWithID returns an event whose state holds its id.
func eventWithID(id, stream string, version int64) persistence.StoredEvent {
	topic := topicMoved
	if version == 1 {
		topic = topicOpened
	}
	return persistence.StoredEvent{
		ID: id, StreamID: stream, Version: version, Topic: topic,
		Time:  time.Date(2024, time.February, 29, 23, 59, 59, 123_456_000, time.UTC).Add(time.Duration(version%1_000_000) * time.Second),
		Shape: 1, Encoding: "1:json",
		State: fmt.Appendf(nil, `{"payment":%q,"from":"DE02120300000000202051","to":"DE02500105170137075030","cents":%d,"purpose":"rent"}`,
			id, 100*version),
	}
}

// events returns n events of a stream, the first with the version from.
func events(stream string, from int64, n int) []persistence.StoredEvent {
	all := make([]persistence.StoredEvent, n)
	for i := range all {
		all[i] = event(stream, from+int64(i))
	}
	return all
}

func batch(events ...persistence.StoredEvent) persistence.Batch {
	return persistence.Batch{Events: events}
}

// tracked returns the batch with a tracking.
func tracked(b persistence.Batch, name string, position int64) persistence.Batch {
	b.Tracking = &persistence.Tracking{Name: name, Position: position}
	return b
}

// notifications returns the events at their positions.
func notifications(positions []int64, events []persistence.StoredEvent) []persistence.Notification {
	all := make([]persistence.Notification, len(events))
	for i := range events {
		all[i] = persistence.Notification{Position: positions[i], StoredEvent: events[i]}
	}
	return all
}

// diff returns the first difference, or "". Events are compared exactly, zones of
// times included, but that a database may return nil for what is empty. It must
// not return what is empty for nil, State apart.
func diff[E persistence.StoredEvent | persistence.Notification](got, want []E) string {
	for i := range min(len(got), len(want)) {
		if reflect.DeepEqual(want[i], got[i]) { // the usual case, and quick
			continue
		}
		if d := cmp.Diff(emptied(want[i], got[i]), got[i], sameState, sameTime); d != "" {
			return fmt.Sprintf("number %d of %d (-want +got):\n%s", i+1, len(want), d)
		}
	}
	switch {
	case len(got) > len(want):
		return fmt.Sprintf("%d, want %d; the first too many: %v", len(got), len(want), brief(got[len(want)]))
	case len(got) < len(want):
		return fmt.Sprintf("%d, want %d; the first missing: %v", len(got), len(want), brief(want[len(got)]))
	default:
		return ""
	}
}

func equal[E persistence.StoredEvent | persistence.Notification](t *testing.T, what string, got, want []E) {
	t.Helper()
	if d := diff(got, want); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

//nolint:gochecknoglobals // options of cmp, constant
var (
	sameTime  = cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) && a.Location() == b.Location() })
	sameState = cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".State" }, cmp.Comparer(bytes.Equal))
)

// emptied returns want with nil for what is empty, where got has nil.
func emptied[E persistence.StoredEvent | persistence.Notification](want, got E) E {
	w, g := stored(&want), stored(&got)
	if len(w.Headers) == 0 && g.Headers == nil {
		w.Headers = nil
	}
	if len(w.Hash) == 0 && g.Hash == nil {
		w.Hash = nil
	}
	return want
}

func stored(e any) *persistence.StoredEvent {
	if n, ok := e.(*persistence.Notification); ok {
		return &n.StoredEvent
	}
	return e.(*persistence.StoredEvent) //nolint:forcetypeassert // there are two types of events
}

func brief(e any) string {
	switch e := e.(type) {
	case persistence.Notification:
		return fmt.Sprintf("position %d, version %d of stream %q", e.Position, e.Version, e.StreamID)
	case persistence.StoredEvent:
		return fmt.Sprintf("version %d of stream %q", e.Version, e.StreamID)
	default:
		return fmt.Sprint(e)
	}
}

func conflict(stream string, expected, actual int64) annals.VersionConflictError {
	return annals.VersionConflictError{StreamID: stream, Expected: expected, Actual: actual}
}

// wantConflict fails unless the error is the version conflict.
func wantConflict(t *testing.T, err error, want annals.VersionConflictError) {
	t.Helper()
	got, ok := errors.AsType[*annals.VersionConflictError](err)
	if !ok || !errors.Is(err, annals.ErrVersionConflict) {
		t.Errorf("got error %v, want a *VersionConflictError that is ErrVersionConflict", err)
		return
	}
	if d := cmp.Diff(want, *got); d != "" {
		t.Errorf("version conflict (-want +got):\n%s", d)
	}
	wantNamed(t, err, want.StreamID)
}

// wantTrackingConflict fails unless the error is the tracking conflict.
func wantTrackingConflict(t *testing.T, err error, want annals.TrackingConflictError) {
	t.Helper()
	got, ok := errors.AsType[*annals.TrackingConflictError](err)
	if !ok || !errors.Is(err, annals.ErrTrackingConflict) {
		t.Errorf("got error %v, want a *TrackingConflictError that is ErrTrackingConflict", err)
		return
	}
	if d := cmp.Diff(want, *got); d != "" {
		t.Errorf("tracking conflict (-want +got):\n%s", d)
	}
	wantNamed(t, err, want.Name)
}

func wantIs(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: got error %v, want %v", what, err, target)
	}
}

// wantNamed fails unless the error's text names the thing.
func wantNamed(t *testing.T, err error, name string) {
	t.Helper()
	quoted := fmt.Sprintf("%q", name)
	if err == nil || !strings.Contains(err.Error(), quoted[1:len(quoted)-1]) {
		t.Errorf("the error does not name %q: %v", name, err)
	}
}

// checkLog fails unless the log is one that a recorder may have: positions
// ascend, ids are unique, and the versions of each stream are 1, 2, 3 … in the
// order of positions.
func checkLog(t *testing.T, log []persistence.Notification) {
	t.Helper()
	ids := make(map[string]bool, len(log))
	versions := make(map[string]int64)
	last := int64(0)
	for _, n := range log {
		if n.Position <= last {
			t.Errorf("log: position %d after %d", n.Position, last)
		}
		last = n.Position
		if ids[n.ID] {
			t.Errorf("log: event %s is there twice, again at %s", n.ID, brief(n))
		}
		ids[n.ID] = true
		if n.Version != versions[n.StreamID]+1 {
			t.Errorf("log: version %d of stream %q after version %d", n.Version, n.StreamID, versions[n.StreamID])
		}
		versions[n.StreamID] = n.Version
	}
}

// checkContiguous fails unless the events of each batch are all there, next to
// each other and in order, or none of them is. It returns which batches are
// there, by the id of their first event.
func checkContiguous(t *testing.T, log []persistence.Notification, batches [][]persistence.StoredEvent) (there map[string]bool) {
	t.Helper()
	at := make(map[string]int, len(log))
	for i, n := range log {
		at[n.ID] = i
	}
	there = make(map[string]bool)
	for _, events := range batches {
		first, ok := at[events[0].ID]
		there[events[0].ID] = ok
		for k, e := range events {
			i, stored := at[e.ID]
			switch {
			case stored != ok:
				t.Errorf("a batch is stored in part: of %d events, number 1 is there: %t, number %d: %t", len(events), ok, k+1, stored)
			case stored && i != first+k:
				t.Errorf("a batch is interleaved: number %d of %d is at place %d, its first event at %d", k+1, len(events), i+1, first+1)
			default:
				continue
			}
			break
		}
	}
	return there
}

// ids returns the ids of events.
func ids(events []persistence.StoredEvent) []string {
	all := make([]string, len(events))
	for i, e := range events {
		all[i] = e.ID
	}
	return all
}

// ascending reports whether each position is greater than the one before.
func ascending(positions []int64) bool {
	for i := 1; i < len(positions); i++ {
		if positions[i] <= positions[i-1] {
			return false
		}
	}
	return true
}
