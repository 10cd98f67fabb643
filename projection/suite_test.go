package projection_test

import (
	"testing"

	"github.com/annals-es/annals/internal/projectiontest"
)

// The suite with log and view in memory, as the model of the others.
func TestSuiteInMemory(t *testing.T) {
	log := projectiontest.WithMemoryLog(projectiontest.Backend[projectiontest.MemoryTx]{})
	projectiontest.Run(t, projectiontest.WithMemoryView(log))
}
