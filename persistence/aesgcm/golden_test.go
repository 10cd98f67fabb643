package aesgcm_test

import (
	"crypto/aes"
	stdcipher "crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/annals-es/annals/persistence/aesgcm"
)

// golden is something that was stored. The secrets are of no other use.
type golden struct {
	Key        string // for ParseKey
	Associated string
	Plaintext  string
	Ciphertext []byte
}

func goldens(tb testing.TB) []golden {
	tb.Helper()
	b, err := os.ReadFile("testdata/v1.json")
	if err != nil {
		tb.Fatal(err)
	}
	var all []golden
	if err := json.Unmarshal(b, &all); err != nil || len(all) != 4 {
		tb.Fatalf("%d ciphertexts, and the error %v", len(all), err)
	}
	return all
}

// B14: what was stored once opens for ever. A new form gets a file of its own; these
// files do not change.
func TestWhatWasStoredOpensForEver(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		k, err := aesgcm.ParseKey(g.Key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := cipher(t, k).Decrypt(t.Context(), nil, g.Ciphertext, []byte(g.Associated))
		if err != nil || string(got) != g.Plaintext {
			t.Errorf("key %s: got %q and the error %v", k.ID(), got, err)
		}
		if got := openByHand(t, g); got != g.Plaintext {
			t.Errorf("key %s, by hand: got %q", k.ID(), got)
		}
	}
}

// openByHand opens what was stored by the form alone, as another program would.
func openByHand(t *testing.T, g golden) string {
	t.Helper()
	id, encoded, _ := strings.Cut(g.Key, ":")
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := stdcipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	header := string([]byte{1, byte(len(id))}) + id
	rest, ok := strings.CutPrefix(string(g.Ciphertext), header)
	if !ok {
		t.Fatalf("it does not begin with %q", header)
	}
	plaintext, err := gcm.Open(nil, []byte(rest[:12]), []byte(rest[12:]), []byte(header+g.Associated))
	if err != nil {
		t.Fatal(err)
	}
	return string(plaintext)
}
