package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals/examples/githistory/gittest"
	"github.com/annals-es/annals/examples/githistory/history"
)

func open(t *testing.T, r *gittest.Repo) *Repository {
	t.Helper()
	repo, err := Open(t.Context(), r.Dir, gittest.Environ())
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func headOf(t *testing.T, repo *Repository) history.Hash {
	t.Helper()
	head, err := repo.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func collect[T any](t *testing.T, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func commits(t *testing.T, repo *Repository) []history.Commit {
	t.Helper()
	return collect(t, repo.Commits(t.Context(), "", headOf(t, repo)))
}

func TestCommits(t *testing.T) {
	t.Parallel()
	const text = "1\n2\n3\n4\n5\n6\n7\n8\n9\n"
	var s gittest.Script
	first := s.Commit(gittest.Commit{
		Author: "J\xfcrgen <j@example.org>", Time: "1000000000",
		Ops: []gittest.Op{gittest.Put("a", gittest.File, text), gittest.Put("b\n\xff", gittest.Link, "a")},
	})
	s.Commit(gittest.Commit{Author: "<>", Time: "99999999999999"})
	side := s.Commit(gittest.Commit{Branch: "side", Parents: []string{first}, Ops: []gittest.Op{gittest.Put("side", gittest.File, "")}})
	third := s.Commit(gittest.Commit{Time: "0", Ops: []gittest.Op{gittest.Move("a", "c"), gittest.Put("c", gittest.Executable, text+"10\n")}})
	s.Commit(gittest.Commit{Time: "0", Parents: []string{third, side}, Ops: []gittest.Op{gittest.Put("side", gittest.File, "")}})
	s.Commit(gittest.Commit{Time: "0", Ops: []gittest.Op{gittest.Delete("c"), gittest.Put("side", gittest.Link, "x")}})
	r := gittest.New(t)
	r.Write(&s)
	repo := open(t, r)

	blob := func(rev, path string) history.Hash {
		for line := range strings.SplitSeq(r.Git("ls-tree", "-r", "-z", rev), "\x00") {
			meta, p, _ := strings.Cut(line, "\t")
			if p == path {
				return history.Hash(strings.Fields(meta)[2])
			}
		}
		t.Fatalf("%s has no path %q", rev, path)
		return ""
	}
	text1 := history.Content{Mode: "100644", Blob: blob("main~4", "a")}
	text2 := history.Content{Mode: "100755", Blob: blob("main~1", "c")}
	empty := history.Content{Mode: "100644", Blob: blob("main~1", "side")}
	ada := history.Signature{Name: "Ada", Email: "ada@example.org"}
	want := []history.Commit{
		{
			Author: history.Signature{Name: "J\xfcrgen", Email: "j@example.org"}, Time: time.Unix(1_000_000_000, 0).UTC(),
			Changes: []history.Change{
				{Path: "a", New: text1},
				{Path: "b\n\xff", New: history.Content{Mode: "120000", Blob: blob("main", "b\n\xff")}},
			},
		},
		{Time: lastTime},
		{
			Author: ada, Time: time.Unix(0, 0).UTC(),
			Changes: []history.Change{{Path: "a", Old: text1, To: "c"}, {Path: "c", New: text2, From: "a"}},
		},
		{Author: ada, Time: time.Unix(0, 0).UTC(), Changes: []history.Change{{Path: "side", New: empty}}},
		{Author: ada, Time: time.Unix(0, 0).UTC(), Changes: []history.Change{
			{Path: "c", Old: text2},
			{Path: "side", Old: empty, New: history.Content{Mode: "120000", Blob: blob("main", "side")}},
		}},
	}
	chain := r.Chain()
	for i := range want {
		want[i].Hash = history.Hash(chain[i])
	}
	if diff := cmp.Diff(want, commits(t, repo)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want[2:4], collect(t, repo.Commits(t.Context(), want[1].Hash, want[3].Hash))); diff != "" {
		t.Error("a part of them:", diff)
	}
	if rest := collect(t, repo.Commits(t.Context(), want[4].Hash, want[4].Hash)); len(rest) != 0 {
		t.Errorf("after the last one there are %v", rest)
	}
	for i := range want {
		want[i].Changes = nil
	}
	if diff := cmp.Diff(want, collect(t, repo.Log(t.Context(), "", headOf(t, repo)))); diff != "" {
		t.Error("without changes:", diff)
	}
}

// TestChangesAddUp adds the changes up and compares what comes out with git's own
// tree, at every commit of a history that has everything.
func TestChangesAddUp(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			repo := open(t, gittest.Odd(t, "--object-format="+format))
			addUp(t, repo)
		})
	}
}

