package history

import (
	"errors"
	"fmt"
	"time"
)

// The errors that callers branch on.
var (
	// ErrNoCommits: the repository is new, there is no commit yet.
	ErrNoCommits = errors.New("there are no commits yet")

	// ErrElsewhere: a commit is not among the first parents of another.
	ErrElsewhere = errors.New("not in the first-parent history")
)

// Hash is the name of an object in a repository, in hexadecimal digits: 40 of
// them, or 64 in a SHA-256 repository.
type Hash string

// Short returns the first digits, for people.
func (h Hash) Short() string { return string(h[:min(len(h), 12)]) }

// Mode says what is at a path, in git's six octal digits: "100644" is a file,
// "100755" an executable, "120000" a symbolic link, "160000" a submodule.
type Mode string

// Content is what is at a path. Its zero value means that nothing is there.
type Content struct {
	Mode Mode `json:"mode"`
	// Blob is the hash of the file's or link's content, or the commit of a
	// submodule.
	Blob Hash `json:"blob"`
}

// String returns mode and hash.
func (c Content) String() string {
	if c == (Content{}) {
		return "nothing"
	}
	return fmt.Sprintf("%s %s", c.Mode, c.Blob)
}

// Signature says who wrote a commit.
type Signature struct {
	Name  Text
	Email Text
}

// Commit is what a commit does to the tree of its first parent.
type Commit struct {
	Hash   Hash
	Author Signature
	// Time is when its author wrote it, by the author's own clock: times do not
	// grow along a history.
	Time time.Time
	// Changes has at most one element for each path.
	Changes []Change
}

// Change is what a commit does to one path.
type Change struct {
	Path Path
	// Old is what was there before, New what is there afterwards.
	Old, New Content
	// To is where the old content was moved to; empty if it was not.
	To Path
	// From is where the new content was moved from; empty if it was not.
	From Path
}

// Entry is what the tree of a commit has at a path.
type Entry struct {
	Path    Path
	Content Content
}
