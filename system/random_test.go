package system_test

import (
	"testing"

	"github.com/annals-es/annals/internal/systemtest"
)

func TestSystemsInMemory(t *testing.T) {
	t.Parallel()
	systemtest.Run(t, systemtest.Memory())
}
