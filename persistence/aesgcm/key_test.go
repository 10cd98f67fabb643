package aesgcm_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence/aesgcm"
)

// B14.
func TestKeysHave16Or24Or32BytesAndAnId(t *testing.T) {
	t.Parallel()
	for size := range 66 {
		k, err := aesgcm.NewKey("2026", bytes.Repeat([]byte{'s'}, size))
		var wrong *aesgcm.KeyError
		switch good := size == 16 || size == 24 || size == 32; {
		case good && (err != nil || k.ID() != "2026"):
			t.Errorf("%d bytes: got %v and the error %v", size, k, err)
		case !good && (!errors.As(err, &wrong) || wrong.ID != "2026" || !errors.Is(err, annals.ErrConfiguration) || k.ID() != "" ||
			err.Error() != fmt.Sprintf(`aesgcm: key "2026" has %d bytes; there must be 16, 24 or 32`, size)):
			t.Errorf("%d bytes: got %v and the error %v", size, k, err)
		}
	}
	for id, good := range map[string]bool{
		"a": true, "A.z-0_9": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a b": false, "a:b": false, "a,b": false, "schlüssel": false, "a\n": false, "a\x00": false, "a/b": false,
	} {
		_, err := aesgcm.NewKey(id, secret("x", 32))
		if (err == nil) != good || err != nil && (!errors.Is(err, annals.ErrConfiguration) || !strings.Contains(err.Error(), "has an id that is not 1 to 64 letters")) {
			t.Errorf("%q: the error is %v", id, err)
		}
		_, text, err := aesgcm.GenerateKey(id)
		if (err == nil) != good || (text == "") == good {
			t.Errorf("a new key %q: the text is of %d bytes, the error %v", id, len(text), err)
		}
	}
}

func TestASecretIsCopied(t *testing.T) {
	t.Parallel()
	own := secret("2026", 32)
	k, err := aesgcm.NewKey("2026", own)
	if err != nil {
		t.Fatal(err)
	}
	clear(own)
	b := encrypt(t, cipher(t, k), []byte(data), nil)
	if _, err := cipher(t, key(t, "2026", 32)).Decrypt(t.Context(), nil, b, nil); err != nil {
		t.Error(err)
	}
}

func TestAKeyIsParsed(t *testing.T) {
	t.Parallel()
	b := encrypt(t, cipher(t, key(t, "2026", 32)), []byte(data), nil)
	own := secret("2026", 32)
	opens := func(what, text string) {
		k, err := aesgcm.ParseKey(text)
		if err != nil || k.ID() != "2026" {
			t.Errorf("%s: got %v and the error %v", what, k, err)
			return
		}
		if _, err := cipher(t, k).Decrypt(t.Context(), nil, b, nil); err != nil {
			t.Errorf("%s: it is another key: %v", what, err)
		}
	}
	for what, encoding := range map[string]*base64.Encoding{
		"base64": base64.StdEncoding, "without its end": base64.RawStdEncoding, "for URLs": base64.URLEncoding, "for URLs, without its end": base64.RawURLEncoding,
	} {
		opens(what, "2026:"+encoding.EncodeToString(own))
		opens(what+", with a line's end", " 2026:"+encoding.EncodeToString(own)+"\n")
	}
	k, text, err := aesgcm.GenerateKey("2027")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := aesgcm.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cipher(t, parsed).Decrypt(t.Context(), nil, encrypt(t, cipher(t, k), []byte(data), nil), nil); err != nil {
		t.Errorf("a generated key and its text: %v", err)
	}
	if _, other, _ := aesgcm.GenerateKey("2027"); other == text {
		t.Error("two generated keys are one")
	}
}

