package zlib

import (
	"fmt"

	"github.com/annals-es/annals"
)

// DamagedError says that what is to be decompressed is not what Compress made. It
// is [annals.ErrUndecodable].
type DamagedError struct {
	// Reason says what was found: "its checksum does not match".
	Reason string
}

// Error says what was found.
func (e *DamagedError) Error() string { return "the compressed data is damaged: " + e.Reason }

// Is reports whether target is [annals.ErrUndecodable].
func (*DamagedError) Is(target error) bool { return target == annals.ErrUndecodable }

// notZlib is the reason for what has the right checksum all the same.
const notZlib = "it is not one stream of zlib"

// SizeError says that the original is larger than [WithMaxSize] allows. It is
// [annals.ErrUnencodable] from Compress, and [annals.ErrUndecodable] from
// Decompress.
type SizeError struct {
	// Size is the number of bytes; 0 if it is not known, because decompressing
	// ended at the bound.
	Size int
	// Max is the number that is allowed.
	Max int

	is error
}

func tooLargeToWrite(size, most int) error {
	return &SizeError{Size: size, Max: most, is: annals.ErrUnencodable}
}

func tooLargeToRead(most int) error { return &SizeError{Max: most, is: annals.ErrUndecodable} }

// Error says what is allowed.
func (e *SizeError) Error() string {
	if e.Size > 0 {
		return fmt.Sprintf("the data has %d bytes, and WithMaxSize allows %d", e.Size, e.Max)
	}
	return fmt.Sprintf("the data has more than the %d bytes that WithMaxSize allows", e.Max)
}

// Is reports whether target is what the error is.
func (e *SizeError) Is(target error) bool { return target == e.is }
