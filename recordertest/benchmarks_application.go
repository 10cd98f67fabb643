package recordertest

import (
	"context"
	"fmt"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/internal/compare"
)

// BenchmarkLoadSnapshot measures loading an aggregate of 1,000 events that has a
// snapshot of version 990, against the replay of all events:
//
//   - x-replay: how many times as fast. Target: 20 or more.
func BenchmarkLoadSnapshot(b *testing.B, backend Backend) {
	const snapshot, versions = 990, 1000
	ctx := b.Context()
	r, _ := stores(b, Backend{Create: backend.Create, Open: backend.Open})
	events := accountEvents(b, 1, versions)
	types := defineAccount(annals.SnapshotAs(
		func(a *account) accountState { return accountState{a.owner, a.balance, a.payments} },
		func(a *account, s accountState) { a.owner, a.balance, a.payments = s.Owner, s.Balance, s.Payments }))
	with := openAccounts(b, r, types, application.WithSnapshots(types, 0))
	fill(b, r, nil, events[:snapshot])
	if err := with.Snapshot(ctx, events[0].StreamID); err != nil {
		b.Fatal(err)
	}
	fill(b, r, nil, events[snapshot:])
	without := openAccounts(b, r, types)
	id := events[0].StreamID
	c := compare.Comparison{
		Ours: compare.Side{Events: 200, Round: gets(ctx, with, id, versions, 200)},
		Bare: compare.Side{Events: 5, Round: gets(ctx, without, id, versions, 5)},
	}
	c.Run(b, "x-replay", compare.AsFast)
}

// BenchmarkGetCached measures getting an aggregate of 100 events that is in the
// cache, which looks for later events each time, against the replay of all
// events:
//
//   - x-replay: how many times as fast. Target: 20 or more.
func BenchmarkGetCached(b *testing.B, backend Backend) {
	const versions = 100
	ctx := b.Context()
	r, _ := stores(b, Backend{Create: backend.Create, Open: backend.Open})
	events := accountEvents(b, 1, versions)
	fill(b, r, nil, events)
	id := events[0].StreamID
	types := defineAccount()
	c := compare.Comparison{
		Ours: compare.Side{Events: 1000, Round: gets(ctx, openAccounts(b, r, types, application.WithCache(10)), id, versions, 1000)},
		Bare: compare.Side{Events: 30, Round: gets(ctx, openAccounts(b, r, types), id, versions, 30)},
	}
	c.Run(b, "x-replay", compare.AsFast)
}

type accountState struct {
	Owner    string
	Balance  int64
	Payments int
}

func openAccounts(b *testing.B, r Recorder, t *annals.Type[account], opts ...application.Option) *application.Repository[account] {
	b.Helper()
	app, err := application.Open(b.Context(), "bench", append(opts, application.WithRecorder(r))...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := app.Close(); err != nil {
			b.Error(err)
		}
	})
	return application.NewRepository(app, t)
}

// gets returns a round of n Gets of the aggregate.
func gets(ctx context.Context, accounts *application.Repository[account], id string, version int64, n int) func() error {
	return func() error {
		for range n {
			a, err := accounts.Get(ctx, id)
			if err != nil {
				return err
			}
			if a.Version() != version {
				return fmt.Errorf("version %d, want %d", a.Version(), version)
			}
		}
		return nil
	}
}
