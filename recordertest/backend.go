package recordertest

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/annals-es/annals/persistence"
)

// Recorder is a recorder that can be closed. The second Close must return nil
// and do nothing.
type Recorder interface {
	persistence.Recorder
	io.Closer
}

// Backend is a recorder under test.
type Backend struct {
	// Name names the recorder in reports: "sqlite".
	Name string

	// Create makes an empty store, with its tables, for one test or benchmark,
	// and returns its address: text that means the same in another process, a
	// path or a URL. The store is removed by tb.Cleanup. If there are Statements,
	// their table is there too.
	Create func(tb testing.TB) (address string)

	// Open returns a handle on a store. With Features.Processes it is called
	// several times for one address, also in other processes while this one has
	// the store open; otherwise once at a time.
	Open func(ctx context.Context, address string) (Recorder, error)

	// Features are what the recorder has beyond the guarantees that none may
	// lack. What is false is reported, and not tested.
	Features Features

	// Statements are the caller's own statements that are run in Batch.Do. They
	// must be set if Features.Transactions is true.
	Statements *Statements

	// Server starts a server for one check, which kills it, and cuts its connections.
	// It must be set if Features.Server is true.
	Server func(tb testing.TB) Server

	// Bare returns the plain driver on a fresh store, as the baseline of the
	// benchmarks. Defaults to nil: no baseline, and absolute figures only.
	Bare func(tb testing.TB) Bare

	// patience is how long a check waits for what must happen before it fails.
	// Defaults to two minutes; broken recorders are given less.
	patience time.Duration
}

// Features are what recorders differ in.
type Features struct {
	// Durable: what was acknowledged is still there when the process is killed.
	Durable bool
	// Processes: several handles have one store open at the same time, in one
	// process and in several.
	Processes bool
	// Transactions: Batch.Do is given a transaction, in which the caller's own
	// statements are stored or undone with the batch.
	Transactions bool
	// Snapshots: the recorder is a persistence.SnapshotRecorder.
	Snapshots bool
	// Ledger: the recorder has a ledger, see persistence.Batch.
	Ledger bool
	// Server: the database is a server, to which there are connections.
	Server bool
	// Joins: the recorder is a persistence.TxRecorder, and saves in transactions of
	// the caller.
	Joins bool
}

// Statements are statements of a user, on a table of the user's own in the same
// store. Create makes the table.
type Statements struct {
	// Insert adds a row with the key, by the transaction that Batch.Do was given.
	Insert func(ctx context.Context, tx any, key string) error
	// Count returns how many committed rows have the key. It uses a connection of
	// its own, and closes it.
	Count func(ctx context.Context, address, key string) (int, error)
	// Begin begins a transaction of the caller's own, which may write, on a
	// connection of its own that commit and rollback close. Insert and RecordTx take
	// it. It waits while others write. It must be set if Features.Joins is true.
	Begin func(ctx context.Context, address string) (tx any, commit, rollback func() error, err error)
}

// Main is for TestMain: it runs the tests, and fails if they leave goroutines
// behind. The suite starts the test's own program again where it needs a second
// process: Main then plays that process instead. It does not return.
func Main(m *testing.M, b Backend) {
	if role := os.Getenv(envRole); role != "" {
		if err := b.child(role); err != nil {
			fmt.Fprintf(os.Stderr, "recordertest: child %s: %v\n", role, err)
			os.Exit(1) //nolint:revive // Main is a main
		}
		os.Exit(0) //nolint:revive // Main is a main
	}
	goleak.VerifyTestMain(m)
}

// Run runs the conformance suite: a group for each guarantee, and in it a
// subtest for each sentence. All of them run in parallel, each on a store of its
// own. Reports learn by attributes (see [testing.T.Attr]) that the subtests of t are
// those of a "recorder", by its name, and what is "off", by feature and sentence.
func Run(t *testing.T, b Backend) {
	t.Helper()
	if b.Features.Transactions && b.Statements == nil {
		t.Fatal("Features.Transactions is true, and there are no Statements to test them with")
	}
	if b.Features.Joins && (b.Statements == nil || b.Statements.Begin == nil) {
		t.Fatal("Features.Joins is true, and there is no Statements.Begin to test it with")
	}
	t.Attr("recorder", b.Name)
	for _, g := range groups() {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range g.checks {
				if off := b.Features.missing(c.needs); off != "" {
					t.Attr("off", off+": "+c.name)
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					t.Logf("covers %s", c.covers)
					c.run(t, &store{backend: b})
				})
			}
		})
	}
}

// group is a guarantee.
type group struct {
	name   string
	checks []check
}

// check is a sentence of a guarantee.
type check struct {
	name   string   // the sentence
	covers string   // the behaviours that it shows
	needs  Features // those without which it cannot be shown
	run    func(t *testing.T, s *store)
}

func groups() []group {
	return []group{
		{"0 what is stored is read", readChecks()},
		{"1 atomic", atomicChecks()},
		{"2 one winner", winnerChecks()},
		{"3 in commit order", orderChecks()},
		{"4 durable", durableChecks()},
		{"5 retry-safe", retryChecks()},
		{"6 exactly once", trackingChecks()},
		{"7 live", liveChecks()},
		{"8 two handles, two processes", processChecks()},
		{"9 clear failure", failureChecks()},
		{"10 snapshots", snapshotStoreChecks()},
		{"11 joins", joinChecks()},
		{"12 the server", serverChecks()},
		{"13 the ledger", ledgerChecks()},
		{"the model", modelChecks()},
		{"the application", applicationChecks()},
	}
}

// missing names the features that are needed and not there.
func (f Features) missing(needs Features) string {
	var off []string
	for _, feature := range []struct {
		name        string
		need, there bool
	}{
		{"durable", needs.Durable, f.Durable},
		{"processes", needs.Processes, f.Processes},
		{"transactions", needs.Transactions, f.Transactions},
		{"snapshots", needs.Snapshots, f.Snapshots},
		{"joins", needs.Joins, f.Joins},
		{"ledger", needs.Ledger, f.Ledger},
		{"server", needs.Server, f.Server},
	} {
		if feature.need && !feature.there {
			off = append(off, feature.name)
		}
	}
	return strings.Join(off, ", ")
}

// soak reports whether rare schedules are looked for at length.
func soak() bool { return os.Getenv("ANNALS_SOAK") == "1" }

// rounds returns n, or ten times n when soaking.
func rounds(n int) int {
	if soak() {
		return 10 * n
	}
	return n
}
