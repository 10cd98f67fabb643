// Package zstd is the compressor that makes the data of events smaller by
// Zstandard. Events are small, and a small event alone has little to compress: with
// a dictionary, trained on events that are stored already, it becomes about half of
// its size. See [Train].
//
// What is stored with each event is a standard frame, with its checksum, which
// other implementations of Zstandard read as well.
package zstd

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// The limits and defaults of the options.
const (
	minLevel     = 1
	maxLevel     = 22
	defaultLevel = 1

	defaultMaxSize = 64 << 20

	// maxConcurrency and window bound the memory, of which each encoder has some
	// megabytes: see New. Matches are found within a window, and in the dictionary. An
	// event is smaller than one; a snapshot of many megabytes becomes some percent
	// larger than with the library's own windows, which take up to 26 MB for each encoder.
	maxConcurrency = 8
	window         = 1 << 20
)

// Compressor compresses by Zstandard. It keeps encoders and decoders, up to 8 of
// each, and uses them again; it has no goroutines. It is safe for concurrent use.
type Compressor struct {
	maxSize int
	encoder *zstd.Encoder
	// The decoders that know a dictionary, by its id: one, unless several
	// dictionaries have one id. Those of the id 0 know that of no other.
	decoders map[uint32][]*zstd.Decoder
}

var _ persistence.Compressor = (*Compressor)(nil)

// Option sets a property of a compressor.
type Option interface{ apply(c *config) }

type option func(*config)

func (o option) apply(c *config) { o(c) }

type config struct {
	level        int
	maxSize      int
	current      Dictionary // for new events; its zero value is none
	dictionaries []Dictionary
}

// WithLevel chooses between speed and size: 1 to 22, as everywhere with Zstandard;
// New panics for another number. This implementation has three steps: 1 and 2, 3 to
// 5, and 6 to 22. What each level makes is read at every level. Default: 1. The
// others make events a few percent smaller at best, and take up to twice the time.
func WithLevel(level int) Option {
	return option(func(c *config) { c.level = level })
}

// WithMaxSize bounds the size of the original, in bytes; New panics for a size
// below 1. What is larger is neither compressed nor decompressed: see [*SizeError].
// A bound that is lowered makes larger events unreadable. Default: 64 MiB.
func WithMaxSize(size int) Option {
	return option(func(c *config) { c.maxSize = size })
}

// WithDictionary compresses new events by the first of the dictionaries. The others
// are those that compressed what is stored already, so that it still loads. What
// was compressed without a dictionary is always read. New panics for a Dictionary
// that is the zero value. Default: none.
func WithDictionary(current Dictionary, others ...Dictionary) Option {
	return option(func(c *config) {
		c.current = current
		c.dictionaries = append(append(c.dictionaries, current), others...)
	})
}

// WithFormerDictionaries gives dictionaries that compressed what is stored already,
// without compressing new events by them. New panics for a Dictionary that is the
// zero value. Default: none.
func WithFormerDictionaries(dictionaries ...Dictionary) Option {
	return option(func(c *config) { c.dictionaries = append(c.dictionaries, dictionaries...) })
}

// New returns a compressor. It panics if an option is wrong.
//
// There are as many encoders as processors, at most 8. Each takes its memory when it
// is first needed, and keeps it: up to 2 MB at the levels 1 and 2, 5 MB at 3 to 5,
// and 10 MB at 6 to 22. A decoder has less than one.
func New(opts ...Option) *Compressor {
	cfg := config{level: defaultLevel, maxSize: defaultMaxSize}
	for _, o := range opts {
		o.apply(&cfg)
	}
	if cfg.level < minLevel || cfg.level > maxLevel {
		panic(fmt.Sprintf("zstd: WithLevel(%d): it is not between %d and %d", cfg.level, minLevel, maxLevel))
	}
	if cfg.maxSize < 1 {
		panic(fmt.Sprintf("zstd: WithMaxSize(%d): it is below 1", cfg.maxSize))
	}
	for _, d := range cfg.dictionaries {
		if d.ID() == 0 {
			panic("zstd: a Dictionary is the zero value: use ParseDictionary or Train")
		}
	}
	encoder, err := newEncoder(cfg.level, cfg.current, concurrency())
	if err != nil {
		panic(fmt.Sprintf("zstd: New: %v", err)) // ParseDictionary has tried the dictionary
	}
	decoders, err := newDecoders(cfg.dictionaries)
	if err != nil {
		panic(fmt.Sprintf("zstd: New: %v", err)) // as above
	}
	return &Compressor{maxSize: cfg.maxSize, encoder: encoder, decoders: decoders}
}

