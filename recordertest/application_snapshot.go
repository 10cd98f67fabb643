package recordertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
)

func snapshotChecks() []check {
	needs := Features{Snapshots: true}
	return []check{
		{"with and without snapshots an aggregate is the same at every version", "B31, B33", needs, checkSnapshotEqual},
		{"a snapshot is taken every n versions, also when a save jumps over several", "B33", needs, checkSnapshotEvery},
		{"a snapshot is taken by hand", "B33", needs, checkSnapshotByHand},
		{"a snapshot of other code is upcast or replayed, never wrong", "B33, B8", needs, checkSnapshotShapes},
		{"a snapshot of a discarded aggregate does not bring it back", "B33, B6", needs, checkSnapshotDiscarded},
		{"a failed snapshot is told to the hook, and not to the saver", "B33", needs, checkSnapshotFails},
		{"writers, snapshots and a cache at once leave the same state", "B33, B34", needs, checkSnapshotContention},
	}
}

func checkSnapshotEqual(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	types := defineWallet()
	const n = 17
	for _, every := range []int{1, 4, 5, 100} {
		id := fmt.Sprintf("every %d", every)
		b := openBank(ctx, t, r, application.WithSnapshots(types, every))
		b.open(ctx, t, id, n)
		w := b.get(ctx, t, id)
		annals.Trigger(w, walletLimited{Currency: "EUR", Cents: 3})
		b.save(ctx, t, w)
		closeApplication(t, b.Application) // its snapshots are taken then

		with := openBank(ctx, t, r, application.WithSnapshots(types, every))
		without := openBank(ctx, t, r)
		sameWallet(t, id, with.get(ctx, t, id), without.get(ctx, t, id))
		for v := range int64(n + 2) {
			got, err := with.wallets.GetVersion(ctx, id, v+1)
			if err != nil {
				t.Fatalf("%s, version %d: %v", id, v+1, err)
			}
			want, err := without.wallets.GetVersion(ctx, id, v+1)
			if err != nil {
				t.Fatal(err)
			}
			sameWallet(t, fmt.Sprintf("%s, version %d", id, v+1), got, want)
		}
		_, err := with.wallets.GetVersion(ctx, id, n+3)
		wantIs(t, "a version that is not there", err, annals.ErrNotFound)
		at, err := with.wallets.GetAt(ctx, id, w.CreatedAt())
		if err != nil || at.Version() < 1 || at.Version() > n+2 {
			t.Errorf("%s, at a time: %v", id, err)
		}
	}
}

// afterSnapshot returns how many events after its snapshot, or of all if it has none,
// a load of the aggregate reads.
func afterSnapshot(ctx context.Context, t *testing.T, r Recorder, types *annals.Type[wallet], id string) int {
	t.Helper()
	counted, reads := countReads(r)
	b := openBankOf(ctx, t, counted, types, application.WithSnapshots(types, 0))
	b.get(ctx, t, id)
	if _, ok, err := snapshotRecorder(t, r).ReadSnapshot(ctx, id); err != nil {
		t.Fatal(err)
	} else if ok {
		return reads.since() - 1 // the last event in the snapshot is compared
	}
	return reads.since()
}

func checkSnapshotEvery(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	types := defineWallet()
	b := openBank(ctx, t, r, application.WithSnapshots(types, 10))
	b.open(ctx, t, "slow", 11)
	jump := types.New("jump", walletOpened{Owner: "Ada"})
	for range 26 {
		_ = jump.pay(1)
	}
	b.save(ctx, t, jump)
	b.open(ctx, t, "young", 8)
	closeApplication(t, b.Application)
	// A snapshot is of what is stored when it is taken: of the multiple, or later.
	for id, most := range map[string]int{"slow": 2, "jump": 0, "young": 9} {
		if n := afterSnapshot(ctx, t, r, types, id); n > most {
			t.Errorf("%s: %d events were read after the snapshot, want at most %d", id, n, most)
		}
	}
	if n := afterSnapshot(ctx, t, r, types, "young"); n != 9 {
		t.Errorf("an aggregate of 9 versions has a snapshot: %d events were read", n)
	}
}

