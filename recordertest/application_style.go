package recordertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
)

func styleChecks() []check {
	return []check{
		{"a decider handles commands, also when many do at one moment", "B9, B32", Features{}, checkDecider},
		{"a decider with snapshots and a cache has the same states", "B9, B33, B34", Features{Snapshots: true}, checkDeciderSnapshots},
		{"a log of events without an aggregate is appended to and read", "B10", Features{}, checkEntries},
		{"of entries for one place in a log one is stored", "B10, B16", Features{}, checkEntryConflict},
		{"a save whose answers get lost is stored once, and succeeds", "B29", Features{}, checkLostAnswers},
		{"own statements are stored with a save, or not at all", "B25", Features{Transactions: true}, checkOwnStatements},
		{"a save joins the caller's transaction", "B26", Features{Joins: true}, checkJoin},
		{"a recorder without transactions says so", "B25, B26, B52", Features{}, checkNoTransaction},
	}
}

// The tally is the functional model of these checks.
type (
	tally    struct{ Items []string }
	addItem  string
	dropAll  struct{}
	added    struct{ Item string }
	dropped  struct{}
	tallying interface{ isTallying() }
)

func (added) isTallying()   {}
func (dropped) isTallying() {}

func defineTally() *annals.Type[annals.State[tally]] {
	return annals.DefineState("Tally", tally{},
		annals.Evolve("Added", func(s tally, e added) tally { s.Items = append(s.Items, e.Item); return s }),
		annals.Evolve("Dropped", func(s tally, _ dropped) tally { return s }, annals.Discards()))
}

var errThere = errors.New("it is there already")

func decideTally(command any, s tally) ([]tallying, error) {
	switch c := command.(type) {
	case addItem:
		if slices.Contains(s.Items, string(c)) {
			return nil, errThere
		}
		return []tallying{added{Item: string(c)}}, nil
	case dropAll:
		return []tallying{dropped{}}, nil
	default:
		return nil, nil
	}
}

func openTally(
	ctx context.Context, t *testing.T, r Recorder, opts ...application.Option,
) (*application.Application, *application.Decider[any, tally]) {
	t.Helper()
	app, err := application.Open(ctx, "tally", append(opts, application.WithRecorder(r), application.WithRetries(1000))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeApplication(t, app) })
	return app, application.NewDecider(app, defineTally(), decideTally)
}

func checkDecider(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	const writers, each = 8, 10
	handles := s.handles(ctx, t, r, writers)
	_, one := openTally(ctx, t, handles[0])
	_, two := openTally(ctx, t, handles[1], application.WithCache(10))
	together(writers, func(i int) {
		d := one
		if i%2 == 1 {
			d = two
		}
		for n := range each {
			if _, err := d.Handle(ctx, "t", addItem(fmt.Sprintf("%d of %d", n, i))); err != nil {
				t.Errorf("writer %d: %v", i, err)
				return
			}
		}
	})
	first, err := one.Get(ctx, "t")
	if err != nil || len(first.Items) != writers*each {
		t.Fatalf("%d items of %d: %v", len(first.Items), writers*each, err)
	}
	for range 2 {
		second, err := two.Get(ctx, "t")
		if d := cmp.Diff(first, second); d != "" || err != nil {
			t.Errorf("the other decider's state (-want +got): %v\n%s", err, d)
		}
	}
	_, err = one.Handle(ctx, "t", addItem("0 of 0"))
	wantIs(t, "the function's own error", err, errThere)
	if got, err := one.Handle(ctx, "t", "nothing"); err != nil || len(got.Items) != writers*each {
		t.Errorf("a command without events: %v", err)
	}
	if _, err := one.Handle(ctx, "t", dropAll{}); err != nil {
		t.Fatal(err)
	}
	_, err = two.Handle(ctx, "t", addItem("late"))
	wantIs(t, "a command to what was discarded", err, annals.ErrNotFound)
}

func checkDeciderSnapshots(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	app, with := openTally(ctx, t, r, application.WithSnapshots(defineTally(), 4), application.WithCache(1))
	var before []tally // states that were returned stay as they were
	for i := range 11 {
		state, err := with.Handle(ctx, "t", addItem(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, state)
	}
	for i, state := range before {
		if len(state.Items) != i+1 || state.Items[i] != fmt.Sprint(i) {
			t.Errorf("state %d changed: %q", i, state.Items)
		}
	}
	closeApplication(t, app)
	_, again := openTally(ctx, t, r, application.WithSnapshots(defineTally(), 4))
	_, without := openTally(ctx, t, r)
	for v := range int64(11) {
		got, err := again.Repository().GetVersion(ctx, "t", v+1)
		if err != nil {
			t.Fatal(err)
		}
		want, err := without.Repository().GetVersion(ctx, "t", v+1)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.Value(), got.Value()); d != "" {
			t.Errorf("version %d (-want +got):\n%s", v+1, d)
		}
	}
}

type pageCreated struct{ Page string }

func definePages() *annals.LogType[pageCreated] {
	return annals.DefineLog[pageCreated]("Pages", "Created")
}

