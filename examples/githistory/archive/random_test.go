package archive_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/annals-es/annals/examples/githistory/archive"
	"github.com/annals-es/annals/examples/githistory/gittest"
	"github.com/annals-es/annals/memory"
)

// entry is what a random tree has at a path.
type entry struct {
	mode string
	text int // which of the texts; of a submodule, which commit
	line int // how it was changed
}

// randomTree is the tree that random operations work on.
type randomTree map[string]entry

// put puts something there. What is in its way goes: folders of that name, and
// files where it needs folders.
func (tree randomTree) put(path string, e entry) {
	maps.DeleteFunc(tree, func(other string, _ entry) bool {
		return strings.HasPrefix(other, path+"/") || strings.HasPrefix(path, other+"/")
	})
	tree[path] = e
}

func (tree randomTree) change(t *rapid.T) {
	names := rapid.SampledFrom([]string{
		"a", "b", "c", "a/a", "a/b", "b/a", "c/c/c", "c/c/d", "-", "\xff", "\xff/\xff", `\xff`, "é", "e\u0301", " ", "\n", "a b/c\td",
	})
	entries := rapid.Custom(func(t *rapid.T) entry {
		return entry{
			rapid.SampledFrom([]string{gittest.File, gittest.File, gittest.File, gittest.Executable, gittest.Link, gittest.Submodule}).Draw(t, "mode"),
			rapid.IntRange(0, 3).Draw(t, "text"), rapid.IntRange(0, 2).Draw(t, "line"),
		}
	})
	path := names.Draw(t, "path")
	there, ok := tree[path]
	switch op := rapid.SampledFrom([]string{"put", "change", "move", "swap", "delete", "copy", "folder"}).Draw(t, "op"); op {
	case "put":
		tree.put(path, entries.Draw(t, "entry"))
	case "change":
		if ok {
			there.line++
			tree.put(path, there)
		}
	case "move", "copy":
		to := names.Draw(t, "to")
		if ok && to != path {
			if op == "move" {
				delete(tree, path)
			}
			there.line += rapid.IntRange(0, 1).Draw(t, "changed")
			tree.put(to, there)
		}
	case "swap":
		other := names.Draw(t, "other")
		if second, both := tree[other]; ok && both {
			tree[path], tree[other] = second, there
		}
	case "delete":
		delete(tree, path)
	case "folder": // a folder moves
		to := names.Draw(t, "to")
		for from, e := range maps.Clone(tree) {
			if rest, below := strings.CutPrefix(from, path+"/"); below && !strings.HasPrefix(to+"/", path+"/") {
				delete(tree, from)
				tree.put(to+"/"+rest, e)
			}
		}
	}
}

// ops returns what makes a tree, whatever it was before.
func (tree randomTree) ops() []gittest.Op {
	ops := []gittest.Op{gittest.DeleteAll()}
	for _, path := range slices.Sorted(maps.Keys(tree)) {
		e := tree[path]
		if e.mode == gittest.Submodule {
			ops = append(ops, gittest.PutSubmodule(path, strings.Repeat(fmt.Sprint(1+e.text), 40)))
			continue
		}
		text := fmt.Sprintf("changed %d times\n", e.line)
		for n := range 12 {
			text += fmt.Sprintf("text %d, line %d\n", e.text, n)
		}
		if e.text == 0 {
			text = ""
		}
		if e.mode == gittest.Link {
			text = fmt.Sprint("to ", e.text, e.line)
		}
		ops = append(ops, gittest.Put(path, e.mode, text))
	}
	return ops
}

// TestRandomHistories imports random repositories, in random pieces and saves, and
// compares every commit.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var s gittest.Script
		tree, side := randomTree{}, randomTree{}
		var main, branch string
		for range rapid.IntRange(1, 8).Draw(rt, "commits") {
			author := rapid.SampledFrom([]string{"Ada <ada@x>", "B\xff <b\xff@x>", "<>", "Another <ada@x>"}).Draw(rt, "author")
			for range rapid.IntRange(0, 5).Draw(rt, "changes") {
				tree.change(rt)
			}
			c := gittest.Commit{Author: author, Ops: tree.ops()}
			switch kind := rapid.SampledFrom([]string{"plain", "plain", "plain", "side", "merge"}).Draw(rt, "kind"); {
			case kind == "side" && main != "":
				side.change(rt)
				if branch == "" {
					branch = main
				}
				branch = s.Commit(gittest.Commit{Branch: "side", Author: author, Parents: []string{branch}, Ops: side.ops()})
			case kind == "merge" && branch != "":
				for path, e := range side {
					if rapid.Bool().Draw(rt, "take") {
						tree.put(path, e)
					}
				}
				c.Parents, c.Ops = []string{main, branch}, tree.ops()
			}
			main = s.Commit(c)
		}
		r := gittest.New(t)
		r.Write(&s)
		chain := r.Chain()
		repo, a := openGit(t, r), openArchive(t, memory.New())
		for at := 0; at < len(chain); {
			at += rapid.IntRange(1, len(chain)-at).Draw(rt, "piece")
			r.Git("update-ref", "refs/heads/main", chain[at-1])
			importAll(t, a, repo, archive.ImportConfig{
				EventsPerSave: rapid.IntRange(1, 30).Draw(rt, "events per save"),
				Kept:          rapid.IntRange(1, 10).Draw(rt, "kept"),
			})
		}
		report := verifyAll(t, a, repo)
		if report.Commits != len(chain) {
			rt.Fatalf("%d of %d commits were compared", report.Commits, len(chain))
		}
	})
}
