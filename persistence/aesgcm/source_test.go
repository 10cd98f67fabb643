package aesgcm_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/aesgcm"
)

// service is a source as somebody else writes it.
type service struct {
	current func(ctx context.Context) (aesgcm.Key, error)
	key     func(ctx context.Context, id string) (aesgcm.Key, error)
}

func (s service) Current(ctx context.Context) (aesgcm.Key, error) { return s.current(ctx) }

func (s service) Key(ctx context.Context, id string) (aesgcm.Key, error) { return s.key(ctx, id) }

// answers returns a source that always answers the same.
func answers(k aesgcm.Key, err error) service {
	return service{
		func(context.Context) (aesgcm.Key, error) { return k, err },
		func(context.Context, string) (aesgcm.Key, error) { return k, err },
	}
}

// B14, B52.
func TestTheErrorsOfASourceAreTold(t *testing.T) {
	t.Parallel()
	good := encrypt(t, cipher(t, key(t, "2026", 32)), []byte(data), []byte(place))
	down := errors.New("the key service is down")
	for name, c := range map[string]struct {
		source           service
		is               []error
		encrypt, decrypt string // what the errors say; encrypt is "" if it is in order
	}{
		"it fails": {
			answers(aesgcm.Key{}, down), []error{persistence.ErrUnavailable, down},
			"the source of keys failed for the key of new events: the key service is down", `the source of keys failed for key "2026": the key service is down`,
		},
		"it fails, and has a key all the same": {
			answers(key(t, "2026", 32), down), []error{persistence.ErrUnavailable, down}, "the key service is down", "the key service is down",
		},
		"it is too late": {
			answers(aesgcm.Key{}, context.DeadlineExceeded), []error{persistence.ErrUnavailable, context.DeadlineExceeded}, "deadline", `key "2026": context deadline`,
		},
		"it has no such key": {
			answers(aesgcm.Key{}, &aesgcm.KeyError{ID: "2026", Reason: "is destroyed"}), []error{annals.ErrConfiguration}, `key "2026" is destroyed`, `key "2026" is destroyed`,
		},
		"it returns the zero Key": {
			answers(aesgcm.Key{}, nil), []error{annals.ErrConfiguration}, `key "?" for new events is the zero Key`, `key "2026" is the zero Key`,
		},
		"it returns another key": {
			answers(key(t, "2025", 32), nil), []error{annals.ErrConfiguration}, "", `key "2026" is not what the source of keys returned: that is "2025"`,
		},
		"it is an empty ring": {
			service{new(aesgcm.Ring).Current, new(aesgcm.Ring).Key}, []error{annals.ErrConfiguration}, "is the zero Key", `key "2026" is not in the ring`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cipher := aesgcm.New(c.source)
			check := func(got []byte, err error, says string) {
				t.Helper()
				if says == "" && err == nil {
					return
				}
				if got != nil || err == nil || !strings.Contains(err.Error(), says) {
					t.Errorf("got %q and the error %v, want: %s", got, err, says)
				}
				for _, is := range c.is {
					if !errors.Is(err, is) {
						t.Errorf("the error %v is not %q", err, is)
					}
				}
				// Nothing is wrong with the event.
				if errors.Is(err, annals.ErrUndecodable) || errors.Is(err, aesgcm.ErrNotAuthentic) ||
					errors.Is(err, persistence.ErrUnavailable) == errors.Is(err, annals.ErrConfiguration) {
					t.Errorf("the error %v is too much", err)
				}
			}
			got, err := cipher.Encrypt(t.Context(), []byte("before"), []byte(data), []byte(place))
			check(got, err, c.encrypt)
			got, err = cipher.Decrypt(t.Context(), []byte("before"), good, []byte(place))
			check(got, err, c.decrypt)
		})
	}
}

// waiting is a source that waits for what never comes, and says when it was asked.
func waiting(asked chan<- context.Context) service {
	wait := func(ctx context.Context) error {
		asked <- ctx
		<-ctx.Done()
		return ctx.Err()
	}
	return service{
		func(ctx context.Context) (aesgcm.Key, error) { return aesgcm.Key{}, wait(ctx) },
		func(ctx context.Context, _ string) (aesgcm.Key, error) { return aesgcm.Key{}, wait(ctx) },
	}
}

type contextKey struct{}