func addUp(t *testing.T, repo *Repository) {
	t.Helper()
	tree := map[history.Path]history.Content{}
	for _, c := range commits(t, repo) {
		for _, change := range c.Changes {
			if tree[change.Path] != change.Old {
				t.Fatalf("commit %s: path %q was %v, and changed from %v", c.Hash, change.Path, tree[change.Path], change.Old)
			}
			if tree[change.Path] = change.New; change.New == (history.Content{}) {
				delete(tree, change.Path)
			}
		}
		if diff := cmp.Diff(treeOf(t, repo, c.Hash), tree); diff != "" {
			t.Fatalf("commit %s: %s", c.Hash, diff)
		}
	}
}

func treeOf(t *testing.T, repo *Repository, commit history.Hash) map[history.Path]history.Content {
	t.Helper()
	tree := map[history.Path]history.Content{}
	for _, e := range collect(t, repo.Tree(t.Context(), commit)) {
		tree[e.Path] = e.Content
	}
	return tree
}

func TestTreeHasEachPath(t *testing.T) {
	t.Parallel()
	var s gittest.Script
	var ops []gittest.Op
	for _, name := range gittest.OddNames {
		ops = append(ops, gittest.Put(name, gittest.File, name))
	}
	s.Commit(gittest.Commit{Ops: ops})
	r := gittest.New(t)
	r.Write(&s)
	repo := open(t, r)
	tree := treeOf(t, repo, headOf(t, repo))
	for _, name := range gittest.OddNames {
		if tree[history.Path(name)].Mode != "100644" {
			t.Errorf("the tree has not %q", name)
		}
	}
	if len(tree) != len(gittest.OddNames) {
		t.Errorf("the tree has %d paths; want %d", len(tree), len(gittest.OddNames))
	}
}

