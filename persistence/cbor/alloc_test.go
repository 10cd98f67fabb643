//go:build !race

// With the race detector, pools forget at random.

package cbor_test

import (
	"testing"

	"github.com/annals-es/annals/persistence/cbor"
	"github.com/annals-es/annals/persistence/internal/transcodertest"
)

func TestCBORAllocatesLittle(t *testing.T) {
	transcodertest.Allocations(t, cbor.New())
}
