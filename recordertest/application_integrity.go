package recordertest

import (
	"context"
	"fmt"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence/aesgcm"
	"github.com/annals-es/annals/persistence/hashchain"
	"github.com/annals-es/annals/persistence/zlib"
)

var verifyAll = hashchain.Config{}

func integrityChecks() []check {
	return []check{
		{"a hash chain covers every save, whoever saves", "B38", Features{}, checkChain},
		{"a hash chain that is switched on later covers the past", "B38", Features{}, checkChainLater},
		{"a log is verified while others save", "B38", Features{}, checkChainBeside},
		{"a hash chain covers whatever is saved, and is verified without keys", "B38, B9, B10, B14, B30", Features{}, checkChainStyles},
		{"a save that is repeated with other bytes leaves the hash chain whole", "B38, B29", Features{}, checkChainRepeat},
		{"joined saves, also several of one transaction, are in the hash chain", "B38, B26", Features{Joins: true}, checkChainJoin},
	}
}

func checkChain(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	const writers, each = 8, 6
	handles := s.handles(ctx, t, r, writers)
	banks := make([]*bank, writers)
	for i := range banks {
		banks[i] = openBank(ctx, t, handles[i], application.WithHashChain(), application.WithRetries(1000))
	}
	banks[0].open(ctx, t, "shared", 0)
	together(writers, func(i int) {
		own := banks[i].types.New(annals.NewID(), walletOpened{Owner: "Ada"})
		for range each {
			_ = own.pay(1)
			if _, err := banks[i].Save(ctx, own); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
			if err := banks[i].wallets.Update(ctx, "shared", func(w *wallet) error { return w.pay(1) }); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		}
	})
	report, err := banks[0].Verify(ctx, verifyAll)
	if err != nil {
		t.Fatal(err)
	}
	const events = 1 + writers + 2*writers*each
	if report.Events != events || report.Unhashed != 0 || report.Streams != writers+1 {
		t.Errorf("the report %+v, want %d events of %d streams, all with a hash", report, events, writers+1)
	}
	plain := openBank(ctx, t, r) // without the chain
	plain.pay(ctx, t, "shared", 1)
	_, err = banks[0].Verify(ctx, verifyAll)
	wantIs(t, "an event without a hash", err, hashchain.ErrBroken)
}

func checkChainLater(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	plain := openBank(ctx, t, r)
	plain.open(ctx, t, "ada", 4)
	plain.open(ctx, t, "bob", 4)
	b := openBank(ctx, t, r, application.WithHashChain())
	b.pay(ctx, t, "ada", 3)
	b.open(ctx, t, "eve", 1)
	report, err := b.Verify(ctx, verifyAll)
	if err != nil || report.Unhashed != 10 || report.Events != 15 {
		t.Errorf("the report %+v: %v; want 15 events, 10 without a hash", report, err)
	}
}

func checkChainBeside(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	const writers, each = 4, 50
	handles := s.handles(ctx, t, r, writers)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := background(func() struct{} {
		together(writers, func(i int) {
			l := hashchain.NewLinker(handles[i])
			id := annals.NewID()
			for n := range int64(each) {
				b := batch(event(id, 2*n+1), event(annals.NewID(), 1), event(id, 2*n+2))
				if _, err := l.Record(ctx, b); err != nil {
					t.Errorf("writer %d: %v", i, err)
					cancel()
					return
				}
			}
		})
		return struct{}{}
	})
	var noted hashchain.LogHead
	for noted.Events < 3*writers*each {
		err := r.Wait(ctx, noted.Position)
		var report hashchain.Report
		if err == nil {
			report, err = hashchain.Verify(ctx, handles[1], hashchain.Config{Log: &noted, HashedFrom: 1, Workers: 2})
		}
		if err != nil || report.Head.Events <= noted.Events || report.Head.Events != report.Events {
			t.Errorf("%v: %+v, after %+v", err, report, noted)
			cancel()
			break
		}
		noted = report.Head
	}
	ended()
}

