package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/sqlite"
)

// envReadOnly makes the test's program look at a database that it may not write:
// the superuser may write every file, so the tests play somebody else.
const envReadOnly = "ANNALS_SQLITE_READ_ONLY"

// playReadOnly tries to save to the database, and says what happened.
func playReadOnly(path string) error {
	ctx := context.Background()
	r, err := sqlite.Open(ctx, path)
	if err == nil {
		_, err = r.Record(ctx, batch(event("b", 1)))
		err = errors.Join(err, r.Close())
	}
	if !errors.Is(err, persistence.ErrReadOnly) || !strings.Contains(err.Error(), path) {
		return fmt.Errorf("got error %w, want one that is %q and names %s", err, persistence.ErrReadOnly.Error(), path)
	}
	return nil
}
