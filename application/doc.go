// Package application combines aggregates and persistence into event-sourced
// applications: [Open] opens one, [Application.Save] stores what aggregates
// collected, a [Repository] loads them again, and [Application.Subscribe] tells
// the rest of the world.
//
//	type School struct {
//		*application.Application
//		dogs *application.Repository[dogschool.Dog]
//	}
//
//	func OpenSchool(ctx context.Context, opts ...application.Option) (*School, error) {
//		app, err := application.Open(ctx, "dogschool", opts...)
//		if err != nil {
//			return nil, err
//		}
//		return &School{app, application.NewRepository(app, dogschool.Dogs)}, nil
//	}
package application
