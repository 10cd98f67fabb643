package recordertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

func liveChecks() []check {
	return []check{
		{"Wait returns at once if there is something", "B24", Features{}, checkWaitAtOnce},
		{"Wait ends with the error of its context", "B24", Features{}, checkWaitContext},
		{"Wait is ended by a save", "B24, B40", Features{}, checkWaitSave},
		{"Wait is ended by a save of another handle", "B24, B48", Features{Processes: true}, checkWaitHandle},
		{"Wait is ended by a save of another process", "B24, B48", Features{Processes: true}, checkWaitProcess},
		{"Wait ends with ErrClosed when the recorder is closed", "B39, B40", Features{}, checkWaitClosed},
		{"a follower catches up, then follows", "B40", Features{}, checkFollow},
		{"a follower gets what was saved after it caught up and before it waits", "B40", Features{}, checkFollowGap},
		{"a follower of topics does not spin on others", "B18, B40", Features{}, checkFollowTopics},
		{"a follower from before the first position waits for it", "B40", Features{}, checkFollowBefore},
		{"a follower ends at its limit and at its last position", "B40", Features{}, checkFollowBounds},
		{"a follower ends with the error of its context, and with ErrClosed", "B39, B40", Features{}, checkFollowEnds},
	}
}

// watched is a context that tells when somebody begins to wait for its end.
type watched struct {
	context.Context //nolint:containedctx // it is one

	once  sync.Once
	asked chan struct{}
}

func watch(ctx context.Context) *watched {
	return &watched{Context: ctx, asked: make(chan struct{})}
}

func (w *watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.asked) })
	return w.Context.Done()
}

// waiting starts Wait, and returns when it most probably waits.
func waiting(ctx context.Context, r Recorder, after int64) (wait func() error) {
	w := watch(ctx)
	returned := make(chan struct{})
	wait = background(func() error { //nolint:contextcheck // w is the context
		defer close(returned)
		return r.Wait(w, after)
	})
	select {
	case <-w.asked:
	case <-returned: // it looked at the context's error only, or had nothing to wait for
	}
	return wait
}

func checkWaitAtOnce(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	positions := record(ctx, t, r, events("a", 1, 3)...)
	for _, after := range []int64{0, positions[0], positions[1], positions[2] - 1} {
		if err := r.Wait(ctx, after); err != nil {
			t.Errorf("wait after %d: %v", after, err)
		}
	}
}

func checkWaitContext(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	wait := func(ctx context.Context, after int64) (err error) {
		for err == nil { // it may return sooner, for no reason
			err = r.Wait(ctx, after)
		}
		return err
	}
	for range 2 { // on the empty log, then on one that has an event
		last, _ := maxPosition(ctx, t, r)
		for target, done := range doneContexts(ctx) {
			wantIs(t, "wait", wait(done, last), target)
		}
		cancelled, cancel := context.WithCancel(ctx)
		w := watch(cancelled)
		waits := background(func() error { return wait(w, last) })
		select {
		case <-w.asked:
		case <-ctx.Done():
			t.Error("Wait never asked for the end of its context")
		}
		cancel()
		wantIs(t, "wait", waits(), context.Canceled)
		record(ctx, t, r, event("a", last+1))
	}
}

// waitFor returns once the log has a position after the given one.
func waitFor(ctx context.Context, r Recorder, after int64) error {
	for {
		if err := r.Wait(ctx, after); err != nil {
			return err
		}
		if position, _, err := r.MaxPosition(ctx); err != nil || position > after {
			return err
		}
	}
}

