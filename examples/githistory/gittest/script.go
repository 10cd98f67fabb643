package gittest

import (
	"bytes"
	"fmt"
	"strings"
)

// The modes of what a tree can have.
const (
	File       = "100644"
	Executable = "100755"
	Link       = "120000"
	Submodule  = "160000"
)

// Script is a number of commits, for [Repo.Write]. Its zero value is empty.
type Script struct {
	out  bytes.Buffer
	mark int
}

// Commit is one commit. Its zero value is a commit by Ada, on main, after the last
// one, which changes nothing.
type Commit struct {
	Branch string // defaults to "main"
	// Author is "Name <address>"; it defaults to Ada's.
	Author string
	// Time is in seconds since 1970, or anything that fast-import takes. Defaults to
	// a minute after the commit before.
	Time string
	// Parents are other commits, by what [Script.Commit] returned for them, or
	// "refs/heads/main^0" for the last one of an earlier script. Defaults to the
	// last commit of the branch in this script, if there is one.
	Parents []string
	Ops     []Op
}

// Op changes the tree of a commit.
type Op func(out *bytes.Buffer)

// Commit adds a commit and returns its name within the script.
func (s *Script) Commit(c Commit) string {
	s.mark++
	if c.Branch == "" {
		c.Branch = "main"
	}
	if c.Author == "" {
		c.Author = "Ada <ada@example.org>"
	}
	if c.Time == "" {
		c.Time = fmt.Sprint(1_700_000_000 + 60*s.mark)
	}
	fmt.Fprintf(&s.out, "commit refs/heads/%s\nmark :%d\nauthor %s %s +0000\ncommitter %s %s +0000\ndata 0\n",
		c.Branch, s.mark, c.Author, c.Time, c.Author, c.Time)
	for i, parent := range c.Parents {
		word := "from"
		if i > 0 {
			word = "merge"
		}
		fmt.Fprintf(&s.out, "%s %s\n", word, parent)
	}
	for _, op := range c.Ops {
		op(&s.out)
	}
	s.out.WriteByte('\n')
	return fmt.Sprintf(":%d", s.mark)
}

// Len returns the number of commits.
func (s *Script) Len() int { return s.mark }

// Size returns the number of bytes that are to be written.
func (s *Script) Size() int { return s.out.Len() }

// Put puts a file or a link there. What is in its way goes.
func Put(path, mode, data string) Op {
	return func(out *bytes.Buffer) {
		fmt.Fprintf(out, "M %s inline %s\ndata %d\n%s\n", mode, quote(path), len(data), data)
	}
}

// PutSubmodule puts a submodule there, at a commit: 40 or 64 digits.
func PutSubmodule(path, commit string) Op {
	return func(out *bytes.Buffer) { fmt.Fprintf(out, "M %s %s %s\n", Submodule, commit, quote(path)) }
}

// Delete takes a file or a folder away.
func Delete(path string) Op {
	return func(out *bytes.Buffer) { fmt.Fprintf(out, "D %s\n", quote(path)) }
}

// DeleteAll empties the tree.
func DeleteAll() Op { return func(out *bytes.Buffer) { out.WriteString("deleteall\n") } }

// Move moves a file or a folder.
func Move(from, to string) Op {
	return func(out *bytes.Buffer) { fmt.Fprintf(out, "R %s %s\n", quote(from), quote(to)) }
}

// quote writes a path as fast-import reads it.
func quote(path string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(path) {
		switch c := path[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, "\\%03o", c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
