package aesgcm

import (
	"context"
	"errors"
	"fmt"
)

// Source has the keys: a [Ring], or a key service behind an implementation of one's
// own. It must be safe for concurrent use.
//
// It is asked for every event, with the context of the save or of the read, and
// nothing is kept of what it returns: a key that it no longer returns opens nothing
// more. A source that has to fetch keys must keep them itself, or each event waits
// for it. It must not return the zero Key without an error.
//
// A [*KeyError] is returned as it is; any other error, that of the context too, as a
// [*SourceError], which says that trying again may help.
type Source interface {
	// Current returns the key for a new event.
	Current(ctx context.Context) (Key, error)
	// Key returns the key with an id, which was read from a stored event. It must
	// return a [*KeyError] if there is none.
	Key(ctx context.Context, id string) (Key, error)
}

// current asks for the key of a new event.
func current(ctx context.Context, keys Source) (Key, error) {
	key, err := keys.Current(ctx)
	if err != nil {
		return Key{}, ofSource("", err)
	}
	if key.aead == nil {
		return Key{}, &KeyError{ID: "?", Reason: "for new events is the zero Key: the source of keys must return one of NewKey"}
	}
	return key, nil
}

// byID asks for the key with the id.
func byID(ctx context.Context, keys Source, id string) (Key, error) {
	key, err := keys.Key(ctx, id)
	switch {
	case err != nil:
		return Key{}, ofSource(id, err)
	case key.aead == nil:
		return Key{}, &KeyError{ID: id, Reason: "is the zero Key: the source of keys must return one of NewKey"}
	case key.id != id:
		return Key{}, &KeyError{ID: id, Reason: fmt.Sprintf("is not what the source of keys returned: that is %q", key.id)}
	}
	return key, nil
}

func ofSource(id string, err error) error {
	if _, ok := errors.AsType[*KeyError](err); ok {
		return err
	}
	return &SourceError{ID: id, Err: err}
}

// Ring is a fixed set of keys. It is safe for concurrent use.
type Ring struct {
	current Key
	keys    map[string]Key
}

var _ Source = (*Ring)(nil)

// NewRing returns a ring whose current key encrypts new events; the others open
// what they encrypted before. It returns a [*KeyError] if two keys have one id, or
// if one is the zero Key.
func NewRing(current Key, others ...Key) (*Ring, error) {
	r := &Ring{current: current, keys: make(map[string]Key, len(others)+1)}
	for _, k := range append([]Key{current}, others...) {
		if k.aead == nil {
			return nil, fmt.Errorf("aesgcm: %w", &KeyError{ID: "?", Reason: "is the zero Key: use NewKey"})
		}
		if _, ok := r.keys[k.id]; ok {
			return nil, fmt.Errorf("aesgcm: %w", &KeyError{ID: k.id, Reason: "is there twice"})
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
		return Key{}, &KeyError{ID: id, Reason: "is not in the ring: add it, if only for reading (NewRing, or CIPHER_KEYS)"}
	}
	return k, nil
}
