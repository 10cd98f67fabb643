package projection

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
)

// Projection says what events do to a view. Tx is what the handlers write by. It does
// not change once it is defined, and is safe for concurrent use.
type Projection[Tx any] struct {
	name     string
	title    string // what errors call it; "" for its name
	version  int
	handlers map[reflect.Type][]handler[Tx]
	all      []handler[Tx]
	switched []func(ctx context.Context, tx Tx) error
	err      error
}

// handler is called for an event; if live, only for one that is not replayed.
type handler[Tx any] struct {
	call func(ctx context.Context, tx Tx, n *application.Notification) error
	live bool
}

func handlerOf[Tx any](handle func(ctx context.Context, tx Tx, n application.Notification) error) handler[Tx] {
	return handler[Tx]{call: func(ctx context.Context, tx Tx, n *application.Notification) error { return handle(ctx, tx, *n) }}
}

// Part is a part of the definition of a projection.
type Part[Tx any] interface{ addTo(p *Projection[Tx]) }

type part[Tx any] func(p *Projection[Tx])

func (f part[Tx]) addTo(p *Projection[Tx]) { f(p) }

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

// Define returns a projection. The name is stored in the view, with how far the
// projection is: it must not change. It has up to 100 letters, digits, underscores,
// dots and dashes. What is wrong with a definition is the error of [Start].
func Define[Tx any](name string, parts ...Part[Tx]) *Projection[Tx] {
	p := &Projection[Tx]{name: name, version: 1, handlers: make(map[reflect.Type][]handler[Tx])}
	if !validName.MatchString(name) {
		p.failf("%q is no name: up to 100 letters, digits, underscores, dots and dashes, the first a letter or digit", name)
	}
	for _, part := range parts {
		part.addTo(p)
	}
	if len(p.handlers) == 0 && len(p.all) == 0 {
		p.failf("it has no handlers: On, OnLive, OnAll")
	}
	return p
}

func (p *Projection[Tx]) failf(format string, args ...any) {
	p.err = errors.Join(p.err, fmt.Errorf("%s: %s: %w", p.what(), fmt.Sprintf(format, args...), annals.ErrConfiguration))
}

// Title says what errors call the projection. It is not stored. Default: "projection " and
// its name.
func Title[Tx any](title string) Part[Tx] {
	return part[Tx](func(p *Projection[Tx]) { p.title = title })
}

// what is how errors call the projection.
func (p *Projection[Tx]) what() string {
	if p.title != "" {
		return p.title
	}
	return "projection " + p.name
}

// Name returns the projection's name.
func (p *Projection[Tx]) Name() string { return p.name }

// Version returns the version of the projection, see [Version].
func (p *Projection[Tx]) Version() int { return p.version }

// On calls the handler for each event whose data is an E, in the order of the log for
// the events of one stream. What it writes by tx is undone if it, or a handler of the
// same batch, fails, and it is called again then: it must have no other effects.
// Several handlers of one type are called in the order of the definition.
func On[Tx, E any](handle func(ctx context.Context, tx Tx, e E, env annals.Event) error) Part[Tx] {
	return on(handle, false)
}

// OnLive is [On] for what must not happen again while a view is built anew, when each
// event of the past is handled once more: the handler is not called for an event that
// another version of the projection has handled, see [Replaying].
func OnLive[Tx, E any](handle func(ctx context.Context, tx Tx, e E, env annals.Event) error) Part[Tx] {
	return on(handle, true)
}

func on[Tx, E any](handle func(ctx context.Context, tx Tx, e E, env annals.Event) error, live bool) Part[Tx] {
	return part[Tx](func(p *Projection[Tx]) {
		t := reflect.TypeFor[E]()
		if handle == nil {
			p.failf("the handler of %v is nil", t)
			return
		}
		if t.Kind() == reflect.Interface {
			p.failf("%v is an interface: a handler is for the type of an event's data; see OnAll", t)
			return
		}
		h := handlerOf(func(ctx context.Context, tx Tx, n application.Notification) error {
			return handle(ctx, tx, n.Event.Data.(E), n.Event) //nolint:forcetypeassert // handlers are looked up by type
		})
		h.live = live
		p.handlers[t] = append(p.handlers[t], h)
	})
}

// OnAll calls the handler for each event, whatever its type, with its position, after
// those for its type.
// See [On].
func OnAll[Tx any](handle func(ctx context.Context, tx Tx, n application.Notification) error) Part[Tx] {
	return part[Tx](func(p *Projection[Tx]) {
		if handle == nil {
			p.failf("the handler of all events is nil")
			return
		}
		p.all = append(p.all, handlerOf(handle))
	})
}

// OnTypes calls the handler for each event whose data is of one of the types, with its
// position: it is [On] for types that are known when the program runs only.
func OnTypes[Tx any](types []reflect.Type, handle func(ctx context.Context, tx Tx, n application.Notification) error) Part[Tx] {
	return part[Tx](func(p *Projection[Tx]) {
		if handle == nil || len(types) == 0 {
			p.failf("OnTypes wants types, and a handler that is not nil")
			return
		}
		for _, t := range types {
			p.handlers[t] = append(p.handlers[t], handlerOf(handle))
		}
	})
}

// Version gives the version of the projection, from 1 on. Default: 1. When what
// handlers write changes, define the next version, which writes to tables of its own:
// [Start] builds it beside the one that is active, and switches when it has caught up.
func Version[Tx any](version int) Part[Tx] {
	return part[Tx](func(p *Projection[Tx]) {
		if version < 1 {
			p.failf("version %d: versions start at 1", version)
			return
		}
		p.version = version
	})
}

// OnSwitch calls the function when this version becomes the active one, in the
// transaction that makes it so: for the statements after which readers see the new
// tables.
func OnSwitch[Tx any](f func(ctx context.Context, tx Tx) error) Part[Tx] {
	return part[Tx](func(p *Projection[Tx]) {
		if f == nil {
			p.failf("the function of OnSwitch is nil")
			return
		}
		p.switched = append(p.switched, f)
	})
}

// types returns the types of data that there are handlers for; nil if for all.
func (p *Projection[Tx]) types() []reflect.Type {
	if len(p.all) > 0 {
		return nil
	}
	types := make([]reflect.Type, 0, len(p.handlers))
	for t := range p.handlers {
		types = append(types, t)
	}
	slices.SortFunc(types, func(a, b reflect.Type) int { return strings.Compare(a.String(), b.String()) })
	return types
}

// handle calls the handlers of an event.
func (p *Projection[Tx]) handle(ctx context.Context, tx Tx, n *application.Notification) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
	}()
	replaying := Replaying(ctx)
	for _, handlers := range [][]handler[Tx]{p.handlers[reflect.TypeOf(n.Event.Data)], p.all} {
		for i := range handlers {
			if handlers[i].live && replaying {
				continue
			}
			if err := handlers[i].call(ctx, tx, n); err != nil {
				return err
			}
		}
	}
	return nil
}

type replayingKey struct{}

// Replaying reports, of the context of a handler, whether another version of the
// projection has handled the event already: the view is built anew, and what leaves
// the view, a mail say, would leave it again.
func Replaying(ctx context.Context) bool { return ctx.Value(replayingKey{}) != nil }

func withReplaying(ctx context.Context) context.Context {
	return context.WithValue(ctx, replayingKey{}, true)
}
