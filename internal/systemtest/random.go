package systemtest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/system"
)

// Tally is the aggregate of random systems: it counts what is noted.
type Tally struct {
	annals.Aggregate

	Notes int
}

// Noted is the event: App has noted an event of the stream From, or a command. The path is
// that of no other event, and the same in whatever order things are done.
type Noted struct {
	App, From string
	Path      string
	Depth     int
	Names     []string // so that it is more than an assignment to copy it
}

// Apply counts the note.
func (e Noted) Apply(t *Tally) { t.Notes++ }

// Other is an event that pipes may leave out.
type Other struct {
	App, Path string
	Depth     int
}

// Apply does nothing.
func (Other) Apply(*Tally) {}

// Tallies are the aggregates.
var Tallies = annals.Define("Tally", annals.On[Noted]("Noted"), annals.On[Other]("Other"))

// kind says which aggregate an event of another application is noted in.
type kind string

const (
	byStream kind = "by stream" // one for each stream of the other: it is fed by that stream alone
	byApp    kind = "by app"    // one for the other
	byAll    kind = "by all"    // one for all others
)

// graph is a random system, and what is done with it.
type graph struct {
	names    []string
	pipes    []edge
	commands []command
	writers  int
	depth    int // how often an event may have effects of effects
	failure  projection.Failure
	poison   uint32 // one event in so many fails; 0: none
	flaky    uint32 // one event in so many fails the first time
	cache    int
}

type edge struct {
	from, to int
	kinds    []kind
	only     bool // Noted only
}

// command notes n times on a stream of an application.
type command struct{ app, stream, n int }

func randomGraph(rt *rapid.T) *graph {
	g := &graph{
		writers: rapid.IntRange(1, 3).Draw(rt, "writers"),
		depth:   rapid.IntRange(1, 3).Draw(rt, "depth"),
		failure: rapid.SampledFrom([]projection.Failure{projection.Skip, projection.Park}).Draw(rt, "failure"),
		poison:  rapid.SampledFrom([]uint32{0, 0, 7}).Draw(rt, "poison"),
		flaky:   rapid.SampledFrom([]uint32{0, 5}).Draw(rt, "flaky"),
		cache:   rapid.SampledFrom([]int{0, 3}).Draw(rt, "cache"),
	}
	n := rapid.IntRange(1, 4).Draw(rt, "applications")
	for i := range n {
		g.names = append(g.names, fmt.Sprintf("app%d", i))
	}
	all := rapid.Permutation(pairs(n)).Draw(rt, "pipes")
	for _, p := range all[:rapid.IntRange(0, min(len(all), 5)).Draw(rt, "number of pipes")] {
		possible := []kind{byStream, byApp, byAll}
		if g.poison > 0 && g.failure == projection.Park {
			possible = possible[:1] // what is parked behind others depends on the order
		}
		kinds := rapid.SliceOfNDistinct(rapid.SampledFrom(possible), 1, min(2, len(possible)), rapid.ID).Draw(rt, "kinds")
		g.pipes = append(g.pipes, edge{p[0], p[1], kinds, rapid.Bool().Draw(rt, "only")})
	}
	for range rapid.IntRange(1, 12).Draw(rt, "commands") {
		g.commands = append(g.commands, command{
			rapid.IntRange(0, n-1).Draw(rt, "app"), rapid.IntRange(0, 3).Draw(rt, "stream"), rapid.IntRange(1, 3).Draw(rt, "n"),
		})
	}
	return g
}

func pairs(n int) (all [][2]int) {
	for i := range n {
		for j := range n {
			all = append(all, [2]int{i, j})
		}
	}
	return all
}

// node is an application of a random system.
type node struct {
	*application.Application

	g       *graph
	i       int
	tallies *application.Repository[Tally]

	mu    sync.Mutex
	tried map[string]bool
}

var errPoison = errors.New("this event is never processed")

// Policy notes the event as the pipe says.
func (a *node) Policy(ctx context.Context, n application.Notification, p *application.Processing) error {
	var from, path string
	var depth int
	switch e := n.Event.Data.(type) {
	case Noted:
		from, depth, path = e.App, e.Depth, e.Path
		if slices.Contains(e.Names, "") {
			return fmt.Errorf("an event was changed: %v", e.Names)
		}
	case Other:
		from, depth, path = e.App, e.Depth, e.Path
	}
	if err := a.trouble(path, n.Event.ID); err != nil {
		return err
	}
	if depth >= a.g.depth {
		return nil
	}
	for _, pipe := range a.g.pipes {
		if a.g.names[pipe.from] != from || pipe.to != a.i {
			continue
		}
		for _, k := range pipe.kinds {
			id := string(k)
			switch k {
			case byStream:
				id += "/" + from + "/" + n.Event.StreamID
			case byApp:
				id += "/" + from
			case byAll:
			}
			next := fmt.Sprintf("%s>%d%c", path, a.i, k[3])
			t, err := a.note(ctx, id, Noted{
				App: a.Name(), From: from + ":" + n.Event.StreamID, Path: next, Depth: depth + 1, Names: []string{from, n.Event.StreamID},
			})
			if err != nil {
				return err
			}
			if sumOf(next)%3 == 0 {
				annals.Trigger(t, Other{a.Name(), next + "o", depth + 1})
			}
			p.Collect(t)
		}
	}
	return nil
}