func pagesOf(
	ctx context.Context, t *testing.T, log *application.Log[pageCreated], r application.Range,
) (pages []string) {
	t.Helper()
	for e, err := range log.Entries(ctx, r) {
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, e.Data.Page)
	}
	return pages
}

func checkEntries(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	b := openBank(ctx, t, r)
	log := application.NewLog(b.Application, definePages(), "pages")
	_, err := log.First(ctx)
	wantIs(t, "the first of none", err, annals.ErrNotFound)
	_, err = log.Last(ctx)
	wantIs(t, "the last of none", err, annals.ErrNotFound)
	for i := range 9 {
		if _, err := log.Append(ctx, pageCreated{fmt.Sprint(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	next, err := log.Next(ctx, pageCreated{"10"})
	if err != nil {
		t.Fatal(err)
	}
	b.save(ctx, t, b.types.New("ada", walletOpened{Owner: "Ada"}), next) // together with an aggregate
	first, err := log.First(ctx)
	if err != nil || first.Data.Page != "1" || first.Event.Version != 1 {
		t.Errorf("first: %+v, %v", first, err)
	}
	last, err := log.Last(ctx)
	if err != nil || last.Data.Page != "10" || last.Event.Version != 10 || last.Event.Topic != "Pages.Created" {
		t.Errorf("last: %+v, %v", last, err)
	}
	for _, c := range []struct {
		r    application.Range
		want []string
	}{
		{application.Range{}, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}},
		{application.Range{After: 7}, []string{"8", "9", "10"}},
		{application.Range{UpTo: 2}, []string{"1", "2"}},
		{application.Range{After: 2, UpTo: 8, Limit: 2}, []string{"3", "4"}},
		{application.Range{Descending: true, Limit: 3}, []string{"10", "9", "8"}},
		{application.Range{After: 2, UpTo: 4, Descending: true}, []string{"4", "3"}},
		{application.Range{After: 10}, nil},
	} {
		if d := cmp.Diff(c.want, pagesOf(ctx, t, log, c.r)); d != "" {
			t.Errorf("%+v (-want +got):\n%s", c.r, d)
		}
	}
}

func checkEntryConflict(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	b := openBank(ctx, t, r, application.WithRetries(1000))
	log := application.NewLog(b.Application, definePages(), "pages")
	one, err := log.Next(ctx, pageCreated{"one"})
	if err != nil {
		t.Fatal(err)
	}
	two, err := log.Next(ctx, pageCreated{"two"})
	if err != nil {
		t.Fatal(err)
	}
	b.save(ctx, t, one)
	_, err = b.Save(ctx, two)
	wantConflict(t, err, conflict("pages", 0, 1))
	together(8, func(i int) {
		for n := range 5 {
			if _, err := log.Append(ctx, pageCreated{fmt.Sprintf("%d of %d", n, i)}); err != nil {
				t.Error(err)
			}
		}
	})
	pages := pagesOf(ctx, t, log, application.Range{})
	if different := slices.Compact(slices.Sorted(slices.Values(pages))); len(pages) != 41 || len(different) != 41 {
		t.Errorf("%d entries, %d of them different: %q", len(pages), len(different), pages)
	}
}

func checkLostAnswers(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	l := &losing{Recorder: r}
	b := openBank(ctx, t, l, application.WithHashChain(), application.WithCache(10))

	ada := b.types.New("ada", walletOpened{Owner: "Ada"})
	_ = ada.pay(1)
	l.lose = 2
	for range 2 {
		_, err := b.Save(ctx, ada)
		wantIs(t, "a lost answer", err, annals.ErrOutcomeUnknown)
	}
	recordings := b.save(ctx, t, ada)
	if len(recordings) != 2 || recordings[1].Event.StreamID != "ada" || len(ada.PendingEvents()) != 0 {
		t.Errorf("the repeat has the recordings %+v", recordings)
	}
	l.lose = 1
	b.pay(ctx, t, "ada", 1) // Update repeats by itself
	l.lose = 1
	log := application.NewLog(b.Application, definePages(), "pages")
	if _, err := log.Append(ctx, pageCreated{"1"}); err != nil {
		t.Fatal(err)
	}
	b.pay(ctx, t, "ada", 3)
	if w := b.get(ctx, t, "ada"); w.Version() != 6 || w.Balance != 8 {
		t.Errorf("version %d, balance %d", w.Version(), w.Balance)
	}
	var positions []int64
	for n, err := range b.Notifications(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		positions = append(positions, n.Position)
	}
	if len(positions) != 7 || !slices.Equal(positions[:2], []int64{recordings[0].Position, recordings[1].Position}) {
		t.Errorf("positions %v; the repeat had %v", positions, recordings)
	}
	if _, err := b.Verify(ctx, verifyAll); err != nil {
		t.Errorf("the hash chain: %v", err)
	}
}

func checkOwnStatements(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	b := openBank(ctx, t, r)
	insert := func(key string) application.Source {
		return application.Do(func(ctx context.Context, tx any) error { return s.backend.Statements.Insert(ctx, tx, key) })
	}
	b.save(ctx, t, b.types.New("ada", walletOpened{Owner: "Ada"}), insert("opened"), insert("also"))
	if err := b.wallets.Update(ctx, "ada", func(w *wallet) error { return w.pay(1) }, insert("paid")); err != nil {
		t.Fatal(err)
	}
	failed := &failure{}
	fail := application.Do(func(context.Context, any) error { return failed })
	w := b.get(ctx, t, "ada")
	_ = w.pay(2)
	_, err := b.Save(ctx, w, insert("never"), fail)
	wantIs(t, "a statement that fails", err, failed)
	b.save(ctx, t, w, insert("then"))
	stale := b.types.New("ada", walletOpened{Owner: "Bob"})
	_, err = b.Save(ctx, stale, insert("never"))
	wantIs(t, "a conflict", err, annals.ErrVersionConflict)
	b.save(ctx, t, insert("alone"))
	_, err = b.Save(ctx, b.types.New("eve", walletOpened{}), application.Do(func(context.Context, *testing.T) error { return nil }))
	wantIs(t, "another kind of transaction", err, annals.ErrUnsupported)
	for key, want := range map[string]int{"opened": 1, "also": 1, "paid": 1, "then": 1, "alone": 1, "never": 0} {
		if n, err := s.backend.Statements.Count(ctx, s.address, key); err != nil || n != want {
			t.Errorf("%d rows %q, want %d: %v", n, key, want, err)
		}
	}
	if v := b.get(ctx, t, "ada").Version(); v != 3 {
		t.Errorf("version %d, want 3", v)
	}
}

func checkNoTransaction(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	b := openBank(ctx, t, &losing{Recorder: r}) // which forwards no optional ability
	_, err := b.Save(ctx, b.types.New("ada", walletOpened{}), application.Join("a transaction"))
	wantIs(t, "joining", err, annals.ErrUnsupported)
	_, err = b.Save(ctx, b.types.New("ada", walletOpened{}), application.Join(1), application.Join(2))
	wantIs(t, "joining two", err, annals.ErrConfiguration)
	_, err = application.Open(ctx, "bank", application.WithRecorder(&losing{Recorder: r}), application.WithSnapshots(defineWallet(), 1))
	wantIs(t, "snapshots", err, annals.ErrUnsupported)
	_, err = b.wallets.Get(ctx, "ada")
	wantIs(t, "what was not saved", err, annals.ErrNotFound)
}

func checkJoin(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	types := defineWallet()
	opts := []application.Option{application.WithHashChain(), application.WithCache(10)}
	if s.backend.Features.Snapshots {
		opts = append(opts, application.WithSnapshots(types, 2))
	}
	b := openBank(ctx, t, r, opts...)
	b.open(ctx, t, "ada", 2)
	want := b.get(ctx, t, "ada")
	stop := b.AfterSave(func(_ context.Context, saved application.Saved) error {
		t.Errorf("a save that is not committed was told of: position %d", saved.Position())
		return nil
	})

	inTx := func(work func(tx any), commit bool) {
		tx, end, undo, err := s.backend.Statements.Begin(ctx, s.address)
		if err != nil {
			t.Fatal(err)
		}
		work(tx)
		if !commit {
			end = undo
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	inTx(func(tx any) {
		w := b.get(ctx, t, "ada")
		_ = w.pay(50)
		b.save(ctx, t, w, application.Join(tx))
		if err := s.backend.Statements.Insert(ctx, tx, "undone"); err != nil {
			t.Fatal(err)
		}
	}, false)
	sameWallet(t, "after a rollback", b.get(ctx, t, "ada"), want)
	inTx(func(tx any) {
		stale := b.types.New("ada", walletOpened{Owner: "Bob"})
		_, err := b.Save(ctx, stale, application.Join(tx))
		wantIs(t, "a conflict", err, annals.ErrVersionConflict)
		w := b.get(ctx, t, "ada")
		_ = w.pay(60)
		b.save(ctx, t, w, b.types.New("bob", walletOpened{Owner: "Bob"}), application.Join(tx))
		_ = w.pay(70)
		b.save(ctx, t, w, application.Join(tx)) // once more of a stream, which has a hash chain
		if err := s.backend.Statements.Insert(ctx, tx, "done"); err != nil {
			t.Fatal(err)
		}
	}, true)
	if w := b.get(ctx, t, "ada"); w.Version() != 5 || w.Balance != 133 {
		t.Errorf("after a commit: version %d, balance %d", w.Version(), w.Balance)
	}
	b.get(ctx, t, "bob")
	stop()
	for key, want := range map[string]int{"undone": 0, "done": 1} {
		if n, err := s.backend.Statements.Count(ctx, s.address, key); err != nil || n != want {
			t.Errorf("%d rows %q, want %d: %v", n, key, want, err)
		}
	}
	b.pay(ctx, t, "ada", 2)
	if _, err := b.Verify(ctx, verifyAll); err != nil {
		t.Errorf("the hash chain: %v", err)
	}
}
