package systemtest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/internal/compare"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/system"
)

// relay passes each event on: it enters it in the account of the same id.
type relay struct{ *book }

func openRelay(name string) func(ctx context.Context, opts ...application.Option) (*relay, error) {
	return func(ctx context.Context, opts ...application.Option) (*relay, error) {
		b, err := openBook(name)(ctx, opts...)
		return &relay{b}, err
	}
}

//nolint:gochecknoglobals // the definition of a system
var (
	first  = system.App("first", openRelay("first"))
	second = system.App("second", openRelay("second"))
	third  = system.App("third", openRelay("third"))
	relays = system.Define("relays", system.Pipe(first, second, third))
	alone  = system.Define("alone", system.Pipe(first))

	relayNames   = []string{"first", "second", "third"}
	relayMembers = []system.Member{first, second, third}
)

const perStream = 10

// save saves an event, the next of a stream of ten, or the first of another.
func (r *relay) save(ctx context.Context, id string) error {
	a, err := r.accounts.GetOrNew(ctx, id, func() *Account { return Accounts.New(id, Entered{1}) })
	if err == nil && len(Accounts.AggregateOf(a).PendingEvents()) == 0 {
		annals.Trigger(a, Entered{1})
	}
	if err == nil {
		_, err = r.Save(ctx, a)
	}
	return err
}

// fill saves events in a few saves.
func (r *relay) fill(ctx context.Context, n int) error {
	for n > 0 {
		var sources []application.Source
		for range 50 {
			a := Accounts.New(annals.NewID(), Entered{1})
			for range perStream - 1 {
				annals.Trigger(a, Entered{1})
			}
			sources = append(sources, a)
			n -= perStream
		}
		if _, err := r.Save(ctx, sources...); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkPipe3 measures three applications that follow each other, from the first save
// until each event has had its effect in the last.
//
// In memory, while 8 goroutines save:
//
//   - frac-save: the rate by that of saving alone.
//
// On databases, of a backlog:
//
//   - x-one-by-one: the rate by that with one upstream event in each transaction. Target: 4
//     or more.
//
// And events/s, of the first application.
func BenchmarkPipe3(b *testing.B, backend Backend) {
	n, few := 2000, 500
	if testing.Short() {
		n, few = 500, 500
	}
	metric := "x-one-by-one"
	c := compare.Comparison{Ours: backend.catchesUp(b, n), Bare: backend.catchesUp(b, few, projection.WithBatch(1, time.Minute))}
	if backend.Name == Memory().Name {
		metric, n = "frac-save", 10*n
		c = compare.Comparison{Ours: backend.saves(b, n, relays, relayMembers), Bare: backend.saves(b, n, alone, relayMembers[:1])}
	}
	o := c.Run(b, metric, compare.AsFast)
	b.ReportMetric(compare.PerSecond(compare.Median(o.PerEvent)), "events/s")
}

// catchesUp is a side whose round processes a backlog.
func (b *Backend) catchesUp(tb testing.TB, n int, opts ...projection.Option) compare.Side {
	tb.Helper()
	var addresses []string
	return compare.Side{
		Events: n,
		Prepare: func() {
			addresses = b.Create(tb, relayNames...)
			if err := b.at(tb.Context(), addresses[:1], relayMembers[:1], alone, func(r *system.Runner) error {
				return first.In(r).fill(tb.Context(), n)
			}); err != nil {
				tb.Fatal(err)
			}
		},
		Round: func() error {
			return b.at(tb.Context(), addresses, relayMembers, relays, func(r *system.Runner) error { return r.Wait(tb.Context()) },
				system.WithFollowers(opts...))
		},
	}
}

// saves is a side whose round saves, and waits for all effects.
func (b *Backend) saves(tb testing.TB, n int, s *system.System, members []system.Member) compare.Side {
	tb.Helper()
	const savers = 8
	var addresses []string
	return compare.Side{
		Events:  n,
		Prepare: func() { addresses = b.Create(tb, relayNames[:len(members)]...) },
		Round: func() error {
			return b.at(tb.Context(), addresses, members, s, func(r *system.Runner) error {
				var all sync.WaitGroup
				for range savers {
					all.Go(func() {
						for i, id := 0, ""; i < n/savers; i++ {
							if i%perStream == 0 {
								id = annals.NewID()
							}
							if err := first.In(r).save(tb.Context(), id); err != nil {
								tb.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
				return r.Wait(tb.Context())
			})
		},
	}
}

// at runs a system in the background while f runs.
func (b *Backend) at(
	ctx context.Context, addresses []string, members []system.Member, s *system.System, f func(*system.Runner) error, opts ...system.Option,
) error {
	recorders, err := b.open(ctx, relayNames[:len(addresses)], addresses)
	if err != nil {
		return err
	}
	defer recorders.close()
	r, err := system.RunAsync(ctx, s, append(recorders.options(members), opts...)...)
	if err != nil {
		return err
	}
	if err := f(r); err != nil {
		_ = r.Stop()
		return err
	}
	return r.Stop()
}

// BenchmarkPipeLatency measures how long after a save begins its effect is in the last of
// three applications, at 100 saves a second:
//
//   - p50-ms, p99-ms. Target of p99 on PostgreSQL: 30 or less.
func BenchmarkPipeLatency(b *testing.B, backend Backend) {
	var took []time.Duration
	err := backend.at(b.Context(), backend.Create(b, relayNames...), relayMembers, relays, func(r *system.Runner) error {
		last := make(chan time.Time, 1)
		defer third.In(r).AfterSave(func(context.Context, application.Saved) error { last <- time.Now(); return nil })()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for b.Loop() {
			<-tick.C
			began := time.Now()
			if err := first.In(r).save(b.Context(), annals.NewID()); err != nil {
				return err
			}
			took = append(took, (<-last).Sub(began))
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
	b.ReportMetric(ms(took[len(took)*99/100]), "p99-ms")
}
