package aesgcm_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence/aesgcm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret returns the same bytes for the same name.
func secret(name string, size int) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:size]
}

func key(tb testing.TB, id string, size int) aesgcm.Key {
	tb.Helper()
	k, err := aesgcm.NewKey(id, secret(id, size))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func cipher(tb testing.TB, current aesgcm.Key, others ...aesgcm.Key) *aesgcm.Cipher {
	tb.Helper()
	ring, err := aesgcm.NewRing(current, others...)
	if err != nil {
		tb.Fatal(err)
	}
	return aesgcm.New(ring)
}

func encrypt(tb testing.TB, c *aesgcm.Cipher, plaintext, associated []byte) []byte {
	tb.Helper()
	b, err := c.Encrypt(tb.Context(), nil, plaintext, associated)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

const (
	overhead = 2 + 12 + 16 // and the id
	data     = `{"owner":"Ada","secret":"a very private matter"}`
	place    = "fido, version 3, Dog.Registered"
)

// isTyped tells the errors that Decrypt may return for what was damaged.
func isTyped(err error) bool {
	var damaged *aesgcm.NotAuthenticError
	var noKey *aesgcm.KeyError
	switch {
	case errors.As(err, &damaged):
		return errors.Is(err, aesgcm.ErrNotAuthentic) && errors.Is(err, annals.ErrUndecodable)
	case errors.As(err, &noKey):
		return errors.Is(err, annals.ErrConfiguration)
	default:
		return false
	}
}

// B14.
func TestWhatIsEncryptedComesBack(t *testing.T) {
	t.Parallel()
	for _, size := range []int{16, 24, 32} {
		for _, id := range []string{"k", "2026-11.eu_1", strings.Repeat("k", 64)} {
			for name, plaintext := range map[string][]byte{
				"nothing": {}, "a byte": {0}, "an event": []byte(data), "a block": make([]byte, 16), "much": bytes.Repeat([]byte(data), 10_000),
			} {
				t.Run(fmt.Sprintf("%s by %d bytes of %.8s", name, size, id), func(t *testing.T) {
					t.Parallel()
					c := cipher(t, key(t, id, size))
					for _, associated := range [][]byte{nil, {0}, []byte(place), make([]byte, 5000)} {
						ciphertext := encrypt(t, c, plaintext, associated)
						if len(ciphertext) != len(plaintext)+overhead+len(id) {
							t.Errorf("%d bytes become %d", len(plaintext), len(ciphertext))
						}
						if len(plaintext) > 1 && bytes.Contains(ciphertext, plaintext) {
							t.Error("the plaintext is in the ciphertext")
						}
						got, err := c.Decrypt(t.Context(), nil, ciphertext, associated)
						if err != nil || !bytes.Equal(got, plaintext) {
							t.Fatalf("got %q and the error %v", got, err)
						}
					}
				})
			}
		}
	}
}

// B14: with any text at any place, behind what is there already; and nothing else
// opens it.
func TestAnythingComesBackAtItsPlaceOnly(t *testing.T) {
	t.Parallel()
	c := cipher(t, key(t, "2026", 32))
	anything := rapid.SliceOf(rapid.Byte())
	rapid.Check(t, func(t *rapid.T) {
		plaintext, associated := anything.Draw(t, "plaintext"), anything.Draw(t, "associated")
		elsewhere := anything.Filter(func(b []byte) bool { return !bytes.Equal(b, associated) }).Draw(t, "elsewhere")
		before := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "before")
		room := rapid.IntRange(0, 2*len(plaintext)+50).Draw(t, "room")
		kept, keptAssociated := slices.Clone(plaintext), slices.Clone(associated)

		ciphertext, err := c.Encrypt(t.Context(), slices.Grow(slices.Clone(before), room), plaintext, associated)
		if err != nil || !bytes.HasPrefix(ciphertext, before) {
			t.Fatalf("what was there is gone: %v", err)
		}
		ciphertext = ciphertext[len(before):]
		keptCiphertext := slices.Clone(ciphertext)
		got, err := c.Decrypt(t.Context(), slices.Grow(slices.Clone(before), room), ciphertext, associated)
		if err != nil || !bytes.Equal(got, slices.Concat(before, kept)) {
			t.Fatalf("got %x and the error %v", got, err)
		}
		if got, err := c.Decrypt(t.Context(), nil, ciphertext, elsewhere); !errors.Is(err, aesgcm.ErrNotAuthentic) || got != nil {
			t.Fatalf("elsewhere: got %x and the error %v", got, err)
		}
		if !bytes.Equal(plaintext, kept) || !bytes.Equal(associated, keptAssociated) || !bytes.Equal(ciphertext, keptCiphertext) {
			t.Fatal("an input was changed")
		}
	})
}

// B14: any bit that is flipped, and any end that is missing.
func TestAnyDamageIsFound(t *testing.T) {
	t.Parallel()
	c := cipher(t, key(t, "2026", 32), key(t, "2025", 32), key(t, "2024", 16)) // a bit apart
	rapid.Check(t, func(t *rapid.T) {
		plaintext := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "plaintext")
		ciphertext, err := c.Encrypt(t.Context(), nil, plaintext, []byte(place))
		if err != nil {
			t.Fatal(err)
		}
		damaged := slices.Clone(ciphertext)
		bit := rapid.IntRange(0, 8*len(damaged)-1).Draw(t, "bit")
		damaged[bit/8] ^= 1 << (bit % 8)
		cut := ciphertext[:rapid.IntRange(0, len(ciphertext)-1).Draw(t, "cut")]
		longer := append(slices.Clone(ciphertext), rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "more")...)
		for what, b := range map[string][]byte{"a flipped bit": damaged, "a missing end": cut, "bytes too much": longer} {
			if got, err := c.Decrypt(t.Context(), nil, b, []byte(place)); !isTyped(err) || got != nil {
				t.Fatalf("%s: got %x and the error %v", what, got, err)
			}
		}
	})
}

