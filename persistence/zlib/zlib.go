// Package zlib is the compressor that makes the data of events smaller by zlib of
// the standard library, a format that every language reads. Where one module more
// does not matter, the compressor zstd is faster, and its dictionaries make small
// events much smaller.
//
// What is stored is a stream of zlib, and then the CRC-32 (IEEE) of the stream in
// four bytes, the highest first: the checksum of zlib itself misses damage of small
// data. Most readers of zlib pass over what follows the stream.
package zlib

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"github.com/annals-es/annals/persistence"
)

// The limits and defaults of the options.
const (
	minLevel     = zlib.BestSpeed
	maxLevel     = zlib.BestCompression
	defaultLevel = 6

	defaultMaxSize = 64 << 20

	checksumSize = 4
)

// Compressor compresses by zlib. It keeps writers and readers and uses them again.
// It is safe for concurrent use.
type Compressor struct {
	level   int
	maxSize int
	writers sync.Pool // of *writer
	readers sync.Pool // of *reader
}

var _ persistence.Compressor = (*Compressor)(nil)

// Option sets a property of a compressor.
type Option interface{ apply(c *Compressor) }

type option func(*Compressor)

func (o option) apply(c *Compressor) { o(c) }

// WithLevel chooses between speed, 1, and size, 9; New panics for another number.
// What each level makes is read at every level. Default: 6. For events of a few
// hundred bytes, 1 takes half the time, and makes them as small.
func WithLevel(level int) Option {
	return option(func(c *Compressor) { c.level = level })
}

// WithMaxSize bounds the size of the original, in bytes; New panics for a size
// below 1. What is larger is neither compressed nor decompressed: see [*SizeError].
// A bound that is lowered makes larger events unreadable. Default: 64 MiB.
func WithMaxSize(size int) Option {
	return option(func(c *Compressor) { c.maxSize = size })
}

// New returns a compressor. It panics if an option is wrong.
func New(opts ...Option) *Compressor {
	c := &Compressor{level: defaultLevel, maxSize: defaultMaxSize}
	for _, o := range opts {
		o.apply(c)
	}
	if c.level < minLevel || c.level > maxLevel {
		panic(fmt.Sprintf("zlib: WithLevel(%d): it is not between %d and %d", c.level, minLevel, maxLevel))
	}
	if c.maxSize < 1 {
		panic(fmt.Sprintf("zlib: WithMaxSize(%d): it is below 1", c.maxSize))
	}
	return c
}

// Name returns "zlib".
func (*Compressor) Name() string { return "zlib" }

// writer writes to the end of a slice.
type writer struct {
	z   *zlib.Writer
	out []byte
}

// Write never fails.
func (w *writer) Write(b []byte) (int, error) {
	w.out = append(w.out, b...)
	return len(b), nil
}

// Compress appends the compressed src to dst; they must not overlap. It returns a
// [*SizeError] if src is larger than [WithMaxSize] allows.
func (c *Compressor) Compress(dst, src []byte) ([]byte, error) {
	if len(src) > c.maxSize {
		return nil, tooLargeToWrite(len(src), c.maxSize)
	}
	w, ok := c.writers.Get().(*writer)
	if !ok {
		w = new(writer)
		w.z, _ = zlib.NewWriterLevel(w, c.level) // New has checked the level
	}
	start := len(dst)
	w.out = dst
	w.z.Reset(w)
	_, err := w.z.Write(src)
	if err == nil {
		err = w.z.Close()
	}
	dst, w.out = w.out, nil
	c.writers.Put(w)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[start:])), nil
}

// reader reads from a slice.
type reader struct {
	in   bytes.Reader
	z    io.ReadCloser // nil before the first use
	next [1]byte       // for what dst has no room for
}

func (r *reader) reset(src []byte) (err error) {
	r.in.Reset(src)
	if z, ok := r.z.(zlib.Resetter); ok {
		return z.Reset(&r.in, nil)
	}
	r.z, err = zlib.NewReader(&r.in)
	return err
}

// Decompress appends the original of src to dst; they must not overlap. It returns
// a [*DamagedError] if src is not what Compress made, and a [*SizeError] if the
// original is larger than [WithMaxSize] allows.
func (c *Compressor) Decompress(dst, src []byte) ([]byte, error) {
	stream := src[:max(len(src)-checksumSize, 0)]
	if len(stream) == 0 || binary.BigEndian.Uint32(src[len(stream):]) != crc32.ChecksumIEEE(stream) {
		return nil, &DamagedError{Reason: "its checksum does not match"}
	}
	r, ok := c.readers.Get().(*reader)
	if !ok {
		r = new(reader)
	}
	defer c.readers.Put(r)
	defer r.in.Reset(nil)
	if r.reset(stream) != nil {
		return nil, &DamagedError{Reason: notZlib}
	}
	start := len(dst)
	if cap(dst) == start {
		const ratio = 4 // more than that of most events
		dst = slices.Grow(dst, min(ratio*len(stream), c.maxSize))
	}
	for {
		room := dst[len(dst):cap(dst)]
		if len(room) == 0 {
			room = r.next[:]
		}
		left := c.maxSize - (len(dst) - start)
		n, err := r.z.Read(room[:min(len(room)-1, left)+1]) // a byte too much shows that there is one
		switch {
		case n > left:
			return nil, tooLargeToRead(c.maxSize)
		case len(dst) == cap(dst):
			dst = append(dst, room[:n]...)
		default:
			dst = dst[:len(dst)+n]
		}
		switch {
		case errors.Is(err, io.EOF) && r.in.Len() == 0:
			return dst, nil
		case err != nil:
			return nil, &DamagedError{Reason: notZlib}
		}
	}
}

const settingLevel = "ZLIB_LEVEL"

// Driver is chosen by COMPRESSOR=zlib.
var Driver = persistence.Driver{
	Name: "zlib",
	Settings: []persistence.Setting{
		{Key: settingLevel, Default: "6", Text: "how zlib compresses: from 1, fast, to 9, small"},
	},
	Compressor: func(_ context.Context, s *persistence.Settings) (persistence.Compressor, error) {
		return New(WithLevel(int(s.Int(settingLevel, defaultLevel, minLevel, maxLevel)))), nil
	},
}