// TestSettingsChangeNothing reads one repository with every setting of the user
// and of the repository that changes what git prints.
func TestSettingsChangeNothing(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	var s gittest.Script // settings of the repository itself, in its last commit
	s.Commit(gittest.Commit{Parents: []string{"refs/heads/main^0"}, Ops: []gittest.Op{
		gittest.Put(".gitattributes", gittest.File, "* -text diff=upper working-tree-encoding=UTF-16\n"),
		gittest.Put(".gitmodules", gittest.File, "[submodule \"sub\"]\n\tpath = sub\n\tignore = all\n\turl = /nowhere\n"),
		gittest.Put(".mailmap", gittest.File, "Somebody Else <else@example.org> <ada@example.org>\n"),
		gittest.PutSubmodule("sub", strings.Repeat("7", 40)),
	}})
	s.Commit(gittest.Commit{Ops: []gittest.Op{gittest.PutSubmodule("sub", strings.Repeat("8", 40))}})
	r.Write(&s)
	repo := open(t, r)
	want := commits(t, repo)
	wantTree := treeOf(t, repo, headOf(t, repo))

	for _, setting := range []string{
		"diff.renames=false", "diff.renames=copies", "diff.renameLimit=1", "diff.noprefix=true", "diff.external=false", "diff.relative=true",
		"diff.ignoreSubmodules=all", "diff.submodule=log", "diff.orderFile=/dev/null", "diff.algorithm=patience", "diff.mnemonicPrefix=true",
		"diff.upper.textconv=tr a-z A-Z <", "diff.upper.command=false", "diff.suppressBlankEmpty=true", "core.quotePath=false",
		"core.abbrev=4", "core.pager=false", "core.attributesFile=/nowhere", "core.fsmonitor=false", "core.precomposeUnicode=true",
		"core.ignoreCase=true", "core.commitGraph=false", "core.worktree=/", "color.ui=always", "color.diff=always", "log.showSignature=true",
		"log.mailmap=true", "log.date=relative", "log.decorate=full", "log.follow=true", "log.diffMerges=on", "log.showRoot=false",
		"i18n.logOutputEncoding=ISO-8859-1", "i18n.commitEncoding=UTF-16", "format.pretty=%s", "format.notes=*", "notes.displayRef=*",
		"submodule.recurse=true", "submodule.sub.ignore=all", "submodule.sub.path=sub", "status.submoduleSummary=true",
		"core.useReplaceRefs=true", "grep.patternType=perl", "alias.diff-tree=version", "alias.rev-list=version", "pager.rev-list=true",
	} {
		name, value, _ := strings.Cut(setting, "=")
		r.Git("config", "--add", name, value)
	}
	r.Git("notes", "add", "-m", "a note", "HEAD")
	r.Git("replace", "HEAD", "HEAD~5")
	if err := os.WriteFile(filepath.Join(r.Dir, "index"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := gittest.New(t)
	environ := append(gittest.Environ(), "GIT_DIR="+elsewhere.Dir, "GIT_WORK_TREE=/", "GIT_INDEX_FILE=/nowhere", "GIT_OBJECT_DIRECTORY=/nowhere",
		"GIT_EXTERNAL_DIFF=false", "GIT_PAGER=false", "GIT_DIFF_OPTS=--unified=9", "GIT_LITERAL_PATHSPECS=1", "GIT_TRACE=1", "GIT_NAMESPACE=x",
		"GIT_SHALLOW_FILE=/nowhere", "GIT_PREFIX=x/", "LANG=de_DE.UTF-8", "LC_ALL=de_DE.UTF-8", "PAGER=false", "GIT_COMMON_DIR="+elsewhere.Dir)
	repo, err := Open(t.Context(), r.Dir, environ)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, commits(t, repo)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(wantTree, treeOf(t, repo, headOf(t, repo))); diff != "" {
		t.Error(diff)
	}
}

func TestReadingEndsEarly(t *testing.T) {
	t.Parallel()
	repo := open(t, gittest.Odd(t))
	head := headOf(t, repo)
	for commit, err := range repo.Commits(t.Context(), "", head) {
		if err != nil || commit.Hash == "" {
			t.Fatal(commit, err)
		}
		break
	}
	for _, err := range repo.Tree(t.Context(), head) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for _, err := range repo.Commits(ctx, "", head) {
		if err == nil {
			n++
		}
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) && n < len(commits(t, repo)) {
		t.Errorf("cancelled, it ended after %d commits with %v", n, last)
	}
}

func TestBrokenOutput(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("a", 40)
	head := hash + "\x001\x002\x00mail\x00name\x00\x00"
	change := "\n:100644 100644 " + hash + " " + hash
	for _, out := range []string{
		"x", "x\x00", hash, hash + "\x00", hash + "\x001\x00", head + "x", head + "\nx\x00", head + change + " M", head + change + " M\x00",
		head + change + " R100\x00a\x00", head + change + "\x00a\x00", head + change + " \x00a\x00", head + "\n:\x00a\x00", head + change + " M\x00a",
	} {
		if _, err := scan(out); err == nil {
			t.Errorf("%q was taken for commits", out)
		}
	}
	for _, entry := range []string{"", "100644 blob " + hash, "100644 blob x\ta", "100644 " + hash + "\ta"} {
		if _, err := parseEntry([]byte(entry)); err == nil {
			t.Errorf("%q was taken for an entry", entry)
		}
	}
}

func TestPathThatIsTwiceInATree(t *testing.T) {
	t.Parallel()
	a, b := history.Content{Mode: "100644", Blob: "a"}, history.Content{Mode: "100644", Blob: "b"}
	var m merger
	if err := m.add(history.Change{Path: "p", New: a}); err != nil {
		t.Fatal(err)
	}
	if err := m.add(history.Change{Path: "p", New: b}); err == nil || !strings.Contains(err.Error(), `path "p" twice`) {
		t.Errorf("got %v", err)
	}
}

func TestLeavingAndArrivingAreOneChange(t *testing.T) {
	t.Parallel()
	a, b := history.Content{Mode: "100644", Blob: "a"}, history.Content{Mode: "100644", Blob: "b"}
	var m merger
	for _, err := range []error{
		m.add(history.Change{Path: "arrives first", New: b}),
		m.addMoved(history.Change{Path: "p", Old: a, New: a}, "q", true),
		m.addMoved(history.Change{Path: "q", Old: b, New: b}, "p", true), // swapped
		m.add(history.Change{Path: "arrives first", Old: a}),
		m.addMoved(history.Change{Path: "p", Old: a, New: a}, "copy", false),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []history.Change{
		{Path: "arrives first", Old: a, New: b},
		{Path: "p", Old: a, New: b, From: "q"},
		{Path: "q", Old: b, New: a, From: "p"},
		{Path: "copy", New: a, From: "p"},
	}
	if diff := cmp.Diff(want, m.changes); diff != "" {
		t.Error(diff)
	}
}

func TestAuthorTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ author, committer, want string }{
		{"0", "5", "1970-01-01T00:00:00Z"},
		{"1700000000", "5", "2023-11-14T22:13:20Z"},
		{"", "5", "1970-01-01T00:00:05Z"},
		{"", "", "1970-01-01T00:00:00Z"},
		{"nonsense", "5", "1970-01-01T00:00:00Z"},
		{"253402300799", "5", "9999-12-31T23:59:59Z"},
		{"253402300800", "5", "9999-12-31T23:59:59Z"},
		{strings.Repeat("9", 40), "5", "9999-12-31T23:59:59Z"},
		{"-62135596801", "5", "0001-01-01T00:00:01Z"},
		{"-" + strings.Repeat("9", 40), "5", "0001-01-01T00:00:01Z"},
	} {
		if got := authorTime(c.author, c.committer).Format(time.RFC3339); got != c.want {
			t.Errorf("%q, %q: got %s; want %s", c.author, c.committer, got, c.want)
		}
	}
}

func scan(out string) ([]history.Commit, error) {
	s := newScanner(strings.NewReader(out))
	var all []history.Commit
	for {
		c, err := s.commit()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, c)
	}
}

