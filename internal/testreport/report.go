package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is a line of `go test -json`: see `go doc test2json` and `go help buildjson`.
type event struct {
	Action  string `json:"Action"`
	Package string `json:"Package"`
	Test    string `json:"Test"`
	Output  string `json:"Output"`
	Key     string `json:"Key"`
	Value   string `json:"Value"`
}

// counts are the figures of a line of the table.
type counts struct {
	run, skipped, failed int
	off                  int // checks of the suite that need a feature which the recorder does not have
}

// report is what has been read so far.
type report struct {
	out       *bufio.Writer
	required  []string
	running   map[string]*pkg
	recorders map[string]*counts
	others    counts
	reasons   map[string]int // why tests were skipped, and how many
	failed    []string       // packages
}

func newReport(out io.Writer, required []string) *report {
	return &report{
		out: bufio.NewWriter(out), required: required,
		running: make(map[string]*pkg), recorders: make(map[string]*counts), reasons: make(map[string]int),
	}
}

// read reads events until there are no more.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if errors.Is(err, io.EOF) {
			return r.out.Flush()
		}
		if err != nil {
			return err
		}
		if lines.Buffered() == 0 { // before it waits
			if err := r.out.Flush(); err != nil {
				return err
			}
		}
	}
}

func (r *report) line(line []byte) {
	var e event
	if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &e) != nil || e.Action == "" {
		r.print(string(line))
		return
	}
	switch {
	case e.Action == "build-output":
		r.print(e.Output)
	case e.Package == "": // build-fail: the package fails as well
	case e.Test == "":
		r.packageEvent(r.pkg(e.Package), e)
	default:
		r.testEvent(r.pkg(e.Package).test(e.Test), e)
	}
}

func (r *report) print(text string) {
	_, _ = r.out.WriteString(text) // the writer keeps the error for Flush
}

func (r *report) pkg(name string) *pkg {
	p := r.running[name]
	if p == nil {
		p = &pkg{name: name, tests: make(map[string]*test)}
		r.running[name] = p
	}
	return p
}

func (r *report) packageEvent(p *pkg, e event) {
	switch e.Action {
	case "output":
		p.root.add(e.Output)
	case "pass", "skip":
		delete(r.running, p.name)
		r.printPassed(p)
	case "fail":
		delete(r.running, p.name)
		r.fail(p)
	}
}

func (r *report) testEvent(t *test, e event) {
	switch e.Action {
	case "output":
		t.add(e.Output)
	case "attr":
		switch e.Key {
		case "recorder":
			t.recorder = e.Value
		case "off":
			r.counts(t).off++
		}
	case "pass", "bench", "fail", "skip":
		t.result = e.Action
		r.count(t)
		if e.Action != "fail" { // only what was said afterwards is of interest: a panic of another goroutine
			t.parts = slices.Clone(t.parts[t.tail:])
		}
	}
}

// count counts a test that has ended. Of tests with subtests only these count, unless
// something else has failed.
func (r *report) count(t *test) {
	c := r.counts(t)
	switch {
	case t.failed():
		t.above.subFailed = true
		if !t.subFailed {
			c.run++
			c.failed++
		}
	case t.hasSubs:
	case t.result == "skip":
		c.skipped++
		r.reasons[t.reason()]++
	default:
		c.run++
	}
}

// counts returns the figures that a test belongs to.
func (r *report) counts(t *test) *counts {
	for ; t != nil; t = t.above {
		if t.recorder == "" {
			continue
		}
		c := r.recorders[t.recorder]
		if c == nil {
			c = new(counts)
			r.recorders[t.recorder] = c
		}
		return c
	}
	return &r.others
}

// fail counts the tests of a package that have not ended, and prints those that have
// failed.
func (r *report) fail(p *pkg) {
	r.failed = append(r.failed, p.name)
	p.root.eachSub(func(t *test) {
		if t.result == "" {
			r.count(t)
		}
	})
	r.printFailed(&p.root)
}

// finish prints what is left, and the table. It reports whether all is well.
func (r *report) finish() (ok bool, err error) {
	for _, name := range slices.Sorted(maps.Keys(r.running)) {
		r.fail(r.running[name]) // go test was killed
	}
	ok = len(r.failed) == 0
	r.print("\n")
	r.printTable()
	for _, reason := range slices.Sorted(maps.Keys(r.reasons)) {
		r.print(fmt.Sprintf("skipped %d: %s\n", r.reasons[reason], reason))
	}
	for _, name := range slices.Sorted(maps.Keys(r.recorders)) {
		of, _, _ := strings.Cut(name, ".") // sqlite.New is of sqlite
		if c := r.recorders[name]; c.run == 0 && slices.Contains(r.required, of) {
			r.print(fmt.Sprintf("FAIL: no test of %s ran: ANNALS_REQUIRE names it\n", name))
			ok = false
		}
	}
	for _, name := range r.failed {
		r.print("FAIL: " + name + "\n")
	}
	return ok, r.out.Flush()
}

func (r *report) printTable() {
	const others = "other tests"
	names := slices.Sorted(maps.Keys(r.recorders))
	width := len(others)
	for _, name := range names {
		width = max(width, len(name))
	}
	row := func(name string, run, skipped, failed, off any) {
		line := fmt.Sprintf("%-*s  %6v  %7v  %6v  %3v", width, name, run, skipped, failed, off)
		r.print(strings.TrimRight(line, " ") + "\n")
	}
	row("recorder", "run", "skipped", "failed", "off")
	for _, name := range names {
		c := r.recorders[name]
		row(name, c.run, c.skipped, c.failed, c.off)
	}
	row(others, r.others.run, r.others.skipped, r.others.failed, "")
}
