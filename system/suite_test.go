package system_test

import (
	"testing"

	"github.com/annals-es/annals/internal/systemtest"
)

func TestSystemsInMemory(t *testing.T) {
	t.Parallel()
	systemtest.Run(t, systemtest.Memory())
}

func BenchmarkPipe3(b *testing.B) { systemtest.BenchmarkPipe3(b, systemtest.Memory()) }

func BenchmarkPipeLatency(b *testing.B) { systemtest.BenchmarkPipeLatency(b, systemtest.Memory()) }
