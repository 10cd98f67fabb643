package doctest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// md writes Markdown in Go strings: ' stands for a backtick.
func md(lines ...string) string {
	return strings.ReplaceAll(strings.Join(lines, "\n"), "'", "`")
}

// outline is what the extractor makes of a page, in a form that a table can hold: each program with its files, each
// file with its package, "test" when it is one, and the lines of its blocks; then the line of the output.
func outline(found []*program) []string {
	var lines []string
	for _, p := range found {
		line := p.name + ":"
		for _, f := range p.files {
			line += " " + f.clause
			if f.test {
				line += " test"
			}
			for _, b := range f.blocks {
				line += fmt.Sprintf(" %d", b.line)
			}
		}
		if p.output != nil {
			line += fmt.Sprintf(" prints %d", p.output.line)
		}
		lines = append(lines, line)
	}

	return lines
}

func TestTheProgramsOfAPageAreFound(t *testing.T) {
	t.Parallel()

	tests := []struct {
		name string
		page string
		want []string
	}{
		{"a page without code has none", md("# Title", "", "Text with 'code'."), nil},
		{"code of other languages is left alone", md("'''sh", "go test ./...", "'''", "", "'''", "package x", "'''"), nil},
		{"a Go block is a program", md("text", "'''go", "package main", "'''"), []string{"line2: main 2"}},
		{
			"a package clause may follow a comment",
			md("'''go", "// Command x does.", "package main", "'''"),
			[]string{"line1: main 1"},
		},
		{
			"two blocks are two programs",
			md("'''go", "package main", "'''", "'''go", "package x", "'''"),
			[]string{"line1: main 1", "line4: x 4"},
		},
		{
			"a longer fence holds a shorter one",
			md("''''markdown", "'''go", "nonsense", "'''", "''''"),
			nil,
		},
		{"a fence may be of tildes", md("~~~go", "package main", "~~~"), []string{"line1: main 1"}},
		{"line ends may be those of Windows", md("'''go\r", "package main\r", "'''\r"), []string{"line1: main 1"}},
		{"a block with a test is a test file", md("'''go", "package x", "func TestX(t *testing.T) {}", "'''"), []string{"line1: x test 1"}},
		{
			"the blocks of a group are the files of one package",
			md(
				"<!-- doctest: group=school -->", "'''go", "package school", "'''",
				"<!-- doctest: group=school -->", "", "'''go", "package school", "'''",
			),
			[]string{"school: school 2 school 7"},
		},
		{
			"a block of a group may go on with the file before",
			md(
				"<!-- doctest: group=school -->", "'''go", "package school", "'''",
				"<!-- doctest: group=school -->", "'''go", "var x int", "'''",
			),
			[]string{"school: school 2 6"},
		},
		{
			"an output belongs to the program before it",
			md("'''go", "package main", "'''", "It prints:", "<!-- doctest: output -->", "'''text", "hello", "'''"),
			[]string{"line1: main 1 prints 6"},
		},
		{"a block that is ignored for a reason is left alone", md("'''go ignore it must not compile", "x", "'''"), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()

			found, err := programs(test.page)
			if err != nil {
				t.Fatal(err)
			}
			if got := outline(found); !slices.Equal(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

func TestAPageIsRefusedWhenItsCodeWouldGoUntested(t *testing.T) {
	t.Parallel()

	tests := []struct {
		name string
		page string
		want string // part of the error
	}{
		{"a part of a file", md("'''go", "x := 1", "'''"), "line 1: a Go block is a whole file"},
		{"an ignored block without a reason", md("'''go ignore", "x", "'''"), "line 1: go ignore wants a reason"},
		{"an unknown word after go", md("'''go igonre because", "x", "'''"), "line 1: unknown words after go: igonre because"},
		{"a block that is not closed", md("text", "'''go", "package main"), "line 2: the code block is not closed"},
		{"an unknown directive", md("<!-- doctest: gruop=x -->", "'''go", "package x", "'''"), "line 2: doctest: gruop=x does not go with"},
		{"a directive in another form", md("<!-- doctest output -->", "'''text", "'''"), "line 1: not of the form"},
		{"a directive above text", md("<!-- doctest: group=x -->", "text", "'''go", "package x", "'''"), "stands above no code block"},
		{"a directive at the end", md("<!-- doctest: group=x -->"), "stands above no code block"},
		{"a group with an odd name", md("<!-- doctest: group=../x -->", "'''go", "package x", "'''"), "is no name of a package"},
		{"a group of another language", md("<!-- doctest: group=x -->", "'''sh", "ls", "'''"), `does not go with a block of "sh"`},
		{"an output in another language", md("<!-- doctest: output -->", "'''json", "{}", "'''"), `does not go with a block of "json"`},
		{"an output before its program", md("<!-- doctest: output -->", "'''text", "x", "'''"), "an output without a program before it"},
		{
			"an output of a library",
			md("'''go", "package x", "'''", "<!-- doctest: output -->", "'''text", "'''"),
			"an output after package x, which is no program",
		},
		{
			"two outputs of a program",
			md("'''go", "package main", "'''", "<!-- doctest: output -->", "'''text", "'''", "<!-- doctest: output -->", "'''text", "'''"),
			"a second output",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()

			found, err := programs(test.page)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("found %q and the error %v, want an error with %q", outline(found), err, test.want)
			}
		})
	}
}

func TestAPageFailsWhenItsCodeDoesNotDoWhatItSays(t *testing.T) {
	t.Parallel()

	const hello = `import "fmt"; func main() { fmt.Println("hello") }`
	tests := []struct {
		name string
		page string
		want string // part of the error; "" when the page is in order
	}{
		{
			"a program that prints what the page says",
			md("'''go", "package main", hello, "'''", "<!-- doctest: output -->", "'''text", "hello", "'''"),
			"",
		},
		{
			"a program that prints something else",
			md("'''go", "package main", hello, "'''", "<!-- doctest: output -->", "'''text", "goodbye", "'''"),
			"page.md:6: the program prints\nhello",
		},
		{
			"a program that fails",
			md("'''go", "package main", `func main() { panic("no") }`, "'''", "<!-- doctest: output -->", "'''text", "'''"),
			"panic: no",
		},
		{"a program without main", md("'''go", "package main", "'''"), "function main is undeclared"},
		{"code that does not compile", md("text", "", "'''go", "package x", "", "var n int = true", "'''"), "page.md:6"},
		{
			"code that vet refuses",
			md("'''go", "package x", `import "fmt"; var S = fmt.Sprintf("%d", "x")`, "'''"),
			"page.md:3",
		},
		{
			"a group whose files use each other, and a program that imports it",
			md(
				"<!-- doctest: group=school -->", "'''go", "package school", "'''",
				"<!-- doctest: group=school -->", "'''go", "const Name = name", "'''",
				"<!-- doctest: group=school -->", "'''go", "package school", `const name = "x"`, "'''",
				"'''go", "package main", `import "example.com/school"; func main() { _ = school.Name }`, "'''",
			),
			"",
		},
		{
			"a test that passes",
			md("'''go", "package x", `import "testing"`, "func TestX(t *testing.T) {}", "'''"),
			"",
		},
		{
			"a test that fails",
			md("'''go", "package x", `import "testing"`, `func TestX(t *testing.T) { t.Fatal("no") }`, "'''"),
			"--- FAIL: TestX",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()

			found, err := programs(test.page)
			if err != nil {
				t.Fatal(err)
			}
			err = build(t.Context(), workspaceOf("1.26"), "/docs/page.md", found, t.TempDir())
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}
