package annalstest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/annalstest"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/projection"
)

type lamp struct{ annals.Aggregate }

type lit struct{ Watts int }

func (lit) Apply(*lamp) {}

var lamps = annals.Define("Lamp", annals.On[lit]("Lit"))

func TestProject(t *testing.T) {
	app, err := application.Open(t.Context(), "lamps", application.WithTypes(lamps))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Close() })
	if _, err := app.Save(t.Context(), lamps.New("hall", lit{60}), lamps.New("attic", lit{40})); err != nil {
		t.Fatal(err)
	}
	type tx = *memory.ViewTx[string, int]
	fails := errors.New("broken")
	var broken error
	watts := projection.Define("watts", projection.On(func(_ context.Context, tx tx, e lit, _ annals.Event) error {
		sum, _ := tx.Get("all")
		tx.Put("all", sum+e.Watts)
		return broken
	}))
	v := memory.NewView[string, int]()
	annalstest.Project(t, app, watts, v)
	if sum, _ := v.Get("all"); sum != 100 {
		t.Errorf("%d watts", sum)
	}
	broken = fails
	wantReported(t, func(tb *report) { annalstest.Project(tb, app, watts, memory.NewView[string, int]()) }, "Lamp.Lit", "broken")
}
