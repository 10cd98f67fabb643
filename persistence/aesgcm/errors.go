package aesgcm

import (
	"errors"
	"fmt"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// ErrNotAuthentic says that what is to be opened was not made by this key for this
// place. See [*NotAuthenticError].
var ErrNotAuthentic = errors.New("the ciphertext is not authentic")

// NotAuthenticError says why a ciphertext does not open: it was altered, cut or
// moved, or the key with its id is another one than that which encrypted. It is
// [ErrNotAuthentic], and [annals.ErrUndecodable].
type NotAuthenticError struct {
	// KeyID is the id of the key that did not open it; empty if the ciphertext does
	// not get as far as that.
	KeyID string
	// Reason says what was found: "it is too short".
	Reason string
}

// Error names the key and says what was found.
func (e *NotAuthenticError) Error() string { return ErrNotAuthentic.Error() + ": " + e.Reason }

// Is reports whether target is [ErrNotAuthentic] or [annals.ErrUndecodable].
func (*NotAuthenticError) Is(target error) bool {
	return target == ErrNotAuthentic || target == annals.ErrUndecodable
}

func notAuthentic(reason string) error { return &NotAuthenticError{Reason: reason} }

// KeyError says which key is wrong or missing. It is [annals.ErrConfiguration], and
// tells nothing of the secret.
type KeyError struct {
	// ID is the id of the key; "?" if it has none that may be told.
	ID string
	// Reason says what is wrong: "is not in the ring".
	Reason string
}

// Error names the key and the reason.
func (e *KeyError) Error() string { return fmt.Sprintf("key %q %s", e.ID, e.Reason) }

// Is reports whether target is [annals.ErrConfiguration].
func (*KeyError) Is(target error) bool { return target == annals.ErrConfiguration }

// SourceError says that the source of keys failed. Nothing is known about the event:
// try again. It is [persistence.ErrUnavailable], and unwraps to the error of the
// source: to that of the context, if that ended it.
type SourceError struct {
	// ID is the id of the key that was asked for; empty for that of new events.
	ID string
	// Err is the error of the source.
	Err error
}

// Error names the key and has the error of the source.
func (e *SourceError) Error() string {
	if e.ID == "" {
		return fmt.Sprintf("the source of keys failed for the key of new events: %v", e.Err)
	}
	return fmt.Sprintf("the source of keys failed for key %q: %v", e.ID, e.Err)
}

// Is reports whether target is [persistence.ErrUnavailable].
func (*SourceError) Is(target error) bool { return target == persistence.ErrUnavailable }

// Unwrap returns the error of the source.
func (e *SourceError) Unwrap() error { return e.Err }