func checkSnapshotByHand(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	types := defineWallet()
	b := openBank(ctx, t, r, application.WithSnapshots(types, 0))
	b.open(ctx, t, "ada", 30)
	if n := afterSnapshot(ctx, t, r, types, "ada"); n != 31 {
		t.Errorf("before: %d events were read", n)
	}
	for range 2 {
		if err := b.wallets.Snapshot(ctx, "ada"); err != nil {
			t.Fatal(err)
		}
	}
	if n := afterSnapshot(ctx, t, r, types, "ada"); n != 0 {
		t.Errorf("after: %d events were read", n)
	}
	b.pay(ctx, t, "ada", 3)
	if n := afterSnapshot(ctx, t, r, types, "ada"); n != 3 {
		t.Errorf("three events later: %d events were read", n)
	}
	var hook told
	with, without := openBank(ctx, t, r, application.WithSnapshots(types, 0), hook.option()), openBank(ctx, t, r)
	for v := range int64(34) { // before, at and after the version of the snapshot
		sameVersion(ctx, t, with, without, "ada", v+1)
	}
	if errs := hook.take(); len(errs) > 0 {
		t.Errorf("the hook was told %v", errs)
	}
	wantIs(t, "of nothing", b.wallets.Snapshot(ctx, "nobody"), annals.ErrNotFound)
	plain := openBank(ctx, t, r)
	wantIs(t, "of a type without snapshots", plain.wallets.Snapshot(ctx, "ada"), annals.ErrUnsupported)
}

// The forms in which snapshots of a wallet were kept by older and newer code.
type (
	walletV1 struct{ Owner, Total string }
	walletV2 struct {
		Owner    string
		Total    int64
		Payments []string
	}
)

func walletAsV1(w *wallet) walletV1 { return walletV1{w.Owner, fmt.Sprint(w.Balance)} }

func walletAsV2(w *wallet) walletV2 { return walletV2{w.Owner, w.Balance, w.Payments} }

func walletFromV2(w *wallet, v walletV2) {
	w.Owner, w.Balance, w.Payments = v.Owner, v.Total, v.Payments
}

func checkSnapshotShapes(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	v1 := defineWallet(annals.SnapshotAs(walletAsV1, func(*wallet, walletV1) {}))
	upcast := annals.Upcast(func(v walletV1) walletV2 { return walletV2{Owner: v.Owner, Total: 1_000_000} })
	v2 := defineWallet(annals.SnapshotAs(walletAsV2, walletFromV2, upcast))
	revised := defineWallet(annals.SnapshotAs(walletAsV2, walletFromV2, upcast), annals.Revision[wallet](1))
	plain := defineWallet()

	old := openBankOf(ctx, t, r, v1, application.WithSnapshots(v1, 0))
	old.open(ctx, t, "ada", 5)
	if err := old.wallets.Snapshot(ctx, "ada"); err != nil {
		t.Fatal(err)
	}
	if w := openBankOf(ctx, t, r, v2, application.WithSnapshots(v2, 0)).get(ctx, t, "ada"); w.Balance != 1_000_000 || w.Version() != 6 {
		t.Errorf("the older shape was not upcast: balance %d at version %d", w.Balance, w.Version())
	}
	want := openBank(ctx, t, r).get(ctx, t, "ada")
	for name, types := range map[string]*annals.Type[wallet]{"revision": revised, "other form": plain} {
		told := make(map[string]error)
		b := openBankOf(ctx, t, r, types, application.WithSnapshots(types, 0),
			application.WithSnapshotErrors(func(e *application.SnapshotError) { told[e.Op+" "+e.ID] = e }))
		sameWallet(t, name, b.get(ctx, t, "ada"), want)
		if err := told["use ada"]; !errors.Is(err, annals.ErrUndecodable) {
			t.Errorf("%s: the hook was told %v", name, told)
		}
	}
	newer := openBankOf(ctx, t, r, v2, application.WithSnapshots(v2, 0))
	if err := newer.wallets.Snapshot(ctx, "ada"); err != nil {
		t.Fatal(err)
	}
	sameWallet(t, "older code, and a snapshot of newer code",
		openBankOf(ctx, t, r, v1, application.WithSnapshots(v1, 0)).get(ctx, t, "ada"), want)
}

