package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/annals-es/annals/internal/projectiontest"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/sqlite"
)

// projections are a log and a view on SQLite; with one file for both, on the same address.
func projections(name string, oneFile bool) projectiontest.Backend[*sql.Tx] {
	b := projectiontest.WithStatements(projectiontest.Backend[*sql.Tx]{
		Name:      name,
		Processes: true,
		CreateLog: create,
		OpenLog: func(ctx context.Context, path string) (projectiontest.Recorder, error) {
			return sqlite.Open(ctx, path, sqlite.WithBusyTimeout(time.Minute))
		},
		CreateView: func(tb testing.TB) string { tb.Helper(); return filepath.Join(tb.TempDir(), "view.db") },
		OpenView:   openBalances,
	}, projectiontest.SQL)
	if oneFile {
		b.CreateView = nil
	}
	return b
}

func openBalances(ctx context.Context, path string) (persistence.View[*sql.Tx], func(), error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		return nil, nil, err
	}
	_, err = db.ExecContext(ctx, projectiontest.CreateBalances)
	return sqlite.View(db, sqlite.WithBusyTimeout(time.Minute)), func() { _ = db.Close() }, err
}

func TestProjections(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, projections("sqlite", false))
}

func TestProjectionsInTheFileOfTheLog(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, projections("sqlite, one file", true))
}

func TestProjectionsWithTheLogInMemory(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, projectiontest.WithMemoryLog(projections("sqlite", false)))
}

func TestProjectionsWithTheViewInMemory(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t, projectiontest.WithMemoryView(projections("sqlite", false)))
}

func BenchmarkCatchUp(b *testing.B) { projectiontest.BenchmarkCatchUp(b, projections("sqlite", false)) }
func BenchmarkSaveToView(b *testing.B) {
	projectiontest.BenchmarkSaveToView(b, projections("sqlite", false))
}

// BenchmarkCatchUpInMemory has its log on SQLite.
func BenchmarkCatchUpInMemory(b *testing.B) {
	projectiontest.BenchmarkFracScan(b, create, func(ctx context.Context, path string) (projectiontest.Recorder, error) {
		return sqlite.Open(ctx, path)
	})
}
