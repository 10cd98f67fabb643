package persistence

// Transcoder turns the data of events into bytes and back. It must be safe for
// concurrent use, and encode what it can decode to an equal value, or else
// return an error that names the type and field, without the value.
type Transcoder interface {
	// Name is stored with each event: lower-case letters and digits.
	Name() string
	// Encode returns the bytes of a value.
	Encode(value any) ([]byte, error)
	// Decode fills target, a pointer. It must not keep data.
	Decode(data []byte, target any) error
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
// was altered.
type Cipher interface {
	// Name is stored with each event: lower-case letters and digits.
	Name() string
	// Encrypt appends the encrypted plaintext to dst.
	Encrypt(dst, plaintext, associated []byte) ([]byte, error)
	// Decrypt appends the plaintext of what Encrypt made to dst.
	Decrypt(dst, ciphertext, associated []byte) ([]byte, error)
}
