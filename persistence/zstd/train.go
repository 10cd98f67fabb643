package zstd

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// The limits and defaults of training.
const (
	minDictionary     = 1 << 10
	maxDictionary     = 256 << 10
	defaultDictionary = 16 << 10

	// maxTables is how large all of a dictionary is but the pieces of samples: the
	// format bounds each of its parts.
	maxTables = 320

	minSamples = 16
	minSample  = 8 // the size of the smallest sample that says something
	maxTotal   = 4 << 20
	maxSample  = maxTotal / minSamples // of a larger one, the beginning is used
)

// TrainOption sets a property of a dictionary that is trained.
type TrainOption interface{ apply(t *training) }

type trainOption func(*training)

func (o trainOption) apply(t *training) { o(t) }

// WithID gives the dictionary's id, which is not 0. It is stored with every event
// that the dictionary compresses: an id up to 255 takes one byte, up to 65535 two,
// others four. Number your dictionaries 1, 2, 3, and give no number twice. Default:
// a number from 32768 to 65535 that is made of the contents.
func WithID(id uint32) TrainOption {
	return trainOption(func(t *training) { t.id, t.idSet = id, true })
}

// WithDictionarySize bounds the size of the dictionary, in bytes: 1 KiB to 256 KiB. A
// larger one knows more types of events, and makes compressing slower. It becomes
// smaller where the samples have nothing more in common. Default: 16 KiB.
func WithDictionarySize(size int) TrainOption {
	return trainOption(func(t *training) { t.size = size })
}

// TrainError says why no dictionary could be made. It tells nothing of the
// samples.
type TrainError struct {
	// Reason says what is wrong: "there are 3 samples of 8 bytes or more, and 16 are needed".
	Reason string
}

// Error says what is wrong.
func (e *TrainError) Error() string { return "zstd: cannot train a dictionary: " + e.Reason }

// Train makes a dictionary of samples: the encoded data of events, as it is before
// it is compressed and encrypted. Some thousand are a good choice, of all types of
// events; of more than 4 MiB, some are used, evenly spread, and of a sample of more
// than 256 KiB its beginning. The same samples make the same dictionary. It returns a
// [*TrainError] if the samples are too few or too small, if they have nothing in
// common, or if an option is wrong. While it works, it takes some 50 MB of memory.
//
// The dictionary contains pieces of samples: it is as secret as they are.
func Train(samples [][]byte, opts ...TrainOption) (Dictionary, error) {
	t := training{size: defaultDictionary}
	for _, o := range opts {
		o.apply(&t)
	}
	switch {
	case t.idSet && t.id == 0:
		return failed("WithID(0): 0 is the id of no dictionary")
	case t.size < minDictionary || t.size > maxDictionary:
		return failed("WithDictionarySize(%d): it is not between %d and %d", t.size, minDictionary, maxDictionary)
	}
	usable := make([][]byte, 0, len(samples))
	for _, s := range samples {
		if len(s) >= minSample {
			usable = append(usable, s[:min(len(s), maxSample)])
		}
	}
	if len(usable) < minSamples {
		return failed("there are %d samples of %d bytes or more, and %d are needed", len(usable), minSample, minSamples)
	}
	usable = spread(usable, maxTotal)
	history := t.choose(usable)
	if len(history) == 0 {
		return failed("the samples have nothing in common")
	}
	return t.build(usable, history)
}

func failed(format string, args ...any) (Dictionary, error) {
	return Dictionary{}, &TrainError{Reason: fmt.Sprintf(format, args...)}
}

// spread returns samples of so many bytes at most, evenly spread over all of them.
func spread(samples [][]byte, most int) [][]byte {
	total := 0
	for _, s := range samples {
		total += len(s)
	}
	share := min(float64(most)/float64(total), 1)
	var some [][]byte
	kept, passed := 0, 0
	for _, s := range samples {
		passed += len(s)
		if kept+len(s) <= int(share*float64(passed)) {
			kept += len(s)
			some = append(some, s)
		}
	}
	return some
}

// training makes one dictionary.
type training struct {
	id    uint32
	idSet bool
	size  int

	// How many samples have each run of bytes, by its hash; 0 once the dictionary
	// has it.
	counts []uint32
	seen   []uint32 // the last turn in which it was there
	turn   uint32
}

