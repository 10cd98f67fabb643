//go:build !race

// With the race detector, pools forget at random.

package aesgcm_test

import (
	"strings"
	"testing"

	"github.com/annals-es/annals/persistence/aesgcm"
)

// reused does each thing again and again into memory that is there, and fails if it
// takes any more: the cipher of a key is made with the key, and not for each event.
func reused(tb testing.TB, each func(name string, do func() error)) {
	tb.Helper()
	for kind, k := range map[string]aesgcm.Key{"": key(tb, "2026", 32), ", a long id": key(tb, strings.Repeat("k", 64), 32)} {
		c := cipher(tb, k, key(tb, "2025", 32))
		plaintext, associated := []byte(strings.Repeat(data, 5)[:200]), []byte(place)
		ciphertext := encrypt(tb, c, plaintext, associated)
		ctx, into := tb.Context(), make([]byte, 0, len(ciphertext))
		for name, do := range map[string]func(into []byte) error{
			"encrypt": func(into []byte) error { _, err := c.Encrypt(ctx, into, plaintext, associated); return err },
			"decrypt": func(into []byte) error { _, err := c.Decrypt(ctx, into, ciphertext, associated); return err },
		} {
			if allocs := testing.AllocsPerRun(500, func() { _ = do(into) }); allocs > 0 {
				tb.Errorf("%s%s: %v allocations", name, kind, allocs)
			}
			each(name+kind, func() error { return do(into) })
		}
		if allocs := testing.AllocsPerRun(500, func() { _, _ = c.Decrypt(ctx, nil, ciphertext, associated) }); allocs > 1 {
			tb.Errorf("decrypt without room%s: %v allocations, want that of the result", kind, allocs)
		}
	}
}

//nolint:paralleltest // it counts the allocations of the process
func TestAnEventTakesNoMemoryBesideItsResult(t *testing.T) {
	reused(t, func(string, func() error) {})
}

func BenchmarkCipher(b *testing.B) {
	reused(b, func(name string, do func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(200)
			for b.Loop() {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}
