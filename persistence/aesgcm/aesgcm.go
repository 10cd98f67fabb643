// Package aesgcm is the cipher that encrypts the data of events by AES-GCM of the
// standard library, inside of the application: the database never sees it. Keys
// have ids; new events are encrypted by the current key, and every key of the
// source opens what it encrypted.
package aesgcm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/annals-es/annals/persistence"
)

// ErrNotAuthentic: what is to be opened was not made by the key for this place: it
// was altered, cut or moved, or the key with this id is another one than that which
// encrypted.
var ErrNotAuthentic = errors.New("aesgcm: the data is altered, cut or moved, or the key is another one")

// The stored form is: version 1, the length of the key's id, the id, a nonce of 12
// bytes, the ciphertext, a tag of 16 bytes. What stands before the nonce is
// authenticated together with the associated data.
const (
	formatVersion = 1
	minSealed     = 12 + 16 // a nonce and a tag
)

// Cipher encrypts by the keys of a source. It is safe for concurrent use.
type Cipher struct {
	keys    Source
	scratch sync.Pool // of *[]byte, for associated data
}

var _ persistence.Cipher = (*Cipher)(nil)

// New returns a cipher. It panics if there is no source.
//
// Each encryption takes a random nonce of 96 bits: give a key at most 2^32 events,
// and then go on to a new one.
func New(keys Source) *Cipher {
	if keys == nil {
		panic("aesgcm: New: the source of keys is nil")
	}
	return &Cipher{keys: keys}
}

// Name returns "aesgcm".
func (*Cipher) Name() string { return "aesgcm" }

// Encrypt appends the encrypted plaintext to dst, which must not overlap it. It
// returns the error of the source if that has no current key.
func (c *Cipher) Encrypt(ctx context.Context, dst, plaintext, associated []byte) ([]byte, error) {
	key, err := c.keys.Current(ctx)
	if err == nil && key.aead == nil {
		err = &KeyError{ID: key.id, Reason: "is the zero Key"}
	}
	if err != nil {
		return nil, fmt.Errorf("the current key: %w", err)
	}
	header := len(dst)
	dst = append(dst, formatVersion, byte(len(key.id)))
	dst = append(dst, key.id...)
	bound := c.bind(dst[header:], associated)
	defer c.scratch.Put(bound)
	return key.aead.Seal(dst, nil, plaintext, *bound), nil
}

// Decrypt appends the plaintext to dst, which must not overlap the ciphertext. It
// returns [ErrNotAuthentic] for what Encrypt did not make for this place, and the
// error of the source if that does not have the key.
func (c *Cipher) Decrypt(ctx context.Context, dst, ciphertext, associated []byte) ([]byte, error) {
	if len(ciphertext) < 2 {
		return nil, ErrNotAuthentic
	}
	if v := ciphertext[0]; v != formatVersion {
		return nil, fmt.Errorf("%w: its form has version %d, and this code knows %d", ErrNotAuthentic, v, formatVersion)
	}
	header := 2 + int(ciphertext[1])
	if len(ciphertext) < header+minSealed {
		return nil, ErrNotAuthentic
	}
	id := ciphertext[2:header]
	if !validID.Match(id) {
		return nil, ErrNotAuthentic
	}
	key, err := c.keys.Key(ctx, string(id))
	if err == nil && key.aead == nil {
		err = &KeyError{ID: string(id), Reason: "is the zero Key"}
	}
	if err != nil {
		return nil, err
	}
	bound := c.bind(ciphertext[:header], associated)
	defer c.scratch.Put(bound)
	plaintext, err := key.aead.Open(dst, nil, ciphertext[header:], *bound)
	if err != nil {
		return nil, fmt.Errorf("%w (key %q)", ErrNotAuthentic, key.id)
	}
	return plaintext, nil
}

// bind returns header and associated data as one. The header says its own length.
func (c *Cipher) bind(header, associated []byte) *[]byte {
	b, ok := c.scratch.Get().(*[]byte)
	if !ok {
		b = new([]byte)
	}
	*b = append(append((*b)[:0], header...), associated...)
	return b
}

// The keys of the environment.
const (
	settingKeys    = "CIPHER_KEYS"
	settingCurrent = "CIPHER_KEY"
)

// Driver is chosen by CIPHER=aesgcm.
var Driver = persistence.Driver{
	Name: "aesgcm",
	Settings: []persistence.Setting{
		{Key: settingKeys, Text: "the keys of aesgcm: `id:base64,id:base64`, each of 16, 24 or 32 bytes"},
		{Key: settingCurrent, Text: "the id of the key for new events; if not set, the first of `" + settingKeys + "`"},
	},
	Cipher: func(_ context.Context, s *persistence.Settings) (persistence.Cipher, error) {
		ring := ringOf(s)
		if ring == nil {
			return nil, s.Err()
		}
		return New(ring), nil
	},
}

// ringOf returns the keys of the environment; nil if they are wrong. Its errors
// count keys, and quote nothing.
func ringOf(s *persistence.Settings) *Ring {
	value := s.Text(settingKeys, "")
	if value == "" {
		s.Fail(settingKeys, "is not set")
		return nil
	}
	var keys []Key
	ids := make(map[string]bool)
	for text := range strings.SplitSeq(value, ",") {
		key, err := ParseKey(text)
		if err == nil && ids[key.id] {
			err = &KeyError{ID: key.id, Reason: "has the id of another one"}
		}
		if keyError, ok := errors.AsType[*KeyError](err); ok {
			s.Fail(settingKeys, fmt.Sprintf("is wrong: key number %d %s", len(keys)+1, keyError.Reason))
			return nil
		}
		ids[key.id] = true
		keys = append(keys, key)
	}
	current := slices.IndexFunc(keys, func(k Key) bool { return k.id == s.Text(settingCurrent, keys[0].id) })
	if current < 0 {
		s.Fail(settingCurrent, "is the id of none of the keys")
		return nil
	}
	ring, err := NewRing(keys[current], slices.Delete(slices.Clone(keys), current, current+1)...)
	if err != nil {
		s.Fail(settingKeys, "is wrong")
		return nil
	}
	return ring
}
