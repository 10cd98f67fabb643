package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/annals-es/annals/examples/githistory/history"
)

// Repository is a repository of git, bare or not. It is safe for concurrent use.
type Repository struct {
	dir     string // where the objects are: .git
	env     []string
	partial bool // contents of files are with a remote repository, and are not worth their download
}

// Open finds the repository that a folder belongs to, as git does. The
// environment is the one that git gets; its settings that point git to another
// repository are left out.
func Open(ctx context.Context, dir string, environ []string) (*Repository, error) {
	r := &Repository{env: environment(environ)}
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("git: open %s: %w", dir, err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("git: open %s: not a folder", dir)
	}
	out, err := r.output(ctx, "-C", dir, "rev-parse", "--absolute-git-dir")
	if err != nil {
		return nil, fmt.Errorf("git: open %s: %w", dir, err)
	}
	r.dir = strings.TrimSuffix(out, "\n")
	r.env = append(r.env,
		"GIT_DIR="+r.dir,
		// diff-tree reads the index and needs nothing of it: one that is broken must not matter.
		"GIT_INDEX_FILE="+filepath.Join(r.dir, "no-index-is-needed"))
	if r.partial, err = r.isPartial(ctx); err != nil {
		return nil, fmt.Errorf("git: open %s: %w", dir, err)
	}
	return r, nil
}

// isPartial reports whether the repository leaves objects with a remote one.
func (r *Repository) isPartial(ctx context.Context) (bool, error) {
	_, err := r.output(ctx, "config", "--get-regexp", `^(remote\..*\.promisor|extensions\.partialclone)$`)
	if isExit(err, 1) {
		return false, nil
	}
	return err == nil, err
}

// environment returns what git is to see of an environment. What is left out
// would point it to another repository, or add to its output.
func environment(environ []string) []string {
	out := []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
		"GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE",
		"GIT_CONFIG", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS",
		"GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"}
	env := slices.DeleteFunc(slices.Clone(environ), func(setting string) bool {
		name, _, _ := strings.Cut(setting, "=")
		return slices.Contains(out, name) || strings.HasPrefix(name, "GIT_TRACE")
	})
	return append(env, "LC_ALL=C", "GIT_NO_REPLACE_OBJECTS=1", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0")
}

// Head returns the commit that HEAD is at. It returns [history.ErrNoCommits] if the
// repository is new.
func (r *Repository) Head(ctx context.Context) (history.Hash, error) {
	out, err := r.output(ctx, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
	if !isExit(err, 1) {
		return history.Hash(strings.TrimSuffix(out, "\n")), err
	}
	// HEAD is broken, or on a branch that does not exist yet: then the branch has a name, and no ref.
	branch, err := r.output(ctx, "symbolic-ref", "--quiet", "HEAD")
	if err == nil {
		_, err = r.output(ctx, "show-ref", "--verify", "--quiet", strings.TrimSuffix(branch, "\n"))
	}
	if branch != "" && isExit(err, 1) {
		return "", history.ErrNoCommits
	}
	return "", errors.New("git: HEAD is not at a commit: is the repository damaged?")
}

// Resolve returns the commit that a name means: a hash, a branch, HEAD~3.
func (r *Repository) Resolve(ctx context.Context, name string) (history.Hash, error) {
	unknown := fmt.Errorf("git: there is no commit %q in %s", name, r.dir)
	if strings.HasPrefix(name, "-") { // it would be an option
		return "", unknown
	}
	out, err := r.output(ctx, "rev-parse", "--verify", "--quiet", name+"^{commit}")
	commit := history.Hash(strings.TrimSuffix(out, "\n"))
	if isExit(err, 1) || isExit(err, 128) || err == nil && !isHash(commit) {
		return "", unknown
	}
	return commit, err
}

// Distance returns the number of commits from one, which does not count, to
// another, by first parents. If from is empty, it counts from the first on. It
// returns [history.ErrElsewhere] if from is not among the first parents of to, also if
// there is no such commit.
func (r *Repository) Distance(ctx context.Context, from, to history.Hash) (int, error) {
	if from != "" {
		if !isHash(from) {
			return 0, history.ErrElsewhere
		}
		_, err := r.output(ctx, "rev-parse", "--verify", "--quiet", string(from)+"^{commit}")
		if isExit(err, 1) || isExit(err, 128) {
			return 0, history.ErrElsewhere
		} else if err != nil {
			return 0, err
		}
	}
	out, err := r.output(ctx, append([]string{"rev-list", "--count", "--first-parent"}, span(from, to)...)...)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(out, "\n"))
	if err != nil || from == "" {
		return n, err
	}
	ancestor, err := r.output(ctx, "rev-parse", "--verify", "--quiet", fmt.Sprintf("%s~%d", to, n))
	if err != nil && !isExit(err, 1) {
		return 0, err
	}
	if strings.TrimSuffix(ancestor, "\n") != string(from) {
		return 0, history.ErrElsewhere
	}
	return n, nil
}

// span is how rev-list is told which commits are wanted.
func span(from, to history.Hash) []string {
	if from == "" {
		return []string{string(to), "--"}
	}
	return []string{"^" + string(from), string(to), "--"}
}

// isHash reports whether the hash, which may come from a damaged database, is one.
func isHash(h history.Hash) bool {
	return (len(h) == 40 || len(h) == 64) && strings.Trim(string(h), "0123456789abcdef") == ""
}
