package sqlite_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/sqlite"
)

// B35.
func TestAWrongSettingIsNamedAndNotQuoted(t *testing.T) {
	t.Parallel()
	wrong := map[string]string{
		"SQLITE_TABLE_PREFIX": "Oracle", "SQLITE_SYNCHRONOUS": "oracle", "SQLITE_BUSY_TIMEOUT": "oracle", "SQLITE_POLL_INTERVAL": "2h0m0.123s",
		"SQLITE_MMAP_SIZE": "-12345", "SQLITE_CACHE_SIZE": "12345", "SQLITE_READERS": "0x12345", "SQLITE_PATH": "",
	}
	all := []string{"RECORDER=sqlite"}
	for key, value := range wrong {
		all = append(all, "CAT_SCHOOL_"+key+"="+value)
		one := []string{"RECORDER=sqlite", "SQLITE_PATH=" + filepath.Join(t.TempDir(), "x.db"), key + "=" + value}
		_, err := application.Open(t.Context(), "cat school", application.FromEnviron(one, sqlite.Driver))
		setting, ok := errors.AsType[*persistence.SettingError](err)
		if !errors.Is(err, annals.ErrConfiguration) || !ok || setting.Key != key || value != "" && strings.Contains(err.Error(), value) {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
	_, err := application.Open(t.Context(), "cat school", application.FromEnviron(all, sqlite.Driver))
	for key := range wrong { // all of them at once, with the names that they have there
		name := "CAT_SCHOOL_" + key
		if key == "SQLITE_PATH" { // set to nothing
			name = key
		}
		if !strings.Contains(err.Error(), name+" ") {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

// B35, B52.
func TestAFileThatCannotBeOpenedNamesItsKey(t *testing.T) {
	t.Parallel()
	for path, sentinel := range map[string]error{
		filepath.Join(t.TempDir(), "nowhere", "x.db"): annals.ErrConfiguration, ":memory:": annals.ErrConfiguration,
		"driver_test.go": persistence.ErrNotDatabase,
	} {
		environ := []string{"RECORDER=sqlite", "DOGS_SQLITE_PATH=" + path}
		_, err := application.Open(t.Context(), "dogs", application.FromEnviron(environ, sqlite.Driver))
		if !errors.Is(err, sentinel) || !strings.Contains(err.Error(), "DOGS_SQLITE_PATH") {
			t.Errorf("%s: %v", path, err)
		}
	}
	path := filepath.Join(t.TempDir(), "x.db")
	_, err := application.Open(t.Context(), "dogs", application.FromEnviron([]string{"RECORDER=sqlite", "SQLITE_PATH=" + path}, sqlite.Driver))
	if !errors.Is(err, persistence.ErrSchema) {
		t.Errorf("without MIGRATE: %v", err)
	}
}

// B35, B28.
func TestTheEnvironmentConfiguresTheRecorder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	environ := []string{
		"RECORDER=sqlite", "MIGRATE=true", "SQLITE_PATH=" + path, "SQLITE_TABLE_PREFIX=cats_", "SQLITE_SYNCHRONOUS=normal",
		"SQLITE_BUSY_TIMEOUT=1s", "SQLITE_POLL_INTERVAL=1s", "SQLITE_MMAP_SIZE=0", "SQLITE_CACHE_SIZE=2000000", "SQLITE_READERS=1",
	}
	app, err := application.Open(t.Context(), "cats", application.FromEnviron(environ, sqlite.Driver))
	if err != nil {
		t.Fatal(err)
	}
	application.NewRepository(app, counters)
	if _, err := app.Save(t.Context(), counters.New("one", counted{By: 1})); err != nil {
		t.Fatal(err)
	}
	if err := app.Close(); err != nil { // and so the recorder
		t.Fatal(err)
	}
	r, err := sqlite.Open(t.Context(), path, sqlite.WithTablePrefix("cats_"))
	if err != nil {
		t.Fatal(err)
	}
	if n, ok, err := r.MaxPosition(t.Context()); n != 1 || !ok || err != nil {
		t.Errorf("position %d, %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}