func sumOf(parts ...string) uint32 {
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, parts)
	return h.Sum32() >> 8
}

// trouble fails some events, always or the first time.
func (a *node) trouble(path, eventID string) error {
	switch sum := sumOf(a.Name(), path); {
	case a.g.poison > 0 && sum%a.g.poison == 1:
		return errPoison
	case a.g.flaky > 0 && sum%a.g.flaky == 2:
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.tried[eventID] {
			a.tried[eventID] = true
			return errors.New("this event is processed when it is tried again")
		}
	}
	return nil
}

func (a *node) note(ctx context.Context, id string, e Noted) (*Tally, error) {
	t, err := a.tallies.GetOrNew(ctx, id, func() *Tally { return Tallies.New(id, e) })
	if err == nil && len(Tallies.AggregateOf(t).PendingEvents()) == 0 {
		annals.Trigger(t, e)
	}
	return t, err
}

// system returns the applications and the system.
func (g *graph) system() ([]*system.Node[*node], *system.System, error) {
	nodes := make([]*system.Node[*node], len(g.names))
	parts := make([]system.Part, 0, len(g.names)+len(g.pipes))
	for i, name := range g.names {
		nodes[i] = system.App(name, func(ctx context.Context, opts ...application.Option) (*node, error) {
			app, err := application.Open(ctx, name, opts...)
			if err != nil {
				return nil, err
			}
			return &node{Application: app, g: g, i: i, tallies: application.NewRepository(app, Tallies), tried: make(map[string]bool)}, nil
		})
		parts = append(parts, system.Pipe(nodes[i]))
	}
	for _, p := range g.pipes {
		pipe := system.Pipe(nodes[p.from], nodes[p.to])
		if p.only {
			pipe = pipe.Only(system.Event[Noted]())
		}
		parts = append(parts, pipe)
	}
	s, err := system.New("random", parts...)
	return nodes, s, err
}

// effects are the streams of all applications, by "application/stream".
type effects map[string][]string

type runner = func(context.Context, *system.System, ...system.Option) (*system.Runner, error)

