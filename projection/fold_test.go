package projection_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/projection"
)

type totals struct {
	all    int
	events int
}

func TestAFoldIsOfTheWholeLog(t *testing.T) {
	b := openBank(t)
	poison := 0
	p := projection.Define("totals", projection.On(func(_ context.Context, s *totals, e Deposited, _ annals.Event) error {
		s.all += e.Amount
		s.events++
		if e.Amount == poison {
			return errPoison
		}
		return nil
	}))
	f, err := projection.NewFold(b, p, func() *totals { return new(totals) })
	if err != nil {
		t.Fatal(err)
	}
	read := func(wantAt int64, want totals) {
		t.Helper()
		at, err := f.Read(t.Context(), func(s *totals) error {
			if *s != want {
				t.Errorf("%+v, want %+v", *s, want)
			}
			return nil
		})
		if err != nil || at != wantAt {
			t.Errorf("at %d, want %d; %v", at, wantAt, err)
		}
	}
	read(0, totals{})
	read(b.open(t, "a", 1, 2), totals{3, 2})
	read(3, totals{3, 2})
	at := b.deposit(t, "a", 3)
	read(at, totals{6, 3})
	poison = 4
	at = b.deposit(t, "a", 4)
	_, err = f.Read(t.Context(), func(*totals) error { return nil })
	if e, ok := errors.AsType[*projection.EventError](err); !ok || e.Position != at || !errors.Is(err, errPoison) {
		t.Errorf("Read: %v", err)
	}
	poison = 0
	read(at, totals{10, 4}) // made anew, without what the handler had done
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Read(ctx, func(*totals) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Read: %v", err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { read(at, totals{10, 4}) })
	}
	wg.Wait()
	if _, err := projection.NewFold(b, p, nil); !errors.Is(err, annals.ErrConfiguration) {
		t.Errorf("NewFold: %v", err)
	}
}
