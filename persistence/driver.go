package persistence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/annals-es/annals"
)

// Driver is what an environment can choose by name: a recorder, a transcoder, a
// compressor, a cipher. Packages that have one offer it as a value, and a program
// passes those that it is built with: nothing registers itself.
type Driver struct {
	// Name is what the environment chooses it by: "sqlite", "zstd".
	Name string

	// Settings are the keys that it reads, for the documentation.
	Settings []Setting

	// What it makes; most drivers make one of these, the others are nil. They
	// read their settings, and leave it to the caller to ask for [Settings.Err]
	// before what they return is used: a setting that is wrong is the default.
	Recorder   func(ctx context.Context, s *Settings) (Recorder, error)
	Transcoder func(ctx context.Context, s *Settings) (Transcoder, error)
	Compressor func(ctx context.Context, s *Settings) (Compressor, error)
	Cipher     func(ctx context.Context, s *Settings) (Cipher, error)
}

// Setting documents a key of the environment.
type Setting struct {
	// Key is its name, without the application's prefix: "SQLITE_PATH".
	Key string
	// Default is what holds if it is not set; empty if there is none.
	Default string
	// Text says what it does, and which values it takes.
	Text string
}

// Migrator is implemented by recorders whose tables are made by Migrate.
type Migrator interface {
	// Migrate creates the tables, or brings older ones up to date.
	Migrate(ctx context.Context) error
}

// Settings are the settings of one application in an environment. A key is
// looked for with the application's prefix first: CACHE of the application
// "dog-school" is DOG_SCHOOL_CACHE, and then CACHE. A key that is set to nothing
// is as one that is not set. Every wrong value is remembered, and told by
// [Settings.Err]. Settings are not safe for concurrent use.
type Settings struct {
	prefix string
	values map[string]string
	wrong  []SettingError
}

// NewSettings returns the settings that an environment, in the form of
// os.Environ, has for an application.
func NewSettings(application string, environ []string) *Settings {
	s := &Settings{values: make(map[string]string, len(environ)), prefix: strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToUpper(r)
		}
		return '_'
	}, application) + "_"}
	for _, entry := range environ {
		if key, value, ok := strings.Cut(entry, "="); ok {
			s.values[key] = value
		}
	}
	return s
}

// Lookup returns the value of a key, and the name under which it was found; ok is
// false if it is not set.
func (s *Settings) Lookup(key string) (value, found string, ok bool) {
	for _, found := range []string{s.prefix + key, key} {
		if value := s.values[found]; value != "" {
			return value, found, true
		}
	}
	return "", key, false
}

// Text returns a text; otherwise if the key is not set.
func (s *Settings) Text(key, otherwise string) string {
	if value, _, ok := s.Lookup(key); ok {
		return value
	}
	return otherwise
}

// OneOf returns one of several texts; otherwise if the key is not set.
func (s *Settings) OneOf(key, otherwise string, texts ...string) string {
	value := s.Text(key, otherwise)
	if value != otherwise && !slices.Contains(texts, value) {
		s.Fail(key, "is none of: "+strings.Join(texts, ", "))
		return otherwise
	}
	return value
}

// Int returns a whole number between least and most; otherwise if the key is not
// set.
func (s *Settings) Int(key string, otherwise, least, most int64) int64 {
	value, _, ok := s.Lookup(key)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < least || n > most {
		s.Fail(key, fmt.Sprintf("is not a whole number between %d and %d", least, most))
		return otherwise
	}
	return n
}

// Bool returns whether the key is "true", "on", "yes" or "1", rather than "false",
// "off", "no" or "0", in small letters or capitals; otherwise if it is not set.
func (s *Settings) Bool(key string, otherwise bool) bool {
	value, _, ok := s.Lookup(key)
	on, off := []string{"true", "on", "yes", "1"}, []string{"false", "off", "no", "0"}
	switch {
	case !ok:
		return otherwise
	case slices.Contains(on, strings.ToLower(value)):
		return true
	case slices.Contains(off, strings.ToLower(value)):
		return false
	default:
		s.Fail(key, "is none of: "+strings.Join(append(on, off...), ", "))
		return otherwise
	}
}

// Duration returns a time with its unit, "50ms", between least and most;
// otherwise if the key is not set.
func (s *Settings) Duration(key string, otherwise, least, most time.Duration) time.Duration {
	value, _, ok := s.Lookup(key)
	if !ok {
		return otherwise
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < least || d > most {
		s.Fail(key, fmt.Sprintf("is not a time between %v and %v, such as 50ms", least, most))
		return otherwise
	}
	return d
}

// Fail remembers that the value of a key is wrong. The reason must not quote the
// value, which may be a secret: "is not a number".
func (s *Settings) Fail(key, reason string) {
	_, found, _ := s.Lookup(key)
	if wrong := (SettingError{Key: found, Reason: reason}); !slices.Contains(s.wrong, wrong) {
		s.wrong = append(s.wrong, wrong)
	}
}

// Err returns a [*SettingError] for each value that was wrong, joined; nil if
// none was.
func (s *Settings) Err() error {
	errs := make([]error, len(s.wrong))
	for i := range s.wrong {
		errs[i] = &s.wrong[i]
	}
	return errors.Join(errs...)
}

// SettingError says which key of the environment is wrong, and why; it does not
// tell its value. It is [annals.ErrConfiguration].
type SettingError struct {
	// Key is the name as it stands in the environment, with its prefix.
	Key string
	// Reason says what is wrong: "is not a number".
	Reason string
}

// Error names the key and the reason.
func (e *SettingError) Error() string {
	return fmt.Sprintf("environment: %s %s", e.Key, e.Reason)
}

// Is reports whether target is [annals.ErrConfiguration].
func (e *SettingError) Is(target error) bool { return target == annals.ErrConfiguration }