func checkSnapshotDiscarded(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	types := defineWallet()
	var hook told
	b := openBank(ctx, t, r, application.WithSnapshots(types, 2), hook.option())
	b.open(ctx, t, "ada", 5)
	if err := b.wallets.Snapshot(ctx, "ada"); err != nil {
		t.Fatal(err)
	}
	w := b.get(ctx, t, "ada")
	_ = w.pay(1)
	annals.Trigger(w, walletClosed{}) // of version 8, of which a snapshot is due
	b.save(ctx, t, w)
	closeApplication(t, b.Application)
	if errs := hook.take(); len(errs) > 0 {
		t.Errorf("that it was discarded is no error: %v", errs)
	}
	again := openBank(ctx, t, r, application.WithSnapshots(types, 2))
	_, err := again.wallets.Get(ctx, "ada")
	wantIs(t, "discarded", err, annals.ErrNotFound)
	wantIs(t, "a snapshot of it", again.wallets.Snapshot(ctx, "ada"), annals.ErrNotFound)
	_, err = again.wallets.GetVersion(ctx, "ada", 8)
	wantIs(t, "at its last version", err, annals.ErrNotFound)
	for v := int64(6); v < 8; v++ {
		if w, err := again.wallets.GetVersion(ctx, "ada", v); err != nil || w.Version() != v {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

// brokenSnapshots is a recorder that cannot keep or read snapshots.
type brokenSnapshots struct{ Recorder }

var errBrokenSnapshots = errors.New("no room for snapshots")

func (brokenSnapshots) RecordSnapshot(context.Context, persistence.StoredSnapshot) error {
	return errBrokenSnapshots
}

func (brokenSnapshots) ReadSnapshot(context.Context, string) (s persistence.StoredSnapshot, ok bool, err error) {
	return s, false, errBrokenSnapshots
}

func checkSnapshotFails(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var mu sync.Mutex
	var told []string
	b := openBank(ctx, t, brokenSnapshots{r}, application.WithSnapshots(defineWallet(), 2),
		application.WithSnapshotErrors(func(e *application.SnapshotError) {
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(e, errBrokenSnapshots) {
				told = append(told, e.Op+" "+e.Type+" "+e.ID)
			}
		}))
	b.open(ctx, t, "ada", 3)
	if got := b.get(ctx, t, "ada").Version(); got != 4 {
		t.Errorf("version %d after saves whose snapshots failed", got)
	}
	closeApplication(t, b.Application)
	for _, want := range []string{"take Wallet ada", "use Wallet ada"} {
		if !slices.Contains(told, want) {
			t.Errorf("the hook was told %q, and not %q", told, want)
		}
	}
}

func checkSnapshotContention(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	const writers, each = 8, 10
	types := defineWallet()
	handles := s.handles(ctx, t, r, writers)
	banks := make([]*bank, writers)
	for i := range banks {
		opts := []application.Option{application.WithRetries(1000)}
		if i%2 == 0 {
			opts = append(opts, application.WithSnapshots(types, 3))
		}
		if i%3 == 0 {
			opts = append(opts, application.WithCache(1))
		}
		banks[i] = openBank(ctx, t, handles[i], opts...)
	}
	banks[0].open(ctx, t, "ada", 0)
	together(writers, func(i int) {
		for range each {
			if err := banks[i].wallets.Update(ctx, "ada", func(w *wallet) error { return w.pay(1) }); err != nil {
				t.Errorf("writer %d: %v", i, err)
				return
			}
		}
	})
	want := openBank(ctx, t, r).get(ctx, t, "ada")
	if want.Balance != writers*each || want.Version() != writers*each+1 {
		t.Errorf("balance %d at version %d", want.Balance, want.Version())
	}
	for _, b := range banks {
		sameWallet(t, "after all", b.get(ctx, t, "ada"), want)
	}
}
