package system_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/system"
)

// A log that ends before what was processed of it is another one, or an old backup.
func TestALogThatIsTooShortIsTrouble(t *testing.T) {
	t.Parallel()
	for mode, run := range runs() {
		own := memory.New()
		r := start(t, run, dogSchools, system.WithApplication(countersApp, application.WithRecorder(own)))
		use(t, r, func(int) {})
		troubled := make(chan system.Status, 1000)
		hook := system.WithHook(func(s system.Status) {
			if s.Trouble != nil {
				troubled <- s
			}
		})
		r, err := run(t.Context(), dogSchools, system.WithApplication(countersApp, application.WithRecorder(own)), hook)
		if mode == "RunSync" {
			if !errors.Is(err, projection.ErrShortLog) || !strings.Contains(err.Error(), "position 201 is handled, and the log ends at 0") {
				t.Errorf("run: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		s := <-troubled
		if err := s.Health(time.Hour); !errors.Is(err, projection.ErrShortLog) || s.Application != "counters" {
			t.Errorf("%+v, %v", s, err)
		}
		// What is saved to it now is not taken for processed, until it is longer.
		if _, err := schoolApp.In(r).register(t.Context(), "Fido"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := r.Wait(ctx); !errors.Is(err, projection.ErrShortLog) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait: %v", err)
		}
		cancel()
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	}
}

// lagging is a recorder whose log is read from a replica that shows an event when it is
// waited for.
type lagging struct {
	*memory.Recorder

	mu    sync.Mutex
	shown int64
}

func (r *lagging) upTo() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shown
}

func (r *lagging) ReadLog(ctx context.Context, q persistence.LogQuery) iter.Seq2[persistence.Notification, error] {
	shown := r.upTo()
	if q.UpTo <= 0 || q.UpTo > shown {
		q.UpTo = shown
	}
	if shown == 0 {
		return func(func(persistence.Notification, error) bool) {}
	}
	return r.Recorder.ReadLog(ctx, q)
}

func (r *lagging) MaxPosition(context.Context) (int64, bool, error) {
	shown := r.upTo()
	return shown, shown > 0, nil
}

func (r *lagging) Wait(ctx context.Context, after int64) error {
	if err := r.Recorder.Wait(ctx, after); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shown = max(r.shown, after+1)
	return nil
}

// B47, B48: a log that is read from a replica loses nothing, whatever is known of it here.
func TestALogThatLagsLosesNothing(t *testing.T) {
	t.Parallel()
	for mode, run := range runs() {
		log := &lagging{Recorder: memory.New()}
		r := start(t, run, dogSchools, system.WithApplication(schoolApp, application.WithRecorder(log)))
		other, err := openSchool(t.Context(), application.WithRecorder(log.Recorder))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			for _, s := range []*school{other, schoolApp.In(r)} {
				if _, err := s.Save(t.Context(), dogs.New(annals.NewID(), trickAdded{"sit"})); err != nil {
					t.Fatal(mode, err)
				}
			}
			if mode == "RunSync" {
				if n, err := countersApp.In(r).count(t.Context(), "sit"); n != 2*(i+1) || err != nil {
					t.Fatalf("%d, %v; want %d", n, err, 2*(i+1))
				}
			}
		}
		if err := log.Recorder.Wait(t.Context(), 39); err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(t.Context()); err != nil { // for what was saved here last, whatever the replica shows
			t.Fatal(mode, err)
		}
		if n, err := countersApp.In(r).count(t.Context(), "sit"); n != 40 || err != nil {
			t.Errorf("%s: %d effects of 40 events, %v", mode, n, err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}

// B23: who takes over from another that was ahead sees no short log.
func TestATakeoverIsNoShortLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		log, own := memory.New(), memory.New()
		run := func(opts ...system.Option) *system.Runner {
			r, err := system.RunAsync(ctx, dogSchools, append(opts, system.WithApplication(schoolApp, application.WithRecorder(log)),
				system.WithApplication(countersApp, application.WithRecorder(own)))...)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return r
		}
		register := func(r *system.Runner, n int) {
			for range n {
				if _, err := schoolApp.In(r).register(ctx, "Fido"); err != nil {
					t.Fatal(err)
				}
			}
		}
		one := run()
		two := run(system.WithHook(func(s system.Status) {
			if errors.Is(s.Trouble, projection.ErrShortLog) || s.Remaining < 0 {
				t.Errorf("%+v", s)
			}
		}))
		register(two, 1)
		register(one, 10)
		if err := errors.Join(one.Wait(ctx), one.Stop()); err != nil {
			t.Error(err)
		}
		<-time.After(5 * time.Second) // the other takes over
		register(two, 1)
		if err := errors.Join(two.Wait(ctx), two.Stop()); err != nil {
			t.Error(err)
		}
	})
}
