package application_test

import (
	"context"
	"fmt"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
)

// An event whose type was deleted is an error, unless a policy says otherwise.
func ExampleWithUnknownEvents() {
	ctx := context.Background()
	recorder := memory.New()
	retired := annals.Define("Dog", annals.On[Registered]("Registered"), annals.On[Renamed]("Renamed"))
	before, err := application.Open(ctx, "dogschool", application.WithRecorder(recorder), application.WithTypes(retired))
	if err != nil {
		fmt.Println(err)
		return
	}
	fido := retired.New("fido", Registered{Name: "Fido"})
	annals.Trigger(fido, Renamed{Name: "Rex"})
	if _, err := before.Save(ctx, fido); err != nil {
		fmt.Println(err)
	}

	for _, policy := range []persistence.UnknownPolicy{persistence.FailUnknown, persistence.KeepUnknown} {
		app, err := application.Open(ctx, "dogschool", application.WithRecorder(recorder), application.WithTypes(Dogs),
			application.WithUnknownEvents(policy))
		if err != nil {
			fmt.Println(err)
			return
		}
		for n, err := range app.Notifications(ctx) {
			if unknown, ok := n.Event.Data.(annals.Unknown); ok {
				fmt.Println(n.Position, "of another time:", n.Event.Topic, string(unknown.State))
				continue
			}
			fmt.Println(n.Position, n.Event.Data, err != nil)
		}
	}
	// Output:
	// 1 {Fido} false
	// 2 <nil> true
	// 1 {Fido} false
	// 2 of another time: Dog.Renamed {"Name":"Rex"}
}
