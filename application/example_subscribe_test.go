package application_test

import (
	"context"
	"fmt"

	"github.com/annals-es/annals/application"
)

// A subscription yields what is there, then what comes, in commit order.
func ExampleApplication_Subscribe() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	app, err := application.Open(ctx, "dogschool")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer app.Close() //nolint:errcheck // in memory
	application.NewRepository(app, Dogs)

	save := func(name string) {
		if _, err := app.Save(ctx, Dogs.New(name, Registered{Name: name})); err != nil {
			fmt.Println(err)
		}
	}
	save("Fido")
	for n, err := range app.Subscribe(ctx, application.After(0), application.Topics("Dog.Registered")) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(n.Position, n.Event.Data.(Registered).Name)
		switch n.Position {
		case 1:
			save("Rex") // while it follows
		case 2:
			return // a break ends it
		}
	}
	// Output:
	// 1 Fido
	// 2 Rex
}
