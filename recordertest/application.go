package recordertest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
)

// The checks in the files application_….go look at a recorder through an
// application: what applications promise must hold on every recorder.
func applicationChecks() []check {
	return slices.Concat(snapshotChecks(), unfitChecks(), cacheChecks(), styleChecks(), storyChecks(), integrityChecks(), codecChecks())
}

// wallet is the aggregate of these checks.
type wallet struct {
	annals.Aggregate

	Owner    string
	Balance  int64
	Payments []string
	Limits   map[string]int64
}

type (
	walletOpened struct{ Owner string }
	walletPaid   struct {
		Payment string
		Cents   int64
	}
	walletLimited struct {
		Currency string
		Cents    int64
	}
	walletClosed struct{}
)

func (e walletOpened) Apply(w *wallet) { w.Owner = e.Owner }

func (e walletPaid) Apply(w *wallet) {
	w.Balance += e.Cents
	w.Payments = append(w.Payments, e.Payment)
}

func (e walletLimited) Apply(w *wallet) {
	if w.Limits == nil {
		w.Limits = make(map[string]int64)
	}
	w.Limits[e.Currency] = e.Cents
}

func (walletClosed) Apply(*wallet) {}

func defineWallet(parts ...annals.Part[wallet]) *annals.Type[wallet] {
	return annals.Define("Wallet", append([]annals.Part[wallet]{
		annals.On[walletOpened]("Opened"),
		annals.On[walletPaid]("Paid"),
		annals.On[walletLimited]("Limited"),
		annals.On[walletClosed]("Closed", annals.Discards()),
	}, parts...)...)
}

func (w *wallet) pay(cents int64) error {
	annals.Trigger(w, walletPaid{Payment: annals.NewID(), Cents: cents})
	return nil
}

// bank is an application on the recorder of a check.
type bank struct {
	*application.Application

	wallets *application.Repository[wallet]
	types   *annals.Type[wallet]
}

// openBank opens an application, and closes it when the check ends.
func openBank(ctx context.Context, t *testing.T, r persistence.Recorder, opts ...application.Option) *bank {
	t.Helper()
	return openBankOf(ctx, t, r, defineWallet(), opts...)
}

func openBankOf(
	ctx context.Context, t *testing.T, r persistence.Recorder, types *annals.Type[wallet], opts ...application.Option,
) *bank {
	t.Helper()
	app, err := application.Open(ctx, "bank", append(opts, application.WithRecorder(r))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeApplication(t, app) })
	return &bank{app, application.NewRepository(app, types), types}
}

