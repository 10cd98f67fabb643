package sqlite

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/annals-es/annals/persistence"
)

// The keys of the environment.
const (
	settingPath         = "SQLITE_PATH"
	settingPrefix       = "SQLITE_TABLE_PREFIX"
	settingSynchronous  = "SQLITE_SYNCHRONOUS"
	settingBusyTimeout  = "SQLITE_BUSY_TIMEOUT"
	settingPollInterval = "SQLITE_POLL_INTERVAL"
	settingMmapSize     = "SQLITE_MMAP_SIZE"
	settingCacheSize    = "SQLITE_CACHE_SIZE"
	settingReaders      = "SQLITE_READERS"
)

// Driver is chosen by RECORDER=sqlite. Its defaults are those of [Open].
var Driver = persistence.Driver{
	Name:     "sqlite",
	Settings: driverSettings(),
	Recorder: func(ctx context.Context, s *persistence.Settings) (persistence.Recorder, error) {
		opts, err := driverOptions(s)
		if err != nil {
			return nil, err
		}
		path, key, _ := s.Lookup(settingPath)
		r, err := Open(ctx, path, opts...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		return r, nil
	},
}

func driverSettings() []persistence.Setting {
	c := defaults()
	return []persistence.Setting{
		{Key: settingPath, Text: "the file; it is created if there is none"},
		{Key: settingPrefix, Default: c.prefix, Text: "how the names of the tables begin: several applications share one file"},
		{
			Key: settingSynchronous, Default: strings.ToLower(string(c.synchronous)),
			Text: "`full`: a save survives the loss of power; `normal`: the end of the process",
		},
		{Key: settingBusyTimeout, Default: c.busyTimeout.String(), Text: "how long a save waits while other processes write"},
		{Key: settingPollInterval, Default: c.pollInterval.String(), Text: "how often a subscription looks for events of other processes"},
		{Key: settingMmapSize, Default: fmt.Sprint(c.mmapSize), Text: "bytes of the file that may be mapped into memory; 0: none"},
		{Key: settingCacheSize, Default: fmt.Sprint(c.cacheSize), Text: "bytes of the writer's page cache; each reader has a quarter"},
		{Key: settingReaders, Default: fmt.Sprint(c.readers), Text: "connections that read at the same time"},
	}
}

// driverOptions returns what the environment says. It is an error if anything in the
// environment is wrong.
func driverOptions(s *persistence.Settings) ([]Option, error) {
	c := defaults()
	if s.Text(settingPath, "") == "" {
		s.Fail(settingPath, "is not set: it is the path of the file")
	}
	prefix := s.Text(settingPrefix, c.prefix)
	if checkPrefix(prefix) != nil {
		s.Fail(settingPrefix, "is not up to 32 lower-case letters, digits and underscores, the first a letter")
	}
	full, normal := strings.ToLower(string(Full)), strings.ToLower(string(Normal))
	synchronous := s.OneOf(settingSynchronous, strings.ToLower(string(c.synchronous)), full, normal)
	opts := []Option{
		WithTablePrefix(prefix),
		WithSynchronous(Synchronous(strings.ToUpper(synchronous))),
		WithBusyTimeout(s.Duration(settingBusyTimeout, c.busyTimeout, time.Millisecond, time.Hour)),
		WithPollInterval(s.Duration(settingPollInterval, c.pollInterval, time.Millisecond, time.Hour)),
		WithMmapSize(s.Int(settingMmapSize, c.mmapSize, 0, 1<<46)),
		WithCacheSize(s.Int(settingCacheSize, c.cacheSize, 1<<20, 1<<40)),
		WithReaders(int(s.Int(settingReaders, int64(c.readers), 1, 10_000))),
	}
	return opts, s.Err()
}
