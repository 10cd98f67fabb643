package application

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/aesgcm"
	"github.com/annals-es/annals/persistence/zlib"
)

// The keys of the environment that are the application's own.
const (
	keyRecorder   = "RECORDER"
	keyMigrate    = "MIGRATE"
	keyTranscoder = "TRANSCODER"
	keyCompressor = "COMPRESSOR"
	keyCipher     = "CIPHER"
	keySnapshots  = "SNAPSHOTS"
	keyCache      = "CACHE"
	keyHashChain  = "HASH_CHAIN"
	keyUnknown    = "UNKNOWN_EVENTS"
	keyRetries    = "RETRIES"
)

// none is what switches a codec off.
const none = "none"

// Settings returns the keys that [FromEnviron] reads, those of the drivers
// included.
func Settings(drivers ...persistence.Driver) []persistence.Setting {
	all := []persistence.Setting{
		{Key: keyRecorder, Default: memory.Driver.Name, Text: "where events are stored: memory, or the name of a driver"},
		{Key: keyMigrate, Default: "false", Text: "true creates the tables, or brings older ones up to date, at opening"},
		{Key: keyTranscoder, Default: "json", Text: "what encodes new events: json, or the name of a driver"},
		{Key: keyCompressor, Default: none, Text: "what compresses new events: none, zlib, or the name of a driver"},
		{Key: keyCipher, Default: none, Text: "what encrypts new events: none, aesgcm, or the name of a driver"},
		{Key: keySnapshots, Text: "after how many versions snapshots are taken: Dog:100,Cat:50, or 100 for all types; 0: by hand only"},
		{Key: keyCache, Default: "0", Text: "how many aggregates are kept in memory"},
		{Key: keyHashChain, Default: "false", Text: "true gives new events a hash"},
		{Key: keyUnknown, Default: "fail", Text: "what becomes of events of unknown topics: fail, skip, keep"},
		{Key: keyRetries, Default: strconv.Itoa(defaultRetries), Text: "how often a command is decided again on a version conflict"},
	}
	for _, d := range builtIn(drivers) {
		all = append(all, d.Settings...)
	}
	return all
}

// builtIn returns the drivers, and those that every program has.
func builtIn(drivers []persistence.Driver) []persistence.Driver {
	return append(slices.Clone(drivers), memory.Driver, persistence.Driver{
		Name: "json",
		Transcoder: func(context.Context, *persistence.Settings) (persistence.Transcoder, error) {
			return persistence.JSON(), nil
		},
	}, zlib.Driver, aesgcm.Driver)
}

// complete fills in what no option said, from the environment and the defaults.
// It returns the recorder if it opened one.
func (c *config) complete(ctx context.Context, name string) (owned io.Closer, err error) {
	s := persistence.NewSettings(name, c.environ)
	drivers := builtIn(c.drivers)
	if err := c.codecs(ctx, s, drivers); err != nil {
		return nil, err
	}
	if c.retries == nil {
		c.retries = new(int(s.Int(keyRetries, defaultRetries, 0, 1_000_000)))
	}
	if c.chain == nil {
		c.chain = new(s.Bool(keyHashChain, false))
	}
	if c.cache == nil {
		c.cache = new(int(s.Int(keyCache, 0, 0, 1<<30)))
	}
	if !c.unknownSet {
		policies := []string{"fail", "skip", "keep"}
		c.mapper.Unknown = persistence.UnknownPolicy(slices.Index(policies, s.OneOf(keyUnknown, policies[0], policies...)))
	}
	c.snapshotsFrom(s)
	migrate := s.Bool(keyMigrate, false)
	var open maker[persistence.Recorder]
	if c.recorder == nil {
		c.checkRecorder(s, migrate)
		open = choose(s, keyRecorder, memory.Driver.Name, drivers,
			func(d *persistence.Driver) maker[persistence.Recorder] { return d.Recorder })
	}
	if err := s.Err(); err != nil || open == nil {
		return nil, err
	}
	if c.recorder, err = open(ctx, s); err != nil {
		return nil, err // and no recorder, whatever is in the interface
	}
	owned, _ = c.recorder.(io.Closer)
	err = s.Err()
	if m, ok := c.recorder.(persistence.Migrator); ok && migrate && err == nil {
		err = m.Migrate(ctx)
	}
	if err != nil && owned != nil {
		err = errors.Join(err, owned.Close())
	}
	if err != nil {
		return nil, err
	}
	return owned, nil
}

