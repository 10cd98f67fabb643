package main

import (
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/annals-es/annals/internal/projectiontest"
)

func TestMain(m *testing.M) {
	projectiontest.Child(postgresLogSQLiteView())
	projectiontest.Child(sqliteLogPostgresView())
	goleak.VerifyTestMain(m)
}

func TestTheTableHasARowForEachWorkload(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := run(t.Context(), []string{"-turns=1", "-stores=memory,SQLite"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| store | workload |  | Annals | hallgren | eventhorizon | ours / best peer |",
		"| memory | save, 1 goroutine | events/s | ",
		"| memory | save, 64 goroutines | events/s | ",
		"| memory | load, 100 events | loads/s | ",
		"| memory | scan of the log | events/s | ",
		"| SQLite | save, 1 goroutine | events/s | ",
		"| SQLite | save, 64 goroutines | events/s | ",
		"| SQLite | load, 100 events | loads/s | ",
		"| SQLite | scan of the log | events/s | ",
	} {
		if strings.Count(out.String(), "\n"+want) != 1 {
			t.Errorf("there is no line that begins with %q once:\n%s", want, out.String())
		}
	}
}

func TestWrongArgumentsAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-turns=0"}, {"-events=0"}, {"-stores=paper"}, {"more"}, {"-unknown"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

func TestARateHasThreeDigits(t *testing.T) {
	t.Parallel()
	for rate, want := range map[float64]string{
		1.2345: "1.23", 9.994: "9.99", 45.67: "45.7", 123.4: "123", 999.6: "1,000", 1234.5: "1,230", 98765: "98,800", 1234567: "1,230,000",
	} {
		if got := rounded(rate); got != want {
			t.Errorf("%v is %s, want %s", rate, got, want)
		}
	}
}
