package application_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/annalstest"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
)

var errAfter = errors.New("what follows failed")

func TestAfterSaveIsCalledBeforeSaveReturns(t *testing.T) {
	t.Parallel()
	s := open(t)
	var calls []string
	first := s.AfterSave(func(_ context.Context, saved application.Saved) error {
		calls = append(calls, "first")
		if all, ok := saved.Notifications(); !ok || len(all) != 1 || all[0].Position != saved.Position() || saved.Size() == 0 {
			t.Errorf("saved: %v, %t, position %d, size %d", all, ok, saved.Position(), saved.Size())
		}
		return errAfter
	})
	second := s.AfterSave(func(context.Context, application.Saved) error { calls = append(calls, "second"); return nil })
	id := annals.NewID()
	recordings, err := s.Save(t.Context(), Dogs.New(id, Registered{Name: "Fido"}))
	after, ok := errors.AsType[*application.AfterSaveError](err)
	if !ok || !errors.Is(after.Err, errAfter) || errors.Is(err, errAfter) || after.Position != 1 || after.Application != s.Name() {
		t.Errorf("save: %v", err)
	}
	if recordings.Position() != 1 || !slices.Equal(calls, []string{"first", "second"}) {
		t.Errorf("recordings %v, calls %v", recordings, calls)
	}
	if _, err := s.Save(t.Context()); err != nil { // nothing is saved, and nobody told
		t.Error(err)
	}
	first()
	first() // does nothing
	if _, err := s.Save(t.Context(), Dogs.New(annals.NewID(), Registered{Name: "Rex"})); err != nil {
		t.Error(err)
	}
	second()
	if _, err := s.Save(t.Context(), Dogs.New(annals.NewID(), Registered{Name: "Bo"})); err != nil {
		t.Error(err)
	}
	if !slices.Equal(calls, []string{"first", "second", "second"}) {
		t.Errorf("calls %v", calls)
	}
}

func TestAfterSaveIsNotCalledForASaveThatFails(t *testing.T) {
	t.Parallel()
	recorder, faults := annalstest.NewFaulty(t, memory.New())
	s := open(t, application.WithRecorder(recorder))
	defer s.AfterSave(func(context.Context, application.Saved) error { t.Error("it was called"); return nil })() //nolint:revive // at the end
	faults.OnRecord(annalstest.Before(errAfter))
	if _, err := s.Save(t.Context(), Dogs.New(annals.NewID(), Registered{Name: "Fido"})); !errors.Is(err, errAfter) {
		t.Errorf("save: %v", err)
	}
}

// A save whose answer was lost is repeated; that what follows fails does not make it unknown.
func TestWhatFollowsARepeatedSaveLeavesItSaved(t *testing.T) {
	t.Parallel()
	recorder, faults := annalstest.NewFaulty(t, memory.New())
	s := open(t, application.WithRecorder(recorder))
	id := annals.NewID()
	if _, err := s.Save(t.Context(), Dogs.New(id, Registered{Name: "Fido"})); err != nil {
		t.Fatal(err)
	}
	stop := s.AfterSave(func(context.Context, application.Saved) error { return errAfter })
	defer stop()
	faults.OnRecord(annalstest.LostAnswer())
	err := s.dogs.Update(t.Context(), id, func(d *Dog) error { return d.AddTrick("sit") })
	if _, ok := errors.AsType[*application.AfterSaveError](err); !ok || errors.Is(err, annals.ErrOutcomeUnknown) {
		t.Errorf("update: %v", err)
	}
}
