package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/internal/pgserver"
	"github.com/annals-es/annals/persistence"
)

// B35: the table in the docs is that of the code.
func TestTheDocsListEverySetting(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"settings"}, nil, &out); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n| key |")
	table, _, _ := strings.Cut("| key |"+rest, "\n\n")
	if d := cmp.Diff(strings.TrimSpace(out.String()), strings.TrimSpace(table)); d != "" {
		t.Errorf("docs/configuration.md is not what `go run ./examples/configuration settings` prints (-code +docs):\n%s", d)
	}
}

// B35: each of them is read, and its default is a value that it takes.
func TestEverySettingIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	environ := []string{"RECORDER=sqlite", "MIGRATE=true", "SQLITE_PATH=" + filepath.Join(dir, "dogs.db"), "CIPHER_KEYS=k1:" + key}
	onPostgres := []string{
		"RECORDER=postgres", "MIGRATE=true", "POSTGRES_URL=" + pgserver.TestPrivate(t, pgserver.Config{}).URL("postgres"),
		"POSTGRES_MAX_CONNS=4", "CIPHER_KEYS=k1:" + key,
	}
	defaults := slices.Clone(environ)
	for _, s := range application.Settings(drivers()...) {
		if s.Default != "" && s.Key != "RECORDER" && s.Key != "MIGRATE" {
			defaults = append(defaults, s.Key+"="+s.Default)
			onPostgres = append(onPostgres, s.Key+"="+s.Default)
		}
		environ := environ
		if strings.HasPrefix(s.Key, "POSTGRES_") {
			environ = onPostgres
		}
		if s.Key == "POSTGRES_APPLICATION_NAME" {
			continue // any name is one
		}
		wrong := "DOGSCHOOL_" + s.Key + "=" + filepath.Join(dir, "no such", "value")
		err := run(t.Context(), nil, append(slices.Clone(environ), wrong), &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), "DOGSCHOOL_"+s.Key) {
			t.Errorf("a wrong value of %s: %v", s.Key, err)
		}
	}
	for _, all := range [][]string{defaults, onPostgres} {
		if err := run(t.Context(), nil, all, &bytes.Buffer{}); err != nil {
			t.Errorf("%q: %v", all, err)
		}
	}
}

// B35, B13, B15.
func TestEveryCodecOnSQLite(t *testing.T) {
	t.Parallel()
	dictionary := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	base := []string{"RECORDER=sqlite", "MIGRATE=true", "DOGSCHOOL_SQLITE_PATH=" + filepath.Join(t.TempDir(), "dogs.db"), "CIPHER_KEYS=k1:" + dictionary}
	for i, settings := range [][]string{
		nil,
		{"COMPRESSOR=zstd"},
		{"COMPRESSOR=zlib", "TRANSCODER=cbor"},
		{"CIPHER=aesgcm", "SNAPSHOTS=1", "CACHE=10", "HASH_CHAIN=on"},
		{"TRANSCODER=cbor", "CIPHER=aesgcm", "COMPRESSOR=zstd"},
		{},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), nil, append(settings, base...), &out); err != nil {
			t.Fatalf("%q: %v", settings, err)
		}
		if want := string(rune('1'+i)) + " events"; !strings.Contains(out.String(), want) {
			t.Errorf("%q: %s", settings, out.String())
		}
	}
}

// B35.
func TestAMissingFileNamesItsKey(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), nil, []string{"RECORDER=sqlite"}, &bytes.Buffer{})
	setting, ok := errors.AsType[*persistence.SettingError](err)
	if !errors.Is(err, annals.ErrConfiguration) || !ok || setting.Key != "SQLITE_PATH" {
		t.Errorf("got %v, want an error of SQLITE_PATH", err)
	}
}
