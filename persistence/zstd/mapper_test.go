package zstd_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/aesgcm"
	"github.com/annals-es/annals/persistence/internal/transcodertest"
	"github.com/annals-es/annals/persistence/zstd"
)

// sold is an event of 200 bytes of JSON.
type sold struct {
	transcodertest.Event

	Note string `json:"note"`
}

func sale(n int) sold { return sold{transcodertest.AnEvent(n), "a gift"} }

func (sold) Apply(*order) {}

var sales = annals.Define("Sale", annals.On[sold]("Sold"))

// layers are what an event goes through: JSON, zstd, AES-GCM.
type layers struct {
	transcoder persistence.Transcoder
	compressor persistence.Compressor
	cipher     persistence.Cipher
	mapper     *persistence.Mapper
}

func newLayers(tb testing.TB, opts ...zstd.Option) layers {
	tb.Helper()
	key, _, err := aesgcm.GenerateKey("2026")
	if err != nil {
		tb.Fatal(err)
	}
	keys, err := aesgcm.NewRing(key)
	if err != nil {
		tb.Fatal(err)
	}
	l := layers{transcoder: persistence.JSON(), compressor: zstd.New(opts...), cipher: aesgcm.New(keys)}
	l.mapper, err = persistence.NewMapper(persistence.MapperConfig{Compressor: l.compressor, Cipher: l.cipher})
	if err == nil {
		err = l.mapper.Register(sales)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// samples are the encoded data of events, for a dictionary.
func samples(tb testing.TB, from, to int) (all [][]byte) {
	tb.Helper()
	for n := from; n < to; n++ {
		b, err := persistence.JSON().Encode(nil, sale(n))
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// mapped is an event, and what lies between the layers on its way.
type mapped struct {
	event                        annals.Event
	stored                       persistence.StoredEvent
	plain, compressed, encrypted []byte
}

// associated stands for what a mapper binds a ciphertext to, and is as long.
var associated = bytes.Repeat([]byte{'a'}, 80)

// mappedEvents returns some of many events.
func mappedEvents(tb testing.TB, l layers) []mapped {
	tb.Helper()
	all := make([]mapped, 1000)
	for n := range all {
		m := &all[n]
		m.event = annals.Event{
			ID: annals.NewID(), StreamID: annals.NewID(), Version: int64(n + 1), Topic: "Sale.Sold", Data: sale(n),
			Time: time.Date(2026, 11, 24, 10, 11, 12, 0, time.UTC),
		}
		var err error
		if m.stored, err = l.mapper.Encode(tb.Context(), &m.event); err == nil {
			m.plain, err = l.transcoder.Encode(nil, m.event.Data)
		}
		if err == nil {
			m.compressed, err = l.compressor.Compress(nil, m.plain)
		}
		if err == nil {
			m.encrypted, err = l.cipher.Encrypt(tb.Context(), nil, m.compressed, associated)
		}
		if err != nil {
			tb.Fatal(err)
		}
		if m.stored.Encoding != "1:json+zstd+aesgcm" {
			tb.Fatalf("an event of %d bytes is stored as %s", len(m.plain), m.stored.Encoding)
		}
		if n := len(m.plain); n < 195 || n > 205 {
			tb.Fatalf("an event has %d bytes", n)
		}
	}
	return all
}

// way is what happens to an event on its way there or back, in all and part by part.
type way struct {
	name  string
	all   func(m *mapped) error
	parts []part
}

type part struct {
	name string
	do   func(m *mapped) error
}

func ways(ctx context.Context, l layers) []way {
	a, b := make([]byte, 0, 1024), make([]byte, 0, 1024)
	return []way{
		{"encode", func(m *mapped) error { _, err := l.mapper.Encode(ctx, &m.event); return err }, []part{
			{"encode", func(m *mapped) error { _, err := l.transcoder.Encode(a, m.event.Data); return err }},
			{"compress", func(m *mapped) error { _, err := l.compressor.Compress(b, m.plain); return err }},
			{"encrypt", func(m *mapped) error {
				_, err := l.cipher.Encrypt(ctx, make([]byte, 0, len(m.encrypted)), m.compressed, associated)
				return err
			}},
		}},
		{"decode", func(m *mapped) error { _, err := l.mapper.Decode(ctx, &m.stored); return err }, []part{
			{"decrypt", func(m *mapped) error { _, err := l.cipher.Decrypt(ctx, a, m.encrypted, associated); return err }},
			{"decompress", func(m *mapped) error { _, err := l.compressor.Decompress(b, m.compressed); return err }},
			{"decode", func(m *mapped) error { var data sold; return l.transcoder.Decode(m.plain, &data) }},
		}},
	}
}

// kinds of compressors: a dictionary knows events like those that are mapped.
func kinds(tb testing.TB) []struct {
	suffix string
	opts   []zstd.Option
} {
	tb.Helper()
	return []struct {
		suffix string
		opts   []zstd.Option
	}{{"", nil}, {"-dictionary", []zstd.Option{zstd.WithDictionary(train(tb, samples(tb, 1000, 2000)))}}}
}

// BenchmarkMapper takes events of 200 bytes through JSON, zstd and AES-GCM, and back:
// ns/op is all of it, and the other times are its parts, measured in turn with it.
// The parts are less than the whole by what the mapper itself does.
func BenchmarkMapper(b *testing.B) {
	for _, kind := range kinds(b) {
		l := newLayers(b, kind.opts...)
		events := mappedEvents(b, l)
		for _, w := range ways(b.Context(), l) {
			b.Run(w.name+kind.suffix, func(b *testing.B) {
				b.ReportAllocs()
				var took [3]time.Duration
				rounds := 0
				round := func() {
					b.StopTimer()
					for i, p := range w.parts {
						start := time.Now()
						for n := range events {
							if err := p.do(&events[n]); err != nil {
								b.Fatal(err)
							}
						}
						took[i] += time.Since(start)
					}
					rounds++
					b.StartTimer()
				}
				for n := 0; b.Loop(); n++ {
					if n%len(events) == 0 {
						round()
					}
					if err := w.all(&events[n%len(events)]); err != nil {
						b.Fatal(err)
					}
				}
				for i, p := range w.parts {
					b.ReportMetric(float64(took[i].Nanoseconds())/float64(rounds*len(events)), "ns/"+p.name)
				}
				b.ReportMetric(allocations(w, events), "allocs/"+w.name)
				plain, stored := 0, 0
				for i := range events {
					plain, stored = plain+len(events[i].plain), stored+len(events[i].stored.State)
				}
				b.ReportMetric(float64(plain)/float64(len(events)), "plain-bytes/event")
				b.ReportMetric(float64(stored)/float64(len(events)), "stored-bytes/event")
			})
		}
	}
}

// allocations returns how many an event makes on its way.
func allocations(w way, events []mapped) float64 {
	n := 0
	return testing.AllocsPerRun(2*len(events), func() {
		_ = w.all(&events[n%len(events)])
		n++
	})
}
