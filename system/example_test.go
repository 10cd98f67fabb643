package system_test

import (
	"context"
	"fmt"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/system"
)

// Order is an aggregate of the shop, which knows nothing of parcels.
type Order struct{ annals.Aggregate }

type OrderPlaced struct{ Item string }

func (OrderPlaced) Apply(*Order) {}

// Parcel is an aggregate of the shipping department.
type Parcel struct {
	annals.Aggregate
	Item string
}

type ParcelPacked struct{ Item string }

func (e ParcelPacked) Apply(p *Parcel) { p.Item = e.Item }

var (
	Orders  = annals.Define("Order", annals.On[OrderPlaced]("Placed"))
	Parcels = annals.Define("Parcel", annals.On[ParcelPacked]("Packed"))
)

type Shop struct{ *application.Application }

func OpenShop(ctx context.Context, opts ...application.Option) (*Shop, error) {
	app, err := application.Open(ctx, "shop", append(opts, application.WithTypes(Orders))...)
	if err != nil {
		return nil, err
	}
	return &Shop{app}, nil
}

type Shipping struct {
	*application.Application

	parcels *application.Repository[Parcel]
}

func OpenShipping(ctx context.Context, opts ...application.Option) (*Shipping, error) {
	app, err := application.Open(ctx, "shipping", opts...)
	if err != nil {
		return nil, err
	}
	return &Shipping{app, application.NewRepository(app, Parcels)}, nil
}

// Policy packs a parcel for each order. What it collects is saved with how far it is.
func (s *Shipping) Policy(_ context.Context, n application.Notification, p *application.Processing) error {
	if placed, ok := n.Event.Data.(OrderPlaced); ok {
		p.Collect(Parcels.New(annals.NamedID("/parcels", n.Event.StreamID), ParcelPacked(placed)))
	}
	return nil
}

var (
	ShopApp     = system.App("shop", OpenShop)
	ShippingApp = system.App("shipping", OpenShipping)

	Trade = system.Define("trade", system.Pipe(ShopApp, ShippingApp)) // shipping follows shop
)

func ExampleRunSync() {
	ctx := context.Background()
	runner, err := system.RunSync(ctx, Trade) // or RunAsync, on databases
	if err != nil {
		fmt.Println(err)
		return
	}
	shop, shipping := ShopApp.In(runner), ShippingApp.In(runner)
	if _, err := shop.Save(ctx, Orders.New("order-1", OrderPlaced{"a kennel"})); err != nil {
		fmt.Println(err)
	}
	parcel, err := shipping.parcels.Get(ctx, annals.NamedID("/parcels", "order-1")) // it is there
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("packed:", parcel.Item)
	fmt.Println(runner.Stop())
	// Output:
	// packed: a kennel
	// <nil>
}