func checkWaitSave(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	for round := range int64(100) {
		last, _ := maxPosition(ctx, t, r)
		var waits []func() error
		for range 1 + round%8 {
			if round%2 == 0 {
				waits = append(waits, waiting(ctx, r, last))
			} else { // with the save at any moment
				waits = append(waits, background(func() error { return waitFor(ctx, r, last) }))
			}
		}
		record(ctx, t, r, event("a", round+1))
		for _, wait := range waits {
			if err := wait(); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
}

func checkWaitHandle(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	other := s.open(ctx, t)
	for round := range int64(10) {
		last, _ := maxPosition(ctx, t, r)
		wait := background(func() error { return waitFor(ctx, r, last) })
		record(ctx, t, other, event("a", round+1))
		if err := wait(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

func checkWaitProcess(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	c := s.start(ctx, t, roleSave)
	c.tell("go")
	for round := range 10 {
		last, _ := maxPosition(ctx, t, r)
		wait := background(func() error { return waitFor(ctx, r, last) })
		c.tell("save")
		if err := wait(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if line, _ := c.line(); line != "saved" {
			t.Fatalf("the child process said %q", line)
		}
	}
	c.end()
	checkLog(t, readLog(ctx, t, r, persistence.LogQuery{}))
}

func playSave(ctx context.Context, r Recorder, told <-chan string) error {
	for v := int64(1); ; v++ {
		if _, ok := <-told; !ok {
			return nil
		}
		if _, err := r.Record(ctx, batch(event("another process", v))); err != nil {
			return err
		}
		sayf("saved")
	}
}

func checkWaitClosed(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	positions := record(ctx, t, r, event("a", 1))
	wait := func() (err error) {
		for err == nil {
			err = r.Wait(ctx, positions[0])
		}
		return err
	}
	waits := []func() error{background(wait), background(wait), waiting(ctx, r, positions[0]), waiting(ctx, r, positions[0])}
	closeRecorder(t, r)
	for i, wait := range waits {
		err := wait()
		if err == nil && i >= 2 {
			continue // it returned before the close, for no reason, as it may
		}
		wantIs(t, "wait", err, annals.ErrClosed)
	}
}

// waits wraps a log, and is told of each Wait before it begins.
type waits struct {
	persistence.LogRecorder
	before func(after int64)
}

func (w *waits) Wait(ctx context.Context, after int64) error {
	w.before(after)
	return w.LogRecorder.Wait(ctx, after)
}

func checkFollow(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	m := interleave(ctx, t, r, 400)
	at := m.log[99].Position
	var got []persistence.Notification
	for n, err := range persistence.Follow(ctx, r, persistence.LogQuery{After: at}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, n); n.Position < m.head() {
			continue
		}
		if len(got) >= 1300 {
			break
		}
		m.add(ctx, t, r, batch(event("live", m.version("live")+1))) // it has caught up
	}
	equal(t, "the follower", got, m.log[100:])
	m.check(ctx, t, r)
}

// checkFollowGap saves at the worst moment: when the follower has seen the end of
// the log, and does not wait yet. A push that is sent then reaches nobody.
func checkFollowGap(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	other := s.handles(ctx, t, r, 2)[1]
	var m model
	w := &waits{r, func(int64) { m.add(ctx, t, other, batch(event("a", int64(len(m.log)+1)))) }}
	var got []persistence.Notification
	for n, err := range persistence.Follow(ctx, w, persistence.LogQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, n); len(got) == 50 {
			break
		}
	}
	equal(t, "the follower", got, m.log)
}

// checkFollowTopics saves an event before each Wait that the follower does not
// want, and every tenth that it wants. Each Wait must be for what comes after all
// that is there: or else it would return at once, for ever.
func checkFollowTopics(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var m model
	var asked []int64
	w := &waits{r, func(after int64) {
		if after < m.head() {
			t.Fatalf("Wait after %d, though all up to %d was looked at", after, m.head())
		}
		asked = append(asked, after)
		e := event("a", int64(len(m.log)+1))
		if e.Topic = topicMoved; len(m.log)%10 == 9 {
			e.Topic = topicClosed
		}
		m.add(ctx, t, r, batch(e))
	}}
	var got []persistence.Notification
	q := persistence.LogQuery{Topics: []string{topicClosed, topicUnknown}}
	for n, err := range persistence.Follow(ctx, w, q) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, n); len(got) == 5 {
			break
		}
	}
	equal(t, "the follower", got, m.readLog(q))
	if len(asked) != 50 {
		t.Errorf("Wait was called %d times for 50 events", len(asked))
	}
}

func checkFollowBefore(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	asked := 0
	w := &waits{r, func(after int64) {
		if asked++; after < 0 {
			t.Fatalf("Wait after %d, which need not wait", after)
		}
		record(ctx, t, r, event("a", 1))
	}}
	for n, err := range persistence.Follow(ctx, w, persistence.LogQuery{After: -5}) {
		if err != nil || n.Version != 1 {
			t.Fatalf("%+v, %v", n, err)
		}
		break
	}
	if asked != 1 {
		t.Errorf("Wait was called %d times for an event", asked)
	}
}

func checkFollowBounds(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	m := interleave(ctx, t, r, 10)
	at := func(i int) int64 { return m.log[i].Position }
	for _, q := range []persistence.LogQuery{
		{Limit: 1}, {Limit: 30}, {Limit: 7, After: at(4)}, {UpTo: at(0)}, {UpTo: at(29)}, {After: at(3), UpTo: at(17), Limit: 100},
		{After: at(9), UpTo: at(9)}, {After: at(9), UpTo: at(4)}, {UpTo: at(20), Topics: []string{topicUnknown}},
		{Limit: 3, Topics: []string{topicClosed}},
	} {
		got, err := collect(persistence.Follow(ctx, r, q))
		if err != nil {
			t.Errorf("%+v: %v", q, err)
		}
		equal(t, fmt.Sprintf("%+v", q), got, m.readLog(q))
	}
	w := &waits{r, func(int64) { m.add(ctx, t, r, batch(event("live", m.version("live")+1))) }}
	got, err := collect(persistence.Follow(ctx, w, persistence.LogQuery{Limit: 35}))
	if err != nil {
		t.Error(err)
	}
	equal(t, "a limit beyond what was there", got, m.log)
}

func checkFollowEnds(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	m := interleave(ctx, t, r, 10)
	want := slices.Clone(m.log)
	collected := func(ctx context.Context) (func() error, *[]persistence.Notification) {
		got := new([]persistence.Notification)
		return background(func() (err error) {
			*got, err = collect(persistence.Follow(ctx, r, persistence.LogQuery{}))
			return err
		}), got
	}
	for target, done := range doneContexts(ctx) {
		wait, got := collected(done)
		wantIs(t, "a follower without a chance", wait(), target)
		equal(t, "a follower without a chance", *got, nil)
	}
	cancelled, cancel := context.WithCancel(ctx)
	caughtUp := make(chan struct{})
	var once sync.Once
	w := &waits{r, func(int64) { once.Do(func() { close(caughtUp) }) }}
	ended := background(func() (err error) {
		_, err = collect(persistence.Follow(cancelled, w, persistence.LogQuery{}))
		return err
	})
	<-caughtUp
	cancel()
	wantIs(t, "a follower that waits", ended(), context.Canceled)

	wait, got := collected(ctx)
	closeRecorder(t, r)
	wantIs(t, "a follower of a recorder that is closed", wait(), annals.ErrClosed)
	if len(*got) > len(want) {
		t.Errorf("it saw %d events, of %d", len(*got), len(want))
	}
}
