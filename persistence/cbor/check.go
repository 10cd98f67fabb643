package cbor

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

var (
	errText  = errors.New("cbor: a text is not UTF-8")
	errLarge = errors.New("cbor: nested too deep, or too many elements")
)

// check returns an error for what the library has encoded and would not decode.
func (c *transcoder) check(data []byte) error {
	if !validTexts(data) {
		return errText
	}
	// What has fewer bytes has neither so many levels nor so many elements.
	if len(data) > maxNested && c.decode.Wellformed(data) != nil {
		return errLarge
	}
	return nil
}

// The major types of CBOR, and what stands for an argument in the bytes behind.
const (
	majorBytes = 2
	majorText  = 3
	majorTag   = 6
	argument1  = 24
	argument8  = 27
)

// head reads the head of an item of definite length: its major type, its argument,
// and what stands behind it.
func head(data []byte) (major byte, argument uint64, rest []byte, ok bool) {
	if len(data) == 0 {
		return 0, 0, nil, false
	}
	major, info := data[0]>>5, data[0]&0x1f
	data = data[1:]
	if info < argument1 {
		return major, uint64(info), data, true
	}
	if info > argument8 || len(data) < 1<<(info-argument1) {
		return 0, 0, nil, false
	}
	switch info {
	case argument1:
		return major, uint64(data[0]), data[1:], true
	case argument1 + 1:
		return major, uint64(binary.BigEndian.Uint16(data)), data[2:], true
	case argument1 + 2:
		return major, uint64(binary.BigEndian.Uint32(data)), data[4:], true
	default:
		return major, binary.BigEndian.Uint64(data), data[8:], true
	}
}

// validTexts reports whether all texts are UTF-8. It reads item after item: those of
// an array or a map follow its head.
func validTexts(data []byte) bool {
	for len(data) > 0 {
		major, argument, rest, ok := head(data)
		if !ok {
			return false
		}
		if major == majorBytes || major == majorText {
			if argument > uint64(len(rest)) || major == majorText && !utf8.Valid(rest[:argument]) {
				return false
			}
			rest = rest[argument:]
		}
		data = rest
	}
	return true
}

// isNull reports whether the data is null or undefined, with or without tags.
func isNull(data []byte) bool {
	for len(data) > 0 {
		major, _, rest, ok := head(data)
		if !ok || major != majorTag {
			return data[0] == 0xf6 || data[0] == 0xf7
		}
		data = rest
	}
	return false
}
