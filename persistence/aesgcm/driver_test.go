package aesgcm_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/aesgcm"
)

// B14, B35.
func TestTheEnvironmentGivesTheKeys(t *testing.T) {
	t.Parallel()
	text := func(id string, size int) string {
		return id + ":" + base64.StdEncoding.EncodeToString(secret(id, size))
	}
	old, current, other := text("2025", 16), text("2026", 32), text("2027", 24)
	hidden := base64.StdEncoding.EncodeToString(secret("hidden", 32))
	for _, c := range []struct {
		environ []string
		current string   // the id of the key for new events
		opens   []string // the ids of the keys that open
		wrong   string   // what the error says, if there is one
	}{
		{[]string{"CIPHER_KEYS=" + old}, "2025", []string{"2025"}, ""},
		{[]string{"CIPHER_KEYS=" + current + "," + old}, "2026", []string{"2025", "2026"}, ""},
		{[]string{"CIPHER_KEYS= " + current + " , " + old + "\n", "CIPHER_KEY="}, "2026", []string{"2025", "2026"}, ""},
		{[]string{"CIPHER_KEYS=" + old + "," + current + "," + other, "CIPHER_KEY=2026"}, "2026", []string{"2025", "2026", "2027"}, ""},
		{[]string{"CIPHER_KEYS=" + old + "," + current, "CIPHER_KEY=2025"}, "2025", []string{"2025", "2026"}, ""},
		{[]string{"CIPHER_KEYS=" + old, "SHOP_CIPHER_KEYS=" + current}, "2026", []string{"2026"}, ""},
		{[]string{"CIPHER_KEYS=" + old + "," + current, "CIPHER_KEY=2025", "SHOP_CIPHER_KEY=2026"}, "2026", []string{"2025", "2026"}, ""},
		{nil, "", nil, "CIPHER_KEYS is not set"},
		{[]string{"CIPHER_KEY=" + hidden}, "", nil, "CIPHER_KEYS is not set"},
		{[]string{"CIPHER_KEYS=" + hidden}, "", nil, "CIPHER_KEYS is wrong: key number 1 is not of the form id:base64"},
		{[]string{"CIPHER_KEYS=" + old + "," + hidden + ":2026"}, "", nil, "CIPHER_KEYS is wrong: key number 2 has an id that is not"},
		{[]string{"SHOP_CIPHER_KEYS=" + old + ",2026:" + hidden[:20]}, "", nil, "SHOP_CIPHER_KEYS is wrong: key number 2 has 15 bytes; there must be 16, 24 or 32"},
		{[]string{"CIPHER_KEYS=2026:" + hidden + "!"}, "", nil, "CIPHER_KEYS is wrong: key number 1 has a secret that is not base64"},
		{[]string{"CIPHER_KEYS=" + old + ","}, "", nil, "CIPHER_KEYS is wrong: key number 2 is not of the form"},
		{[]string{"CIPHER_KEYS=" + old + ",2025:" + hidden}, "", nil, "CIPHER_KEYS is wrong: two keys have one id"},
		{[]string{"CIPHER_KEYS=" + old, "SHOP_CIPHER_KEY=" + hidden}, "", nil, "SHOP_CIPHER_KEY is the id of none of the keys"},
		{[]string{"CIPHER_KEYS=" + old, "CIPHER_KEY=2026"}, "", nil, "CIPHER_KEY is the id of none of the keys"},
	} {
		name := strings.Join(c.environ, " ")
		s := persistence.NewSettings("shop", c.environ)
		got, err := aesgcm.Driver.Cipher(t.Context(), s)
		if err != nil || got == nil || got.Name() != aesgcm.Driver.Name {
			t.Fatalf("%s: the cipher is %v, the error %v", name, got, err)
		}
		b, err := got.Encrypt(t.Context(), nil, []byte(data), nil)
		if c.wrong != "" {
			if told := s.Err(); !errors.Is(told, annals.ErrConfiguration) || !strings.Contains(told.Error(), c.wrong) || strings.Contains(told.Error(), hidden[:8]) {
				t.Errorf("%s: the error is %v, want: %s", name, told, c.wrong)
			}
			if !errors.Is(err, annals.ErrConfiguration) { // whoever does not ask for Settings.Err stores nothing
				t.Errorf("%s: it encrypts to %x, and the error is %v", name, b, err)
			}
			continue
		}
		if s.Err() != nil || err != nil {
			t.Fatalf("%s: the errors are %v and %v", name, s.Err(), err)
		}
		size := map[string]int{"2025": 16, "2026": 32, "2027": 24}
		if _, err := cipher(t, key(t, c.current, size[c.current])).Decrypt(t.Context(), nil, b, nil); err != nil {
			t.Errorf("%s: new events take another key: %v", name, err)
		}
		for _, id := range c.opens {
			b := encrypt(t, cipher(t, key(t, id, size[id])), []byte(data), nil)
			if _, err := got.Decrypt(t.Context(), nil, b, nil); err != nil {
				t.Errorf("%s: key %s opens nothing: %v", name, id, err)
			}
		}
	}
}

// B35: a wrong key does not hide what else is wrong.
func TestAWrongKeyHidesNoOtherWrongValue(t *testing.T) {
	t.Parallel()
	s := persistence.NewSettings("shop", []string{"CIPHER_KEYS=k1:short", "CACHE=much"})
	if _, err := aesgcm.Driver.Cipher(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	s.Int("CACHE", 0, 0, 9)
	for _, key := range []string{"CIPHER_KEYS", "CACHE"} {
		if err := s.Err(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("the error %v does not name %s", err, key)
		}
	}
}
