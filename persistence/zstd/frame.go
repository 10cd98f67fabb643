package zstd

// frame is what the beginning of a frame says.
type frame struct {
	dictionary uint32 // the id; 0 if it needs none
	size       uint64 // of the original
}

const (
	magic = "\x28\xb5\x2f\xfd"

	// The bits of the descriptor, the byte after the magic.
	dictionaryBits   = 0b0000_0011 // how long the id is
	checksumBit      = 0b0000_0100
	reservedBits     = 0b0001_1000
	singleSegmentBit = 0b0010_0000 // no window, and the size is there
	sizeShift        = 6           // the upper two say how long the size is

	checksumSize    = 4
	blockHeaderSize = 3
	maxBlock        = 128 << 10 // the size of the original of a block

	// emptyFrame is the frame of nothing. The encoder would make one without a
	// checksum.
	emptyFrame = magic + "\x24\x00" + "\x01\x00\x00" + "\x99\xe9\xd8\x51"
)

// parse looks at all of a frame but its contents. It takes what Compress makes: one
// frame, with the size of the original and with a checksum, without which a wrong
// dictionary would go unnoticed. So what a frame says of its size is near the
// truth before memory is taken for it.
func parse(b []byte) (frame, error) {
	if len(b) < len(magic)+1 || string(b[:len(magic)]) != magic {
		return frame{}, &DamagedError{Reason: "it does not begin as a frame of Zstandard does"}
	}
	descriptor := b[len(magic)]
	if descriptor&(checksumBit|reservedBits|singleSegmentBit) != checksumBit|singleSegmentBit {
		return frame{}, &DamagedError{Reason: "it is a frame without its size or its checksum"}
	}
	rest := b[len(magic)+1:]
	var f frame
	id, rest, ok := number(rest, [...]int{0, 1, 2, 4}[descriptor&dictionaryBits])
	if ok {
		f.dictionary = uint32(id) //nolint:gosec // it has four bytes
		sizeBytes := 1 << (descriptor >> sizeShift)
		if f.size, rest, ok = number(rest, sizeBytes); sizeBytes == 2 {
			f.size += 256
		}
	}
	if !ok {
		return frame{}, cut()
	}
	room, rest, err := blocks(rest)
	switch {
	case err != nil:
		return frame{}, err
	case len(rest) < checksumSize:
		return frame{}, cut()
	case len(rest) > checksumSize:
		return frame{}, &DamagedError{Reason: "something follows its end"}
	case f.size > room:
		return frame{}, &DamagedError{Reason: "it says that it is larger than it can be"}
	}
	return f, nil
}

func cut() error { return &DamagedError{Reason: "its end is missing"} }

// number reads a number of n bytes, the lowest first.
func number(b []byte, n int) (value uint64, rest []byte, ok bool) {
	if len(b) < n {
		return 0, nil, false
	}
	for i, digit := range b[:n] {
		value |= uint64(digit) << (8 * i)
	}
	return value, b[n:], true
}

// blocks passes over the blocks of a frame and returns how large their originals
// are at most, and what follows.
func blocks(b []byte) (room uint64, rest []byte, err error) {
	for {
		header, after, ok := number(b, blockHeaderSize)
		if !ok {
			return 0, nil, cut()
		}
		last, kind, size := header&1 != 0, header>>1&3, header>>3
		stored, original := size, min(size, maxBlock)
		switch kind {
		case 0: // as it is
		case 1: // one byte, many times
			stored = 1
		case 2: // compressed
			original = maxBlock
		default:
			return 0, nil, &DamagedError{Reason: "it has a block of an unknown kind"}
		}
		if uint64(len(after)) < stored {
			return 0, nil, cut()
		}
		room += original
		b = after[stored:]
		if last {
			return room, b, nil
		}
	}
}
