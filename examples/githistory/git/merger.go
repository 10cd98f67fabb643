package git

import (
	"fmt"

	"github.com/annals-es/annals/examples/githistory/history"
)

// merger makes of git's list of changes one that has each path once. A path can
// stand in git's list twice: when something leaves it and something else arrives.
type merger struct {
	changes []history.Change
	index   map[history.Path]int // where in changes a path is; built from the second change on
}

// addMoved adds the two changes that a move or a copy is: one where the content
// was, one where it is.
func (m *merger) addMoved(change history.Change, to history.Path, moved bool) error {
	arrives := history.Change{Path: to, New: change.New, From: change.Path}
	if !moved {
		return m.add(arrives)
	}
	leaves := history.Change{Path: change.Path, Old: change.Old, To: to}
	if err := m.add(leaves); err != nil {
		return err
	}
	return m.add(arrives)
}

func (m *merger) add(change history.Change) error {
	at, twice := m.find(change.Path)
	if !twice {
		m.changes = append(m.changes, change)
		return nil
	}
	known := &m.changes[at]
	switch nothing := (history.Content{}); {
	case known.New == nothing && change.Old == nothing: // leaves, then arrives
		known.New, known.From, known.To = change.New, change.From, ""
	case known.Old == nothing && change.New == nothing: // arrives, then leaves
		known.Old = change.Old
	default:
		return fmt.Errorf("its tree, or that of its parent, has path %q twice: see git fsck", change.Path)
	}
	return nil
}

// find returns where the path is, and notes it if it is new.
func (m *merger) find(path history.Path) (int, bool) {
	if len(m.changes) == 0 {
		return 0, false
	}
	if m.index == nil {
		m.index = map[history.Path]int{m.changes[0].Path: 0}
	}
	at, ok := m.index[path]
	if !ok {
		m.index[path] = len(m.changes)
	}
	return at, ok
}