// B14: the context of the save and of the read is that of the source.
func TestASlowSourceEndsWithItsContext(t *testing.T) {
	t.Parallel()
	good := encrypt(t, cipher(t, key(t, "2026", 32)), []byte(data), []byte(place))
	asked := make(chan context.Context)
	c := aesgcm.New(waiting(asked))
	for name, do := range map[string]func(ctx context.Context) ([]byte, error){
		"encrypt": func(ctx context.Context) ([]byte, error) { return c.Encrypt(ctx, nil, []byte(data), []byte(place)) },
		"decrypt": func(ctx context.Context) ([]byte, error) { return c.Decrypt(ctx, nil, good, []byte(place)) },
	} {
		ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), contextKey{}, name))
		result := make(chan error)
		go func() {
			got, err := do(ctx)
			if got != nil {
				t.Errorf("%s: got %q", name, got)
			}
			result <- err
		}()
		if got := (<-asked).Value(contextKey{}); got != name {
			t.Errorf("%s: the context is another one: %v", name, got)
		}
		cancel(errors.New("the user left"))
		var failed *aesgcm.SourceError
		if err := <-result; !errors.Is(err, context.Canceled) || !errors.Is(err, persistence.ErrUnavailable) || !errors.As(err, &failed) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

// Who waits for one key does not hold up others.
func TestASlowKeyHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	slow, fast := key(t, "2025", 32), key(t, "2026", 32)
	asked := make(chan context.Context)
	wait := waiting(asked)
	c := aesgcm.New(service{wait.current, func(ctx context.Context, id string) (aesgcm.Key, error) {
		if id == slow.ID() {
			return wait.key(ctx, id)
		}
		return fast, nil
	}})
	slowly, fastly := encrypt(t, cipher(t, slow), []byte("slow"), nil), encrypt(t, cipher(t, fast), []byte("fast"), nil)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	for range 3 {
		go func() {
			_, err := c.Decrypt(ctx, nil, slowly, nil)
			result <- err
		}()
		<-asked
	}
	if got, err := c.Decrypt(t.Context(), nil, fastly, nil); err != nil || string(got) != "fast" {
		t.Errorf("got %q and the error %v", got, err)
	}
	cancel()
	for range 3 {
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
	}
}

// B14: a key that the source gives up is given up, and one that it takes on is
// current, without a new cipher.
func TestTheSourceIsAskedForEachEvent(t *testing.T) {
	t.Parallel()
	keys := map[string]aesgcm.Key{"2025": key(t, "2025", 32)}
	current, asked := "2025", []string{}
	c := aesgcm.New(service{
		func(context.Context) (aesgcm.Key, error) {
			asked = append(asked, "new")
			return keys[current], nil
		},
		func(_ context.Context, id string) (aesgcm.Key, error) {
			asked = append(asked, id)
			k, ok := keys[id]
			if !ok {
				return aesgcm.Key{}, &aesgcm.KeyError{ID: id, Reason: "is destroyed"}
			}
			return k, nil
		},
	})
	first := encrypt(t, c, []byte("first"), nil)
	keys["2026"], current = key(t, "2026", 32), "2026"
	second := encrypt(t, c, []byte("second"), nil)
	for range 2 {
		if got, err := c.Decrypt(t.Context(), nil, first, nil); err != nil || string(got) != "first" {
			t.Errorf("got %q and the error %v", got, err)
		}
	}
	delete(keys, "2025")
	if got, err := c.Decrypt(t.Context(), nil, first, nil); !errors.Is(err, annals.ErrConfiguration) || got != nil {
		t.Errorf("a destroyed key: got %q and the error %v", got, err)
	}
	if got, err := c.Decrypt(t.Context(), nil, second, nil); err != nil || string(got) != "second" {
		t.Errorf("got %q and the error %v", got, err)
	}
	if got := strings.Join(asked, ","); got != "new,new,2025,2025,2025,2026" {
		t.Errorf("the source was asked for: %s", got)
	}
}

// An id that is none is not asked for: it may be anything, and come from anywhere.
func TestASourceIsAskedForIdsOnly(t *testing.T) {
	t.Parallel()
	c := aesgcm.New(service{nil, func(_ context.Context, id string) (aesgcm.Key, error) {
		t.Errorf("it was asked for %q", id)
		return aesgcm.Key{}, errors.New("unreachable")
	}})
	for _, id := range []string{"", "../../etc", "a b", "'; DROP TABLE keys", "\x00", strings.Repeat("x", 65), "ä"} {
		b := append([]byte{1, byte(len(id))}, id...)
		if _, err := c.Decrypt(t.Context(), nil, append(b, make([]byte, 100)...), nil); !errors.Is(err, aesgcm.ErrNotAuthentic) {
			t.Errorf("%q: the error is %v", id, err)
		}
	}
}
