//go:build unix

package recordertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/memory"
)

// envDefect names the defect of the recorder that a process tests.
const envDefect = "ANNALS_RECORDERTEST_DEFECT"

func TestMain(m *testing.M) { Main(m, chosen()) }

// chosen returns the backend that this process is to test: one that has every
// feature and no defect, unless it is told otherwise.
func chosen() Backend {
	name := os.Getenv(envDefect)
	if name == "" {
		return fileBackend(func(f *file) Recorder { return f })
	}
	for _, d := range defects() {
		if d.name == name {
			d.backend.patience = 2 * time.Second
			return d.backend
		}
	}
	panic("there is no such defect: " + name)
}

// TestConformance shows that the suite can be passed, with every feature on. In a
// process that is told of a defect it fails.
func TestConformance(t *testing.T) {
	t.Parallel()
	Run(t, chosen())
}

// TestDefects shows that the suite can fail: that each of many defects is seen by
// the checks that it concerns. They run in a process of their own.
func TestDefects(t *testing.T) {
	t.Parallel()
	if os.Getenv(envDefect) != "" {
		return
	}
	for _, d := range defects() {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			for _, name := range d.fails {
				wantFailure(t, d.name, name)
			}
		})
	}
}

// wantFailure fails unless the check fails on a recorder with the defect.
func wantFailure(t *testing.T, defect, name string) {
	t.Helper()
	i := slices.IndexFunc(groups(), func(g group) bool {
		return slices.ContainsFunc(g.checks, func(c check) bool { return c.name == name })
	})
	if i < 0 {
		t.Errorf("there is no check %q", name)
		return
	}
	path := []string{"TestConformance", underscored(groups()[i].name), underscored(name)}
	pattern := make([]string, len(path))
	for i, element := range path {
		pattern[i] = "^" + regexp.QuoteMeta(element) + "$"
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.timeout=1m", "-test.run="+strings.Join(pattern, "/"))
	cmd.Dir = t.TempDir() // rapid leaves what failed in a file
	cmd.Env = append(os.Environ(), envDefect+"="+defect)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--- FAIL: "+strings.Join(path, "/")+" ") {
		t.Errorf("the check %q does not fail: exit: %v\n%s", name, err, out)
	}
}

