package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/annals-es/annals/examples/githistory/gittest"
)

// BenchmarkSizes measures what each transcoder and compressor makes of the events of
// a history: that of the repository in GITHISTORY_REPO; if that is not set, of the
// one that this file is in; if it is in none, or in a clone that has a part of the
// history, of one of 2,000 commits that package gittest makes. The log says which,
// its commits by first parents, and the events.
//
// The events are divided in the middle of the history. The dictionaries, 16 KiB by
// default, are trained on the earlier half, and everything is measured on the later
// one, of which they know nothing. For each format there are two benchmarks, encode
// and decode, of events in the order of the log. The metrics, whose names will stay:
//
//	bytes/event  the mean size of what is stored of the data of an event. What is
//	             stored beside it, its ids, version, topic and time, does not count.
//	ns/op        the time for one event, through the mapper: from a Go value to
//	             bytes, or back; without a recorder.
func BenchmarkSizes(b *testing.B) {
	events := eventsOf(b, repository(b))
	samples, events := events[:len(events)/2], events[len(events)/2:]
	b.Logf("the dictionaries are trained on the first %d events; the other %d are measured", len(samples), len(events))
	all := formats(b, samples)
	for _, f := range all {
		m := f.mapper(b, all)
		stored := encodeAll(b, m, events)
		size := 0
		for _, s := range stored {
			size += len(s.State)
		}
		perEvent := float64(size) / float64(len(stored))
		b.Run(f.name+"/encode", func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				if _, err := m.Encode(b.Context(), &events[n%len(events)]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(perEvent, "bytes/event")
		})
		b.Run(f.name+"/decode", func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				if _, err := m.Decode(b.Context(), &stored[n%len(stored)]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(perEvent, "bytes/event")
		})
	}
}

// repository returns the folder of the repository that is measured.
func repository(b *testing.B) string {
	b.Helper()
	dir, what := os.Getenv("GITHISTORY_REPO"), "the repository in GITHISTORY_REPO"
	if dir == "" {
		shallow, err := exec.CommandContext(b.Context(), "git", "rev-parse", "--is-shallow-repository").Output()
		if dir, what = ".", "this repository"; err != nil || strings.TrimSpace(string(shallow)) != "false" {
			dir, what = gittest.Large(b, 2000).Dir, "a repository that was made for this"
		}
	}
	r := gittest.At(b, dir)
	b.Logf("the history of %s: %d commits by first parents, up to %s", what, len(r.Chain()), r.Git("rev-parse", "HEAD"))
	return dir
}
