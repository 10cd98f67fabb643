package system_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/system"
)

func named(name string) func(context.Context, ...application.Option) (*counting, error) {
	return func(ctx context.Context, opts ...application.Option) (*counting, error) {
		app, err := application.Open(ctx, name, opts...)
		if err != nil {
			return nil, err
		}
		return &counting{Application: app, counters: application.NewRepository(app, counters)}, nil
	}
}

// B46.
func TestAWrongGraphDoesNotConstruct(t *testing.T) {
	t.Parallel()
	a, b := system.App("a", named("a")), system.App("b", named("b"))
	var none *system.Node[*counting]
	for name, c := range map[string]struct {
		system string
		parts  []system.Part
		want   string
	}{
		"no name":                        {"", []system.Part{system.Pipe(a)}, `"" is no name`},
		"a bad name":                     {"a/b", []system.Part{system.Pipe(a)}, `"a/b" is no name`},
		"no applications":                {"s", nil, "it has no applications"},
		"an empty pipe":                  {"s", []system.Part{system.Pipe()}, "a pipe has no application"},
		"a nil application":              {"s", []system.Part{system.Pipe(a, nil)}, "application 2 of a pipe is nil"},
		"a nil node":                     {"s", []system.Part{system.Pipe(none)}, "application 1 of a pipe is nil"},
		"a bad name of an application":   {"s", []system.Part{system.Pipe(system.App("a b", named("a b")))}, `"a b" is no name of an application`},
		"an application without an open": {"s", []system.Part{system.Pipe(system.App[*counting]("x", nil))}, "the function that opens it is nil"},
		"a follower without a policy":    {"s", []system.Part{system.Pipe(a, schoolApp)}, "dogschool follows a, and a *system_test.school has no method Policy("},
		"a pipe that is there twice":     {"s", []system.Part{system.Pipe(a, b), system.Pipe(a, b)}, "b follows a twice"},
		"a chain with a pipe twice":      {"s", []system.Part{system.Pipe(a, b, a, b)}, "b follows a twice"},
		"two applications of one name":   {"s", []system.Part{system.Pipe(a), system.Pipe(system.App("a", openSchool))}, "two applications have the name a"},
		"two with the same settings": {
			"s", []system.Part{system.Pipe(system.App("x-y", named("x-y")), system.App("x.y", named("x.y")))}, "would have the same settings in the environment, X_Y_",
		},
		"Only of a chain":       {"s", []system.Part{system.Pipe(a, b, a).Only(system.Event[began]())}, "Only is for a pipe of two"},
		"Only without a type":   {"s", []system.Part{system.Pipe(a, b).Only()}, "takes a type"},
		"Only of a single":      {"s", []system.Part{system.Pipe(a).Only(system.Event[began]())}, "Only is for a pipe of two"},
		"all that is wrong":     {"", []system.Part{system.Pipe(), system.Pipe(a, b), system.Pipe(a, b)}, "b follows a twice"},
		"also the first of all": {"", []system.Part{system.Pipe(), system.Pipe(a, b), system.Pipe(a, b)}, "a pipe has no application"},
	} {
		s, err := system.New(c.system, c.parts...)
		if s != nil || !errors.Is(err, annals.ErrConfiguration) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one that says %s", name, err, c.want)
		}
	}
	defer func() {
		if v := recover(); v == nil {
			t.Error("Define did not panic")
		}
	}()
	system.Define("")
}

// B46.
func TestAGraphIsDrawn(t *testing.T) {
	t.Parallel()
	a, b, c := system.App("a", named("a")), system.App("b", named("b")), system.App("c", named("c"))
	s := system.Define("all", system.Pipe(a, b, c), system.Pipe(c, a), system.Pipe(b, b).Only(system.Event[began](), system.Event[incremented]()), system.Pipe(schoolApp))
	//nolint:dupword // two nodes, one after the other
	const mermaid = `flowchart LR
    a1["a"]
    a2["b"]
    a3["c"]
    a4["dogschool"]
    a1 --> a2
    a2 --> a3
    a3 --> a1
    a2 -->|"began, incremented"| a2
`
	if got := s.Mermaid(); got != mermaid {
		t.Errorf("Mermaid: %s", got)
	}
	const dot = `digraph "all" {
	rankdir=LR;
	node [shape=box];
	"a";
	"b";
	"c";
	"dogschool";
	"a" -> "b";
	"b" -> "c";
	"c" -> "a";
	"b" -> "b" [label="began, incremented"];
}
`
	if got := s.DOT(); got != dot {
		t.Errorf("DOT: %s", got)
	}
	if s.Name() != "all" || a.Name() != "a" {
		t.Errorf("names: %s, %s", s.Name(), a.Name())
	}
}

// B46.
func TestAWrongSystemDoesNotRun(t *testing.T) {
	t.Parallel()
	failed := errors.New("no disk")
	broken := system.App("broken", func(context.Context, ...application.Option) (*counting, error) { return nil, failed })
	misnamed := system.App("misnamed", named("another"))
	nothing := system.App("nothing", func(context.Context, ...application.Option) (*counting, error) { return nil, nil }) //nolint:nilnil // that is the mistake
	empty := system.App("empty", func(context.Context, ...application.Option) (*counting, error) { return new(counting), nil })
	a := system.App("a", named("a"))
	unknown := system.Define("s", system.Pipe(schoolApp, a).Only(system.Event[incremented]()))
	for name, c := range map[string]struct {
		s    *system.System
		opts []system.Option
		is   error
		want string
	}{
		"an application that cannot be opened": {system.Define("s", system.Pipe(a), system.Pipe(broken)), nil, failed, "system s"},
		"an application of another name":       {system.Define("s", system.Pipe(misnamed)), nil, annals.ErrConfiguration, "it is opened with the name another"},
		"an application that is nil":           {system.Define("s", system.Pipe(nothing)), nil, annals.ErrConfiguration, "returns none"},
		"one without an application":           {system.Define("s", system.Pipe(empty)), nil, annals.ErrConfiguration, "returns none"},
		"events that the other does not know":  {unknown, nil, annals.ErrConfiguration, "no event has data of the type system_test.incremented"},
		"options of another application":       {dogSchools, []system.Option{system.WithApplication(a)}, annals.ErrConfiguration, "it has no application a"},
		"options of another follower":          {dogSchools, []system.Option{system.WithFollower(a)}, annals.ErrConfiguration, "it has no application a"},
		"options of no application":            {dogSchools, []system.Option{system.WithApplication(nil)}, annals.ErrConfiguration, "is nil"},
		"options of no follower":               {dogSchools, []system.Option{system.WithFollower(nil)}, annals.ErrConfiguration, "is nil"},
		"versions of followers":                {dogSchools, []system.Option{system.WithFollowers(projection.WithManualSwitch())}, annals.ErrConfiguration, "WithManualSwitch"},
		"no hook":                              {dogSchools, []system.Option{system.WithHook(nil)}, annals.ErrConfiguration, "WithHook"},
	} {
		for mode, run := range runs() {
			r, err := run(t.Context(), c.s, c.opts...)
			if r != nil || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %s: %v", mode, name, err)
			}
		}
	}
}

type run = func(context.Context, *system.System, ...system.Option) (*system.Runner, error)

func runs() map[string]run {
	return map[string]run{"RunSync": system.RunSync, "RunAsync": system.RunAsync}
}
