package gittest

import (
	"fmt"
	"strings"
	"testing"
)

// OddNames are paths that git allows and programs get wrong.
var OddNames = []string{
	"a b", " leading", "trailing ", `quo"ted`, "'single'", "new\nline", "tab\tbed", `back\slash`, `back\\slash`,
	`\xff`, "\xff", "\xff\xfe/\x80", "mixed \xe4 ä", "caf\u00e9", "cafe\u0301", "\u65e5\u672c/\u8a9e",
	"-dash", "--", "-r", "\x01\x7f", "*?[glob]", ":(top)colon", "!bang", "$HOME", "%41", "a\rb",
	"\u202e", "\ufffd", "\xed\xa0\x80", "~", "@", "{}", ".hidden", "deep/" + strings.Repeat("d/", 100) + "end",
	strings.Repeat(strings.Repeat("n", 249)+"/", 3) + strings.Repeat("n", 250),
}

// Odd makes a repository in which everything happens that a history can hold:
// always the same, with the same hashes. The options are those of git init.
func Odd(tb testing.TB, options ...string) *Repo {
	tb.Helper()
	r := New(tb, options...)
	digits := 40
	if strings.Contains(strings.Join(options, " "), "sha256") {
		digits = 64
	}
	submodule := func(digit string) string { return strings.Repeat(digit, digits) }

	var s Script
	s.oddNames()
	s.lives(submodule)
	s.shapes(submodule)
	s.merges()
	s.authors()
	r.Write(&s)
	return r
}

func (s *Script) do(ops ...Op) string { return s.Commit(Commit{Ops: ops}) }

// oddNames adds, changes, moves and deletes each odd name.
func (s *Script) oddNames() {
	var add, change, move, back, del []Op
	for i, name := range OddNames {
		add = append(add, Put(name, File, long(i, 0)))
		change = append(change, Put(name, Executable, long(i, 1)))
		move = append(move, Move(name, "moved/"+name))
		back = append(back, Move("moved/"+name, name), Put(name, File, long(i, 2)))
		del = append(del, Delete(name))
	}
	s.do(add...)
	s.do(change...)
	s.do(move...)
	s.do(back...)
	s.do(del...)
	s.do(add...)
}

// lives is what a path goes through.
func (s *Script) lives(submodule func(string) string) {
	s.do(Put("life", File, long(1, 0)), Put("link", Link, "life"), PutSubmodule("sub", submodule("1")), Put("empty", File, ""))
	s.do(Put("life", File, long(1, 1)))
	s.do(Put("life", Executable, long(1, 1)))
	s.do() // nothing
	s.do(Move("life", "other/life"))
	s.do(Put("life", File, long(2, 0)))
	s.do(Move("other/life", "third"), Put("third", File, long(1, 2)))
	s.do(Delete("life"))
	s.do(Put("life", File, long(1, 2))) // a copy of third
	s.do(Put("copy", File, long(1, 2)), Put("copy2", Executable, long(1, 2)))
	s.do(Put("life", Link, "\xff\xfe"))
	s.do(PutSubmodule("life", submodule("2")))
	s.do(PutSubmodule("life", submodule("3")), PutSubmodule("sub", submodule("4")))
	s.do(Put("life", File, ""), Delete("sub"))
	s.do(Put("sub", File, "no submodule\n"), PutSubmodule("link", submodule("5")))
	s.do(Move("link", "moved-submodule"))
	s.do(Put("n1", File, long(21, 0)), Put("n2", File, long(22, 0)), Put("n3", File, long(23, 0)))
	s.do(Move("n1", "m1"), Move("n2", "m2"), Move("n3", "m3"),
		Put("m1", File, long(21, 1)), Put("m2", File, long(22, 1)), Put("m3", File, long(23, 1)))
}