// play runs the system, gives the commands, and returns the effects.
func (g *graph) play(rt *rapid.T, tb testing.TB, b Backend, run runner) (effects, []int) {
	nodes, s, err := g.system()
	if err != nil {
		rt.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	members := make([]system.Member, len(nodes))
	for i, n := range nodes {
		members[i] = n
	}
	recorders, err := b.open(ctx, g.names, b.Create(tb, g.names...))
	if err != nil {
		rt.Fatal(err)
	}
	defer recorders.close()
	opts := append(recorders.options(members), system.WithFollowers(projection.WithFailures(2, 0, 0, g.failure)),
		system.WithApplications(application.WithCache(g.cache)))
	r, err := run(ctx, s, opts...)
	if err != nil {
		rt.Fatal(err)
	}
	g.command(ctx, rt, nodes, r)
	if err := r.Wait(ctx); err != nil {
		rt.Fatal(err)
	}
	for _, s := range r.Status() {
		if s.Failure != nil && !errors.Is(s.Failure, errPoison) {
			rt.Fatalf("%s, which follows %s: %v", s.Application, s.Upstream, s.Failure)
		}
	}
	parked, err := r.Parked(ctx)
	if err != nil {
		rt.Fatal(err)
	}
	all, views := g.effects(ctx, rt, nodes, r)
	for _, p := range parked {
		name := "parked " + p.Upstream + " > " + p.Application
		all[name] = append(all[name], fmt.Sprint(p.StreamID, " ", p.Topic))
	}
	if err := r.Stop(); err != nil {
		rt.Fatal(err)
	}
	return all, views
}

// command gives the commands, each stream's by one writer.
func (g *graph) command(ctx context.Context, rt *rapid.T, nodes []*system.Node[*node], r *system.Runner) {
	failed := make(chan error, g.writers)
	var wg sync.WaitGroup
	for w := range g.writers {
		wg.Go(func() {
			for i, c := range g.commands {
				if c.stream%g.writers != w {
					continue
				}
				if err := nodes[c.app].In(r).do(ctx, fmt.Sprint("command ", c.stream), i, c.n); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		rt.Fatal(err)
	default:
	}
}

func (a *node) do(ctx context.Context, id string, i, n int) error {
	return a.Retry(ctx, func(ctx context.Context) error {
		names := []string{"a", "b"}
		t, err := a.note(ctx, id, Noted{App: a.Name(), From: "command", Path: fmt.Sprint(i), Names: names})
		if err != nil {
			return err
		}
		for j := range n - 1 {
			annals.Trigger(t, Noted{App: a.Name(), From: "command", Path: fmt.Sprintf("%d.%d", i, j), Names: []string{}})
		}
		_, err = a.Save(ctx, t)
		names[0] = "" // what was saved is not changed by this
		return err
	})
}

// effects reads all logs, and a view of each.
func (g *graph) effects(ctx context.Context, rt *rapid.T, nodes []*system.Node[*node], r *system.Runner) (effects, []int) {
	all := make(effects)
	views := make([]int, len(nodes))
	for i, node := range nodes {
		a := node.In(r)
		for n, err := range a.Notifications(ctx) {
			if err != nil {
				rt.Fatal(err)
			}
			text := "other"
			if e, ok := n.Event.Data.(Other); ok {
				text += " " + e.Path
			}
			if e, ok := n.Event.Data.(Noted); ok {
				text = e.From + " " + e.Path
			}
			id := a.Name() + "/" + n.Event.StreamID
			all[id] = append(all[id], text)
		}
		sum := projection.Define("sum", projection.On(func(_ context.Context, s *int, e Noted, _ annals.Event) error {
			*s += e.Depth + 1
			return nil
		}))
		fold, err := projection.NewFold(a, sum, func() *int { return new(int) })
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := fold.Read(ctx, func(s *int) error { views[i] = *s; return nil }); err != nil {
			rt.Fatal(err)
		}
	}
	return all, views
}

// certain reports whether the log of an application has one order: it is given commands
// by one writer, or follows one other whose order is certain.
func (g *graph) certain(app, depth int) bool {
	var upstreams []int
	for _, p := range g.pipes {
		if p.to == app {
			upstreams = append(upstreams, p.from)
		}
	}
	commanded := slices.ContainsFunc(g.commands, func(c command) bool { return c.app == app })
	switch {
	case depth > len(g.names) || g.writers > 1: // a circle
		return false
	case len(upstreams) == 0:
		return true
	default:
		return len(upstreams) == 1 && !commanded && g.certain(upstreams[0], depth+1)
	}
}

// compare returns how the effects differ from the ones that are wanted: "" if they are the same.
func (g *graph) compare(want, got effects) string {
	if d := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); d != "" {
		return "the streams differ: " + d
	}
	for id := range want {
		w, h := want[id], got[id]
		if !g.isFedByOne(id) {
			w, h = slices.Sorted(slices.Values(w)), slices.Sorted(slices.Values(h))
			if d := g.compareSources(want[id], got[id]); d != "" {
				return id + ": " + d
			}
		}
		if d := cmp.Diff(w, h); d != "" {
			return id + ": " + d
		}
	}
	return ""
}

// isFedByOne reports whether the order of a stream's events is certain.
func (g *graph) isFedByOne(id string) bool {
	app, stream, _ := strings.Cut(id, "/")
	k, source, _ := strings.Cut(stream, "/")
	switch kind(k) {
	case byStream: // as certain as what feeds it
		return g.isFedByOne(source)
	case byApp:
		return g.certain(slices.Index(g.names, source), 0)
	case byAll:
		return g.certain(slices.Index(g.names, app), 0)
	default: // of a command
		return !strings.HasPrefix(id, "parked") || g.certain(slices.Index(g.names, strings.Fields(app)[1]), 0)
	}
}

// compareSources compares the events of each stream that feeds this one, where their order
// is certain.
func (g *graph) compareSources(want, got []string) string {
	bySource := func(events []string) map[string][]string {
		all := make(map[string][]string)
		for _, e := range events {
			if source := e[:strings.LastIndex(e, " ")]; strings.Contains(source, ":") {
				all[source] = append(all[source], e)
			}
		}
		return all
	}
	w, h := bySource(want), bySource(got)
	for source := range w {
		if g.isFedByOne(strings.Replace(source, ":", "/", 1)) {
			if d := cmp.Diff(w[source], h[source]); d != "" {
				return "of " + source + ": " + d
			}
		}
	}
	return ""
}

// CheckEquality holds what random systems do on a backend, in the background and in one
// goroutine, against what they do in one goroutine in memory (B49).
func CheckEquality(t *testing.T, b Backend) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		g := randomGraph(rt)
		want, wantViews := g.play(rt, t, Memory(), system.RunSync)
		run, mode := system.RunAsync, "RunAsync"
		if rapid.IntRange(1, 4).Draw(rt, "mode") == 1 {
			run, mode = system.RunSync, "RunSync"
		}
		got, gotViews := g.play(rt, t, b, run)
		if d := g.compare(want, got); d != "" {
			rt.Fatalf("%s on %s (-want +got): %s", mode, b.Name, d)
		}
		if d := cmp.Diff(wantViews, gotViews); d != "" {
			rt.Fatalf("the views differ (-want +got): %s", d)
		}
	})
}
