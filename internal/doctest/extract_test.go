package doctest

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
)

// A program is a package that a page shows: its files, and what it prints when a page shows that too.
type program struct {
	name   string // the folder to build it in, and the last element of its import path
	files  []file
	output *output
}

// A file is a Go block of a page, or several of a group in a row.
type file struct {
	clause string // the name in the package clause
	test   bool
	blocks []block
}

// An output is what a page says that a program prints.
type output struct {
	line int
	text string
}

// A block is a fenced code block.
type block struct {
	line      int      // of the fence that opens it, from 1
	info      []string // words after the fence: the language and what follows
	directive string   // of the comment on the line above, without "doctest:"
	text      string
}

var (
	fence     = regexp.MustCompile("^([ \t]*)(`{3,}|~{3,})[ \t]*([^`]*)$")
	directive = regexp.MustCompile(`^<!--\s*doctest:\s*(.+?)\s*-->$`)
	testFunc  = regexp.MustCompile(`(?m)^func (Test|Example|Benchmark|Fuzz)[^(]*\(`)
)

// blocks returns the code blocks of a page in Markdown.
func blocks(page string) ([]block, error) {
	var (
		found []block
		open  *block // the block that the line stands in
		mark  string // of the open block: its fence
		space string // of the open block: what its fence is indented by
		above string // the directive that waits for its block
	)
	for n, line := range strings.Split(page, "\n") {
		line = strings.TrimRight(line, "\r \t")
		match := fence.FindStringSubmatch(line)
		switch comment := directive.FindStringSubmatch(line); {
		case open != nil && match != nil && strings.HasPrefix(match[2], mark) && match[3] == "":
			found = append(found, *open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, space) + "\n"
		case match != nil:
			open = &block{line: n + 1, info: strings.Fields(match[3]), directive: above}
			space, mark, above = match[1], match[2], ""
		case above != "" && line != "":
			return nil, fmt.Errorf("line %d: the comment doctest: %s above stands above no code block", n+1, above)
		case comment != nil:
			above = comment[1]
		case strings.HasPrefix(line, "<!--") && strings.Contains(line, "doctest"):
			return nil, fmt.Errorf("line %d: not of the form <!-- doctest: … -->: %s", n+1, line)
		}
	}
	switch {
	case open != nil:
		return nil, fmt.Errorf("line %d: the code block is not closed", open.line)
	case above != "":
		return nil, fmt.Errorf("at the end: the comment doctest: %s stands above no code block", above)
	}

	return found, nil
}

// programs returns the programs of a page in the order in which they begin. It refuses what would go untested by mistake.
func programs(page string) ([]*program, error) {
	found, err := blocks(page)
	if err != nil {
		return nil, err
	}
	c := collector{groups: make(map[string]*program)}
	for _, b := range found {
		if err := c.add(b); err != nil {
			return nil, fmt.Errorf("line %d: %w", b.line, err)
		}
	}

	return c.programs, nil
}

// A collector puts the blocks of a page together.
type collector struct {
	programs []*program
	groups   map[string]*program
	last     *program // of the last Go block, for the output that follows it
}

func (c *collector) add(b block) error {
	language := ""
	if len(b.info) > 0 {
		language = b.info[0]
	}
	switch group, grouped := strings.CutPrefix(b.directive, "group="); {
	case b.directive == "output" && language == "text":
		return c.addOutput(b)
	case b.directive != "" && !grouped || grouped && language != "go":
		return fmt.Errorf("doctest: %s does not go with a block of %q", b.directive, language)
	case grouped && !token.IsIdentifier(group):
		return fmt.Errorf("the group %q is no name of a package", group)
	case language == "go":
		return c.addGo(b, group)
	default:
		return nil
	}
}

func (c *collector) addOutput(b block) error {
	switch {
	case c.last == nil:
		return errors.New("an output without a program before it")
	case c.last.output != nil:
		return errors.New("a second output of the program")
	case c.last.files[0].clause != "main":
		return fmt.Errorf("an output after package %s, which is no program", c.last.files[0].clause)
	}
	c.last.output = &output{line: b.line, text: b.text}

	return nil
}

func (c *collector) addGo(b block, group string) error {
	if len(b.info) > 1 {
		if b.info[1] != "ignore" {
			return fmt.Errorf("unknown words after go: %s", strings.Join(b.info[1:], " "))
		}
		if len(b.info) == 2 {
			return errors.New("go ignore wants a reason on the same line")
		}

		return nil
	}
	p := c.groups[group]
	if p == nil {
		p = &program{name: group}
		if group == "" {
			p.name = fmt.Sprintf("line%d", b.line)
		} else {
			c.groups[group] = p
		}
		c.programs = append(c.programs, p)
	}
	c.last = p

	parsed, err := parser.ParseFile(token.NewFileSet(), "", b.text, parser.PackageClauseOnly)
	switch {
	case err == nil:
		p.files = append(p.files, file{clause: parsed.Name.Name})
	case len(p.files) == 0:
		return fmt.Errorf("a Go block is a whole file, but this one does not begin with a package clause: "+
			"make it one, or add it to a group (%w)", err)
	}
	f := &p.files[len(p.files)-1]
	f.blocks = append(f.blocks, b)
	f.test = f.test || testFunc.MatchString(b.text)

	return nil
}

// source is the file as the compiler gets it. Line directives make it speak of lines of the page.
func (f file) source(page string) string {
	var b strings.Builder
	for _, block := range f.blocks {
		fmt.Fprintf(&b, "//line %s:%d\n%s", page, block.line+1, block.text)
	}

	return b.String()
}