// B14: each bit and each length of one, none left to chance.
func TestEachBitIsAuthenticated(t *testing.T) {
	t.Parallel()
	c := cipher(t, key(t, "2026", 32))
	ciphertext := encrypt(t, c, []byte(data), []byte(place))
	for i := range 8 * len(ciphertext) {
		ciphertext[i/8] ^= 1 << (i % 8)
		if got, err := c.Decrypt(t.Context(), nil, ciphertext, []byte(place)); !isTyped(err) || got != nil || strings.Contains(err.Error(), "Ada") {
			t.Fatalf("bit %d: got %q and the error %v", i, got, err)
		}
		ciphertext[i/8] ^= 1 << (i % 8)
	}
	for i := range ciphertext {
		if got, err := c.Decrypt(t.Context(), nil, ciphertext[:i:i], []byte(place)); !errors.Is(err, aesgcm.ErrNotAuthentic) || got != nil {
			t.Fatalf("%d bytes: got %q and the error %v", i, got, err)
		}
	}
}

// B14, B52.
func TestErrorsSayWhatIsWrongAndNameTheKey(t *testing.T) {
	t.Parallel()
	c := cipher(t, key(t, "2026", 32), key(t, "2025", 32))
	by := func(k aesgcm.Key) []byte { return encrypt(t, cipher(t, k), []byte(data), []byte(place)) }
	good := by(key(t, "2026", 32))
	change := func(at int, to string) []byte {
		b := slices.Clone(good)
		copy(b[at:], to)
		return b
	}
	sameID, err := aesgcm.NewKey("2026", secret("another one", 32))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		ciphertext []byte
		is         error
		key        string
		says       string
	}{
		"nothing":                 {nil, aesgcm.ErrNotAuthentic, "", "too short"},
		"one byte":                {good[:1], aesgcm.ErrNotAuthentic, "", "too short"},
		"no nonce":                {good[:6], aesgcm.ErrNotAuthentic, "", "too short"},
		"less than nonce and tag": {good[:6+27], aesgcm.ErrNotAuthentic, "", "too short"},
		"nonce and tag alone":     {good[:6+28], aesgcm.ErrNotAuthentic, "2026", `key "2026" did not encrypt it for this place`},
		"an id that is too long":  {change(1, "\xff"), aesgcm.ErrNotAuthentic, "", "too short"},
		"an id of 65 bytes":       {slices.Concat([]byte{1, 65}, bytes.Repeat([]byte("k"), 65), make([]byte, 28)), aesgcm.ErrNotAuthentic, "", "the id of its key is none"},
		"no id":                   {change(1, "\x00"), aesgcm.ErrNotAuthentic, "", "the id of its key is none"},
		"an id that is none":      {change(2, " "), aesgcm.ErrNotAuthentic, "", "the id of its key is none"},
		"a newer form":            {change(0, "\x02"), aesgcm.ErrNotAuthentic, "", "its form has version 2, and this code knows 1"},
		"what was not encrypted":  {[]byte(data), aesgcm.ErrNotAuthentic, "", "its form has version 123"},
		"another key's id":        {change(2, "2025"), aesgcm.ErrNotAuthentic, "2025", `key "2025" did not encrypt it`},
		"another key of its id":   {by(sameID), aesgcm.ErrNotAuthentic, "2026", `another key had that id`},
		"a tag that is cut":       {good[:len(good)-1], aesgcm.ErrNotAuthentic, "2026", "altered, cut or moved"},
		"a key that is missing":   {by(key(t, "2024", 32)), annals.ErrConfiguration, "2024", `key "2024" is not in the ring: add it, if only for reading (NewRing, or CIPHER_KEYS)`},
	} {
		got, err := c.Decrypt(t.Context(), []byte("before"), test.ciphertext, []byte(place))
		if !errors.Is(err, test.is) || !isTyped(err) || got != nil {
			t.Errorf("%s: got %q and the error %v", name, got, err)
			continue
		}
		if !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "Ada") || strings.Contains(err.Error(), "aesgcm") {
			t.Errorf("%s: the error is %v, want: %s", name, err, test.says)
		}
		var notAuthentic *aesgcm.NotAuthenticError
		var keyError *aesgcm.KeyError
		switch {
		case errors.As(err, &notAuthentic) && notAuthentic.KeyID != test.key:
			t.Errorf("%s: it is key %q", name, notAuthentic.KeyID)
		case errors.As(err, &keyError) && keyError.ID != test.key:
			t.Errorf("%s: it is key %q", name, keyError.ID)
		}
	}
}

