package zstd

import (
	"fmt"

	"github.com/annals-es/annals"
)

// DamagedError says that what is to be decompressed is not what Compress made. It
// is [annals.ErrUndecodable].
type DamagedError struct {
	// Reason says what was found: "its end is missing".
	Reason string
}

// Error says what was found.
func (e *DamagedError) Error() string { return "the compressed data is damaged: " + e.Reason }

// Is reports whether target is [annals.ErrUndecodable].
func (*DamagedError) Is(target error) bool { return target == annals.ErrUndecodable }

// DictionaryError says which dictionary is missing. It is
// [annals.ErrConfiguration], and [annals.ErrUndecodable].
type DictionaryError struct {
	// ID is the id of the dictionary.
	ID uint32
	// Given reports that the compressor has a dictionary with the id: it is another
	// one than that which compressed, or else the data is damaged.
	Given bool
}

// Error names the dictionary, and says what to do.
func (e *DictionaryError) Error() string {
	if e.Given {
		return fmt.Sprintf("the dictionary %d is not the one with that id that compressed this, or the compressed data is damaged: "+
			"give that one as well (WithDictionary)", e.ID)
	}
	return fmt.Sprintf("the dictionary %d compressed this, and the compressor does not have it: give it (WithDictionary), "+
		"if only for reading", e.ID)
}

// Is reports whether target is [annals.ErrConfiguration] or [annals.ErrUndecodable].
func (*DictionaryError) Is(target error) bool {
	return target == annals.ErrConfiguration || target == annals.ErrUndecodable
}

// SizeError says that the original is larger than [WithMaxSize] allows. It is
// [annals.ErrUnencodable] from Compress, and [annals.ErrUndecodable] from
// Decompress.
type SizeError struct {
	// Size is the number of bytes; what Decompress was given may lie about it.
	Size uint64
	// Max is the number that is allowed.
	Max int

	is error
}

// Error says what is allowed.
func (e *SizeError) Error() string {
	return fmt.Sprintf("the data has %d bytes, and WithMaxSize allows %d", e.Size, e.Max)
}

// Is reports whether target is what the error is.
func (e *SizeError) Is(target error) bool { return target == e.is }
