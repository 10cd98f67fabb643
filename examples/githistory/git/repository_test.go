package git

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals/examples/githistory/gittest"
	"github.com/annals-es/annals/examples/githistory/history"
)

// small makes a repository with a few commits, with a working tree.
func small(t *testing.T, commits int) *gittest.Repo {
	t.Helper()
	dir := t.TempDir()
	r := gittest.At(t, dir)
	r.Git("init", "--quiet", "--initial-branch=main", ".")
	r.Write(script(commits))
	r.Git("reset", "--quiet", "--hard")
	return r
}

func script(commits int) *gittest.Script {
	var s gittest.Script
	for n := range commits {
		s.Commit(gittest.Commit{Ops: []gittest.Op{
			gittest.Put("file", gittest.File, strings.Repeat("x", n)), gittest.Put("folder/file", gittest.File, "y"),
		}})
	}
	return &s
}

func TestOpenFindsTheRepository(t *testing.T) {
	t.Parallel()
	r := small(t, 3)
	want := history.Hash(r.Git("rev-parse", "HEAD"))
	bare := filepath.Join(t.TempDir(), "bare.git")
	r.Git("clone", "--quiet", "--bare", r.Dir, bare)
	linked := filepath.Join(t.TempDir(), "linked")
	r.Git("worktree", "add", "--quiet", "--detach", linked, "HEAD~1")
	for dir, want := range map[string]history.Hash{
		r.Dir:                           want,
		filepath.Join(r.Dir, "folder"):  want,
		filepath.Join(r.Dir, ".git"):    want,
		bare:                            want,
		filepath.Join(linked, "folder"): history.Hash(r.Git("rev-parse", "HEAD~1")),
		filepath.Join(bare, "refs"):     want,
		r.Dir + "/./.":                  want,
	} {
		repo, err := Open(t.Context(), dir, gittest.Environ())
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		if got := headOf(t, repo); got != want {
			t.Errorf("%s: HEAD is %s; want %s", dir, got, want)
		}
		if tree := treeOf(t, repo, want); len(tree) != 2 {
			t.Errorf("%s: the tree is %v", dir, tree)
		}
		addUp(t, repo)
	}
}