// checkRecorder refuses an environment that says how to store events, and not where:
// with RECORDER misspelt, they would be in memory, and gone with the program.
func (c *config) checkRecorder(s *persistence.Settings, migrate bool) {
	if _, _, ok := s.Lookup(keyRecorder); ok {
		return
	}
	var names []string
	for i := range c.drivers {
		d := &c.drivers[i]
		if d.Recorder == nil || d.Name == memory.Driver.Name {
			continue
		}
		for _, setting := range d.Settings {
			if _, found, ok := s.Lookup(setting.Key); ok {
				s.Fail(keyRecorder, "is not set, though "+found+" is: set it to "+d.Name+", or to memory")
				return
			}
		}
		names = append(names, d.Name)
	}
	if migrate {
		_, found, _ := s.Lookup(keyMigrate)
		s.Fail(keyRecorder, "is not set, though "+found+" is: set it to "+strings.Join(append(names, memory.Driver.Name), " or "))
	}
}

// maker is a part of a driver.
type maker[T any] = func(context.Context, *persistence.Settings) (T, error)

// choose returns the part of the driver that the environment names; nil for none,
// and for a name that no driver has.
func choose[T any](
	s *persistence.Settings, key, otherwise string, drivers []persistence.Driver, of func(*persistence.Driver) maker[T],
) maker[T] {
	var names []string
	if otherwise == none {
		names = append(names, none)
	}
	makers := make(map[string]maker[T])
	for i := range drivers {
		d := &drivers[i]
		if makers[d.Name] == nil && of(d) != nil {
			makers[d.Name] = of(d)
			names = append(names, d.Name)
		}
	}
	name := s.Text(key, otherwise)
	if !slices.Contains(names, name) {
		s.Fail(key, "is none of: "+strings.Join(names, ", ")+"; FromEnviron takes other drivers")
	}
	return makers[name]
}

// codecs makes the codecs that no option gave, and those that are there for
// reading.
func (c *config) codecs(ctx context.Context, s *persistence.Settings, drivers []persistence.Driver) error {
	m := &c.mapper
	always := func(*persistence.Driver) bool { return true }
	hasSetting := func(d *persistence.Driver) bool {
		return slices.ContainsFunc(d.Settings, func(setting persistence.Setting) bool {
			_, _, ok := s.Lookup(setting.Key)
			return ok
		})
	}
	err := addCodecs(ctx, s, drivers, keyTranscoder, "json", c.transcoderSet, &m.Transcoder, &m.Transcoders,
		func(d *persistence.Driver) maker[persistence.Transcoder] { return d.Transcoder }, always)
	if err == nil {
		err = addCodecs(ctx, s, drivers, keyCompressor, none, c.compressorSet, &m.Compressor, &m.Compressors,
			func(d *persistence.Driver) maker[persistence.Compressor] { return d.Compressor }, always)
	}
	if err == nil {
		err = addCodecs(ctx, s, drivers, keyCipher, none, c.cipherSet, &m.Cipher, &m.Ciphers,
			func(d *persistence.Driver) maker[persistence.Cipher] { return d.Cipher }, hasSetting)
	}
	return err
}

func addCodecs[T any](
	ctx context.Context, s *persistence.Settings, drivers []persistence.Driver, key, otherwise string, set bool,
	chosen *T, readers *[]T, of func(*persistence.Driver) maker[T], reads func(*persistence.Driver) bool,
) error {
	name := none // of the driver that is chosen, and need not be asked again
	if !set {
		name = s.Text(key, otherwise)
		if maker := choose(s, key, otherwise, drivers, of); maker != nil {
			codec, err := maker(ctx, s)
			if err != nil {
				return err
			}
			*chosen = codec
		}
	}
	for i := range drivers {
		maker := of(&drivers[i])
		if maker == nil || drivers[i].Name == name || !reads(&drivers[i]) {
			continue
		}
		codec, err := maker(ctx, s)
		if err != nil {
			return err
		}
		*readers = append(*readers, codec)
	}
	return nil
}

// snapshotsFrom reads SNAPSHOTS, for the types that no option has.
func (c *config) snapshotsFrom(s *persistence.Settings) {
	value := s.Text(keySnapshots, "")
	if value == "" {
		return
	}
	const most = 1 << 40
	if every, err := strconv.ParseInt(value, 10, 64); err == nil && every >= 0 && every <= most {
		c.snapshotOthers = &every
		return
	}
	all := make(map[string]int64)
	for part := range strings.SplitSeq(value, ",") {
		typ, number, ok := strings.Cut(strings.TrimSpace(part), ":")
		every, err := strconv.ParseInt(number, 10, 64)
		if _, twice := all[typ]; !ok || typ == "" || twice || err != nil || every < 0 || every > most {
			s.Fail(keySnapshots, "is neither a number of versions nor a list such as Dog:100,Cat:50")
			return
		}
		all[typ] = every
	}
	maps.Copy(all, c.snapshotEvery)
	c.snapshotEvery = all
}