// TestGitDiesInTheMiddle has output that ends where it may end, from a git that
// failed: the last commit may lack changes.
func TestGitDiesInTheMiddle(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("a", 40)
	head := hash + "\x001\x002\x00mail\x00name\x00\x00"
	change := "\n:100644 100644 " + hash + " " + hash + " M\x00"
	out := head + change + "a\x00" + head + change + "b\x00"
	died := errors.New("died")
	for _, c := range []struct {
		out    string
		finish error
		want   int
		err    error
	}{
		{out, nil, 2, nil},
		{out, died, 1, died},
		{"", nil, 0, nil},
		{"", died, 0, died},
		{head, died, 0, died},
		{out + "x", died, 1, io.ErrUnexpectedEOF},
	} {
		n := 0
		var last error
		for commit, err := range scanAll(newScanner(strings.NewReader(c.out)), func() error { return c.finish }) {
			if last = err; err == nil {
				n++
			} else if commit.Hash != "" {
				t.Errorf("%q: with the error %v comes commit %s", c.out, err, commit.Hash)
			}
		}
		if n != c.want || !errors.Is(last, c.err) {
			t.Errorf("%q: got %d commits and %v; want %d and %v", c.out, n, last, c.want, c.err)
		}
	}
}

// FuzzScanner shows that nothing that git might print makes the scanner panic or
// give a commit that is none.
func FuzzScanner(f *testing.F) {
	hash := strings.Repeat("a", 40)
	f.Add(fmt.Sprintf("%s\x001\x002\x00mail\x00name\x00\x00\n:100644 100644 %s %s R100\x00a\x00b\x00%s\x00\x00\x00\x00\x00\x00", hash, hash, hash, hash))
	f.Add(fmt.Sprintf("%s\x001\x002\x00mail\x00name\x00\x00\n:000000 120000 %s %s A\x00a\nb\x00", hash, hash, hash))
	f.Fuzz(func(t *testing.T, out string) {
		all, err := scan(out)
		for _, c := range all {
			if !isHash(c.Hash) {
				t.Fatalf("commit %q of %q, %v", c.Hash, out, err)
			}
			seen := map[history.Path]bool{}
			for _, change := range c.Changes {
				if seen[change.Path] {
					t.Fatalf("path %q is twice in %q", change.Path, out)
				}
				seen[change.Path] = true
			}
		}
	})
}
