//go:build !race

// With the race detector, pools forget at random.

package persistence_test

import (
	"testing"

	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/internal/transcodertest"
)

func TestJSONAllocatesLittle(t *testing.T) {
	transcodertest.Allocations(t, persistence.JSON())
}
