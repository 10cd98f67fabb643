package recordertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/aesgcm"
)

func unfitChecks() []check {
	needs := Features{Snapshots: true}
	return []check{
		{"a snapshot that does not fit to the stream is not used", "B33", needs, checkSnapshotUnfit},
		{"a snapshot that cannot be decrypted is not used", "B33, B14", needs, checkSnapshotUndecryptable},
		{
			"the snapshot of a joined save is taken once that is committed", "B26, B33", Features{Snapshots: true, Joins: true},
			checkSnapshotJoined,
		},
	}
}

// told are the errors of a hook.
type told struct {
	mu   sync.Mutex
	errs []*application.SnapshotError
}

func (h *told) option() application.Option {
	return application.WithSnapshotErrors(func(e *application.SnapshotError) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.errs = append(h.errs, e)
	})
}

// take returns what was told since the last call.
func (h *told) take() []*application.SnapshotError {
	h.mu.Lock()
	defer h.mu.Unlock()
	errs := h.errs
	h.errs = nil
	return errs
}

// wantUse fails unless an error to use the snapshot of the aggregate was told.
func (h *told) wantUse(t *testing.T, what, id string) {
	t.Helper()
	errs := h.take()
	if len(errs) == 0 || errs[0].Op != "use" || errs[0].ID != id || errs[0].Type != "Wallet" {
		t.Errorf("%s: the hook was told %v, and not of an error to use the snapshot of %s", what, errs, id)
	}
}

