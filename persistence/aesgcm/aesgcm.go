// Package aesgcm is the cipher that encrypts the data of events by AES-GCM of the
// standard library, inside of the application: the database never sees it. Keys
// have ids; new events are encrypted by the current key, and every key of the
// source opens what it encrypted.
package aesgcm

import (
	"context"
	"fmt"
	"sync"
	"unique"

	"github.com/annals-es/annals/persistence"
)

// The stored form is: version 1, the length of the key's id, the id, a nonce of 12
// bytes, the ciphertext, a tag of 16 bytes. What is authenticated besides is all that
// stands before the nonce, and then the associated data.
const (
	formatVersion = 1
	prefix        = 2       // version and length
	minSealed     = 12 + 16 // nonce and tag
)

// Cipher encrypts by the keys of a source. It is safe for concurrent use.
type Cipher struct {
	keys  Source
	bound sync.Pool // of *[]byte, for what is authenticated besides
}

var _ persistence.Cipher = (*Cipher)(nil)

// New returns a cipher. It panics if there is no source.
//
// Each encryption takes a random nonce of 96 bits: give a key at most 2^32 events,
// and then go on to a new one.
func New(keys Source) *Cipher {
	if ring, ok := keys.(*Ring); keys == nil || ok && ring == nil {
		panic("aesgcm: New: the source of keys is nil")
	}
	return &Cipher{keys: keys}
}

// Name returns "aesgcm".
func (*Cipher) Name() string { return "aesgcm" }

// Encrypt appends the encrypted plaintext to dst, which must not overlap it: its
// length, that of the key's id, and 30 bytes. It returns a [*KeyError] if the source
// has no current key, and a [*SourceError] if the source failed.
func (c *Cipher) Encrypt(ctx context.Context, dst, plaintext, associated []byte) ([]byte, error) {
	key, err := current(ctx, c.keys)
	if err != nil {
		return nil, err
	}
	header := len(dst)
	dst = append(dst, formatVersion, byte(len(key.id))) //nolint:gosec // an id has at most 64 bytes
	dst = append(dst, key.id...)
	bound := c.bind(dst[header:], associated)
	defer c.bound.Put(bound)
	return key.aead.Seal(dst, nil, plaintext, *bound), nil //nolint:gosec // Seal makes a random nonce; it takes none
}

// Decrypt appends the plaintext to dst, which must not overlap the ciphertext. It
// returns a [*NotAuthenticError] for what Encrypt did not make for this place, a
// [*KeyError] if the source does not have the key, and a [*SourceError] if the source
// failed. A damaged id is that of a key that the source does not have.
func (c *Cipher) Decrypt(ctx context.Context, dst, ciphertext, associated []byte) ([]byte, error) {
	id, err := keyID(ciphertext)
	if err != nil {
		return nil, err
	}
	key, err := byID(ctx, c.keys, unique.Make(string(id)).Value()) // no new string for each event
	if err != nil {
		return nil, err
	}
	header, sealed := ciphertext[:prefix+len(id)], ciphertext[prefix+len(id):]
	bound := c.bind(header, associated)
	defer c.bound.Put(bound)
	plaintext, err := key.aead.Open(dst, nil, sealed, *bound)
	if err != nil {
		return nil, &NotAuthenticError{KeyID: key.id, Reason: fmt.Sprintf(
			"key %q did not encrypt it for this place: it was altered, cut or moved, or another key had that id", key.id)}
	}
	return plaintext, nil
}

// keyID returns the id that a ciphertext names. Enough for nonce and tag follows it.
func keyID(ciphertext []byte) ([]byte, error) {
	if len(ciphertext) < prefix {
		return nil, notAuthentic("it is too short")
	}
	if v := ciphertext[0]; v != formatVersion {
		return nil, notAuthentic(fmt.Sprintf(
			"its form has version %d, and this code knows %d: it was altered, or newer code wrote it", v, formatVersion))
	}
	end := prefix + int(ciphertext[1])
	if len(ciphertext) < end+minSealed {
		return nil, notAuthentic("it is too short")
	}
	if !isID(ciphertext[prefix:end]) {
		return nil, notAuthentic("the id of its key is none")
	}
	return ciphertext[prefix:end], nil
}

// bind returns header and associated data as one. The header says its own length, so
// no other pair gives the same.
func (c *Cipher) bind(header, associated []byte) *[]byte {
	b, ok := c.bound.Get().(*[]byte)
	if !ok {
		b = new([]byte)
	}
	*b = append(append((*b)[:0], header...), associated...)
	return b
}
