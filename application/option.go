package application

import (
	"fmt"
	"strings"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Option sets a property of an application. An option goes before the
// environment, see [FromEnviron].
type Option interface{ apply(c *config) error }

type option func(*config) error

func (o option) apply(c *config) error { return o(c) }

// config is what the options say. What is nil is left to the environment, and
// then to the default.
type config struct {
	recorder persistence.Recorder
	mapper   persistence.MapperConfig
	types    []annals.Definition
	retries  *int
	chain    *bool
	cache    *int

	transcoderSet, compressorSet, cipherSet, unknownSet bool

	snapshotTypes  []*annals.SnapshotType
	snapshotEvery  map[string]int64
	snapshotOthers *int64
	snapshotFailed func(*SnapshotError)

	environ []string
	drivers []persistence.Driver
}

// defaultRetries is how often [Application.Retry] tries again by default.
const defaultRetries = 20

// WithRecorder gives the recorder that the application stores its events in. The
// application does not close it: who opened it does. Default: a new
// memory.Recorder, closed with the application.
func WithRecorder(r persistence.Recorder) Option {
	return option(func(c *config) error {
		if r == nil {
			return fmt.Errorf("WithRecorder: the recorder is nil: %w", annals.ErrConfiguration)
		}
		c.recorder = r
		return nil
	})
}

// WithTranscoder gives the transcoder of the data of new events. The readers are
// those that made what is stored already, so that it still loads;
// [persistence.JSON] is always among them. Default: [persistence.JSON].
func WithTranscoder(t persistence.Transcoder, readers ...persistence.Transcoder) Option {
	return option(func(c *config) error {
		c.mapper.Transcoder, c.transcoderSet = t, true
		c.mapper.Transcoders = append(c.mapper.Transcoders, readers...)
		return nil
	})
}

// WithCompressor compresses the data of new events where that makes it smaller;
// nil compresses none. The readers are those that compressed what is stored
// already, so that it still loads. Default: none.
func WithCompressor(comp persistence.Compressor, readers ...persistence.Compressor) Option {
	return option(func(c *config) error {
		c.mapper.Compressor, c.compressorSet = comp, true
		c.mapper.Compressors = append(c.mapper.Compressors, readers...)
		return nil
	})
}

// WithCipher encrypts the data of new events; nil encrypts none. The readers are
// those that encrypted what is stored already, so that it still loads. Default:
// none.
func WithCipher(ciph persistence.Cipher, readers ...persistence.Cipher) Option {
	return option(func(c *config) error {
		c.mapper.Cipher, c.cipherSet = ciph, true
		c.mapper.Ciphers = append(c.mapper.Ciphers, readers...)
		return nil
	})
}

// WithTypes makes types of aggregates known that the application has no
// repository for, so that their events can be read.
func WithTypes(types ...annals.Definition) Option {
	return option(func(c *config) error { c.types = append(c.types, types...); return nil })
}

// WithUnknownEvents says what becomes of stored events whose topic no type of the
// application has: types that were deleted. Default: [persistence.FailUnknown], which
// is an error, and what a program needs that may meet events of newer code.
func WithUnknownEvents(policy persistence.UnknownPolicy) Option {
	return option(func(c *config) error {
		if policy < persistence.FailUnknown || policy > persistence.KeepUnknown {
			return fmt.Errorf("WithUnknownEvents(%d): no such policy: %w", policy, annals.ErrConfiguration)
		}
		c.mapper.Unknown, c.unknownSet = policy, true
		return nil
	})
}

// SnapshotDefinition is a type of aggregate, as [WithSnapshots] sees it.
type SnapshotDefinition interface {
	annals.Definition
	// SnapshotType returns what a mapper needs to know of the type's snapshots.
	SnapshotType() *annals.SnapshotType
}

// WithSnapshots keeps snapshots of aggregates of the type: repositories load them,
// and replay only the events after them. One is taken when a save goes past a
// multiple of every versions, also if it jumps over several, in the background, after
// the save; a failure is told to [WithSnapshotErrors], and to nobody else. With 0
// they are taken by [Repository.Snapshot] only. Default: no snapshots.
//
// A snapshot that does not fit the code, because the type has other fields now, or
// a shape without an upcast, is not used: all events are replayed.
//
// Opening fails with [annals.ErrConfiguration] if the state of the type would not
// survive, because of unexported fields, say; see [annals.SnapshotAs].
func WithSnapshots(t SnapshotDefinition, every int) Option {
	return option(func(c *config) error {
		switch {
		case t == nil:
			return fmt.Errorf("WithSnapshots: the type is nil: %w", annals.ErrConfiguration)
		case every < 0:
			return fmt.Errorf("WithSnapshots(%s, %d): negative: %w", t.Name(), every, annals.ErrConfiguration)
		case c.snapshotEvery == nil:
			c.snapshotEvery = make(map[string]int64)
		}
		c.snapshotTypes = append(c.snapshotTypes, t.SnapshotType())
		c.snapshotEvery[t.Name()] = int64(every)
		return nil
	})
}

// WithSnapshotErrors gives a function that is told when a snapshot could not be
// taken, or not be used. It may be called by several goroutines at once, and must
// not block. Default: none.
func WithSnapshotErrors(failed func(*SnapshotError)) Option {
	return option(func(c *config) error { c.snapshotFailed = failed; return nil })
}

// WithCache keeps the aggregates that were loaded last, up to the number, in
// memory. [Repository.Get] then reads only the events that were stored since, by
// whatever process, and returns a copy. Default: 0, none.
func WithCache(size int) Option {
	return option(func(c *config) error {
		if size < 0 {
			return fmt.Errorf("WithCache(%d): negative: %w", size, annals.ErrConfiguration)
		}
		c.cache = &size
		return nil
	})
}

// WithHashChain gives each event a hash over what is stored of it and the hash
// before it in its stream, so that [Application.Verify] finds what was changed. It
// may be switched on at any time: the first new hash of a stream covers its whole
// past. All programs that save to the log must have it. Default: no hashes.
func WithHashChain() Option {
	return option(func(c *config) error { c.chain = new(true); return nil })
}

// WithRetries says how often [Repository.Update] and [Application.Retry] try
// again after a version conflict, and a [Policy] is called again for one. Default: 20.
func WithRetries(n int) Option {
	return option(func(c *config) error {
		if n < 0 {
			return fmt.Errorf("WithRetries(%d): negative: %w", n, annals.ErrConfiguration)
		}
		c.retries = &n
		return nil
	})
}

// FromEnviron takes settings from an environment, in the form of os.Environ, for
// what no option says. The drivers are what RECORDER, TRANSCODER, COMPRESSOR and
// CIPHER may choose by their names, beside memory, json, zlib and aesgcm, before
// which one of the same name goes. Compressors and transcoders of drivers that are not chosen are there for
// reading, and so are ciphers that have a setting. A recorder that is opened so is
// closed with the application.
//
// Without RECORDER events are in memory. That is refused if a setting of a recorder's
// driver is there, or MIGRATE is true: RECORDER was forgotten then, or misspelt.
//
// A key is looked for with the name of the application before it: CACHE of
// "dogschool" is DOGSCHOOL_CACHE, and then CACHE. [Settings] lists the keys. A bad
// value fails the opening with a [*persistence.SettingError] that names its key.
func FromEnviron(environ []string, drivers ...persistence.Driver) Option {
	return option(func(c *config) error {
		c.environ = append(c.environ, environ...)
		for _, d := range drivers {
			if d.Name == "" || strings.ToLower(d.Name) != d.Name {
				return fmt.Errorf("FromEnviron: %q is no name of a driver: %w", d.Name, annals.ErrConfiguration)
			}
		}
		c.drivers = append(c.drivers, drivers...)
		return nil
	})
}

// ReadOption selects notifications.
type ReadOption interface{ applyRead(q *persistence.LogQuery) }

// Query returns the query of the log that the options make, for those who serve
// notifications in the place of an application.
func Query(opts ...ReadOption) persistence.LogQuery {
	var q persistence.LogQuery
	for _, o := range opts {
		o.applyRead(&q)
	}
	return q
}

type readOption func(*persistence.LogQuery)

func (o readOption) applyRead(q *persistence.LogQuery) { o(q) }

// After starts behind the position. Default: 0, from the first on.
func After(position int64) ReadOption {
	return readOption(func(q *persistence.LogQuery) { q.After = position })
}

// UpTo ends with the position. Default: 0, no bound.
func UpTo(position int64) ReadOption {
	return readOption(func(q *persistence.LogQuery) { q.UpTo = position })
}

// Topics selects events by their stored names, "Dog.Registered"; events that
// were stored under former names are among them. A topic that no event has selects
// nothing, and is no error. Without topics, as from an empty list, it selects every
// event. Default: all.
func Topics(topics ...string) ReadOption {
	return readOption(func(q *persistence.LogQuery) { q.Topics = append(q.Topics, topics...) })
}

// Correlation selects the events of one story. Default: "", all.
func Correlation(id string) ReadOption {
	return readOption(func(q *persistence.LogQuery) { q.CorrelationID = id })
}

// Limit is the greatest number of notifications. Default: 0 or less, no limit.
func Limit(n int) ReadOption {
	return readOption(func(q *persistence.LogQuery) { q.Limit = n })
}