// shapes is what a tree goes through: names that change places, files that become
// folders.
func (s *Script) shapes(submodule func(string) string) {
	s.do(Put("x", File, long(11, 0)), Put("y", File, long(12, 0)), Put("z", File, long(13, 0)),
		Put("d/one", File, long(14, 0)), Put("d/two", File, "2\n"))
	s.do(Put("x", File, long(12, 0)), Put("y", File, long(11, 0)))                                       // swapped
	s.do(Put("x", File, long(11, 0)), Put("y", File, long(13, 0)), Put("z", File, long(12, 0)))          // moved around
	s.do(Move("x", "w"), Put("x", File, long(15, 0)))                                                    // moved, and a new one
	s.do(Move("y", "x"))                                                                                 // moved over another
	s.do(Move("x", "v"), Move("w", "x"))                                                                 // one follows the other
	s.do(Delete("x"), Put("x/x", File, long(11, 0)))                                                     // a file becomes a folder
	s.do(Delete("x"), Put("x", File, long(11, 0)))                                                       // and back
	s.do(Delete("d"), Put("d", File, long(14, 0)), Delete("z"), Put("z/one", File, long(12, 0)))         // both at once
	s.do(Delete("d"), Put("d/one", File, long(12, 0)), Delete("z"), Put("z", File, long(14, 0)))         // and they swap
	s.do(Delete("d"), PutSubmodule("d", submodule("6")))                                                 // a folder becomes a submodule
	s.do(Delete("d"), Put("d/deep/er", Link, "nowhere"), Delete("z"), Put("z/"+"\xff", File, "bytes\n")) // and a folder again
	s.do(DeleteAll())
	s.do() // nothing, and nothing there
	s.do(Put("x", File, long(11, 0)), Put("life", File, long(1, 0)))
}

// merges has merges of two and of many, some of which change something themselves.
func (s *Script) merges() {
	base := s.do(Put("m/base", File, "base\n"))
	left := s.Commit(Commit{Branch: "left", Parents: []string{base}, Ops: []Op{Put("m/left", File, "left\n"), Move("x", "m/x")}})
	left = s.Commit(Commit{Branch: "left", Parents: []string{left}, Ops: []Op{Put("m/left", File, "more\n")}})
	right := s.Commit(Commit{Branch: "right", Parents: []string{base}, Ops: []Op{Put("m/right", File, "right\n")}})
	main := s.do(Put("m/main", File, "main\n"))
	merged := s.Commit(Commit{
		Parents: []string{main, left},
		Ops:     []Op{Put("m/left", File, "more\n"), Move("x", "m/x"), Put("m/evil", File, "in no parent\n")},
	})
	s.Commit(Commit{Parents: []string{merged, right}}) // changes nothing
	branches := []string{s.do(Put("m/main", File, "again\n"))}
	var ops []Op
	for n := range 7 {
		put := Put(fmt.Sprintf("m/octopus%d", n), File, fmt.Sprintln(n))
		ops = append(ops, put)
		branches = append(branches, s.Commit(Commit{Branch: fmt.Sprintf("octopus%d", n), Parents: []string{right}, Ops: []Op{put}}))
	}
	octopus := s.Commit(Commit{Parents: branches, Ops: ops})
	root := s.Commit(Commit{Branch: "unrelated", Ops: []Op{Put("elsewhere", File, "another root\n")}})
	s.Commit(Commit{Parents: []string{octopus, root}, Ops: []Op{Put("elsewhere", File, "another root\n")}})
}

// authors has those that are hard to read, and times that are hard to believe.
func (s *Script) authors() {
	for i, author := range []string{
		"<>", " <only@example.org>", "Only Name <>", "J\xfcrgen <j\xfcrgen@example.org>", "Jürgen <jürgen@example.org>",
		`Back\slash <back\slash>`, "Ada <ada@example.org>", "Another Ada <ada@example.org>", "\"Quoted\" <quo\"ted>",
		"\u65e5\u672c <\u65e5\u672c@example.org>",
	} {
		s.Commit(Commit{Author: author, Ops: []Op{Put("authors", File, author)}})
		s.Commit(Commit{Author: author, Time: fmt.Sprint(i)}) // long ago, and nothing changed
	}
	for _, time := range []string{"0", "1", "2147483648", "4294967296", "253402300799", "253402300800", "9223372036854775807"} {
		s.Commit(Commit{Time: time, Ops: []Op{Put("times", File, time)}})
	}
	s.do(Put("last", File, "the end\n"))
}

// long returns a text that is recognised when a line of it changes.
func long(text, line int) string {
	var b strings.Builder
	for n := range 20 {
		fmt.Fprintf(&b, "text %d, line %d\n", text, n)
	}
	fmt.Fprintf(&b, "changed %d times\n", line)
	return b.String()
}
