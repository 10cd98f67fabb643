package aesgcm

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	"github.com/annals-es/annals"
)

// Key is a key of AES with its id. It holds the cipher ready-made, and does not
// show its secret: neither fmt nor slog print it. Its zero value is no key.
type Key struct {
	id   string
	aead cipher.AEAD
}

// KeyError says which key is wrong or missing. It is [annals.ErrConfiguration],
// and tells nothing of the secret.
type KeyError struct {
	// ID is the id of the key.
	ID string
	// Reason says what is wrong.
	Reason string
}

// Error names the key and the reason.
func (e *KeyError) Error() string { return fmt.Sprintf("aesgcm: key %q %s", e.ID, e.Reason) }

// Is reports whether target is [annals.ErrConfiguration].
func (e *KeyError) Is(target error) bool { return target == annals.ErrConfiguration }

var validID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// NewKey returns a key of AES-128, AES-192 or AES-256: the secret has 16, 24 or 32
// random bytes. The id is stored with everything that the key encrypts: letters,
// digits, dots, hyphens and underscores, at most 64. An id names one secret for
// ever. It returns a [*KeyError].
func NewKey(id string, secret []byte) (Key, error) {
	if !validID.MatchString(id) {
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
// which is to be kept as a secret.
func GenerateKey(id string) (key Key, text string, err error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // it never fails
	key, err = NewKey(id, secret)
	return key, id + ":" + base64.StdEncoding.EncodeToString(secret), err
}

// ParseKey returns the key of a text "id:secret", the secret in base64 of any
// kind. It returns a [*KeyError].
func ParseKey(text string) (Key, error) {
	id, encoded, ok := strings.Cut(strings.TrimSpace(text), ":")
	if !ok {
		return Key{}, &KeyError{ID: "?", Reason: "is not of the form id:base64"}
	}
	encoded = strings.TrimRight(encoded, "=")
	secret, err := base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(encoded))
	if err != nil {
		if !validID.MatchString(id) {
			id = "?"
		}
		return Key{}, &KeyError{ID: id, Reason: "has a secret that is not base64"}
	}
	return NewKey(id, secret)
}

// ID returns the key's id.
func (k Key) ID() string { return k.id }

// String returns the id.
func (k Key) String() string { return "aesgcm key " + k.id }

// GoString returns the id.
func (k Key) GoString() string { return k.String() }

// LogValue returns the id.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Source has the keys: a [Ring], or a service behind an implementation of one's
// own. It must be safe for concurrent use. It is asked for every event: keep keys
// once they are fetched. Its errors are passed on, wrapped.
type Source interface {
	// Current returns the key for new events.
	Current(ctx context.Context) (Key, error)
	// Key returns the key with an id. It returns a [*KeyError] if there is none.
	Key(ctx context.Context, id string) (Key, error)
}

// Ring is a fixed set of keys. It is safe for concurrent use.
type Ring struct {
	current Key
	keys    map[string]Key
}

// NewRing returns a ring whose current key encrypts new events; the others open
// what they encrypted before. It returns a [*KeyError] if two keys have one id, or
// if one is the zero Key.
func NewRing(current Key, others ...Key) (*Ring, error) {
	r := &Ring{current: current, keys: make(map[string]Key, len(others)+1)}
	for _, k := range append([]Key{current}, others...) {
		if k.aead == nil {
			return nil, &KeyError{ID: k.id, Reason: "is the zero Key; use NewKey"}
		}
		if _, ok := r.keys[k.id]; ok {
			return nil, &KeyError{ID: k.id, Reason: "is there twice"}
		}
		r.keys[k.id] = k
	}
	return r, nil
}

// Current returns the key for new events. It never fails.
func (r *Ring) Current(context.Context) (Key, error) { return r.current, nil }

// Key returns the key with the id, or a [*KeyError].
func (r *Ring) Key(_ context.Context, id string) (Key, error) {
	k, ok := r.keys[id]
	if !ok {
		return Key{}, &KeyError{ID: id, Reason: "is not in the ring: add it, if only for reading"}
	}
	return k, nil
}
