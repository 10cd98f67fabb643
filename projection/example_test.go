package projection_test

import (
	"context"
	"fmt"
	"log"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/projection"
)

type Dog struct{ annals.Aggregate }

type TrickAdded struct{ Trick string }

func (TrickAdded) Apply(*Dog) {}

var Dogs = annals.Define("Dog", annals.On[TrickAdded]("TrickAdded"))

// A view that counts, and a reader that sees what it has just saved.
func ExampleStart() {
	ctx := context.Background()
	school, err := application.Open(ctx, "school", application.WithTypes(Dogs))
	if err != nil {
		log.Fatal(err)
	}
	counts := projection.Define("trick_counts",
		projection.On(func(_ context.Context, tx *memory.ViewTx[string, int], e TrickAdded, _ annals.Event) error {
			n, _ := tx.Get(e.Trick)
			tx.Put(e.Trick, n+1)
			return nil
		}))
	view := memory.NewView[string, int]()
	runner, err := projection.Start(ctx, school, counts, view)
	if err != nil {
		log.Fatal(err)
	}
	recordings, err := school.Save(ctx, Dogs.New("fido", TrickAdded{"sit"}), Dogs.New("rex", TrickAdded{"sit"}))
	if err != nil {
		log.Fatal(err)
	}
	if err := runner.Wait(ctx, recordings.Position()); err != nil {
		log.Fatal(err)
	}
	n, _ := view.Get("sit")
	fmt.Println(n, "dogs sit")
	if err := runner.Stop(); err != nil {
		log.Fatal(err)
	}
	if err := school.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: 2 dogs sit
}
