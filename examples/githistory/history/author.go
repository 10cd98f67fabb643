package history

import "github.com/annals-es/annals"

// Author is the aggregate of one author, who is known by an e-mail address.
type Author struct {
	annals.Aggregate

	Email Text
	// Name is the one in the last commit.
	Name Text
	// Commits is the number of commits.
	Commits int
}

// Committed is the event of an author, one for each commit: the last event of the
// commit.
type Committed struct {
	Commit Hash `json:"commit"`
	Email  Text `json:"email"`
	Name   Text `json:"name"`
	// Paths is the number of paths that the commit touched: it has as many
	// events before this one.
	Paths int `json:"paths"`
}

// Apply counts the commit.
func (e Committed) Apply(a *Author) { a.Email, a.Name, a.Commits = e.Email, e.Name, a.Commits+1 }

// Authors names the aggregate type of authors and its event, as they are stored.
var Authors = annals.Define("Author", annals.On[Committed]("Committed"))

// AuthorID returns the id of the aggregate of an author.
func AuthorID(email Text) string { return annals.NamedID("/authors", string(email)) }

// FirstCommit begins the record of an author with a commit that touched a number
// of paths.
func FirstCommit(c *Commit, paths int) *Author {
	return Authors.New(AuthorID(c.Author.Email), committed(c, paths), annals.At(c.Time))
}

// Commit records one more commit, which touched a number of paths.
func (a *Author) Commit(c *Commit, paths int) {
	annals.Trigger(a, committed(c, paths), annals.At(c.Time))
}

func committed(c *Commit, paths int) Committed {
	return Committed{Commit: c.Hash, Email: c.Author.Email, Name: c.Author.Name, Paths: paths}
}
