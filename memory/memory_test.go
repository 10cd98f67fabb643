package memory_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/memory"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/recordertest"
)

// stores are recorders by their addresses.
type stores struct{ m sync.Map }

func (s *stores) create(tb testing.TB) string {
	tb.Helper()
	address := annals.NewID()
	s.m.Store(address, memory.New())
	tb.Cleanup(func() { s.m.Delete(address) })
	return address
}

func (s *stores) open(_ context.Context, address string) (recordertest.Recorder, error) {
	r, ok := s.m.Load(address)
	if !ok {
		return nil, fmt.Errorf("there is no store %q", address)
	}
	return r.(*memory.Recorder), nil
}

func backend() recordertest.Backend {
	s := new(stores)
	return recordertest.Backend{
		Name: "memory", Create: s.create, Open: s.open, Features: recordertest.Features{Snapshots: true, Ledger: true},
	}
}

func TestMain(m *testing.M) { recordertest.Main(m, backend()) }

func TestConformance(t *testing.T) { recordertest.Run(t, backend()) }

func BenchmarkSave1(b *testing.B)    { recordertest.BenchmarkSave1(b, backend()) }
func BenchmarkSave64(b *testing.B)   { recordertest.BenchmarkSave64(b, backend()) }
func BenchmarkLoad1000(b *testing.B) { recordertest.BenchmarkLoad1000(b, backend()) }
func BenchmarkScan(b *testing.B)     { recordertest.BenchmarkScan(b, backend()) }

func BenchmarkLoadSnapshot(b *testing.B) { recordertest.BenchmarkLoadSnapshot(b, backend()) }
func BenchmarkGetCached(b *testing.B)    { recordertest.BenchmarkGetCached(b, backend()) }

// What is empty is read as empty, whatever was stored before, and what is nil as nil.
func TestEmptyIsNotNil(t *testing.T) {
	t.Parallel()
	r := memory.New()
	states := [][]byte{{}, nil, []byte("x"), {}, nil, bytes.Repeat([]byte("long"), 1000), {}}
	for i, state := range states {
		e := persistence.StoredEvent{
			ID: annals.NewID(), StreamID: "a", Version: int64(i + 1), Topic: "Happened", Time: time.Unix(0, 0).UTC(), Shape: 1, Encoding: "1:json",
			State: state,
		}
		if _, err := r.Record(t.Context(), persistence.Batch{Events: []persistence.StoredEvent{e}}); err != nil {
			t.Fatal(err)
		}
	}
	i := 0
	for e, err := range r.ReadStream(t.Context(), "a", persistence.StreamQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e.State, states[i]) || (e.State == nil) != (states[i] == nil) {
			t.Errorf("state %d is %q, nil: %t", i, e.State, e.State == nil)
		}
		i++
	}
}
