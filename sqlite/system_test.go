package sqlite_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/annals-es/annals/internal/systemtest"
	"github.com/annals-es/annals/sqlite"
)

// systems have a file for each application, or one for all, with a prefix for each.
func systems(name string, oneFile bool) systemtest.Backend {
	open := func(ctx context.Context, address string) (*sqlite.Recorder, error) {
		path, prefix, _ := strings.Cut(address, "#")
		return sqlite.Open(ctx, path, sqlite.WithTablePrefix(prefix), sqlite.WithBusyTimeout(time.Minute))
	}
	return systemtest.Backend{
		Name:      name,
		Processes: true,
		Create: func(tb testing.TB, applications ...string) []string {
			tb.Helper()
			dir := tb.TempDir()
			addresses := make([]string, len(applications))
			for i, application := range applications {
				addresses[i] = filepath.Join(dir, application+".db") + "#" + application + "_"
				if oneFile {
					addresses[i] = filepath.Join(dir, "all.db") + "#" + application + "_"
				}
				r, err := open(tb.Context(), addresses[i])
				systemtest.Migrate(tb, r, err)
			}
			return addresses
		},
		Open: func(ctx context.Context, address string) (systemtest.Recorder, error) { return open(ctx, address) },
	}
}

func TestSystems(t *testing.T) {
	t.Parallel()
	systemtest.Run(t, systems("systems", false))
}

func TestSystemsInOneFile(t *testing.T) {
	t.Parallel()
	systemtest.Run(t, systems("systems, one file", true))
}

func BenchmarkPipe3(b *testing.B) { systemtest.BenchmarkPipe3(b, systems("systems", false)) }

func BenchmarkPipeLatency(b *testing.B) {
	systemtest.BenchmarkPipeLatency(b, systems("systems", false))
}
