package gittest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Large makes a repository with a long history on main: each commit adds, changes,
// moves and deletes about five files, in a tree that grows. The same numbers give
// the same history.
func Large(tb testing.TB, commits int) *Repo {
	tb.Helper()
	r := New(tb)
	rng := rand.New(rand.NewPCG(1, uint64(commits))) //nolint:gosec // the same each time
	var s Script
	var files []string
	for n := range commits {
		author := rng.IntN(40)
		c := Commit{Author: fmt.Sprintf("Author %d <author%d@example.org>", author, author)}
		changed := map[int]bool{}
		for k := range 3 + rng.IntN(5) {
			at := rng.IntN(len(files) + 1)
			switch kind := rng.IntN(100); {
			case kind < 25 || at == len(files) || changed[at]:
				path := fmt.Sprintf("src/package%02d/part%d/file%d_%d.go", rng.IntN(50), rng.IntN(5), n, k)
				changed[len(files)] = true
				files = append(files, path)
				c.Ops = append(c.Ops, Put(path, File, lines(rng)))
			case kind < 90:
				changed[at] = true
				c.Ops = append(c.Ops, Put(files[at], File, lines(rng)))
			case kind < 95:
				changed[at] = true
				to := fmt.Sprintf("src/package%02d/moved%d_%d.go", rng.IntN(50), n, k)
				c.Ops = append(c.Ops, Move(files[at], to))
				files[at] = to
			default:
				c.Ops = append(c.Ops, Delete(files[at]))
				last := len(files) - 1
				changed[at] = changed[last]
				files[at] = files[last]
				files = files[:last]
			}
		}
		if n > 0 && s.Size() == 0 {
			c.Parents = []string{"refs/heads/main^0"} // a new script
		}
		s.Commit(c)
		if s.Size() > 8<<20 {
			r.Write(&s)
			s = Script{mark: s.mark}
		}
	}
	if s.Size() > 0 {
		r.Write(&s)
	}
	return r
}

func lines(rng *rand.Rand) string {
	var b strings.Builder
	for range 10 {
		fmt.Fprintf(&b, "line %d of a file\n", rng.IntN(1_000_000))
	}
	return b.String()
}
