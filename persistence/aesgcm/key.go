package aesgcm

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
)

// Key is a key of AES with its id. It holds the cipher ready-made, and does not
// show its secret: neither fmt nor slog print it. Its zero value is no key. It is
// safe for concurrent use.
type Key struct {
	id   string
	aead cipher.AEAD
}

const (
	maxID = 64

	// shortestSecret is the length of the shortest secret as base64. An id that is as
	// long may be a secret in the wrong place, and stands in no error of ParseKey.
	shortestSecret = 22
)

// isID reports whether id may name a key: what is in an id can stand in a setting, in
// a log line and in the name of a file.
func isID[T string | []byte](id T) bool {
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return len(id) >= 1 && len(id) <= maxID
}

// NewKey returns a key of AES-128, AES-192 or AES-256: the secret has 16, 24 or 32
// random bytes; the caller may clear them afterwards. The id is stored with everything
// that the key encrypts: letters, digits, dots, hyphens and underscores, at most 64. An
// id names one secret for ever. It returns a [*KeyError].
func NewKey(id string, secret []byte) (Key, error) {
	key, wrong := newKey(id, secret)
	if wrong != nil {
		return Key{}, fmt.Errorf("aesgcm: %w", wrong)
	}
	return key, nil
}

func newKey(id string, secret []byte) (Key, *KeyError) {
	if !isID(id) {
		return Key{}, &KeyError{ID: "?", Reason: "has an id that is not 1 to 64 letters, digits, '.', '-' and '_'"}
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return Key{}, &KeyError{ID: id, Reason: fmt.Sprintf("has %d bytes; there must be 16, 24 or 32", len(secret))}
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return Key{}, &KeyError{ID: id, Reason: "cannot be used: " + err.Error()}
	}
	return Key{id: id, aead: aead}, nil
}

// GenerateKey returns a new random key of AES-256, and its text for [ParseKey],
// which is to be kept as a secret. It returns a [*KeyError] if the id is none.
func GenerateKey(id string) (key Key, text string, err error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // it never fails
	if key, err = NewKey(id, secret); err != nil {
		return Key{}, "", err
	}
	return key, id + ":" + base64.StdEncoding.EncodeToString(secret), nil
}

// ParseKey returns the key of a text "id:secret", the secret in base64 of any kind:
// "2026:" and what "openssl rand -base64 32" prints. It returns a [*KeyError], which
// tells an id only if that is too short to be a secret in the wrong place.
func ParseKey(text string) (Key, error) {
	key, wrong := parseKey(text)
	if wrong != nil {
		return Key{}, fmt.Errorf("aesgcm: %w", wrong)
	}
	return key, nil
}

func parseKey(text string) (Key, *KeyError) {
	id, encoded, ok := strings.Cut(strings.TrimSpace(text), ":")
	if !ok {
		return Key{}, &KeyError{ID: "?", Reason: "is not of the form id:base64"}
	}
	encoded = strings.TrimRight(encoded, "=")
	secret, err := base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(encoded))
	var key Key
	wrong := &KeyError{ID: id, Reason: "has a secret that is not base64"}
	if err == nil {
		key, wrong = newKey(id, secret)
	}
	if wrong != nil && (!isID(id) || len(id) >= shortestSecret) {
		wrong.ID = "?"
	}
	return key, wrong
}

// ID returns the key's id.
func (k Key) ID() string { return k.id }

// String returns the id.
func (k Key) String() string { return "aesgcm key " + k.id }

// GoString returns the id.
func (k Key) GoString() string { return k.String() }

// LogValue returns the id.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }
