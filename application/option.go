package application

import (
	"fmt"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// Option sets a property of an application.
type Option interface{ apply(c *config) error }

type option func(*config) error

func (o option) apply(c *config) error { return o(c) }

type config struct {
	recorder persistence.Recorder
	mapper   persistence.MapperConfig
	types    []annals.Definition
	retries  int
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

// WithTranscoder gives the transcoder of the events' data. Events that another one
// encoded cannot be read with it. Default: [persistence.JSON].
func WithTranscoder(t persistence.Transcoder) Option {
	return option(func(c *config) error { c.mapper.Transcoder = t; return nil })
}

// WithCompressor compresses the events' data from now on; what was stored before
// still loads. To read compressed events, the compressor must be given. Default:
// none.
func WithCompressor(comp persistence.Compressor) Option {
	return option(func(c *config) error { c.mapper.Compressor = comp; return nil })
}

// WithCipher encrypts the events' data from now on; what was stored before still
// loads. To read encrypted events, the cipher must be given. Default: none.
func WithCipher(ciph persistence.Cipher) Option {
	return option(func(c *config) error { c.mapper.Cipher = ciph; return nil })
}

// WithTypes makes types of aggregates known that the application has no
// repository for, so that their events can be read.
func WithTypes(types ...annals.Definition) Option {
	return option(func(c *config) error { c.types = append(c.types, types...); return nil })
}

// WithRetries says how often [Repository.Update] and [Application.Retry] try
// again after a version conflict. Default: 20.
func WithRetries(n int) Option {
	return option(func(c *config) error {
		if n < 0 {
			return fmt.Errorf("WithRetries(%d): negative: %w", n, annals.ErrConfiguration)
		}
		c.retries = n
		return nil
	})
}

// ReadOption selects notifications.
type ReadOption interface{ applyRead(q *persistence.LogQuery) }

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
// nothing, and is no error. Default: all.
func Topics(topics ...string) ReadOption {
	return readOption(func(q *persistence.LogQuery) { q.Topics = append(q.Topics, topics...) })
}

// Limit is the greatest number of notifications. Default: 0 or less, no limit.
func Limit(n int) ReadOption {
	return readOption(func(q *persistence.LogQuery) { q.Limit = n })
}