// B14: header and associated data cannot be exchanged for each other, and neither can
// two ciphertexts.
func TestCiphertextsCannotBeMovedOrSwapped(t *testing.T) {
	t.Parallel()
	c := cipher(t, key(t, "2026", 32))
	one, two := encrypt(t, c, []byte("one"), []byte("place 1")), encrypt(t, c, []byte("two"), []byte("place 2"))
	for name, b := range map[string][]byte{
		"another one":                       two,
		"the nonce of another one":          slices.Concat(one[:6], two[6:18], one[18:]),
		"the tag of another one":            slices.Concat(one[:len(one)-16], two[len(two)-16:]),
		"the text of another one":           slices.Concat(one[:18], two[18:21], one[21:]),
		"one behind the other":              slices.Concat(one, two),
		"a part of the id in the next data": slices.Concat([]byte{1, 3}, one[2:5], one[6:]),
	} {
		associated := []byte("place 1")
		if name == "a part of the id in the next data" {
			associated = append([]byte("6"), associated...)
		}
		if got, err := c.Decrypt(t.Context(), nil, b, associated); !isTyped(err) || got != nil {
			t.Errorf("%s: got %q and the error %v", name, got, err)
		}
	}
}

// B14: rotation, and the end of a key.
func TestNewEventsTakeTheCurrentKeyAndOldOnesStillOpen(t *testing.T) {
	t.Parallel()
	old, current := key(t, "2025", 16), key(t, "2026", 32)
	before, during, after := cipher(t, old), cipher(t, current, old), cipher(t, current)
	first, second := encrypt(t, before, []byte("first"), nil), encrypt(t, during, []byte("second"), nil)
	if !bytes.Contains(first, []byte("2025")) || !bytes.Contains(second, []byte("2026")) {
		t.Fatalf("the ids are not there: %q, %q", first, second)
	}
	for _, b := range [][]byte{first, second} {
		if _, err := during.Decrypt(t.Context(), nil, b, nil); err != nil {
			t.Error(err)
		}
	}
	if _, err := after.Decrypt(t.Context(), nil, second, nil); err != nil {
		t.Error(err)
	}
	var missing *aesgcm.KeyError
	if _, err := after.Decrypt(t.Context(), nil, first, nil); !errors.As(err, &missing) || missing.ID != "2025" {
		t.Errorf("a retired key: the error is %v", err)
	}
	// A process that does not have the new key yet says which one it lacks.
	if _, err := before.Decrypt(t.Context(), nil, second, nil); !errors.As(err, &missing) || missing.ID != "2026" {
		t.Errorf("a key that has not arrived: the error is %v", err)
	}
}

func TestNoncesAreNotUsedTwice(t *testing.T) {
	t.Parallel()
	c := cipher(t, key(t, "2026", 32))
	seen := make(map[string]bool)
	for range 10_000 {
		b := encrypt(t, c, []byte("the same"), nil)
		nonce := string(b[6:18])
		if seen[nonce] {
			t.Fatalf("the nonce %x is there twice", nonce)
		}
		seen[nonce] = true
	}
}

func TestManyGoroutinesShareACipher(t *testing.T) {
	t.Parallel()
	keys := []aesgcm.Key{key(t, "2024", 16), key(t, "2025", 24), key(t, "2026", 32)}
	c := cipher(t, keys[0], keys[1:]...)
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			own := cipher(t, keys[g%3])
			for n := range 100 {
				plaintext, associated := fmt.Appendf(nil, "event %d of %d", n, g), fmt.Appendf(nil, "place %d of %d", n, g)
				for _, by := range []*aesgcm.Cipher{c, own} {
					b, err := by.Encrypt(t.Context(), nil, plaintext, associated)
					if err != nil {
						t.Error(err)
						return
					}
					if got, err := c.Decrypt(t.Context(), nil, b, associated); err != nil || !bytes.Equal(got, plaintext) {
						t.Errorf("got %q and the error %v", got, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestACipherWithoutASourceIsNotMade(t *testing.T) {
	t.Parallel()
	var none *aesgcm.Ring
	for name, keys := range map[string]aesgcm.Source{"nil": nil, "a nil ring": none} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: it was made", name)
				}
			}()
			aesgcm.New(keys)
		}()
	}
}
