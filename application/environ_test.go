package application_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/zlib"
)

// keeper is a recorder driver that opens one and the same recorder.
func keeper(r persistence.Recorder) persistence.Driver {
	return persistence.Driver{
		Name: "keeper",
		Recorder: func(_ context.Context, s *persistence.Settings) (persistence.Recorder, error) {
			s.Int("KEEPER_SIZE", 1, 1, 10)
			return open1(r), s.Err()
		},
		Settings: []persistence.Setting{{Key: "KEEPER_SIZE"}},
	}
}

// unclosed is a recorder that stays open when an application closes it, and counts that.
type unclosed struct {
	*memory.Recorder

	closed int
}

func (u *unclosed) Close() error { u.closed++; return nil }

func open1(r persistence.Recorder) persistence.Recorder { return r }

// secret is a key of AES in base64.
var secret = base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

// B35.
func TestEnvironmentConfiguresTheApplication(t *testing.T) {
	t.Parallel()
	u := &unclosed{Recorder: memory.New()}
	environ := []string{
		"RECORDER=memory", "SCHOOL_RECORDER=keeper", "COMPRESSOR=zlib", "CIPHER=aesgcm", "CIPHER_KEYS=k1:" + secret,
		"SCHOOL_SNAPSHOTS=Dog:2", "CACHE=10", "HASH_CHAIN=true", "UNKNOWN_EVENTS=skip", "RETRIES=3", "OTHER_RECORDER=nothing", "odd",
	}
	s := open(t, application.FromEnviron(environ, keeper(u)))
	s.register(t, "fido", "sit", "roll", strings.Repeat("jump ", 100))
	if dog, err := s.dogs.Get(t.Context(), "fido"); err != nil || len(dog.Tricks) != 3 {
		t.Fatalf("%+v, %v", dog, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if u.closed != 1 {
		t.Errorf("the recorder was closed %d times", u.closed)
	}
	var encodings []string
	for n, err := range u.ReadLog(t.Context(), persistence.LogQuery{Hash: true}) {
		if err != nil || len(n.Hash) == 0 {
			t.Errorf("no hash: %v", err)
		}
		encodings = append(encodings, n.Encoding)
	}
	if want := []string{"1:json+aesgcm", "1:json+aesgcm", "1:json+aesgcm", "1:json+zlib+aesgcm"}; !slices.Equal(encodings, want) {
		t.Errorf("encodings %q", encodings)
	}
	if _, ok, err := u.ReadSnapshot(t.Context(), "fido"); !ok || err != nil {
		t.Errorf("no snapshot: %v", err)
	}
}

// B35.
func TestOptionGoesBeforeTheEnvironment(t *testing.T) {
	t.Parallel()
	r := memory.New()
	s := open(t,
		application.WithRecorder(r), application.WithCompressor(nil), application.WithCache(0), application.WithRetries(1),
		application.FromEnviron([]string{"RECORDER=keeper", "COMPRESSOR=zlib"}, keeper(memory.New())))
	s.register(t, "fido", strings.Repeat("jump ", 100))
	for n, err := range r.ReadLog(t.Context(), persistence.LogQuery{}) {
		if err != nil || n.Encoding != "1:json" {
			t.Errorf("encoding %q, %v", n.Encoding, err)
		}
	}
	if p, ok, err := r.MaxPosition(t.Context()); !ok || p != 2 || err != nil {
		t.Errorf("the recorder of the option has %d events, %v", p, err)
	}
}

// B35.
func TestABadValueFailsTheOpeningAndNamesItsKey(t *testing.T) {
	t.Parallel()
	short := base64.StdEncoding.EncodeToString([]byte("short"))
	for _, c := range []struct {
		environ []string
		keys    []string
	}{
		{[]string{"RECORDER=oracle"}, []string{"RECORDER"}},
		{[]string{"SCHOOL_RECORDER=oracle", "RECORDER=memory"}, []string{"SCHOOL_RECORDER"}},
		{[]string{"COMPRESSOR=oracle", "SCHOOL_TRANSCODER=oracle"}, []string{"COMPRESSOR", "SCHOOL_TRANSCODER"}},
		{[]string{"CIPHER=oracle"}, []string{"CIPHER"}},
		{[]string{"CIPHER=aesgcm"}, []string{"CIPHER_KEYS"}},
		{[]string{"CIPHER=aesgcm", "CIPHER_KEYS=oracle"}, []string{"CIPHER_KEYS"}},
		{[]string{"CIPHER=aesgcm", "SCHOOL_CIPHER_KEYS=k1:oracle!"}, []string{"SCHOOL_CIPHER_KEYS"}},
		{[]string{"CIPHER=aesgcm", "CIPHER_KEYS=k1:" + short}, []string{"CIPHER_KEYS"}},
		{[]string{"CIPHER=aesgcm", "CIPHER_KEYS=k1:" + secret, "CIPHER_KEY=oracle"}, []string{"CIPHER_KEY"}},
		{[]string{"SNAPSHOTS=oracle"}, []string{"SNAPSHOTS"}},
		{[]string{"SNAPSHOTS=Dog:oracle"}, []string{"SNAPSHOTS"}},
		{[]string{"SNAPSHOTS=-1"}, []string{"SNAPSHOTS"}},
		{[]string{"SNAPSHOTS=Dog:1,Dog:2"}, []string{"SNAPSHOTS"}},
		{[]string{"CACHE=oracle", "RETRIES=-1", "HASH_CHAIN=oracle"}, []string{"CACHE", "RETRIES", "HASH_CHAIN"}},
		{[]string{"UNKNOWN_EVENTS=oracle"}, []string{"UNKNOWN_EVENTS"}},
		{[]string{"MIGRATE=oracle"}, []string{"MIGRATE"}},
		{[]string{"RECORDER=keeper", "SCHOOL_KEEPER_SIZE=oracle"}, []string{"SCHOOL_KEEPER_SIZE"}},
		{[]string{"ZLIB_LEVEL=oracle"}, []string{"ZLIB_LEVEL"}},
	} {
		t.Run(strings.Join(c.keys, " "), func(t *testing.T) {
			t.Parallel()
			_, err := application.Open(t.Context(), "school", application.FromEnviron(c.environ, keeper(memory.New())))
			wantError(t, err, annals.ErrConfiguration, c.keys...)
			wantNoOracle(t, err, c.environ)
			if setting, ok := errors.AsType[*persistence.SettingError](err); !ok || setting.Key != c.keys[0] && len(c.keys) == 1 {
				t.Errorf("got %#v, want a *SettingError of %s", setting, c.keys[0])
			}
		})
	}
}

// wantNoOracle fails if the error quotes the value of a setting.
func wantNoOracle(t *testing.T, err error, environ []string) {
	t.Helper()
	if err == nil {
		return
	}
	for _, text := range []string{"oracle", secret} {
		if strings.Contains(err.Error(), text) {
			t.Errorf("the error of %q quotes a value: %v", environ, err)
		}
	}
}

// B35, B52: events are not stored in memory because RECORDER was misspelt.
func TestWithoutRecorderNothingElseIsSaidAboutIt(t *testing.T) {
	t.Parallel()
	d := keeper(memory.New())
	for _, c := range []struct {
		environ []string
		says    string // the reason; empty if it opens
	}{
		{[]string{"RECODER=keeper", "KEEPER_SIZE=2"}, "is not set, though KEEPER_SIZE is: set it to keeper, or to memory"},
		{[]string{"SCHOOL_KEEPER_SIZE=2"}, "is not set, though SCHOOL_KEEPER_SIZE is: set it to keeper, or to memory"},
		{[]string{"RECORDER=", "KEEPER_SIZE=2"}, "is not set, though KEEPER_SIZE is: set it to keeper, or to memory"},
		{[]string{"MIGRATE=true"}, "is not set, though MIGRATE is: set it to keeper or memory"},
		{[]string{"SCHOOL_MIGRATE=1"}, "is not set, though SCHOOL_MIGRATE is: set it to keeper or memory"},
		{[]string{"RECORDER=memory", "KEEPER_SIZE=2", "MIGRATE=true"}, ""},
		{[]string{"SCHOOL_RECORDER=memory", "KEEPER_SIZE=2", "MIGRATE=true"}, ""},
		{[]string{"MIGRATE=false", "KEEPER_SIZE=", "OTHER_KEEPER_SIZE=2", "ZLIB_LEVEL=1"}, ""},
	} {
		t.Run(strings.Join(c.environ, " "), func(t *testing.T) {
			t.Parallel()
			if c.says == "" {
				open(t, application.FromEnviron(c.environ, d))
				return
			}
			_, err := application.Open(t.Context(), "school", application.FromEnviron(c.environ, d))
			wantError(t, err, annals.ErrConfiguration, "environment: RECORDER "+c.says)
			if setting, ok := errors.AsType[*persistence.SettingError](err); !ok || setting.Key != "RECORDER" {
				t.Errorf("got %#v, want a *SettingError of RECORDER", setting)
			}
			open(t, application.FromEnviron(c.environ, d), application.WithRecorder(memory.New())) // which says where
		})
	}
}

// B35, B52.
func TestAnUnknownNameListsTheChoices(t *testing.T) {
	t.Parallel()
	for key, choices := range map[string]string{
		"RECORDER": "keeper, memory", "TRANSCODER": "json", "COMPRESSOR": "none, zlib", "CIPHER": "none, aesgcm",
		"UNKNOWN_EVENTS": "fail, skip, keep",
	} {
		_, err := application.Open(t.Context(), "school", application.FromEnviron([]string{key + "=Oracle"}, keeper(memory.New())))
		wantError(t, err, annals.ErrConfiguration, "school", key+" is none of: "+choices)
		if key != "UNKNOWN_EVENTS" {
			wantError(t, err, annals.ErrConfiguration, "FromEnviron")
		}
	}
	_, err := application.Open(t.Context(), "school", application.FromEnviron([]string{"RECORDER=none"}))
	wantError(t, err, annals.ErrConfiguration, "RECORDER is none of: memory")
}

// B35.
func TestEachOptionGoesBeforeItsKey(t *testing.T) {
	t.Parallel()
	r := &reads{Recorder: memory.New()}
	environ := []string{
		"HASH_CHAIN=false", "CACHE=10", "RETRIES=1000000", "UNKNOWN_EVENTS=fail", "SNAPSHOTS=Dog:1,Cat:1", "TRANSCODER=json",
		"CIPHER=aesgcm", "CIPHER_KEYS=k1:" + secret,
	}
	s := open(t,
		application.FromEnviron(environ), application.WithRecorder(r), application.WithHashChain(), application.WithCache(0),
		application.WithRetries(0), application.WithUnknownEvents(persistence.SkipUnknown), application.WithSnapshots(Dogs, 0),
		application.WithCipher(nil), application.WithTranscoder(persistence.JSON()))
	s.register(t, "fido", "sit")
	for e, err := range r.ReadStream(t.Context(), "fido", persistence.StreamQuery{Hash: true}) {
		if err != nil || len(e.Hash) == 0 || e.Encoding != "1:json" {
			t.Errorf("hash %x, encoding %q, %v", e.Hash, e.Encoding, err)
		}
	}
	stored := persistence.StoredEvent{
		ID: "e", StreamID: "fido", Version: 3, Topic: "Gone.Gone", Time: time.Unix(1, 0).UTC(), Shape: 1, Encoding: "1:json", State: []byte("{}"),
	}
	if _, err := r.Record(t.Context(), persistence.Batch{Events: []persistence.StoredEvent{stored}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.since()
		if d, err := s.dogs.Get(t.Context(), "fido"); err != nil || d.Version() != 3 || r.since() != 3 {
			t.Errorf("%+v, %v, or it was in a cache", d, err)
		}
	}
	conflict := &annals.VersionConflictError{}
	tries := 0
	err := s.Retry(t.Context(), func(context.Context) error { tries++; return conflict })
	wantError(t, err, annals.ErrVersionConflict)
	if tries != 1 {
		t.Errorf("%d tries", tries)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantSnapshot(t, r, "fido", 0)
}

// B35.
func TestSnapshotsOfTheEnvironmentAreOfTheTypesItNames(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]int64{
		"2": 4, "3": 3, "Dog:3": 3, "Cat:9, Dog:2": 4, "Cat:1": 0, "0": 0, "Dog:0": 0, "5": 0, "1099511627776": 0, "": 0,
	} {
		r := memory.New()
		s := open(t, application.WithRecorder(r), application.FromEnviron([]string{"SNAPSHOTS=" + value}))
		dog := Dogs.New("fido", Registered{})
		for i := range 4 {
			if _, err := s.Save(t.Context(), dog); err != nil {
				t.Fatal(err)
			}
			if i == 2 && want == 3 {
				break
			}
			annals.Trigger(dog, TrickAdded{Trick: value})
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wantSnapshot(t, r, "fido", want)
	}
}

// B35.
func TestADriverThatIsChosenIsMadeOnce(t *testing.T) {
	t.Parallel()
	made := 0
	d := persistence.Driver{
		Name:     "mine",
		Settings: []persistence.Setting{{Key: "MINE"}},
		Compressor: func(context.Context, *persistence.Settings) (persistence.Compressor, error) {
			made++
			return zlib.New(), nil
		},
	}
	open(t, application.FromEnviron([]string{"COMPRESSOR=mine", "MINE=1"}, d))
	if made != 1 {
		t.Errorf("made %d times", made)
	}
	open(t, application.FromEnviron(nil, d)) // for reading
	if made != 2 {
		t.Errorf("made %d times, want once more", made)
	}
}

// B35.
func TestADriverGoesBeforeOthersOfItsName(t *testing.T) {
	t.Parallel()
	u, other := &unclosed{Recorder: memory.New()}, keeper(memory.New())
	mine := keeper(u)
	mine.Name, other.Name = "memory", "memory"
	s := open(t, application.FromEnviron([]string{"RECORDER=memory"}, mine, other))
	s.register(t, "fido")
	if n, _, err := u.MaxPosition(t.Context()); n != 1 || err != nil {
		t.Errorf("%d events in the recorder of the first driver, %v", n, err)
	}
}

// migrating is a recorder whose tables are made by Migrate.
type migrating struct {
	*unclosed

	migrated int
	err      error
}

func (m *migrating) Migrate(context.Context) error { m.migrated++; return m.err }

// B35, B28.
func TestMigrateIsForTheRecorderOfTheEnvironment(t *testing.T) {
	t.Parallel()
	m := &migrating{unclosed: &unclosed{Recorder: memory.New()}}
	environ := []string{"RECORDER=keeper", "MIGRATE=on"}
	open(t, application.FromEnviron(environ[:1], keeper(m)))
	open(t, application.FromEnviron(environ, keeper(m)), application.WithRecorder(m))
	if m.migrated != 0 {
		t.Errorf("migrated %d times", m.migrated)
	}
	open(t, application.FromEnviron(environ, keeper(m)))
	if m.migrated != 1 || m.closed != 0 {
		t.Errorf("migrated %d times, closed %d times", m.migrated, m.closed)
	}
	m.err = errKnown
	_, err := application.Open(t.Context(), "school", application.FromEnviron(environ, keeper(m)))
	wantError(t, err, errKnown, "school")
	if m.closed != 1 {
		t.Errorf("closed %d times after a failed migration", m.closed)
	}
}

// B35: nothing that was opened is left behind.
func TestARecorderOfTheEnvironmentIsClosedWhenTheOpeningFails(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]application.Option{
		"two types with one topic": {application.WithTypes(Dogs, annals.Define("Dog", annals.On[TrickAdded]("Registered")))},
		"a codec that is none":     {application.WithCompressor(zlib.New(), nil)},
		"snapshots of no form":     {application.WithSnapshots(annals.Define("Hidden", annals.On[hiddenNamed]("Named")), 1)},
	} {
		u := &unclosed{Recorder: memory.New()}
		_, err := application.Open(t.Context(), "school", append(opts, application.FromEnviron([]string{"RECORDER=keeper"}, keeper(u)))...)
		wantError(t, err, annals.ErrConfiguration)
		if u.closed != 1 {
			t.Errorf("%s: closed %d times", name, u.closed)
		}
	}
	failing := persistence.Driver{
		Name: "failing",
		Recorder: func(context.Context, *persistence.Settings) (persistence.Recorder, error) {
			return (*memory.Recorder)(nil), errKnown // no recorder, and not nil
		},
	}
	_, err := application.Open(t.Context(), "school", application.FromEnviron([]string{"RECORDER=failing"}, failing))
	wantError(t, err, errKnown, "school")
}

// B35.
func TestDriversAreCheckedAtOpening(t *testing.T) {
	t.Parallel()
	_, err := application.Open(t.Context(), "school", application.FromEnviron(nil, persistence.Driver{Name: "Oracle"}))
	wantError(t, err, annals.ErrConfiguration, "Oracle")
}

// FuzzEnvironment opens applications on any environment: it opens, or the error is one of
// configuration that does not tell the values. B35.
func FuzzEnvironment(f *testing.F) {
	f.Add("RECORDER", "memory", "SCHOOL_CACHE", "10")
	f.Add("SNAPSHOTS", "Dog:100,Cat:50", "CIPHER_KEYS", "k:"+secret)
	f.Add("SNAPSHOTS", "10", "CIPHER", "aesgcm")
	f.Add("COMPRESSOR", "zlib", "ZLIB_LEVEL", "9")
	f.Add("HASH_CHAIN", "on", "UNKNOWN_EVENTS", "keep")
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string) {
		environ := []string{key1 + "=" + value1, key2 + "=" + value2}
		app, err := application.Open(t.Context(), "school", application.FromEnviron(environ))
		if err != nil {
			if !errors.Is(err, annals.ErrConfiguration) {
				t.Fatalf("%q: %v", environ, err)
			}
			for _, value := range []string{value1, value2} {
				if len(value) > 20 && strings.Contains(err.Error(), value) {
					t.Fatalf("the error tells a value: %v", err)
				}
			}
			return
		}
		if err := app.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// B35: the settings are documented, each once.
func TestSettingsAreListedOnce(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, s := range application.Settings(keeper(memory.New())) {
		if s.Key == "" || seen[s.Key] {
			t.Errorf("%q is there twice, or empty", s.Key)
		}
		seen[s.Key] = true
	}
	for _, key := range []string{"RECORDER", "CIPHER_KEYS", "ZLIB_LEVEL", "KEEPER_SIZE"} {
		if !seen[key] {
			t.Errorf("%s is not there: %s", key, fmt.Sprint(seen))
		}
	}
}
