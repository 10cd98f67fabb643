package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/examples/githistory/history"
)

// Step is an event in the life of a path.
type Step struct {
	Version int64
	Time    time.Time
	// What happened: "added", "modified", "renamed", "deleted".
	What string
	// Touch says what was there, and which commit did it.
	Touch history.Touch
	// From is where the content came from, To where it went; empty if nowhere.
	From, To history.Path
}

// UnknownPathError says that a path was never in the recorded history. It is
// [annals.ErrNotFound].
type UnknownPathError struct{ Path history.Path }

// Error names the path.
func (e *UnknownPathError) Error() string {
	return fmt.Sprintf("path %q is not in the recorded history", e.Path)
}

// Is reports whether target is [annals.ErrNotFound].
func (e *UnknownPathError) Is(target error) bool { return target == annals.ErrNotFound }

// Life returns all that happened to a path. It returns an [*UnknownPathError] if
// nothing did.
func (a *Archive) Life(ctx context.Context, path history.Path) ([]Step, error) {
	var life []Step
	for e, err := range a.paths.Events(ctx, history.PathID(path)) {
		if err != nil {
			return nil, err
		}
		step := Step{Version: e.Version, Time: e.Time}
		switch data := e.Data.(type) {
		case history.Added:
			step.What, step.Touch, step.From = "added", data.Touch, data.From
		case history.Modified:
			step.What, step.Touch, step.From = "modified", data.Touch, data.From
		case history.Renamed:
			step.What, step.Touch, step.To = "renamed", data.Touch, data.To
		case history.Deleted:
			step.What, step.Touch = "deleted", data.Touch
		}
		life = append(life, step)
	}
	if len(life) == 0 {
		return nil, &UnknownPathError{path}
	}
	return life, nil
}

// State returns what was at a path at a version, from 1 on.
func (a *Archive) State(ctx context.Context, path history.Path, version int64) (*history.TrackedPath, error) {
	state, err := a.paths.GetVersion(ctx, history.PathID(path), version)
	if errors.Is(err, annals.ErrNotFound) {
		return nil, fmt.Errorf("path %q has no version %d: %w", path, version, err)
	}
	return state, err
}

// Logger has the method of [Reference] that finds a commit in the history.
type Logger interface {
	Log(ctx context.Context, from, to history.Hash) iter.Seq2[history.Commit, error]
}

// VersionAt returns the version that a path, whose life it is, had at a commit;
// 0 if it was not there yet. It returns [history.ErrElsewhere] if the commit is not
// in the recorded history.
func (a *Archive) VersionAt(ctx context.Context, source Logger, life []Step, commit history.Hash) (int64, error) {
	record, err := a.record(ctx)
	if err != nil {
		return 0, err
	}
	last := history.Hash("")
	if record != nil { // it is, if there is a life
		last = record.Commit
	}
	version := int64(0)
	for c, err := range source.Log(ctx, "", last) {
		if err != nil {
			return 0, err
		}
		if int(version) < len(life) && life[version].Touch.Commit == c.Hash {
			version++ // a commit touches a path once
		}
		if c.Hash == commit {
			return version, nil
		}
	}
	return 0, fmt.Errorf("commit %s is not in the recorded history, which follows first parents up to commit %s: %w",
		commit, last, history.ErrElsewhere)
}
