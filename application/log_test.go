package application_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/annalstest"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
)

type pageCreated struct{ Page string }

func definePages() *annals.LogType[pageCreated] {
	return annals.DefineLog[pageCreated]("Pages", "Created")
}

// B10, B52.
func TestALogThatIsNoneIsNamed(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.register(t, "fido")
	pages := application.NewLog(s.Application, definePages(), "fido")
	_, err := pages.Last(t.Context())
	wantError(t, err, annals.ErrUnknownTopic, "school", "Dog.Registered", `"fido"`, `DefineLog("Pages")`)
	_, err = pages.Append(t.Context(), pageCreated{"1"})
	wantError(t, err, annals.ErrUnknownTopic) // and nothing is appended to the dog
	if d, err := s.dogs.Get(t.Context(), "fido"); err != nil || d.Version() != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	empty := application.NewLog(s.Application, definePages(), "pages")
	_, err = empty.First(t.Context())
	wantError(t, err, annals.ErrNotFound, "school", "Pages", `"pages"`, "no entries")
	bad := application.NewLog(s.Application, definePages(), "")
	_, err = bad.Append(t.Context(), pageCreated{"1"})
	wantError(t, err, annals.ErrInvalidID, "school", "stream id")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = pages.First(t.Context())
	wantError(t, err, annals.ErrClosed, "school")
	_, err = pages.Append(t.Context(), pageCreated{"1"})
	wantError(t, err, annals.ErrClosed, "school")
	wantPanic(t, func() { application.NewLog(s.Application, annals.DefineLog[TrickAdded]("Pages", "Created"), "x") },
		"school", "NewLog", "Pages.Created")
}

// B10, B29.
func TestAnAppendWhoseAnswerWasLostIsAppendedOnce(t *testing.T) {
	t.Parallel()
	r, faults := annalstest.NewFaulty(t, memory.New())
	s := open(t, application.WithRecorder(r))
	faults.OnRecord(annalstest.LostAnswer())
	pages := application.NewLog(s.Application, definePages(), "pages")
	recordings, err := pages.Append(t.Context(), pageCreated{"1"}, annals.WithMetadata(annals.Metadata{CorrelationID: "c"}))
	if err != nil || len(recordings) != 1 || recordings.Position() != 1 || recordings[0].Event.Metadata.CorrelationID != "c" {
		t.Errorf("%+v, %v", recordings, err)
	}
	n := 0
	for e, err := range pages.Entries(t.Context(), application.Range{}) {
		if n++; err != nil || e.Data.Page != "1" || e.Event.Version != 1 {
			t.Errorf("%+v, %v", e, err)
		}
	}
	if n != 1 {
		t.Errorf("%d entries", n)
	}
}

type (
	tank   struct{ Litres int }
	filled struct{ Litres int }
	leaked struct{}
)

func defineTanks() *annals.Type[annals.State[tank]] {
	return annals.DefineState("Tank", tank{},
		annals.Evolve("Filled", func(t tank, e filled) tank { return tank{t.Litres + e.Litres} }),
		annals.Evolve("Leaked", func(t tank, _ leaked) tank { return t }, annals.Discards()))
}

func newTanks(app *application.Application, decide func(command int, t tank) ([]any, error)) *application.Decider[int, tank] {
	return application.NewDecider(app, defineTanks(), decide)
}

// B9.
func TestADeciderSavesWhatItDecided(t *testing.T) {
	t.Parallel()
	s := open(t)
	tanks := newTanks(s.Application, func(command int, t tank) ([]any, error) {
		switch {
		case command < 0:
			return []any{filled{99}}, errKnown // what comes with an error does not happen
		case command == 0:
			return nil, nil
		case t.Litres+command > 100:
			return []any{leaked{}}, nil
		default:
			return []any{filled{command}, filled{1}}, nil
		}
	})
	_, err := tanks.Get(t.Context(), "t")
	wantError(t, err, annals.ErrNotFound, "Tank", `"t"`)
	if state, err := tanks.Handle(t.Context(), "t", 0); err != nil || state.Litres != 0 {
		t.Errorf("nothing decided: %+v, %v", state, err)
	}
	if _, err := tanks.Handle(t.Context(), "t", -1); err != errKnown { //nolint:errorlint // as it is
		t.Errorf("got %v, want %v as it is", err, errKnown)
	}
	_, err = tanks.Get(t.Context(), "t")
	wantError(t, err, annals.ErrNotFound)
	called := 0
	do := application.Do(func(context.Context, any) error { called++; return nil })
	for i := range 2 {
		state, err := tanks.Handle(t.Context(), "t", 10, do)
		if err != nil || state.Litres != 11*(i+1) || called != i+1 {
			t.Errorf("%+v, %v, %d calls", state, err, called)
		}
	}
	if state, err := tanks.Get(t.Context(), "t"); err != nil || state.Litres != 22 {
		t.Errorf("%+v, %v", state, err)
	}
	if v, err := tanks.Repository().GetVersion(t.Context(), "t", 2); err != nil || v.Value().Litres != 11 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := tanks.Handle(t.Context(), "t", 90); err != nil {
		t.Fatal(err)
	}
	_, err = tanks.Handle(t.Context(), "t", 1)
	wantError(t, err, annals.ErrNotFound, "school", "discarded")
	_, err = tanks.Handle(t.Context(), "", 1)
	wantError(t, err, annals.ErrInvalidID, "school")
}

// B9, B32.
func TestADeciderDecidesAgainOnAConflict(t *testing.T) {
	t.Parallel()
	s := open(t)
	var met []int
	var tanks *application.Decider[int, tank]
	tanks = newTanks(s.Application, func(command int, state tank) ([]any, error) {
		if command > 1 {
			if met = append(met, state.Litres); len(met) < 3 { // somebody else is faster, twice
				if _, err := tanks.Handle(t.Context(), "t", 1); err != nil {
					return nil, err
				}
			}
		}
		return []any{filled{command}}, nil
	})
	if state, err := tanks.Handle(t.Context(), "t", 10); err != nil || state.Litres != 12 || fmt.Sprint(met) != "[0 1 2]" {
		t.Errorf("%+v, %v, after the states %v", state, err, met)
	}
	wantPanic(t, func() {
		wrong := newTanks(s.Application, func(int, tank) ([]any, error) { return []any{errors.New("no event")}, nil })
		_, _ = wrong.Handle(t.Context(), "u", 1)
	}, "Tank", "errorString")
}