func newEncoder(level int, d Dictionary, concurrent int) (*zstd.Encoder, error) {
	options := []zstd.EOption{
		zstd.WithEncoderLevel(steps(level)),
		zstd.WithEncoderConcurrency(concurrent),
		zstd.WithEncoderCRC(true),
		zstd.WithSingleSegment(true),
		zstd.WithWindowSize(window),
		zstd.WithLowerEncoderMem(true),
		// Without this, what does not repeat itself is stored as it is: most events.
		zstd.WithAllLitEntropyCompression(true),
	}
	if d.ID() != 0 {
		options = append(options, zstd.WithEncoderDict(d.data))
	}
	return zstd.NewWriter(nil, options...)
}

// steps returns the level of the implementation. Its best one is left out: with a
// dictionary it takes a millisecond for each event, whatever its size, and 70 MB for
// each encoder.
func steps(level int) zstd.EncoderLevel {
	return min(zstd.EncoderLevelFromZstd(level), zstd.SpeedBetterCompression)
}

func concurrency() int { return min(runtime.GOMAXPROCS(0), maxConcurrency) }

// newDecoders returns decoders by the ids of the dictionaries that they know. A
// decoder knows one dictionary of an id.
func newDecoders(dictionaries []Dictionary) (map[uint32][]*zstd.Decoder, error) {
	byID := make(map[uint32][]Dictionary)
	most := 1
	for _, d := range dictionaries {
		if !slices.ContainsFunc(byID[d.id], d.equal) {
			byID[d.id] = append(byID[d.id], d)
			most = max(most, len(byID[d.id]))
		}
	}
	decoders := make(map[uint32][]*zstd.Decoder)
	for n := range most {
		options := []zstd.DOption{
			zstd.WithDecoderConcurrency(concurrency()),
			zstd.WithDecodeAllCapLimit(true),
			zstd.WithDecoderMaxWindow(1 << 40), // Decompress looks at sizes itself
		}
		for _, same := range byID {
			if n < len(same) {
				options = append(options, zstd.WithDecoderDicts(same[n].data))
			}
		}
		decoder, err := zstd.NewReader(nil, options...)
		if err != nil {
			return nil, err
		}
		for id, same := range byID {
			if n < len(same) {
				decoders[id] = append(decoders[id], decoder)
			}
		}
		if n == 0 {
			decoders[0] = []*zstd.Decoder{decoder}
		}
	}
	return decoders, nil
}

// Name returns "zstd".
func (*Compressor) Name() string { return "zstd" }

// Compress appends the compressed src to dst; they must not overlap. It returns a
// [*SizeError] if src is larger than [WithMaxSize] allows.
func (c *Compressor) Compress(dst, src []byte) ([]byte, error) {
	if len(src) > c.maxSize {
		return nil, &SizeError{Size: uint64(len(src)), Max: c.maxSize, is: annals.ErrUnencodable}
	}
	if len(src) == 0 {
		return append(dst, emptyFrame...), nil
	}
	return c.encoder.EncodeAll(src, dst), nil
}

// Decompress appends the original of src to dst; they must not overlap. It returns
// a [*DamagedError] if src is not what Compress made, a [*DictionaryError] if it
// needs a dictionary that the compressor does not have, and a [*SizeError] if the
// original is larger than [WithMaxSize] allows.
func (c *Compressor) Decompress(dst, src []byte) ([]byte, error) {
	f, err := parse(src)
	if err != nil {
		return nil, err
	}
	if f.size > uint64(c.maxSize) { //nolint:gosec // it is positive
		return nil, &SizeError{Size: f.size, Max: c.maxSize, is: annals.ErrUndecodable}
	}
	decoders := c.decoders[f.dictionary]
	if decoders == nil {
		return nil, &DictionaryError{ID: f.dictionary}
	}
	if size := int(f.size); cap(dst)-len(dst) < size { //nolint:gosec // it is at most maxSize
		const spare = 16 // lets the decoder copy whole words
		dst = slices.Grow(dst, size+spare)
	}
	for _, decoder := range decoders {
		// Without the beginning of dst, as if there were nothing before the original.
		original, err := decoder.DecodeAll(src, dst[len(dst):])
		if err == nil {
			return append(dst, original...), nil // it is there already
		}
	}
	if f.dictionary != 0 {
		return nil, &DictionaryError{ID: f.dictionary, Given: true}
	}
	return nil, &DamagedError{Reason: "its contents or its checksum are wrong"}
}
