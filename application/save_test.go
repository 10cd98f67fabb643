package application_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/annalstest"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

// B25, B52.
func TestDoOnARecorderWithoutTransactions(t *testing.T) {
	t.Parallel()
	s := open(t)
	fido := Dogs.New("fido", Registered{Name: "Fido"})
	called := 0
	_, err := s.Save(t.Context(), fido, application.Do(func(context.Context, *sql.Tx) error { called++; return nil }))
	wantError(t, err, annals.ErrUnsupported, "school", "*sql.Tx", "has none")
	_, err = s.Save(t.Context(), fido, application.Do(func(context.Context, fmt.Stringer) error { called++; return nil }))
	wantError(t, err, annals.ErrUnsupported, "fmt.Stringer", "has none")
	_, err = s.Save(t.Context(), fido, application.Do(func(context.Context, any) error { called++; return errKnown }))
	wantError(t, err, errKnown, "school: save")
	if len(fido.PendingEvents()) != 1 || called != 1 {
		t.Errorf("%d pending events, %d calls", len(fido.PendingEvents()), called)
	}
	var order []string
	step := func(name string) application.Source {
		return application.Do(func(_ context.Context, tx any) error {
			if tx != nil {
				t.Errorf("a transaction of type %T", tx)
			}
			order = append(order, name)
			return nil
		})
	}
	if _, err := s.Save(t.Context(), step("first"), fido, step("second"), step("third")); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(order, []string{"first", "second", "third"}) {
		t.Errorf("called in the order %q", order)
	}
	if _, err := s.Save(t.Context(), step("alone")); err != nil || order[len(order)-1] != "alone" {
		t.Errorf("a save of statements alone: %q, %v", order, err)
	}
}

// B29: what has no events is not recognised, and may not be repeated behind the
// caller's back.
func TestUpdateDoesNotRepeatASaveWithoutEvents(t *testing.T) {
	t.Parallel()
	r, faults := annalstest.NewFaulty(t, memory.New())
	s := open(t, application.WithRecorder(r))
	s.register(t, "fido")
	called := 0
	do := application.Do(func(context.Context, any) error { called++; return nil })
	faults.OnRecord(annalstest.LostAnswer())
	err := s.dogs.Update(t.Context(), "fido", func(*Dog) error { return nil }, do)
	wantError(t, err, annals.ErrOutcomeUnknown)
	if called != 1 {
		t.Errorf("called %d times", called)
	}
	faults.OnRecord(annalstest.LostAnswer())
	if err := s.dogs.Update(t.Context(), "fido", func(d *Dog) error { return d.AddTrick("sit") }, do); err != nil || called != 2 {
		t.Errorf("with an event: %v, called %d times, want once more", err, called)
	}
}

// B29, B32.
func TestUpdateGivesUpASaveWhoseOutcomeStaysUnknown(t *testing.T) {
	t.Parallel()
	r := &silent{Recorder: memory.New()}
	s := open(t, application.WithRecorder(r), application.WithRetries(0))
	s.register(t, "fido")
	r.silent = true
	decided := 0
	err := s.dogs.Update(t.Context(), "fido", func(d *Dog) error { decided++; return d.AddTrick("sit") })
	wantError(t, err, annals.ErrOutcomeUnknown, "school")
	if r.saves != 4 || decided != 1 {
		t.Errorf("%d saves, decided %d times; want the save and 3 repeats of it", r.saves, decided)
	}
	if d, err := s.dogs.Get(t.Context(), "fido"); err != nil || !slices.Equal(d.Tricks, []string{"sit"}) {
		t.Errorf("%+v, %v", d, err)
	}
}

// A repeat that fails in another way says nothing about the first try.
func TestAnUnknownOutcomeStaysUnknown(t *testing.T) {
	t.Parallel()
	r, faults := annalstest.NewFaulty(t, memory.New())
	s := open(t, application.WithRecorder(r))
	s.register(t, "fido")
	faults.OnRecord(annalstest.LostAnswer(), annalstest.Before(errKnown))
	err := s.dogs.Update(t.Context(), "fido", func(d *Dog) error { return d.AddTrick("sit") })
	wantError(t, err, annals.ErrOutcomeUnknown, "school", errKnown.Error())
	if errors.Is(err, errKnown) {
		t.Errorf("%v: the caller would take it for what became of the save", err)
	}
}

