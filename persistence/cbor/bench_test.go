package cbor_test

import (
	"testing"

	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/cbor"
	"github.com/annals-es/annals/persistence/internal/transcodertest"
)

// BenchmarkTranscoders encodes into a buffer that is there, as a mapper does, and
// decodes 1,000 different events in turn.
func BenchmarkTranscoders(b *testing.B) {
	for _, transcoder := range []persistence.Transcoder{persistence.JSON(), cbor.New()} {
		values, encoded, size := make([]any, 1000), make([][]byte, 1000), 0
		for n := range values {
			values[n] = transcodertest.AnEvent(n)
			data, err := transcoder.Encode(nil, values[n])
			if err != nil {
				b.Fatal(err)
			}
			encoded[n], size = data, size+len(data)
		}
		perEvent := float64(size) / float64(len(values))
		b.Run(transcoder.Name()+"/encode", func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]byte, 0, 512)
			for n := 0; b.Loop(); n++ {
				if _, err := transcoder.Encode(dst, values[n%len(values)]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(perEvent, "bytes/event")
		})
		b.Run(transcoder.Name()+"/decode", func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				var target transcodertest.Event
				if err := transcoder.Decode(encoded[n%len(encoded)], &target); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(perEvent, "bytes/event")
		})
	}
}