// encrypted returns an option that encrypts, with a key of its own: the same event
// has other bytes each time.
func encrypted(t *testing.T) application.Option {
	t.Helper()
	key, _, err := aesgcm.GenerateKey("2026")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := aesgcm.NewRing(key)
	if err != nil {
		t.Fatal(err)
	}
	return application.WithCipher(aesgcm.New(ring))
}

// wantHashed fails unless the log has so many events, all of them with a hash, and
// nothing is wrong with it. It looks at it without keys.
func wantHashed(ctx context.Context, t *testing.T, r Recorder, events int64) {
	t.Helper()
	report, err := hashchain.Verify(ctx, r, hashchain.Config{HashedFrom: 1})
	if err != nil || report.Events != events || report.Unhashed != 0 {
		t.Errorf("the hash chain: %v: %+v, want %d events, all with a hash", err, report, events)
	}
}

func checkChainStyles(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	types := defineWallet()
	opts := []application.Option{
		application.WithHashChain(), encrypted(t), application.WithCompressor(zlib.New()), application.WithCache(2),
	}
	tallyOpts := opts
	if s.backend.Features.Snapshots {
		opts = append(opts, application.WithSnapshots(types, 2))
		tallyOpts = append(tallyOpts, application.WithSnapshots(defineTally(), 2))
	}
	b := openBankOf(ctx, t, r, types, opts...)
	_, tallies := openTally(ctx, t, r, tallyOpts...)
	log := application.NewLog(b.Application, definePages(), "pages")
	ada, bob := b.types.New("ada", walletOpened{Owner: "Ada"}), b.types.New("bob", walletOpened{Owner: "Bob"})
	for i := range 5 {
		next, err := log.Next(ctx, pageCreated{fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = ada.pay(1), bob.pay(2)
		_ = ada.pay(3)
		b.save(ctx, t, ada, next, bob)
		if _, err := tallies.Handle(ctx, "t", addItem(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		b.pay(ctx, t, "bob", 1)
		bob = b.get(ctx, t, "bob")
	}
	annals.Trigger(ada, walletClosed{})
	b.save(ctx, t, ada)
	wantHashed(ctx, t, r, 2+5*(3+1+1+1)+1)
}

func checkChainRepeat(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	l := &losing{Recorder: r}
	opts := []application.Option{application.WithHashChain(), encrypted(t)}
	b, other := openBank(ctx, t, l, opts...), openBank(ctx, t, r, opts...)
	ada := b.types.New("ada", walletOpened{Owner: "Ada"})
	l.lose = 2
	for range 2 {
		_, err := b.Save(ctx, ada)
		wantIs(t, "a lost answer", err, annals.ErrOutcomeUnknown)
	}
	b.save(ctx, t, ada)
	l.lose = 1
	b.pay(ctx, t, "ada", 3) // Update repeats by itself

	bob := b.types.New("bob", walletOpened{Owner: "Bob"})
	same := *bob
	b.save(ctx, t, &same)
	other.save(ctx, t, bob) // somebody else has the same event, and saves it again
	_ = bob.pay(1)
	other.save(ctx, t, bob)
	b.pay(ctx, t, "bob", 1)
	wantHashed(ctx, t, r, 4+3)
}

func checkChainJoin(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	opts := []application.Option{application.WithHashChain(), encrypted(t)}
	b, other := openBank(ctx, t, r, opts...), openBank(ctx, t, r, opts...)
	b.open(ctx, t, "ada", 1)
	for _, commit := range []bool{false, true, false, true} {
		ada, bob := b.get(ctx, t, "ada"), b.types.New(annals.NewID(), walletOpened{Owner: "Bob"})
		x := s.begin(ctx, t)
		for range 3 { // each has its place after what the transaction saved before, and nobody else sees
			_, _ = ada.pay(1), bob.pay(1)
			b.save(ctx, t, ada, bob, application.Join(x.tx))
		}
		x.end(commit)
		other.pay(ctx, t, "ada", 3) // in the place of what was rolled back
		b.pay(ctx, t, "ada", 1)
	}
	wantHashed(ctx, t, r, 2+2*(3+4)+4*4)
}
