package main

import (
	"cmp"
	"regexp"
	"strings"
)

// pkg is a package whose tests run.
type pkg struct {
	name  string
	root  test // what belongs to no test, and all tests
	tests map[string]*test
}

// test is a test or a subtest.
type test struct {
	name      string
	depth     int // of subtests
	above     *test
	result    string // pass, bench, fail or skip; "" has not ended
	parts     []part // in the order of the output
	head      string // the line that says that it failed
	tail      int    // the index of the first part after the line that says that it passed or was skipped
	hasSubs   bool
	subFailed bool
	recorder  string // of a test that runs the conformance suite
}

// part is a piece of a test's output: text, or where a subtest began.
type part struct {
	text string
	sub  *test
}

// test returns a test by its name.
func (p *pkg) test(name string) *test {
	t := p.tests[name]
	if t != nil {
		return t
	}
	t = &test{name: name, above: &p.root}
	for above := name; t.above == &p.root; { // a slash may be part of a name
		i := strings.LastIndexByte(above, '/')
		if i < 0 {
			break
		}
		above = above[:i]
		if a := p.tests[above]; a != nil {
			t.above, t.depth = a, a.depth+1
		}
	}
	t.above.parts = append(t.above.parts, part{sub: t})
	t.above.hasSubs = true
	p.tests[name] = t
	return t
}

// frame is a line that go test prints about a test with -v only.
var frame = regexp.MustCompile(`^=== (RUN|PAUSE|CONT|NAME|ATTR|ARTIFACTS) `)

func (t *test) add(output string) {
	switch {
	case frame.MatchString(output):
	case strings.HasPrefix(output, "--- FAIL: "+t.name+" ("):
		t.head = output
	case strings.HasPrefix(output, "--- PASS: "+t.name+" ("), strings.HasPrefix(output, "--- SKIP: "+t.name+" ("):
		t.tail = len(t.parts)
	default:
		t.parts = append(t.parts, part{text: output})
	}
}

// failed reports whether a test has failed, or not ended.
func (t *test) failed() bool { return t.result == "fail" || t.result == "" }

// eachSub calls visit for all tests below t, those that are lower first.
func (t *test) eachSub(visit func(*test)) {
	for _, part := range t.parts {
		if part.sub != nil {
			part.sub.eachSub(visit)
			visit(part.sub)
		}
	}
}

// position is the file and line at which a test has logged.
var position = regexp.MustCompile(`^\S+\.go:\d+: `)

// reason returns what a test that was skipped has said last.
func (t *test) reason() string {
	var text strings.Builder
	for _, part := range t.parts[:t.tail] {
		text.WriteString(part.text)
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	last := position.ReplaceAllString(strings.TrimSpace(lines[len(lines)-1]), "")
	return cmp.Or(last, "no reason given")
}

// printPassed prints the line that the go command prints about a package without
// failures.
func (r *report) printPassed(p *pkg) {
	for _, part := range p.root.parts {
		if strings.HasPrefix(part.text, "ok  \t") || strings.HasPrefix(part.text, "?   \t") || strings.HasPrefix(part.text, "\t") {
			r.print(part.text)
		}
	}
}

// printFailed prints what a test or a package that failed has said, and in it its
// subtests.
func (r *report) printFailed(t *test) {
	indent := strings.Repeat("    ", t.depth)
	switch {
	case t.head != "":
		r.print(indent + t.head)
	case t.above != nil && t.result == "" && len(t.parts) > 0:
		r.print(indent + "--- FAIL: " + t.name + " (not ended)\n")
	}
	var last string
	for _, part := range t.parts {
		if part.sub != nil {
			r.printFailed(part.sub)
			continue
		}
		if strings.HasPrefix(part.text, "    ") { // logged, not printed
			r.print(indent)
		}
		r.print(part.text)
		last = part.text
	}
	if last != "" && !strings.HasSuffix(last, "\n") {
		r.print("\n")
	}
}
