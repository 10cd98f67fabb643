package system

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
)

// Node is an application of a system: its name, and how it is opened. It does not change,
// and is safe for concurrent use.
type Node[A application.Embedding] struct{ m member }

// Member is a [*Node] of any type of application.
type Member interface{ member() *member }

func (n *Node[A]) member() *member {
	if n == nil {
		return nil
	}
	return &n.m
}

// member is what a system knows of a node.
type member struct {
	name    string
	open    func(ctx context.Context, opts ...application.Option) (application.Embedding, error)
	app     reflect.Type
	follows bool // it has a policy
}

// App names an application, and says how to open it: by a function that passes the options
// on to [application.Open], with the same name. The name is stored with the events and
// with how far its followers are: it must not change. It has up to 100 letters, digits,
// underscores, dots and dashes.
func App[A application.Embedding](name string, open func(ctx context.Context, opts ...application.Option) (A, error)) *Node[A] {
	t := reflect.TypeFor[A]()
	m := member{name: name, app: t, follows: t.Implements(reflect.TypeFor[application.Policy]())}
	if open != nil {
		m.open = func(ctx context.Context, opts ...application.Option) (application.Embedding, error) {
			a, err := open(ctx, opts...)
			if err != nil {
				return nil, err
			}
			if v := reflect.ValueOf(a); v.Kind() == reflect.Pointer && v.IsNil() || application.Of(a) == nil {
				return nil, fmt.Errorf("application %s: the function that opens it returns none: %w", name, annals.ErrConfiguration)
			}
			return a, nil
		}
	}
	return &Node[A]{m}
}

// Name returns the name of the application.
func (n *Node[A]) Name() string { return n.m.name }

// In returns the application that the runner has opened. It panics if the application is
// none of the runner's system.
func (n *Node[A]) In(r *Runner) A {
	a, ok := r.apps[&n.m]
	if !ok {
		panic(fmt.Sprintf("system %s: In: it has no application %s", r.system.name, n.m.name))
	}
	return a.(A) //nolint:forcetypeassert // it was opened by the node
}

// Part is a part of the definition of a system: what [Pipe] returns.
type Part struct {
	members []*member
	only    []reflect.Type
	err     error
}

// Pipe says that the second application follows the first, the third the second, and so
// on. Those that follow have a [application.Policy]. An application may be in several
// pipes, may follow itself, and may be followed by one that it follows. A single
// application is one that follows none here.
func Pipe(apps ...Member) Part {
	p := Part{}
	if len(apps) == 0 {
		p.err = errors.New("a pipe has no application")
	}
	for i, a := range apps {
		if a == nil || a.member() == nil {
			p.err = errors.Join(p.err, fmt.Errorf("application %d of a pipe is nil", i+1))
			continue
		}
		p.members = append(p.members, a.member())
	}
	return p
}

// EventType is a type of event's data, see [Event].
type EventType struct{ t reflect.Type }

// Event names the events whose data is an E.
func Event[E any]() EventType { return EventType{reflect.TypeFor[E]()} }

// Only limits a pipe of two applications to some types of events. Others do not reach the
// policy, and are left out by the database. Default: all.
func (p Part) Only(types ...EventType) Part {
	if len(p.members) != 2 || len(types) == 0 {
		p.err = errors.Join(p.err, errors.New("Only is for a pipe of two applications, and takes a type at least"))
	}
	for _, t := range types {
		p.only = append(p.only, t.t)
	}
	return p
}

// System is a graph of applications. It does not change, and is safe for concurrent use.
type System struct {
	name    string
	members []*member // in the order in which they were named first
	pipes   []pipe    // in the order of the definition
}

// pipe says that one application follows another.
type pipe struct {
	leader, follower *member
	only             []reflect.Type // nil: all
}

const nameRule = "up to 100 letters, digits, underscores, dots and dashes, the first a letter or digit"

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

// Define returns a system, and panics if [New] returns an error: it is for variables.
func Define(name string, parts ...Part) *System {
	s, err := New(name, parts...)
	if err != nil {
		panic(err.Error())
	}
	return s
}

