package git

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/annals-es/annals/examples/githistory/history"
)

// Commits yields the commits from one, which does not count, to another, oldest
// first, following first parents, each with its changes. If from is empty, it
// begins with the first one. An error is the last that it yields. It needs memory
// for one commit at a time.
//
// A file that was moved and changed is recognised if half of it stayed the same.
// That needs the contents of files, and nothing else does: where some are missing,
// only what was moved unchanged is recognised from there on.
func (r *Repository) Commits(ctx context.Context, from, to history.Hash) iter.Seq2[history.Commit, error] {
	return func(yield func(history.Commit, error) bool) {
		var failed error
		last := from
		if !r.partial {
			for commit, err := range r.walk(ctx, from, to, "--raw", "-M50%", "-l1000") {
				if err != nil {
					failed = err
					break
				}
				if !yield(commit, nil) {
					return
				}
				last = commit.Hash
			}
			if failed == nil {
				return
			}
			if ctx.Err() != nil {
				yield(history.Commit{}, failed)
				return
			}
		}
		for commit, err := range r.walk(ctx, last, to, "--raw", "-M100%") {
			if err != nil {
				err = cmp.Or(failed, err)
			}
			if !yield(commit, err) || err != nil {
				return
			}
		}
	}
}

// Log yields the same commits without their changes.
func (r *Repository) Log(ctx context.Context, from, to history.Hash) iter.Seq2[history.Commit, error] {
	return r.walk(ctx, from, to, "-s")
}

// header is the format of a commit; each of its fields ends with a NUL. That of
// the author's time is empty if git cannot read it.
const header = "--format=%H%x00%at%x00%ct%x00%ae%x00%an%x00"

func (r *Repository) walk(ctx context.Context, from, to history.Hash, diff ...string) iter.Seq2[history.Commit, error] {
	list := append([]string{"rev-list", "--first-parent", "--parents", "--reverse"}, span(from, to)...)
	tree := append([]string{
		"diff-tree", "--stdin", "--always", "-r", "--root", "-z", "--no-abbrev",
		"--ignore-submodules=none", "--encoding=none", header,
	}, diff...)
	return func(yield func(history.Commit, error) bool) {
		p, err := r.startTwo(ctx, list, firstParents, tree)
		if err != nil {
			yield(history.Commit{}, err)
			return
		}
		for commit, err := range scanAll(newScanner(p.out), p.finish) {
			if err != nil {
				err = cmp.Or(ctx.Err(), err)
			}
			if !yield(commit, err) {
				break
			}
		}
		p.stop()
	}
}

// scanAll yields all commits. Where the output ends, finish says whether git failed:
// then the last commit may lack changes, and is not yielded.
func scanAll(s *scanner, finish func() error) iter.Seq2[history.Commit, error] {
	return func(yield func(history.Commit, error) bool) {
		for !s.ended {
			commit, err := s.commit()
			if s.ended && (err == nil || errors.Is(err, io.EOF)) {
				if failed := finish(); failed != nil {
					err = failed
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				commit = history.Commit{}
			}
			if !yield(commit, err) || err != nil {
				return
			}
		}
	}
}

// firstParents leaves of each line, a commit and its parents, the commit and the
// first one: diff-tree compares with the parents that it is given.
func firstParents(dst io.Writer, src io.Reader) error {
	out := bufio.NewWriter(dst)
	lines := bufio.NewReader(src)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return out.Flush()
		}
		if err != nil {
			return fmt.Errorf("git: read rev-list: %w", err)
		}
		commit, parents, _ := strings.Cut(line[:len(line)-1], " ")
		first, _, _ := strings.Cut(parents, " ")
		if first != "" {
			commit += " " + first
		}
		if _, err := out.WriteString(commit + "\n"); err != nil {
			return fmt.Errorf("git: write to diff-tree: %w", err)
		}
		if lines.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return fmt.Errorf("git: write to diff-tree: %w", err)
			}
		}
	}
}
