package application_test

import (
	"context"
	"fmt"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
)

// Update decides again when somebody else was faster; what decide returns is
// returned as it is.
func ExampleRepository_Update() {
	ctx := context.Background()
	app, err := application.Open(ctx, "dogschool")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer app.Close() //nolint:errcheck // in memory
	dogs := application.NewRepository(app, Dogs)

	fido := Dogs.New(annals.NamedID("/dogs", "Fido"), Registered{Name: "Fido"})
	if _, err := app.Save(ctx, fido); err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		err := dogs.Update(ctx, fido.ID(), func(d *Dog) error { return d.AddTrick("sit") })
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// trick known
}