// checkSnapshotUnfit puts snapshots into the store that say what never was.
func checkSnapshotUnfit(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	types := defineWallet()
	var hook told
	with, without := openBank(ctx, t, r, application.WithSnapshots(types, 0), hook.option()), openBank(ctx, t, r)
	const last = 8
	for name, alter := range map[string]func(s *persistence.StoredSnapshot){
		"newer than the stream": func(s *persistence.StoredSnapshot) { s.Version = last + 5 }, // whose last events a backup did not have
		"of other events": func(s *persistence.StoredSnapshot) { // that were saved after the backup was restored
			s.ModifiedAt = s.ModifiedAt.Add(-time.Microsecond)
		},
		"of another type":    func(s *persistence.StoredSnapshot) { s.Topic = "Purse" },
		"of a newer shape":   func(s *persistence.StoredSnapshot) { s.Shape = 2 },
		"of another mark":    func(s *persistence.StoredSnapshot) { s.Mark += "0" },
		"cut":                func(s *persistence.StoredSnapshot) { s.State = s.State[:len(s.State)-1] },
		"empty":              func(s *persistence.StoredSnapshot) { s.State = nil },
		"of another codec":   func(s *persistence.StoredSnapshot) { s.Encoding += "+zip" },
		"of a newer format":  func(s *persistence.StoredSnapshot) { s.Encoding = "2:json" },
		"of another value":   func(s *persistence.StoredSnapshot) { s.State = []byte(`[1]`) },
		"null, and no value": func(s *persistence.StoredSnapshot) { s.State = []byte(`nul`) },
	} {
		without.open(ctx, t, name, last-1)
		if err := with.wallets.Snapshot(ctx, name); err != nil {
			t.Fatal(err)
		}
		if sameWallet(t, name+", before", with.get(ctx, t, name), without.get(ctx, t, name)); len(hook.take()) > 0 {
			t.Errorf("%s: a good snapshot was not used", name)
		}
		snapshots := snapshotRecorder(t, r)
		stored, _, err := snapshots.ReadSnapshot(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		alter(&stored)
		if name == "newer than the stream" || name == "of other events" {
			stored.State = []byte(`{"Owner":"Mallory","Balance":1000000,"Payments":null,"Limits":null}`)
		}
		recordSnapshot(ctx, t, snapshots, stored)
		sameWallet(t, name, with.get(ctx, t, name), without.get(ctx, t, name))
		hook.wantUse(t, name, name)
		for v := range int64(last) {
			sameVersion(ctx, t, with, without, name, v+1)
		}
		hook.take()
		with.pay(ctx, t, name, 7) // beyond the version of every snapshot
		sameWallet(t, name+", later", with.get(ctx, t, name), without.get(ctx, t, name))
		hook.wantUse(t, name+", later", name)
	}
}

func sameVersion(ctx context.Context, t *testing.T, got, want *bank, id string, version int64) {
	t.Helper()
	a, err := got.wallets.GetVersion(ctx, id, version)
	if err != nil {
		t.Fatal(err)
	}
	b, err := want.wallets.GetVersion(ctx, id, version)
	if err != nil {
		t.Fatal(err)
	}
	sameWallet(t, fmt.Sprintf("%s, version %d", id, version), a, b)
}

func checkSnapshotUndecryptable(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	types := defineWallet()
	plain := openBank(ctx, t, r)
	var hook told
	withKey := func(id string) *bank {
		key, _, err := aesgcm.GenerateKey(id)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := aesgcm.NewRing(key)
		if err != nil {
			t.Fatal(err)
		}
		return openBank(ctx, t, r, application.WithSnapshots(types, 0), application.WithCipher(aesgcm.New(ring)), hook.option())
	}
	mine := withKey("mine")
	for n, id := range []string{"ada", "bob"} { // their events are not encrypted
		plain.open(ctx, t, id, n+3)
		if err := mine.wallets.Snapshot(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range map[string]*bank{
		"another key": withKey("other"), "another key of one id": withKey("mine"),
		"no key": openBank(ctx, t, r, application.WithSnapshots(types, 0), hook.option()),
	} {
		sameWallet(t, name, b.get(ctx, t, "ada"), plain.get(ctx, t, "ada"))
		hook.wantUse(t, name, "ada")
	}
	snapshots := snapshotRecorder(t, r)
	moved, _, err := snapshots.ReadSnapshot(ctx, "ada")
	if err != nil {
		t.Fatal(err)
	}
	bobs, _, err := snapshots.ReadSnapshot(ctx, "bob")
	if err != nil {
		t.Fatal(err)
	}
	bobs.State = moved.State // ada's, encrypted, in bob's place
	recordSnapshot(ctx, t, snapshots, bobs)
	sameWallet(t, "moved", mine.get(ctx, t, "bob"), plain.get(ctx, t, "bob"))
	hook.wantUse(t, "moved", "bob")
}

func checkSnapshotJoined(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	types := defineWallet()
	snapshots := snapshotRecorder(t, r)
	for name, c := range map[string]struct {
		commit bool
		later  func(b *bank, w *wallet)
		want   int64 // the version of the snapshot
	}{
		"committed, then loaded":   {true, func(b *bank, w *wallet) { b.get(ctx, t, w.ID()) }, 6},
		"committed, then saved":    {true, func(b *bank, w *wallet) { _ = w.pay(2); b.save(ctx, t, w) }, 7},
		"committed, and no more":   {true, func(*bank, *wallet) {}, 0},
		"rolled back, then loaded": {false, func(b *bank, w *wallet) { b.get(ctx, t, w.ID()) }, 0},
	} {
		b := openBank(ctx, t, r, application.WithSnapshots(types, 5))
		b.open(ctx, t, name, 3)
		w := b.get(ctx, t, name)
		x := s.begin(ctx, t)
		for range 2 { // of versions 5 and 6
			_ = w.pay(1)
			b.save(ctx, t, w, application.Join(x.tx))
		}
		if before := b.get(ctx, t, name); before.Version() != 4 {
			t.Errorf("%s: version %d before the commit", name, before.Version())
		}
		x.end(c.commit)
		c.later(b, w)
		closeApplication(t, b.Application)
		got, ok, err := snapshots.ReadSnapshot(ctx, name)
		if err != nil || ok != (c.want > 0) || got.Version != c.want {
			t.Errorf("%s: the snapshot is of version %d, want %d: %v", name, got.Version, c.want, err)
		}
	}
}
