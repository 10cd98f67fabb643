package sqlite

import (
	"context"
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

// Driver is chosen by RECORDER=sqlite.
var Driver = persistence.Driver{
	Name: "sqlite",
	Settings: []persistence.Setting{
		{Key: settingPath, Text: "the file; it is created if there is none"},
		{Key: settingPrefix, Default: defaultPrefix, Text: "how the names of the tables begin: several applications share one file"},
		{Key: settingSynchronous, Default: "full", Text: "`full`: a save survives the loss of power; `normal`: the end of the process"},
		{Key: settingBusyTimeout, Default: "5s", Text: "how long a save waits while other processes write"},
		{Key: settingPollInterval, Default: "20ms", Text: "how often a subscription looks for events of other processes"},
		{Key: settingMmapSize, Default: "1073741824", Text: "bytes of the file that may be mapped into memory; 0: none"},
		{Key: settingCacheSize, Default: "64000000", Text: "bytes of the writer's page cache; each reader has a quarter"},
		{Key: settingReaders, Default: "8", Text: "connections that read at the same time"},
	},
	Recorder: func(ctx context.Context, s *persistence.Settings) (persistence.Recorder, error) {
		path := s.Text(settingPath, "")
		if path == "" {
			s.Fail(settingPath, "is not set: it is the path of the file")
		}
		prefix := s.Text(settingPrefix, defaultPrefix)
		if checkPrefix(prefix) != nil {
			s.Fail(settingPrefix, "is not up to 32 lower-case letters, digits and underscores, the first a letter")
		}
		synchronous := map[string]Synchronous{"full": Full, "normal": Normal}[s.OneOf(settingSynchronous, "full", "full", "normal")]
		opts := []Option{
			WithSynchronous(synchronous),
			WithBusyTimeout(s.Duration(settingBusyTimeout, 5*time.Second, time.Millisecond, time.Hour)),
			WithPollInterval(s.Duration(settingPollInterval, 20*time.Millisecond, time.Millisecond, time.Hour)),
			WithMmapSize(s.Int(settingMmapSize, 1<<30, 0, 1<<46)),
			WithCacheSize(s.Int(settingCacheSize, 64_000_000, 1<<20, 1<<40)),
			WithReaders(int(s.Int(settingReaders, 8, 1, 10_000))),
		}
		if err := s.Err(); err != nil {
			return nil, err
		}
		r, err := Open(ctx, path, append(opts, WithTablePrefix(prefix))...)
		if err != nil {
			return nil, err
		}
		return r, nil
	},
}