// TestReports shows what reports are told: whose tests the subtests are, and what is
// off.
func TestReports(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.run=^TestConformance$/^4_durable$")
	cmd.Env = append(os.Environ(), envDefect+"=loses every tenth event")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("exit: %v", err)
	}
	for _, want := range []string{
		"=== ATTR  TestConformance recorder memory\n",
		"=== ATTR  TestConformance/4_durable off durable: " + durableChecks()[0].name + "\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

func underscored(name string) string { return strings.ReplaceAll(name, " ", "_") }

// memoryBackend is the backend of the memory recorder, altered by wrap.
func memoryBackend(wrap func(Recorder) Recorder) Backend {
	var stores sync.Map
	return Backend{
		Name: "memory",
		Create: func(tb testing.TB) string {
			tb.Helper()
			address := annals.NewID()
			stores.Store(address, wrap(memory.New()))
			return address
		},
		Open: func(_ context.Context, address string) (Recorder, error) {
			r, ok := stores.Load(address)
			if !ok {
				return nil, fmt.Errorf("there is no store %q", address)
			}
			return r.(Recorder), nil
		},
	}
}

// defect is a way in which recorders are wrong, and the checks that must see it.
type defect struct {
	name    string
	backend Backend
	fails   []string
}

func defects() []defect {
	inMemory := func(name string, wrap func(Recorder) Recorder, fails ...string) defect {
		return defect{name, memoryBackend(wrap), fails}
	}
	inFile := func(name string, wrap func(*file) Recorder, fails ...string) defect {
		return defect{name, fileBackend(wrap), fails}
	}
	return []defect{
		inMemory("loses every tenth event", losesEvents,
			"long streams and logs are read whole",
			"a follower catches up, then follows",
			"random operations have the answers of the model"),
		inMemory("delivers an event twice", deliversTwice,
			"a read of the log while others write is its beginning",
			"a follower sees every event once, in order, whatever 64 writers do"),
		inMemory("gives positions before it commits", givesPositionsEarly,
			"a follower sees every event once, in order, whatever 64 writers do"),
		inMemory("limits before it filters", limitsBeforeFiltering,
			"the log is read after, up to, limited and by topics, in every combination"),
		inMemory("limits before it turns the order", limitsBeforeTurning,
			"a stream is read after, up to, descending and limited, in every combination"),
		inMemory("does not tell names apart", foldsNames,
			"names that are nearly the same are different"),
		inMemory("keeps milliseconds", keepsMilliseconds,
			"every field comes back as it was"),
		inMemory("has position 0 when it is empty", hasPositionZero,
			"an empty store has no events, no max position, no tracking"),
		inMemory("keeps its caller's memory", sharesMemory,
			"what was recorded does not change with the caller's memory",
			"what was read is the reader's own"),
		inMemory("holds a lock while it yields", locksWhileYielding,
			"events are recorded within a loop over the log",
			"an early break leaves nothing behind"),
		inMemory("stores half of a batch that it refuses", storesHalf,
			"a batch is refused whole for its last event",
			"an error of Do undoes the batch, and is returned as it is",
			"saves at the same moment do not harm each other"),
		inMemory("stores event by event", storesInPieces(1),
			"two saves of 1,000 events do not interleave",
			"of saves of several streams, in different orders, one is stored",
			"a context that ends at any look at it stores all or nothing"),
		inMemory("stores a long batch in pieces", storesInPieces(1000),
			"a batch of 5,000 events is stored whole, or refused whole"),
		inMemory("refuses an empty batch", altersBatch(refusesNothing),
			"an empty batch stores nothing"),
		inMemory("answers versions for positions", altersResult(answersVersions),
			"positions grow with each commit, in the order of the batch",
			"a batch of several streams is stored in its order"),
		inMemory("calls Do before it looks", altersBatch(callsDoEarly),
			"Do is not called for a batch that is refused"),
		inMemory("denies what it has committed", altersResult(deniesCommits),
			"a context that is cancelled in Do stores all or nothing"),
		inMemory("calls Do after the commit", callsDoLate,
			"an error of Do undoes the batch, and is returned as it is",
			"a panic of Do stores nothing, and breaks nothing",
			"Do is not called for a repeat"),
		inMemory("wraps the error of Do", altersResult(wrapsErrors),
			"an error of Do undoes the batch, and is returned as it is"),
		inMemory("does not look at the context", ignoresContext,
			"a context that is done stores nothing",
			"a read ends with the error of its context",
			"a follower ends with the error of its context, and with ErrClosed"),
		inMemory("does not look at versions", ignoresVersions,
			"a save at another version is refused, and says which version the stream has",
			"of 64 saves of one version one is stored"),
		inMemory("stores no hashes", altersBatch(forgetsHashes),
			"a hash is read if it is asked for",
			"a hash chain covers every save, whoever saves",
			"a log is verified while others save"),
		inMemory("forgets trackings", altersBatch(forgetsTracking),
			"a tracking only grows, and may leave gaps",
			"of 64 saves of one tracked position one has its effect",
			"events and tracking are stored together or not at all"),
		inMemory("does not look at what a tracking follows", altersBatch(followsAny),
			"a tracking follows the position that it says",
			"of 64 saves that follow one tracked position one has its effect"),
		inMemory("has one tracking for all names", altersBatch(hasOneTracking),
			"trackings of different names are independent"),
		inMemory("stores a repeat again", storesRepeats,
			"a repeated batch gets the same positions, and is not stored again",
			"64 repeats at one moment are stored once"),
		inMemory("tells that a repeat is fresh", altersResult(tellsRepeatsAreFresh),
			"a batch is told to be fresh by the call that stored it, and by no other"),
		inMemory("does not tell what is fresh", altersBatch(tellsNothingIsFresh),
			"a batch is told to be fresh by the call that stored it, and by no other"),
		inMemory("refuses a repeat", refusesRepeats,
			"a repeat with a tracking is a success",
			"64 repeats at one moment are stored once"),
		inMemory("recognises a repeat by its first event", looksAtFirstEvent,
			"a batch that is stored in part conflicts",
			"the same versions with other ids conflict"),
		inMemory("blames a save for its neighbour's failure", blamesNeighbours,
			"saves at the same moment do not harm each other"),
		inMemory("does not wake who waits", doesNotWake,
			"Wait is ended by a save",
			"a follower sees every event once, in order, whatever 64 writers do"),
		inMemory("loses a wake-up", waitsForNext,
			"Wait returns at once if there is something",
			"a follower gets what was saved after it caught up and before it waits"),
		inMemory("goes on when it is closed", doesNotClose,
			"a closed recorder returns ErrClosed",
			"Wait ends with ErrClosed when the recorder is closed"),
		inMemory("ends reads silently when it is closed", endsSilently,
			"a recorder that is closed while it is read ends the read"),
		inMemory("accepts what is not valid", altersResult(acceptsInvalid),
			"bad input is refused with an error that names it"),
		inMemory("quotes data in errors", altersResult(quotesData),
			"no error holds data of an event"),
		inFile("acknowledges before it writes", acknowledgesEarly,
			"what was acknowledged is there after the store was closed and opened",
			"what was acknowledged is there after the process was killed"),
		inFile("writes an event at a time", func(f *file) Recorder { return storesInPieces(1)(f) },
			"what was acknowledged is there after the process was killed"),
		inFile("commits without Do's statements", func(f *file) Recorder { return callsDoLate(f) },
			"what Do writes is committed with the batch, or undone with it"),
		inFile("does not see what others save", loadsOnce,
			"what one handle saves the other sees at once",
			"of the saves of two processes one is stored for each version",
			"Wait is ended by a save of another handle",
			"Wait is ended by a save of another process",
			"a follower in another process sees the same"),
		inFile("reads outside of the caller's transaction", func(f *file) Recorder { return readsOutside{f} },
			"what was saved in the caller's transaction is read in it",
			"joined saves, also several of one transaction, are in the hash chain"),
		inFile("keeps its lock", keepsLock,
			"a process that saves all the time does not keep another from saving"),
	}
}