// New returns a system of the pipes. The order of the pipes is that in which [RunSync]
// goes through them. It returns [annals.ErrConfiguration], and says why, if the graph is
// wrong: a name is none, or that of two applications; an application follows without a
// policy; a pipe is there twice.
func New(name string, parts ...Part) (*System, error) {
	s := &System{name: name}
	var all []error
	if !validName.MatchString(name) {
		all = append(all, fmt.Errorf("%q is no name: %s", name, nameRule))
	}
	if len(parts) == 0 {
		all = append(all, errors.New("it has no applications: see Pipe"))
	}
	for _, p := range parts {
		if p.err != nil {
			all = append(all, p.err)
			continue
		}
		for i, m := range p.members {
			all = append(all, s.add(m))
			if i > 0 {
				all = append(all, s.connect(pipe{p.members[i-1], m, p.only}))
			}
		}
	}
	if err := errors.Join(all...); err != nil {
		return nil, fmt.Errorf("system %s: %w: %w", name, annals.ErrConfiguration, err)
	}
	return s, nil
}

// add adds an application, if it is not there.
func (s *System) add(m *member) error {
	for _, other := range s.members {
		switch {
		case other == m:
			return nil
		case other.name == m.name:
			return fmt.Errorf("two applications have the name %s, a %v and a %v: use one App for both", m.name, other.app, m.app)
		case prefixOf(other.name) == prefixOf(m.name):
			return fmt.Errorf("%s and %s would have the same settings in the environment, %s_…", other.name, m.name, prefixOf(m.name))
		}
	}
	s.members = append(s.members, m)
	if !validName.MatchString(m.name) {
		return fmt.Errorf("%q is no name of an application: %s", m.name, nameRule)
	}
	if m.open == nil {
		return fmt.Errorf("application %s: the function that opens it is nil", m.name)
	}
	return nil
}

// prefixOf is what the settings of an application begin with, see persistence.Settings.
func prefixOf(name string) string {
	return strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(name))
}

func (s *System) connect(p pipe) error {
	if !p.follower.follows {
		return fmt.Errorf("%s follows %s, and a %v has no method "+
			"Policy(context.Context, application.Notification, *application.Processing) error",
			p.follower.name, p.leader.name, p.follower.app)
	}
	for _, other := range s.pipes {
		if other.leader == p.leader && other.follower == p.follower {
			return fmt.Errorf("%s follows %s twice", p.follower.name, p.leader.name)
		}
	}
	s.pipes = append(s.pipes, p)
	return nil
}

// Name returns the name of the system.
func (s *System) Name() string { return s.name }

// Applications returns the names of the applications, in the order of the definition.
func (s *System) Applications() []string {
	names := make([]string, len(s.members))
	for i, m := range s.members {
		names[i] = m.name
	}
	return names
}

// Mermaid returns the graph as a Mermaid flowchart.
func (s *System) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for i, m := range s.members {
		fmt.Fprintf(&b, "    a%d[%q]\n", i+1, m.name)
	}
	for _, p := range s.pipes {
		label := ""
		if len(p.only) > 0 {
			label = "|" + `"` + p.events() + `"` + "|"
		}
		fmt.Fprintf(&b, "    a%d -->%s a%d\n", s.number(p.leader), label, s.number(p.follower))
	}
	return b.String()
}

// DOT returns the graph in the language of Graphviz.
func (s *System) DOT() string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n\trankdir=LR;\n\tnode [shape=box];\n", s.name)
	for _, m := range s.members {
		fmt.Fprintf(&b, "\t%q;\n", m.name)
	}
	for _, p := range s.pipes {
		label := ""
		if len(p.only) > 0 {
			label = fmt.Sprintf(" [label=%q]", p.events())
		}
		fmt.Fprintf(&b, "\t%q -> %q%s;\n", p.leader.name, p.follower.name, label)
	}
	b.WriteString("}\n")
	return b.String()
}

func (s *System) number(m *member) int {
	for i, other := range s.members {
		if other == m {
			return i + 1
		}
	}
	return 0
}

// events names the types that a pipe is limited to.
func (p *pipe) events() string {
	names := make([]string, len(p.only))
	for i, t := range p.only {
		names[i] = t.Name()
	}
	return strings.Join(names, ", ")
}
