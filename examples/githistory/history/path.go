package history

import (
	"fmt"

	"github.com/annals-es/annals"
)

// TrackedPath is the aggregate of one path: its life from commit to commit. A
// path from which everything is gone lives on, and may be added to again.
type TrackedPath struct {
	annals.Aggregate

	// Path is the path itself; it never changes. What is moved leaves one path
	// and arrives at another.
	Path Path
	// Content is what is there now; zero if nothing is.
	Content Content
	// Commit is the last commit that touched the path.
	Commit Hash
}

// Touch is what every event of a path says.
type Touch struct {
	Path Path `json:"path"`
	// Content is what is at the path from now on; in Renamed and Deleted, what
	// was there until now.
	Content
	// Commit is the commit that did it, Author the e-mail address of who wrote it.
	Commit Hash `json:"commit"`
	Author Text `json:"author"`
}

// The events of a path.
type (
	// Added says that something is there now, and nothing was.
	Added struct {
		Touch
		// From is the path that it was moved from; empty if it is new.
		From Path `json:"from,omitzero"`
	}
	// Modified says that something else is there now: other content, another
	// mode, or something moved there from elsewhere.
	Modified struct {
		Touch
		// From is the path that it was moved from; empty if it was not.
		From Path `json:"from,omitzero"`
	}
	// Renamed says that what was there is at another path now.
	Renamed struct {
		Touch
		// To is that other path.
		To Path `json:"to"`
	}
	// Deleted says that what was there is gone.
	Deleted struct{ Touch }
)

// Apply puts the content there.
func (e Added) Apply(p *TrackedPath) { p.Path, p.Content, p.Commit = e.Path, e.Content, e.Commit }

// Apply puts the content there.
func (e Modified) Apply(p *TrackedPath) { p.Content, p.Commit = e.Content, e.Commit }

// Apply takes the content away.
func (e Renamed) Apply(p *TrackedPath) { p.Content, p.Commit = Content{}, e.Commit }

// Apply takes the content away.
func (e Deleted) Apply(p *TrackedPath) { p.Content, p.Commit = Content{}, e.Commit }

// Touched returns what every event of a path says.
func (t Touch) Touched() Touch { return t }

// Paths names the aggregate type of paths and its events, as they are stored.
var Paths = annals.Define("Path",
	annals.On[Added]("Added"),
	annals.On[Modified]("Modified"),
	annals.On[Renamed]("Renamed"),
	annals.On[Deleted]("Deleted"),
)

// PathID returns the id of the aggregate of a path.
func PathID(p Path) string { return annals.NamedID("/paths", string(p)) }

// Track begins the life of a path with the first change of it.
func Track(c *Commit, change Change) (*TrackedPath, error) {
	if change.Old != (Content{}) || change.New == (Content{}) {
		return nil, &OutOfStepError{Commit: c.Hash, Path: change.Path, Before: change.Old}
	}
	return Paths.New(PathID(change.Path), Added{touch(c, change, change.New), change.From}, annals.At(c.Time)), nil
}

// Record triggers the event that the change is to the path; none if it changes
// nothing. It returns an [*OutOfStepError] if the change does not start from what
// is there.
func (p *TrackedPath) Record(c *Commit, change Change) error {
	if change.Old != p.Content {
		return &OutOfStepError{Commit: c.Hash, Path: p.Path, Recorded: p.Content, Before: change.Old}
	}
	at := annals.At(c.Time)
	switch {
	case change.New == change.Old:
	case change.Old == (Content{}):
		annals.Trigger(p, Added{touch(c, change, change.New), change.From}, at)
	case change.New != (Content{}):
		annals.Trigger(p, Modified{touch(c, change, change.New), change.From}, at)
	case change.To != "":
		annals.Trigger(p, Renamed{touch(c, change, change.Old), change.To}, at)
	default:
		annals.Trigger(p, Deleted{touch(c, change, change.Old)}, at)
	}
	return nil
}

func touch(c *Commit, change Change, content Content) Touch {
	return Touch{Path: change.Path, Content: content, Commit: c.Hash, Author: c.Author.Email}
}

// OutOfStepError says that a commit does not follow from what is recorded of a
// path.
type OutOfStepError struct {
	Commit Hash
	Path   Path
	// Recorded is what the record has at the path, Before what the commit's
	// first parent has there.
	Recorded, Before Content
}

// Error names the commit, the path, and both contents.
func (e *OutOfStepError) Error() string {
	return fmt.Sprintf("history: commit %s starts from %v at path %q, and the record has %v there",
		e.Commit, e.Before, e.Path, e.Recorded)
}
