package git

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/annals-es/annals/examples/githistory/history"
)

// Tree yields every path of a commit and what is there, in git's order: files,
// symbolic links and submodules, not folders. An error is the last that it yields,
// with an empty path.
func (r *Repository) Tree(ctx context.Context, commit history.Hash) iter.Seq2[history.Entry, error] {
	return func(yield func(history.Entry, error) bool) {
		p, err := r.start(ctx, "ls-tree", "-r", "-z", "--full-tree", string(commit))
		if err != nil {
			yield(history.Entry{}, err)
			return
		}
		s := newScanner(p.out)
		for {
			token, err := s.token()
			if errors.Is(err, io.EOF) {
				if err := p.finish(); err != nil {
					yield(history.Entry{}, err)
				}
				return
			}
			var entry history.Entry
			if err == nil {
				entry, err = parseEntry(token)
			}
			if err != nil {
				p.stop()
				yield(history.Entry{}, cmp.Or(ctx.Err(), err))
				return
			}
			if !yield(entry, nil) {
				p.stop()
				return
			}
		}
	}
}

// parseEntry reads "100644 blob <hash>\t<path>".
func parseEntry(token []byte) (history.Entry, error) {
	meta, path, ok := bytes.Cut(token, []byte("\t"))
	fields := strings.Split(string(meta), " ")
	if !ok || len(fields) != 3 || !isHash(history.Hash(fields[2])) {
		return history.Entry{}, fmt.Errorf("git: ls-tree printed %q", token)
	}
	return history.Entry{
		Path:    history.Path(path),
		Content: history.Content{Mode: modeOf(fields[0]), Blob: history.Hash(fields[2])},
	}, nil
}
