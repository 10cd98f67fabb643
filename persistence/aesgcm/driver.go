package aesgcm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/annals-es/annals/persistence"
)

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
		return New(ringOf(s)), nil
	},
}

// ringOf returns the keys of the environment; no key if they are wrong. What it says
// then counts keys, and quotes nothing.
func ringOf(s *persistence.Settings) *Ring {
	value := s.Text(settingKeys, "")
	if value == "" {
		s.Fail(settingKeys, "is not set")
		return new(Ring)
	}
	var keys []Key
	for text := range strings.SplitSeq(value, ",") {
		key, wrong := parseKey(text)
		if wrong != nil {
			s.Fail(settingKeys, fmt.Sprintf("is wrong: key number %d %s", len(keys)+1, wrong.Reason))
			return new(Ring)
		}
		keys = append(keys, key)
	}
	current := 0
	if id := s.Text(settingCurrent, ""); id != "" {
		current = slices.IndexFunc(keys, func(k Key) bool { return k.id == id })
	}
	if current < 0 {
		s.Fail(settingCurrent, "is the id of none of the keys")
		return new(Ring)
	}
	keys[0], keys[current] = keys[current], keys[0]
	ring, err := NewRing(keys[0], keys[1:]...)
	if err != nil {
		s.Fail(settingKeys, "is wrong: two keys have one id")
		return new(Ring)
	}
	return ring
}