// A piece of a sample is compared with the others by its runs of so many bytes.
const (
	runLength = 6
	runBits   = 22
)

// runs calls visit with the hash of each run of bytes of a piece, once.
func (t *training) runs(piece []byte, visit func(hash uint32)) {
	t.turn++
	for i := range len(piece) - minSample + 1 {
		const prime = 227718039650203
		run := binary.LittleEndian.Uint64(piece[i:]) << (64 - 8*runLength)
		hash := uint32(run * prime >> (64 - runBits))
		if t.seen[hash] != t.turn {
			t.seen[hash] = t.turn
			visit(hash)
		}
	}
}

// choice is a piece of a sample, for the dictionary. Its worth is what it has in
// common with the samples and the dictionary did not have before, for each byte.
type choice struct {
	piece []byte
	worth float64
}

func (t *training) worth(piece []byte) float64 {
	var sum uint64
	t.runs(piece, func(hash uint32) {
		if n := t.counts[hash]; n > 1 {
			sum += uint64(n - 1)
		}
	})
	return float64(sum) / float64(len(piece))
}

// choose returns what the dictionary begins with: the pieces that have most in
// common with the samples, the best at the end, where a match costs least.
func (t *training) choose(samples [][]byte) []byte {
	t.counts, t.seen = make([]uint32, 1<<runBits), make([]uint32, 1<<runBits)
	const (
		parts  = 16 // a piece is no larger than such a part of the dictionary
		rounds = 4  // nearly all is found in the first

		// minWorth leaves out what only one sample has, but for a few runs.
		minWorth = 0.25
	)
	var pieces [][]byte
	total := 0
	for _, s := range samples {
		t.runs(s, func(hash uint32) { t.counts[hash]++ })
		for p := range slices.Chunk(s, max(t.size/parts, 8*minSample)) {
			if len(p) >= minSample {
				pieces = append(pieces, p)
				total += len(p)
			}
		}
	}
	room := t.size - maxTables
	var chosen []choice
	for range rounds {
		// The best of each group of neighbours: as many groups as there is room for pieces.
		groups := min(max(int(float64(room)/float64(total)*float64(len(pieces))), 1), len(pieces))
		for g := range groups {
			best := t.best(pieces[g*len(pieces)/groups:(g+1)*len(pieces)/groups], room)
			if best.worth >= minWorth {
				room -= len(best.piece)
				chosen = append(chosen, best)
				t.runs(best.piece, func(hash uint32) { t.counts[hash] = 0 })
			}
		}
	}
	slices.SortStableFunc(chosen, func(a, b choice) int { return cmp.Compare(a.worth, b.worth) })
	var history []byte
	for _, c := range chosen {
		history = append(history, c.piece...)
	}
	return history
}

// best returns the piece of most worth, of those that there is room for.
func (t *training) best(pieces [][]byte, room int) (best choice) {
	for _, p := range pieces {
		if len(p) > room {
			continue
		}
		if worth := t.worth(p); worth > best.worth {
			best = choice{p, worth}
		}
	}
	return best
}

// build adds the statistics of what remains of the samples when the history is
// known.
func (t *training) build(samples [][]byte, history []byte) (Dictionary, error) {
	const most = 32 << 10 // of what the library takes at once
	var contents [][]byte
	for _, s := range samples {
		contents = slices.AppendSeq(contents, slices.Chunk(s, most))
	}
	options := zstd.BuildDictOptions{
		ID: 1, Contents: contents, History: history, Offsets: [3]int{1, 4, 8}, Level: zstd.SpeedFastest,
		CompatV155: true, // or else the zstd command, up to 1.5.5, cannot compress by it
	}
	b, err := zstd.BuildDict(options)
	if err != nil {
		// Nothing may remain: give it something without a pattern.
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i * 167 % 256)
		}
		options.Contents = append(options.Contents, every)
		b, err = zstd.BuildDict(options)
	}
	if err != nil {
		return failed("the samples have too little in common")
	}
	if !t.idSet {
		const first = 1 << 15 // what is below is for well-known dictionaries
		t.id = first + crc32.ChecksumIEEE(b)%first
	}
	binary.LittleEndian.PutUint32(b[len("magi"):], t.id)
	d, err := ParseDictionary(b)
	if err != nil {
		return failed("what was made of the samples is no good: %v", err)
	}
	return d, nil
}
