package recordertest

import (
	"bytes"
	"context"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/aesgcm"
	"github.com/annals-es/annals/persistence/zlib"
)

func codecChecks() []check {
	return []check{
		{"compression and encryption are switched on, off and over", "B13, B14, B15", Features{}, checkCodecs},
	}
}

func checkCodecs(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	var ring []aesgcm.Key
	for _, id := range []string{"2024", "2025"} {
		key, _, err := aesgcm.GenerateKey(id)
		if err != nil {
			t.Fatal(err)
		}
		ring = append(ring, key)
	}
	cipher := func(current aesgcm.Key, others ...aesgcm.Key) persistence.Cipher {
		keys, err := aesgcm.NewRing(current, others...)
		if err != nil {
			t.Fatal(err)
		}
		return aesgcm.New(keys)
	}
	steps := [][]application.Option{
		{},
		{application.WithCompressor(zlib.New())},
		{application.WithCompressor(zlib.New()), application.WithCipher(cipher(ring[0]))},
		{application.WithCipher(cipher(ring[1], ring[0]))},
		{application.WithCipher(nil, cipher(ring[0], ring[1]))},
	}
	secret := string(bytes.Repeat([]byte("a secret "), 20))
	for i, opts := range steps {
		b := openBank(ctx, t, r, opts...)
		if i == 0 {
			b.save(ctx, t, b.types.New("ada", walletOpened{Owner: "Ada"}))
		}
		w := b.get(ctx, t, "ada")
		if len(w.Payments) != i {
			t.Fatalf("step %d reads %d payments", i, len(w.Payments))
		}
		annals.Trigger(w, walletPaid{Payment: secret, Cents: 1})
		b.save(ctx, t, w)
		stored := lastOf(ctx, t, r, "ada")
		if hidden := i == 2 || i == 3; hidden == bytes.Contains(stored.State, []byte("secret")) && i != 1 {
			t.Errorf("step %d: the state %q", i, stored.Encoding)
		}
	}
	plain := openBank(ctx, t, r)
	_, err := plain.wallets.Get(ctx, "ada")
	wantIs(t, "without the keys", err, annals.ErrUndecodable)
	wantIs(t, "without the keys", err, annals.ErrConfiguration)
}

func lastOf(ctx context.Context, t *testing.T, r Recorder, id string) (last persistence.StoredEvent) {
	t.Helper()
	for e, err := range r.ReadStream(ctx, id, persistence.StreamQuery{Descending: true, Limit: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		last = e
	}
	return last
}
