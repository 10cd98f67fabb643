package application

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/huandu/go-clone"
)

// Saved is what a save has stored, for those who registered by [Application.AfterSave].
type Saved struct {
	recordings Recordings
	size       int
}

// Position returns the position of the last event; 0 if no event was stored.
func (s Saved) Position() int64 { return s.recordings.Position() }

// Size returns about how much memory the events take, in bytes.
func (s Saved) Size() int { return s.size }

// Notifications returns the events at their positions, as a reader of the log would get
// them: they share no memory with the aggregates. Ok is false if events of a type cannot be
// copied; they have to be read.
func (s Saved) Notifications() (all []Notification, ok bool) {
	all = make([]Notification, len(s.recordings))
	for i, n := range s.recordings {
		if n.Event.Data, ok = copyOf(n.Event.Data); !ok {
			return nil, false
		}
		n.Event.Metadata.Headers = maps.Clone(n.Event.Metadata.Headers)
		all[i] = n
	}
	return all, true
}

// kinds are how the data of events is copied, by its type.
var kinds sync.Map // of copyKind

type copyKind int

const (
	copyFlat copyKind = iota // to assign it is to copy it
	copyDeep
	copyNever
)

func copyOf(data any) (_ any, ok bool) {
	t := reflect.TypeOf(data)
	kind, known := kinds.Load(t)
	if !known {
		c := newCopyCheck()
		c.texts = true
		switch err := c.walk(t, t.String(), false); {
		case err != nil:
			kind = copyNever
		case c.deep:
			kind = copyDeep
		default:
			kind = copyFlat
		}
		kinds.Store(t, kind)
	}
	switch kind {
	case copyFlat:
		return data, true
	case copyDeep:
		return clone.Slowly(data), true
	default:
		return nil, false
	}
}

// AfterSave registers a function that is called after each save of this application, in
// the goroutine of the save and before it returns, until stop is called. Saves by other
// processes, and those that [Join] a transaction, which may not be committed yet, do not
// call it: it is for waking up somebody who reads the log. An error that it returns is
// that of the save, in an [*AfterSaveError]; further functions are called all the same.
// Where a policy has saved, it is lost.
func (a *Application) AfterSave(f func(ctx context.Context, saved Saved) error) (stop func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	after := &afterSave{f}
	a.after = append(slices.Clip(a.after), after)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.after = slices.DeleteFunc(slices.Clone(a.after), func(other *afterSave) bool { return other == after })
	}
}

type afterSave struct {
	f func(ctx context.Context, saved Saved) error
}

// saved calls what is registered for after saves.
func (a *Application) saved(ctx context.Context, s *save) error {
	if s.join != nil || len(s.recordings) == 0 && s.batch.Do == nil {
		return nil
	}
	a.mu.Lock()
	all := a.after
	a.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	saved := Saved{recordings: s.recordings}
	for i := range s.batch.Events {
		saved.size += len(s.batch.Events[i].State) + len(s.batch.Events[i].Headers)
	}
	var first error
	for _, after := range all {
		if err := after.f(ctx, saved); err != nil && first == nil {
			first = &AfterSaveError{Application: a.name, Position: s.recordings.Position(), Err: err}
		}
	}
	return first
}

// AfterSaveError says that a save is done, its events are stored, and that what was to
// follow failed: the effects in other applications of a system that runs in one goroutine.
// It does not unwrap to what failed: [annals.ErrVersionConflict] and the like would be those
// of another save, and who found them would take this one for undone.
type AfterSaveError struct {
	// Application is the name of the application that saved.
	Application string
	// Position is that of the last event that was saved.
	Position int64
	// Err is what followed.
	Err error
}

// Error says that the save is done, and what failed.
func (e *AfterSaveError) Error() string {
	return fmt.Sprintf("application %s: saved up to position %d, and what follows failed: %v", e.Application, e.Position, e.Err)
}

// Embedding is implemented by [*Application], and by what has one embedded: the
// applications of domains.
type Embedding interface{ application() *Application }

func (a *Application) application() *Application { return a }

// Of returns the application that is embedded.
func Of(e Embedding) *Application { return e.application() }
