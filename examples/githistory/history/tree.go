package history

import (
	"fmt"
	"iter"

	"github.com/annals-es/annals"
)

// Tree is what the repository has at each path, folded from the events of the
// whole log, in order. Its zero value is the tree before the first commit. It
// needs memory for every path and every author that ever was.
//
// It believes nothing: events that are missing, doubled, or in the wrong stream
// are errors.
type Tree struct {
	paths    map[Path]place
	versions map[string]int64 // of the streams of authors, and of the record
	there    int              // the paths that have a content
	commit   Hash             // of the last event
	touched  int              // the paths with events since the last Committed
	commits  int              // since the last Extended
}

// place is what is known of a path.
type place struct {
	content Content
	version int64
}

// Len returns the number of paths that have a content.
func (t *Tree) Len() int { return t.there }

// Content returns what is at the path; zero if nothing is.
func (t *Tree) Content(p Path) Content { return t.paths[p].content }

// All yields each path that has a content, in no order.
func (t *Tree) All() iter.Seq2[Path, Content] {
	return func(yield func(Path, Content) bool) {
		for path, at := range t.paths {
			if at.content != (Content{}) && !yield(path, at.content) {
				return
			}
		}
	}
}

// Apply takes the next event of the log. It returns a Committed if that completes
// a commit: then the tree is that of the commit.
func (t *Tree) Apply(e *annals.Event) (*Committed, error) {
	if t.paths == nil {
		t.paths, t.versions = make(map[Path]place), make(map[string]int64)
	}
	switch data := e.Data.(type) {
	case Added:
		return nil, t.change(e, data.Touch, data.Content, func(was Content) bool { return was == (Content{}) })
	case Modified:
		return nil, t.change(e, data.Touch, data.Content, func(was Content) bool { return was != (Content{}) })
	case Renamed:
		return nil, t.change(e, data.Touch, Content{}, func(was Content) bool { return was == data.Content })
	case Deleted:
		return nil, t.change(e, data.Touch, Content{}, func(was Content) bool { return was == data.Content })
	case Committed:
		return &data, t.complete(e, &data)
	case Extended:
		return nil, t.extend(e, &data)
	default:
		return nil, fmt.Errorf("history: an event of the type %s is no part of a history", e.Topic)
	}
}

// change gives a path another content, if what was there fits the event.
func (t *Tree) change(e *annals.Event, touch Touch, content Content, fits func(was Content) bool) error {
	at := t.paths[touch.Path]
	switch {
	case e.StreamID != PathID(touch.Path):
		return fmt.Errorf("history: %s of path %q is in the stream %s of another", e.Topic, touch.Path, e.StreamID)
	case e.Version != at.version+1:
		return fmt.Errorf("history: path %q: version %d follows version %d", touch.Path, e.Version, at.version)
	case at.content == content, !fits(at.content):
		return fmt.Errorf("history: path %q: version %d is %s with %v, and %v was there",
			touch.Path, e.Version, e.Topic, touch.Content, at.content)
	case t.touched > 0 && t.commit != touch.Commit:
		return fmt.Errorf("history: path %q: version %d is of commit %s, between events of commit %s",
			touch.Path, e.Version, touch.Commit, t.commit)
	}
	if at.content == (Content{}) {
		t.there++
	}
	if content == (Content{}) {
		t.there--
	}
	t.paths[touch.Path] = place{content: content, version: e.Version}
	t.commit = touch.Commit
	t.touched++
	return nil
}

// complete ends a commit.
func (t *Tree) complete(e *annals.Event, c *Committed) error {
	switch last := t.versions[e.StreamID]; {
	case e.StreamID != AuthorID(c.Email):
		return fmt.Errorf("history: a commit of author %q is in the stream %s of another", c.Email, e.StreamID)
	case e.Version != last+1:
		return fmt.Errorf("history: author %q: version %d follows version %d", c.Email, e.Version, last)
	case t.touched > 0 && t.commit != c.Commit:
		return fmt.Errorf("history: commit %s ends between events of commit %s", c.Commit, t.commit)
	case t.touched != c.Paths:
		return fmt.Errorf("history: commit %s has events of %d paths, and touched %d", c.Commit, t.touched, c.Paths)
	}
	t.versions[e.StreamID] = e.Version
	t.commit = c.Commit
	t.touched = 0
	t.commits++
	return nil
}

// extend compares what the record says of itself.
func (t *Tree) extend(e *annals.Event, x *Extended) error {
	switch last := t.versions[e.StreamID]; {
	case e.StreamID != RecordID:
		return fmt.Errorf("history: the record is extended in the stream %s", e.StreamID)
	case e.Version != last+1:
		return fmt.Errorf("history: the record: version %d follows version %d", e.Version, last)
	case t.touched > 0 || t.commit != x.Commit || t.commits != x.Commits:
		return fmt.Errorf("history: the record is extended by %d commits up to %s after %d commits up to %s",
			x.Commits, x.Commit, t.commits, t.commit)
	}
	t.versions[e.StreamID] = e.Version
	t.commits = 0
	return nil
}
