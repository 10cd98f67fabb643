package git

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/annals-es/annals/examples/githistory/history"
)

// scanner reads what diff-tree prints: tokens that end with a NUL. A commit is its
// header's fields, an empty token, and its changes; before the first of these
// stands a line feed.
type scanner struct {
	in    *bufio.Reader
	next  []byte // a token that was read too far; nil if none was
	ended bool   // there is no more to read
}

func newScanner(out io.Reader) *scanner {
	return &scanner{in: bufio.NewReaderSize(out, 64<<10)}
}

// commit returns the next commit; [io.EOF] if there is none.
func (s *scanner) commit() (history.Commit, error) {
	var c history.Commit
	hash, err := s.token()
	if err != nil {
		return c, err
	}
	if c.Hash = history.Hash(hash); !isHash(c.Hash) {
		return c, fmt.Errorf("git: diff-tree printed %q where a commit should be", hash)
	}
	var fields [5]string // author's time, committer's time, e-mail address, name, and the empty one
	for i := range fields {
		token, err := s.token()
		if err != nil {
			return c, unexpected(err)
		}
		fields[i] = string(token)
	}
	c.Time = authorTime(fields[0], fields[1])
	c.Author = history.Signature{Email: history.Text(fields[2]), Name: history.Text(fields[3])}
	c.Changes, err = s.changes(c.Hash)
	return c, err
}

// changes returns the changes up to the next commit.
func (s *scanner) changes(commit history.Hash) ([]history.Change, error) {
	var m merger
	for {
		token, err := s.token()
		if errors.Is(err, io.EOF) {
			return m.changes, nil
		}
		if err != nil {
			return nil, err
		}
		token = bytes.TrimPrefix(token, []byte("\n"))
		if len(token) == 0 || token[0] != ':' {
			s.next = bytes.Clone(token)
			return m.changes, nil
		}
		// ":100644 100644 <hash> <hash> M"
		fields := strings.Split(string(token[1:]), " ")
		if len(fields) != 5 || fields[4] == "" {
			return nil, fmt.Errorf("git: diff-tree printed %q where a change should be", token)
		}
		path, err := s.token()
		if err != nil {
			return nil, unexpected(err)
		}
		change := history.Change{Path: history.Path(path), Old: content(fields[0], fields[2]), New: content(fields[1], fields[3])}
		if status := fields[4][0]; status != 'R' && status != 'C' {
			err = m.add(change)
		} else {
			to, e := s.token()
			if e != nil {
				return nil, unexpected(e)
			}
			err = m.addMoved(change, history.Path(to), status == 'R')
		}
		if err != nil {
			return nil, fmt.Errorf("git: commit %s: %w", commit, err)
		}
	}
}

// token returns what stands before the next NUL. It is valid until the next call.
func (s *scanner) token() ([]byte, error) {
	if token := s.next; token != nil {
		s.next = nil
		return token, nil
	}
	token, err := s.in.ReadSlice(0)
	if errors.Is(err, bufio.ErrBufferFull) {
		start := bytes.Clone(token)
		token, err = s.in.ReadBytes(0)
		token = append(start, token...)
	}
	switch {
	case err == nil:
		return token[:len(token)-1], nil
	case errors.Is(err, io.EOF) && len(bytes.TrimSpace(token)) > 0:
		return nil, io.ErrUnexpectedEOF
	default:
		s.ended = true
		return nil, err
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// content is what a mode and a hash mean: zeros that nothing is there.
func content(mode, hash string) history.Content {
	if mode == "000000" {
		return history.Content{}
	}
	return history.Content{Mode: modeOf(mode), Blob: history.Hash(hash)}
}

// modeOf returns a mode that, if it is one of the usual, does not keep the token.
func modeOf(mode string) history.Mode {
	for _, usual := range [...]history.Mode{"100644", "100755", "120000", "160000"} {
		if string(usual) == mode {
			return usual
		}
	}
	return history.Mode(mode)
}

// The years that events can have. The first second is left out: Go takes it for
// no time at all.
var (
	firstTime = time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)
	lastTime  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// authorTime returns the time that git has in digits, as seconds since 1970. If it
// has none for the author, the committer's counts, and else 1970. Git allows
// times of any size; those that no event can have become the nearest that it can.
func authorTime(author, committer string) time.Time {
	digits := author
	if digits == "" {
		digits = committer
	}
	seconds, err := strconv.ParseInt(digits, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		seconds = 0
	}
	return time.Unix(min(max(seconds, firstTime.Unix()), lastTime.Unix()), 0).UTC()
}
