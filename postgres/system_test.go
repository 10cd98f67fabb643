package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/annals-es/annals/internal/systemtest"
	"github.com/annals-es/annals/postgres"
)

// systems have one database for all applications, with a prefix for each.
func systems() systemtest.Backend {
	open := func(ctx context.Context, address string) (*postgres.Recorder, error) {
		url, prefix, _ := strings.Cut(address, "#")
		return postgres.Open(ctx, url, postgres.WithTablePrefix(prefix), postgres.WithPoolSize(0, 4))
	}
	return systemtest.Backend{
		Name:      "systems",
		Processes: true,
		Create: func(tb testing.TB, applications ...string) []string {
			tb.Helper()
			url := newSchema(tb)
			addresses := make([]string, len(applications))
			for i, application := range applications {
				addresses[i] = url + "#" + application + "_"
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
	systemtest.Run(t, systems())
}

func BenchmarkPipe3(b *testing.B) { systemtest.BenchmarkPipe3(b, systems()) }

func BenchmarkPipeLatency(b *testing.B) { systemtest.BenchmarkPipeLatency(b, systems()) }
