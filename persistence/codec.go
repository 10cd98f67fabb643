package persistence

import (
	"context"
	"reflect"
)

// Transcoder turns the data of events into bytes and back. It must be safe for
// concurrent use, and encode what it can decode to an equal value, or else
// return an error that names the type and field, without the value.
type Transcoder interface {
	// Name is stored with each event: lower-case letters and digits.
	Name() string
	// Encode appends the bytes of a value to dst.
	Encode(dst []byte, value any) ([]byte, error)
	// Decode fills target, a pointer to a zero value. It must not keep data.
	Decode(data []byte, target any) error
}

// TypeChecker is implemented by transcoders that can tell, before there is a
// value, that values of a type would not come back as they were. [JSON] does.
type TypeChecker interface {
	// CheckType returns an error that names the type and the field, if values of
	// the type would not come back.
	CheckType(t reflect.Type) error
}

// Compressor makes bytes smaller. It must be safe for concurrent use.
type Compressor interface {
	// Name is stored with each event: lower-case letters and digits.
	Name() string
	// Compress appends the compressed src to dst.
	Compress(dst, src []byte) ([]byte, error)
	// Decompress appends the original of src to dst.
	Decompress(dst, src []byte) ([]byte, error)
}

// Cipher encrypts bytes and binds them to associated data, which must be the
// same when they are opened. It must be safe for concurrent use, and refuse what
// was altered. If it cannot tell, because a key service does not answer, its error
// must be [ErrUnavailable]. Its errors hold no data and no key.
type Cipher interface {
	// Name is stored with each event: lower-case letters and digits.
	Name() string
	// Encrypt appends the encrypted plaintext to dst. The context is that of the
	// save, for those who have to fetch a key. It must keep none of the slices.
	Encrypt(ctx context.Context, dst, plaintext, associated []byte) ([]byte, error)
	// Decrypt appends the plaintext of what Encrypt made to dst. The context is that
	// of the read.
	Decrypt(ctx context.Context, dst, ciphertext, associated []byte) ([]byte, error)
}
