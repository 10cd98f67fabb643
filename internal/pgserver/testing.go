package pgserver

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// Test returns the server that the tests of this program share. It must be neither
// stopped nor killed. If there is none on this machine, the test is skipped, or
// fails where ANNALS_REQUIRE names "postgres".
func Test(tb testing.TB) *Server {
	tb.Helper()
	return orMissing(tb)(Shared(tb.Context()))
}

// TestPrivate starts a server for this test alone, and stops it at the end. Without
// one it does as [Test] does. ANNALS_TEST_POSTGRES_URL does not replace it.
func TestPrivate(tb testing.TB, config Config) *Server {
	tb.Helper()
	s := orMissing(tb)(Start(tb.Context(), config))
	tb.Cleanup(func() {
		if err := s.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// orMissing is for the results of a function that returns a server: a server that
// cannot be had is missing, one that does not start is a failure.
func orMissing(tb testing.TB) func(*Server, error) *Server {
	tb.Helper()
	return func(s *Server, err error) *Server {
		tb.Helper()
		if _, unavailable := errors.AsType[*UnavailableError](err); unavailable {
			Missing(tb, "postgres", err.Error())
		}
		if err != nil {
			tb.Fatal(err)
		}
		return s
	}
}

// Missing ends a test that lacks something, with the reason: it fails if
// ANNALS_REQUIRE names what is missing, and is skipped otherwise.
func Missing(tb testing.TB, what, reason string) {
	tb.Helper()
	if slices.Contains(strings.Split(os.Getenv(EnvRequire), ","), what) {
		tb.Fatalf("%s (required by %s)", reason, EnvRequire)
	}
	tb.Skip(reason)
}