func TestOpenRefusesWhatIsNoRepository(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		dir:                          "not a git repository",
		file:                         "not a folder",
		filepath.Join(dir, "absent"): "no such file",
	} {
		environ := append(gittest.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
		if _, err := Open(t.Context(), dir, environ); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: got %v; want %q", dir, err, want)
		}
	}
	if _, err := Open(t.Context(), dir, []string{"PATH=" + dir}); err == nil {
		t.Error("it was opened")
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	repo := open(t, gittest.New(t))
	if _, err := repo.Head(t.Context()); !errors.Is(err, history.ErrNoCommits) {
		t.Errorf("a new repository: got %v", err)
	}
	r := small(t, 3)
	r.Git("checkout", "--quiet", "--detach", "HEAD~1")
	if got, want := string(headOf(t, open(t, r))), r.Git("rev-parse", "main~1"); got != want {
		t.Errorf("detached: got %s; want %s", got, want)
	}
	r.Git("checkout", "--quiet", "--orphan", "another")
	if _, err := open(t, r).Head(t.Context()); !errors.Is(err, history.ErrNoCommits) {
		t.Errorf("a branch without commits: got %v", err)
	}
	r.Git("checkout", "--quiet", "--force", "main")
	branch := filepath.Join(r.Dir, ".git", "refs", "heads", "main")
	if err := os.WriteFile(branch, []byte(strings.Repeat("1", 40)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, r).Head(t.Context()); err == nil || errors.Is(err, history.ErrNoCommits) {
		t.Errorf("a branch at a commit that is not there: got %v", err)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	r := small(t, 4)
	r.Git("tag", "-a", "-m", "a tag", "v1", "HEAD~1")
	repo := open(t, r)
	chain := r.Chain()
	for name, want := range map[string]string{
		"HEAD": chain[3], "main~3": chain[0], "v1": chain[2], chain[1]: chain[1], chain[1][:10]: chain[1], "@": chain[3],
	} {
		if got, err := repo.Resolve(t.Context(), name); string(got) != want || err != nil {
			t.Errorf("%s: got %s, %v; want %s", name, got, err, want)
		}
	}
	for _, name := range []string{"", "nowhere", "HEAD~4", "-h", "--all", "HEAD:file", "^HEAD", "main..HEAD", strings.Repeat("1", 40)} {
		if got, err := repo.Resolve(t.Context(), name); err == nil {
			t.Errorf("%q is %q", name, got)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	r := gittest.New(t)
	var s gittest.Script
	first := s.Commit(gittest.Commit{})
	second := s.Commit(gittest.Commit{Time: "1"}) // the times lead astray
	side := s.Commit(gittest.Commit{Branch: "side", Parents: []string{first}, Time: "99999999999"})
	s.Commit(gittest.Commit{Parents: []string{second, side}, Time: "0"})
	s.Commit(gittest.Commit{})
	r.Write(&s)
	repo := open(t, r)
	hash := func(name string) history.Hash { return history.Hash(r.Git("rev-parse", name)) }
	for _, c := range []struct {
		from, to history.Hash
		want     int
	}{
		{"", hash("main"), 4},
		{"", hash("main~3"), 1},
		{hash("main"), hash("main"), 0},
		{hash("main~1"), hash("main"), 1},
		{hash("main~3"), hash("main"), 3},
		{hash("main~3"), hash("side"), 1},
		{hash("side"), hash("main"), -1},   // it is merged
		{hash("main"), hash("main~1"), -1}, // it comes later
		{hash("main~2"), hash("side"), -1},
		{history.Hash(strings.Repeat("1", 40)), hash("main"), -1},
		{history.Hash(strings.Repeat("1", 64)), hash("main"), -1},
		{hash("main^{tree}"), hash("main"), -1},
		{"--all", hash("main"), -1},
		{"main~1", hash("main"), -1},
	} {
		got, err := repo.Distance(t.Context(), c.from, c.to)
		if c.want < 0 {
			if !errors.Is(err, history.ErrElsewhere) {
				t.Errorf("%s to %s: got %d, %v", c.from, c.to, got, err)
			}
		} else if got != c.want || err != nil {
			t.Errorf("%s to %s: got %d, %v; want %d", c.from, c.to, got, err, c.want)
		}
	}
}

// TestIgnoredSubmodules has settings that hide the changes of submodules even from
// commands for programs, and an index that cannot be read.
func TestIgnoredSubmodules(t *testing.T) {
	t.Parallel()
	r := small(t, 1)
	var s gittest.Script
	for _, digit := range []string{"7", "8"} {
		s.Commit(gittest.Commit{Parents: []string{"refs/heads/main^0"}, Ops: []gittest.Op{
			gittest.Put(".gitmodules", gittest.File, "[submodule \"s\"]\n\tpath = sub\n\tignore = all\n\turl = /nowhere\n"),
			gittest.PutSubmodule("sub", strings.Repeat(digit, 40)),
		}})
		r.Write(&s)
	}
	r.Git("reset", "--quiet", "--hard")
	r.Git("config", "submodule.s.ignore", "all")
	r.Git("config", "diff.ignoreSubmodules", "all")
	if err := os.WriteFile(filepath.Join(r.Dir, ".git", "index"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	addUp(t, open(t, r))
}

// TestShallow reads a clone that lacks the older commits: the oldest that it has
// counts as the first one.
func TestShallow(t *testing.T) {
	t.Parallel()
	r := small(t, 5)
	dir := filepath.Join(t.TempDir(), "shallow")
	r.Git("clone", "--quiet", "--depth=2", "file://"+r.Dir, dir)
	repo := open(t, gittest.At(t, dir))
	if all := commits(t, repo); len(all) != 2 || len(all[0].Changes) != 2 || len(all[1].Changes) != 1 {
		t.Errorf("got %+v", all)
	}
	if n, err := repo.Distance(t.Context(), "", headOf(t, repo)); n != 2 || err != nil {
		t.Errorf("it has %d commits, %v", n, err)
	}
	addUp(t, repo)
}

// TestPartial reads a clone that has no contents of files: it downloads none, and
// does not need its remote repository.
func TestPartial(t *testing.T) {
	t.Parallel()
	r := gittest.Odd(t)
	r.Git("config", "uploadpack.allowFilter", "true")
	dir := filepath.Join(t.TempDir(), "partial.git")
	r.Git("clone", "--quiet", "--bare", "--filter=blob:none", "file://"+r.Dir, dir)
	want := r.Chain()
	objects := gittest.At(t, dir).Git("count-objects", "-v")
	repo := open(t, gittest.At(t, dir))
	addUp(t, repo)
	if got := len(commits(t, repo)); got != len(want) {
		t.Errorf("it has %d commits; want %d", got, len(want))
	}
	if got := gittest.At(t, dir).Git("count-objects", "-v"); got != objects {
		t.Errorf("afterwards it has other objects: %s; before: %s", got, objects)
	}
	if err := os.RemoveAll(r.Dir); err != nil {
		t.Fatal(err)
	}
	addUp(t, repo)
}

// TestMissingContents reads a repository in which the content of a file is lost,
// early in a history that is long.
func TestMissingContents(t *testing.T) {
	t.Parallel()
	const content = "1\n2\n3\n4\n5\n6\n7\n8\n9\n"
	r := gittest.New(t)
	a := r.GitWith(content, "hash-object", "-w", "--stdin")
	lost := r.GitWith(content+"lost\n", "hash-object", "-w", "--stdin")
	tree := r.GitWith("100644 blob "+a+"\ta\n100644 blob "+a+"\tx\n", "mktree")
	first := r.Git("commit-tree", "-m", "first", tree)
	tree = r.GitWith("100644 blob "+lost+"\tb\n100644 blob "+a+"\tx\n", "mktree")
	r.Git("update-ref", "refs/heads/main", r.Git("commit-tree", "-m", "second", "-p", first, tree))
	var s gittest.Script
	s.Commit(gittest.Commit{Parents: []string{"refs/heads/main^0"}})
	for range 2000 {
		s.Commit(gittest.Commit{})
	}
	s.Commit(gittest.Commit{Ops: []gittest.Op{gittest.Move("x", "y")}})
	r.Write(&s)
	repo := open(t, r)
	if all := commits(t, repo); all[1].Changes[0].To != "b" {
		t.Fatalf("the second commit is %+v", all[1])
	}
	if err := os.Remove(filepath.Join(r.Dir, "objects", lost[:2], lost[2:])); err != nil {
		t.Fatal(err)
	}
	all := commits(t, repo)
	if n := len(all); n != 2004 || all[1].Changes[0].To != "" || all[n-1].Changes[0].To != "y" {
		t.Errorf("got %d commits: %+v, …, %+v", n, all[1], all[n-1])
	}
}

// TestMissingTree reads a repository that is damaged beyond that.
func TestMissingTree(t *testing.T) {
	t.Parallel()
	r := gittest.New(t)
	tree := r.GitWith("", "mktree")
	first := r.Git("commit-tree", "-m", "first", tree)
	lost := r.GitWith("160000 commit "+strings.Repeat("1", 40)+"\tsub\n", "mktree")
	r.Git("update-ref", "refs/heads/main", r.Git("commit-tree", "-m", "second", "-p", first, lost))
	if err := os.Remove(filepath.Join(r.Dir, "objects", lost[:2], lost[2:])); err != nil {
		t.Fatal(err)
	}
	repo := open(t, r)
	var last error
	for _, err := range repo.Commits(t.Context(), "", headOf(t, repo)) {
		last = err
	}
	if last == nil || !strings.Contains(last.Error(), "git diff-tree: exit status 128: fatal: unable to read tree") {
		t.Errorf("the commits give the error %v", last)
	}
	for _, err := range repo.Tree(t.Context(), headOf(t, repo)) {
		last = err
	}
	if last == nil || !strings.Contains(last.Error(), "git ls-tree") {
		t.Errorf("the tree gives the error %v", last)
	}
}

// TestOldTrees reads trees that git no longer writes, and still reads.
func TestOldTrees(t *testing.T) {
	t.Parallel()
	r := gittest.New(t)
	blob := r.GitWith("content\n", "hash-object", "-w", "--stdin")
	other := r.GitWith("other\n", "hash-object", "-w", "--stdin")
	raw := func(hash string) string {
		var b strings.Builder
		for i := 0; i < len(hash); i += 2 {
			b.WriteByte(byte(strings.IndexByte("0123456789abcdef", hash[i])<<4 | strings.IndexByte("0123456789abcdef", hash[i+1])))
		}
		return b.String()
	}
	tree := func(entries ...string) string {
		return r.GitWith(strings.Join(entries, ""), "hash-object", "-t", "tree", "-w", "--literally", "--stdin")
	}
	empty := tree()
	parent := ""
	for _, tree := range []string{
		tree("100664 group\x00"+raw(blob), "40000 none\x00"+raw(empty)),
		tree("100644 group\x00"+raw(blob), "100755 none\x00"+raw(blob)),
		tree("100600 group\x00"+raw(other), "40000 none\x00"+raw(empty)),
		tree("0100644 group\x00" + raw(blob)), // a zero in front
		tree("100644 a\x00"+raw(blob), "100644 b\x00"+raw(other)),
		tree("100644 b\x00"+raw(other), "100644 a\x00"+raw(blob)),  // in no order
		tree("100644 b\x00"+raw(blob), "100644 a\x00"+raw(other)),  // both changed
		tree("100644 a\x00"+raw(other), "100755 b\x00"+raw(other)), // in order again
	} {
		args := []string{"commit-tree", "-m", "a commit", tree}
		if parent != "" {
			args = append(args, "-p", parent)
		}
		parent = r.Git(args...)
		r.Git("update-ref", "refs/heads/main", parent)
	}
	addUp(t, open(t, r))
}

// TestOddCommits reads commits whose author git itself cannot read.
func TestOddCommits(t *testing.T) {
	t.Parallel()
	r := gittest.New(t)
	tree := r.GitWith("", "mktree")
	parent := ""
	type seen struct{ Name, Email, Time string }
	var want []seen
	for _, c := range []struct {
		author, committer string
		want              seen
	}{
		{"A <a@x> 5 +0000", "C <c@x> 9 +0000", seen{"A", "a@x", "1970-01-01T00:00:05Z"}},
		{"A <a@x> -5 +0000", "C <c@x> 9 +0000", seen{"A", "a@x", "1970-01-01T00:00:09Z"}},
		{"A <a@x>", "C <c@x> 9 +0000", seen{"A", "a@x", "1970-01-01T00:00:09Z"}},
		{"A <a@x> soon", "C <c@x> later", seen{"A", "a@x", "1970-01-01T00:00:00Z"}},
		{"nobody", "C <c@x> 9 +0000", seen{"", "", "1970-01-01T00:00:09Z"}},
		{"", "", seen{"", "", "1970-01-01T00:00:00Z"}},
		{"A <a@x> 123456789012345678901234567890 +0000", "C <c@x> 9 +0000", seen{"A", "a@x", "9999-12-31T23:59:59Z"}},
		{"A <a@x> 5 -9999999", "C <c@x> 9 +0000", seen{"A", "a@x", "1970-01-01T00:00:05Z"}},
	} {
		text := "tree " + tree + "\n"
		if parent != "" {
			text += "parent " + parent + "\n"
		}
		text += "author " + c.author + "\ncommitter " + c.committer + "\nencoding UTF-7\n\n+AAA- text\n"
		parent = r.GitWith(text, "hash-object", "-t", "commit", "-w", "--literally", "--stdin")
		want = append(want, c.want)
	}
	r.Git("update-ref", "refs/heads/main", parent)
	var got []seen
	for _, c := range commits(t, open(t, r)) {
		got = append(got, seen{string(c.Author.Name), string(c.Author.Email), c.Time.Format("2006-01-02T15:04:05Z07:00")})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