func closeApplication(t *testing.T, app *application.Application) {
	t.Helper()
	if err := app.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// open opens a wallet and pays n times, each in a save of its own.
func (b *bank) open(ctx context.Context, t *testing.T, id string, n int) {
	t.Helper()
	b.save(ctx, t, b.types.New(id, walletOpened{Owner: "Ada"}))
	b.pay(ctx, t, id, n)
}

func (b *bank) pay(ctx context.Context, t *testing.T, id string, n int) {
	t.Helper()
	for i := range n {
		if err := b.wallets.Update(ctx, id, func(w *wallet) error { return w.pay(int64(i + 1)) }); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *bank) save(ctx context.Context, t *testing.T, sources ...application.Source) application.Recordings {
	t.Helper()
	recordings, err := b.Save(ctx, sources...)
	if err != nil {
		t.Fatalf("save: %v", err)
	}
	return recordings
}

func (b *bank) get(ctx context.Context, t *testing.T, id string) *wallet {
	t.Helper()
	w, err := b.wallets.Get(ctx, id)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return w
}

// sameWallet fails unless the aggregates are equal, identity and times included.
func sameWallet(t *testing.T, what string, got, want *wallet) {
	t.Helper()
	type plain struct {
		ID, Created, Modified string
		Version               int64
		Owner                 string
		Balance               int64
		Payments              []string
		Limits                map[string]int64
	}
	of := func(w *wallet) plain {
		return plain{
			w.ID(), w.CreatedAt().String(), w.ModifiedAt().String(), w.Version(),
			w.Owner, w.Balance, w.Payments, w.Limits,
		}
	}
	if d := cmp.Diff(of(want), of(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// counting is a recorder that counts the events that are read of streams.
type counting struct {
	Recorder

	mu   sync.Mutex
	read int
}

// withSnapshots is a counting recorder that also keeps snapshots.
type withSnapshots struct {
	*counting
	persistence.SnapshotRecorder
}

func countReads(r Recorder) (persistence.Recorder, *counting) {
	c := &counting{Recorder: r}
	if s, ok := r.(persistence.SnapshotRecorder); ok {
		return withSnapshots{c, s}, c
	}
	return c, c
}

func (c *counting) ReadStream(ctx context.Context, id string, q persistence.StreamQuery) iter.Seq2[persistence.StoredEvent, error] {
	return func(yield func(persistence.StoredEvent, error) bool) {
		for e, err := range c.Recorder.ReadStream(ctx, id, q) {
			c.mu.Lock()
			c.read++
			c.mu.Unlock()
			if !yield(e, err) {
				return
			}
		}
	}
}

// since returns how many events were read since the last call.
func (c *counting) since() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.read
	c.read = 0
	return n
}

// losing is a recorder whose next answers get lost: what it stored is stored, and
// the error says that this is not known.
type losing struct {
	persistence.Recorder

	mu   sync.Mutex
	lose int
}

func (l *losing) Record(ctx context.Context, b persistence.Batch) ([]int64, error) {
	positions, err := l.Recorder.Record(ctx, b)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.lose > 0 {
		l.lose--
		return nil, fmt.Errorf("the answer is lost: %w", annals.ErrOutcomeUnknown)
	}
	return positions, err
}

func cacheChecks() []check {
	return []check{
		{"a cached aggregate is taken on by what others saved", "B34", Features{}, checkCacheForward},
		{"what a caller does to an aggregate does not reach the cache", "B34", Features{}, checkCacheCopies},
		{"with and without a cache 16 writers leave the same state", "B34", Features{}, checkCacheContention},
		{"a discarded aggregate leaves the cache", "B34, B6", Features{}, checkCacheDiscard},
	}
}

func checkCacheForward(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	counted, reads := countReads(r)
	cached, other := openBank(ctx, t, counted, application.WithCache(2)), openBank(ctx, t, r)
	other.open(ctx, t, "ada", 20)
	sameWallet(t, "first", cached.get(ctx, t, "ada"), other.get(ctx, t, "ada"))
	if n := reads.since(); n != 21 {
		t.Errorf("the first load read %d events, not 21", n)
	}
	for range 3 {
		sameWallet(t, "again", cached.get(ctx, t, "ada"), other.get(ctx, t, "ada"))
	}
	if n := reads.since(); n != 0 {
		t.Errorf("loading again read %d events", n)
	}
	other.pay(ctx, t, "ada", 2)
	sameWallet(t, "forwarded", cached.get(ctx, t, "ada"), other.get(ctx, t, "ada"))
	if n := reads.since(); n != 2 {
		t.Errorf("after two events %d were read", n)
	}
	for _, id := range []string{"bob", "eve"} { // there is room for two
		other.open(ctx, t, id, 1)
		cached.get(ctx, t, id)
	}
	reads.since()
	sameWallet(t, "after it was forgotten", cached.get(ctx, t, "ada"), other.get(ctx, t, "ada"))
	if n := reads.since(); n != 23 {
		t.Errorf("a forgotten aggregate was loaded with %d events, not 23", n)
	}
	at, err := cached.wallets.GetVersion(ctx, "ada", 3)
	if err != nil || at.Version() != 3 || len(at.Payments) != 2 {
		t.Errorf("version 3 of a cached aggregate: %+v, %v", at, err)
	}
}

func checkCacheCopies(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	cached, plain := openBank(ctx, t, r, application.WithCache(10)), openBank(ctx, t, r)
	ada := cached.types.New("ada", walletOpened{Owner: "Ada"})
	annals.Trigger(ada, walletLimited{Currency: "EUR", Cents: 5})
	annals.Trigger(ada, walletPaid{Payment: "p1", Cents: 1})
	cached.save(ctx, t, ada)
	for range 3 {
		w := cached.get(ctx, t, "ada")
		sameWallet(t, "copy", w, plain.get(ctx, t, "ada"))
		w.Owner, w.Payments[0], w.Limits["EUR"] = "Mallory", "stolen", 1_000_000
		w.Payments = append(w.Payments, "more")
		annals.Trigger(w, walletPaid{Payment: "never saved", Cents: 100})
	}
	failed := errors.New("no")
	err := cached.wallets.Update(ctx, "ada", func(w *wallet) error {
		_ = w.pay(7)
		return failed
	})
	wantIs(t, "an update that fails", err, failed)
	cached.pay(ctx, t, "ada", 1)
	sameWallet(t, "after all that", cached.get(ctx, t, "ada"), plain.get(ctx, t, "ada"))
}

func checkCacheContention(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	const writers, each = 16, 8
	handles := s.handles(ctx, t, r, writers)
	banks := make([]*bank, writers)
	for i := range banks {
		var opts []application.Option
		if i%4 != 0 {
			opts = append(opts, application.WithCache(1))
		}
		banks[i] = openBank(ctx, t, handles[i], append(opts, application.WithRetries(1000))...)
	}
	shared := banks[1] // one cache that several writers use
	shared.open(ctx, t, "ada", 0)
	together(writers, func(i int) {
		b := banks[i]
		if i%2 == 1 {
			b = shared
		}
		for range each {
			if err := b.wallets.Update(ctx, "ada", func(w *wallet) error { return w.pay(1) }); err != nil {
				t.Errorf("writer %d: %v", i, err)
				return
			}
			if w, err := b.wallets.Get(ctx, "ada"); err != nil || int64(len(w.Payments)) != w.Balance || w.Version() != w.Balance+1 {
				t.Errorf("writer %d: a state that never was: %+v, %v", i, w, err)
				return
			}
		}
	})
	want := banks[0].get(ctx, t, "ada")
	if want.Balance != writers*each {
		t.Errorf("balance %d, want %d", want.Balance, writers*each)
	}
	for _, b := range banks {
		sameWallet(t, "cached", b.get(ctx, t, "ada"), want)
	}
}

func checkCacheDiscard(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	cached, other := openBank(ctx, t, r, application.WithCache(10)), openBank(ctx, t, r)
	other.open(ctx, t, "ada", 1)
	cached.get(ctx, t, "ada")
	w := other.get(ctx, t, "ada")
	annals.Trigger(w, walletClosed{})
	other.save(ctx, t, w)
	for range 2 {
		_, err := cached.wallets.Get(ctx, "ada")
		wantIs(t, "a discarded aggregate", err, annals.ErrNotFound)
		if err != nil && !strings.Contains(err.Error(), "discarded") {
			t.Errorf("the error does not say why: %v", err)
		}
	}
}
