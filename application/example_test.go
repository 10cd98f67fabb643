package application_test

import (
	"context"
	"fmt"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
)

// A domain model, and an application around it.
func Example() {
	ctx := context.Background()
	app, err := application.Open(ctx, "dogschool") // in memory, unless told otherwise
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { fmt.Println("closed:", app.Close()) }()
	dogs := application.NewRepository(app, Dogs)

	fido := Dogs.New(annals.NewID(), Registered{Name: "Fido"})
	annals.Trigger(fido, TrickAdded{Trick: "sit"})
	recordings, err := app.Save(ctx, fido)
	fmt.Println("saved up to position", recordings.Position(), err)

	loaded, err := dogs.Get(ctx, fido.ID())
	fmt.Println(loaded.Name, loaded.Tricks, loaded.Version(), err)
	// Output:
	// saved up to position 2 <nil>
	// Fido [sit] 2 <nil>
	// closed: <nil>
}