func TestAnUnknownOutcomeStaysUnknownWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r := &silent{Recorder: memory.New(), onSave: cancel}
	s := open(t, application.WithRecorder(r))
	s.register(t, "fido")
	r.silent = true
	err := s.dogs.Update(ctx, "fido", func(d *Dog) error { return d.AddTrick("sit") })
	wantError(t, err, annals.ErrOutcomeUnknown, "school", context.Canceled.Error())
	if errors.Is(err, context.Canceled) || r.saves != 1 {
		t.Errorf("%v after %d saves: the caller would take it for what became of the save", err, r.saves)
	}
}

// A conflict that deciding again would not cure.
func TestUpdateReturnsAConflictOnAnotherStream(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "fido")
	s.register(t, "rex")
	rex, err := s.dogs.Get(t.Context(), "rex")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.dogs.Update(t.Context(), "rex", func(d *Dog) error { return d.AddTrick("roll") }); err != nil {
		t.Fatal(err)
	}
	if err := rex.AddTrick("sit"); err != nil {
		t.Fatal(err)
	}
	decided := 0
	err = s.dogs.Update(t.Context(), "fido", func(d *Dog) error { decided++; return d.AddTrick("sit") }, rex)
	wantError(t, err, annals.ErrVersionConflict, `"rex"`)
	if decided != 1 {
		t.Errorf("decided %d times", decided)
	}
}

func TestGetOrNew(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "fido")
	begin := func(id string) func() *Dog { return func() *Dog { return Dogs.New(id, Registered{Name: "new"}) } }
	for id, name := range map[string]string{"fido": "fido", "rex": "new"} {
		if d, err := s.dogs.GetOrNew(t.Context(), id, begin(id)); err != nil || d.ID() != id || d.Name != name {
			t.Errorf("%s: %+v, %v", id, d, err)
		}
	}
	_, err := s.dogs.GetOrNew(t.Context(), "rex", begin("max"))
	wantError(t, err, annals.ErrConfiguration, `Dog "rex"`)
	_, err = s.dogs.GetOrNew(t.Context(), "rex", func() *Dog { return nil })
	wantError(t, err, annals.ErrConfiguration, `Dog "rex"`)
	_, err = s.dogs.GetOrNew(t.Context(), "", begin("max"))
	wantError(t, err, annals.ErrInvalidID)
}

// The recorder waits for a Do.
func TestADoMayReadAndMustNotSave(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "fido")
	rex := Dogs.New("rex", Registered{Name: "Rex"})
	_, err := s.Save(t.Context(), rex, application.Do(func(ctx context.Context, _ any) error {
		d, err := s.dogs.Get(ctx, "fido")
		if err != nil || d.Name != "fido" {
			t.Errorf("%+v, %v", d, err)
		}
		_, err = s.Save(ctx, Dogs.New("max", Registered{Name: "Max"}))
		return err
	}))
	wantError(t, err, annals.ErrConfiguration, "Do")
	if _, err := s.Save(t.Context(), rex); err != nil {
		t.Error(err)
	}
}

// silent does not say whether it stored a save, if silent is true.
type silent struct {
	*memory.Recorder

	silent bool
	saves  int
	onSave func()
}

func (r *silent) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	positions, err := r.Recorder.Record(ctx, b)
	if !r.silent {
		return positions, err
	}
	r.saves++
	if r.onSave != nil {
		r.onSave()
	}
	return nil, fmt.Errorf("no answer: %w", annals.ErrOutcomeUnknown)
}

// B2: no event is lost without a word.
func TestSavePanicsIfAnAggregateChangesMeanwhile(t *testing.T) {
	t.Parallel()
	s := open(t)
	fido := Dogs.New("fido", Registered{Name: "Fido"})
	wantPanic(t, func() {
		_, _ = s.Save(t.Context(), application.Do(func(context.Context, any) error { return fido.AddTrick("sit") }), fido)
	}, "school", "source 2", "2 pending events, and 1 of them")
	if n := len(fido.PendingEvents()); n != 2 {
		t.Errorf("%d pending events", n)
	}
	if err := s.Close(); err != nil { // which does not wait for the save that panicked
		t.Error(err)
	}
}

// B26, B52.
func TestJoinIsRefusedWhereItCannotBe(t *testing.T) {
	t.Parallel()
	s := open(t)
	fido := Dogs.New("fido", Registered{Name: "Fido"})
	_, err := s.Save(t.Context(), fido, application.Join(nil))
	wantError(t, err, annals.ErrUnsupported, "school", "Join", "*memory.Recorder")
	_, err = s.Save(t.Context(), fido, application.Join(1), application.Join(2))
	wantError(t, err, annals.ErrConfiguration, "Join is there twice")
	if len(fido.PendingEvents()) != 1 {
		t.Error("a failed save took the pending events")
	}
}
