package recordertest

import (
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence/hashchain"
)

var verifyAll = hashchain.Config{}

func integrityChecks() []check {
	return []check{
		{"a hash chain covers every save, whoever saves", "B38", Features{}, checkChain},
		{"a hash chain that is switched on later covers the past", "B38", Features{}, checkChainLater},
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