// A secret stands in no error, also where it is in the wrong place.
func TestWhatIsNoKeyIsRefusedWithoutASecret(t *testing.T) {
	t.Parallel()
	for size, shortened := range map[int]string{16: "AES-128", 24: "AES-192", 32: "AES-256"} {
		for kind, encode := range map[string]func([]byte) string{
			"base64": base64.StdEncoding.EncodeToString, "for URLs": base64.RawURLEncoding.EncodeToString, "hex": hex.EncodeToString,
		} {
			text := encode(secret("hidden", size))
			for what, c := range map[string]struct{ text, id, says string }{
				"without an id":        {text, "?", "is not of the form id:base64"},
				"the wrong way round":  {text + ":2026", "?", "has "},
				"with a wrong id":      {"my key:" + text, "?", "has an id"},
				"with a secret twice":  {text + ":" + text + text, "?", "has "},
				"with both wrong":      {"my key:" + text + "!", "?", "is not base64"},
				"with a wrong letter":  {"2026:" + text[1:] + "!", "2026", "is not base64"},
				"with a letter less":   {"2026:" + text[:9], "2026", "has a"},
				"with letters too few": {"2026:" + text[:12], "2026", "has 9 bytes"},
				"with too much":        {"2026:" + text[:4] + text, "2026", "has "},
			} {
				k, err := aesgcm.ParseKey(c.text)
				var wrong *aesgcm.KeyError
				if !errors.As(err, &wrong) || wrong.ID != c.id || !errors.Is(err, annals.ErrConfiguration) || k.ID() != "" || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s as %s, %s: got %v and the error %v", shortened, kind, what, k, err)
					continue
				}
				for i := range len(text) - 8 {
					if strings.Contains(err.Error(), text[i:i+8]) {
						t.Errorf("%s as %s, %s: the error tells of the secret: %v", shortened, kind, what, err)
						break
					}
				}
			}
		}
	}
}

// B14: nobody prints a key by mistake.
func TestKeysAreNotPrinted(t *testing.T) {
	t.Parallel()
	own := secret("2026", 32)
	k, ring := key(t, "2026", 32), new(aesgcm.Ring)
	if r, err := aesgcm.NewRing(k); err == nil {
		ring = r
	}
	type holder struct {
		Key    aesgcm.Key
		hidden aesgcm.Key // fmt does not call its methods
		Keys   []aesgcm.Key
		ByID   map[string]aesgcm.Key
		At     *aesgcm.Key
		Ring   *aesgcm.Ring
		Source aesgcm.Source
		Cipher *aesgcm.Cipher
	}
	h := holder{k, k, []aesgcm.Key{k}, map[string]aesgcm.Key{"2026": k}, &k, ring, ring, aesgcm.New(ring)}
	var printed strings.Builder
	for _, value := range []any{k, &k, ring, *ring, h, &h, aesgcm.New(ring), []any{k, ring}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p"} {
			_, _ = fmt.Fprintf(&printed, verb+"\n", value)
		}
		for _, handler := range []slog.Handler{slog.NewTextHandler(&printed, nil), slog.NewJSONHandler(&printed, nil)} {
			slog.New(handler).Info("open", slog.Any("value", value))
		}
		if b, err := json.Marshal(value); err == nil {
			printed.Write(b)
		}
	}
	all := printed.String()
	if !strings.Contains(all, "aesgcm key 2026") {
		t.Error("the id is not printed")
	}
	for what, text := range map[string]string{
		"as bytes": string(own[:4]), "as hex": hex.EncodeToString(own[:4]), "as base64": base64.StdEncoding.EncodeToString(own[:6]),
		"as numbers": strings.Trim(fmt.Sprintf("%d", own[:4]), "[]"), "in Go's syntax": strings.Trim(fmt.Sprintf("%#v", own[:4])[len("[]byte"):], "{}"),
	} {
		if strings.Contains(strings.ToLower(all), strings.ToLower(text)) {
			t.Errorf("the secret is printed %s", what)
		}
	}
	if got := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); got != strings.TrimSpace(strings.Repeat("aesgcm key 2026 ", 4)) {
		t.Errorf("a key is printed as %s", got)
	}
}

func TestARingHasEachIdOnce(t *testing.T) {
	t.Parallel()
	a, b := key(t, "a", 16), key(t, "b", 16)
	sameID, err := aesgcm.NewKey("a", secret("another one", 32))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		keys []aesgcm.Key
		says string
	}{
		"the zero Key":                {[]aesgcm.Key{{}}, `aesgcm: key "?" is the zero Key`},
		"the zero Key among others":   {[]aesgcm.Key{a, b, {}}, `aesgcm: key "?" is the zero Key`},
		"a key twice":                 {[]aesgcm.Key{a, b, a}, `aesgcm: key "a" is there twice`},
		"two keys with one id":        {[]aesgcm.Key{b, a, sameID}, `aesgcm: key "a" is there twice`},
		"the current one with one id": {[]aesgcm.Key{a, sameID}, `aesgcm: key "a" is there twice`},
	} {
		ring, err := aesgcm.NewRing(c.keys[0], c.keys[1:]...)
		var wrong *aesgcm.KeyError
		if ring != nil || !errors.As(err, &wrong) || !errors.Is(err, annals.ErrConfiguration) || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%s: got %v and the error %v", what, ring, err)
		}
	}
}
