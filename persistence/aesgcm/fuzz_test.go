package aesgcm_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence/aesgcm"
)

func FuzzDecrypt(f *testing.F) {
	var keys []aesgcm.Key
	made := make(map[string]string) // what was encrypted, and its place
	for _, g := range goldens(f) {
		k, err := aesgcm.ParseKey(g.Key)
		if err != nil {
			f.Fatal(err)
		}
		keys = append(keys, k)
		made[string(g.Ciphertext)] = g.Associated + "|" + g.Plaintext
		f.Add(g.Ciphertext, []byte(g.Associated))
		f.Add(g.Ciphertext, []byte("elsewhere"))
		f.Add(g.Ciphertext[:len(g.Ciphertext)-1], []byte(g.Associated))
	}
	c := cipher(f, keys[2], keys[:2]...)
	f.Add([]byte(data), []byte(nil))
	f.Fuzz(func(t *testing.T, b, associated []byte) {
		got, err := c.Decrypt(t.Context(), []byte("before"), b, associated)
		switch {
		case err == nil && made[string(b)] != string(associated)+"|"+strings.TrimPrefix(string(got), "before"):
			t.Fatalf("%x at %q opens, and nobody made it: %q", b, associated, got)
		case err != nil && (!isTyped(err) || got != nil):
			t.Fatalf("got %q and the error %v", got, err)
		}
		// And any bytes come back, at any place.
		if got, err := c.Decrypt(t.Context(), nil, encrypt(t, c, b, associated), associated); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("got %x and the error %v", got, err)
		}
	})
}

// Whatever is taken as a key encrypts and decrypts, and no error has a secret.
func FuzzParseKey(f *testing.F) {
	_, text, err := aesgcm.GenerateKey("2026")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{text, text[:27], "k:AAAAAAAAAAAAAAAAAAAAAA==", "k:AAAAAAAAAAAAAAAAAAAAAA", "2026", ":", "a b:AAAA", "k:\n", text[5:] + ":2026", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := aesgcm.ParseKey(text)
		if err != nil {
			var wrong *aesgcm.KeyError
			if !errors.As(err, &wrong) || !errors.Is(err, annals.ErrConfiguration) || k.ID() != "" {
				t.Fatalf("got %v and the error %v", k, err)
			}
			for part := range strings.SplitSeq(text, ":") {
				if len(part) >= 22 && strings.Contains(err.Error(), part) {
					t.Fatalf("the error tells a part of %q: %v", text, err)
				}
			}
			return
		}
		if !strings.HasPrefix(strings.TrimSpace(text), k.ID()+":") {
			t.Fatalf("%q is the key %q", text, k.ID())
		}
		c := cipher(t, k)
		if got, err := c.Decrypt(t.Context(), nil, encrypt(t, c, []byte(text), nil), nil); err != nil || string(got) != text {
			t.Fatalf("got %q and the error %v", got, err)
		}
	})
}
