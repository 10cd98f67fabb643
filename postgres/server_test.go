package postgres_test

import (
	"os"
	"testing"
)

func serverURL(tb testing.TB) string {
	tb.Helper()
	return os.Getenv("ANNALS_TEST_POSTGRES_URL")
}
