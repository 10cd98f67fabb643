package history_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/examples/githistory/history"
)

// aLog is the log of three commits: p is added, p is moved to q, and nothing. They
// came in two saves.
func aLog(t *testing.T) []annals.Event {
	t.Helper()
	a, b, c := commit("a"), commit("b"), commit("c")
	p, err := history.Track(a, history.Change{Path: "p", New: one})
	if err != nil {
		t.Fatal(err)
	}
	author := history.FirstCommit(a, 1)
	log := append(p.CollectEvents(), author.CollectEvents()...)
	q, err := history.Track(b, history.Change{Path: "q", New: two, From: "p"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Record(b, history.Change{Path: "p", Old: one, To: "q"}); err != nil {
		t.Fatal(err)
	}
	author.Commit(b, 2)
	log = append(log, p.CollectEvents()...)
	log = append(log, q.CollectEvents()...)
	log = append(log, author.CollectEvents()...)
	record := history.Begin("b", 2)
	log = append(log, record.CollectEvents()...)
	author.Commit(c, 0)
	log = append(log, author.CollectEvents()...)
	record.Extend("c", 1)
	return append(log, record.CollectEvents()...)
}

func TestTreeFollowsTheLog(t *testing.T) {
	t.Parallel()
	var tree history.Tree
	var commits []history.Hash
	var trees []map[history.Path]history.Content
	for _, e := range aLog(t) {
		done, err := tree.Apply(&e)
		if err != nil {
			t.Fatal(err)
		}
		if done == nil {
			continue
		}
		commits = append(commits, done.Commit)
		trees = append(trees, maps.Collect(tree.All()))
		if tree.Len() != len(trees[len(trees)-1]) {
			t.Errorf("at %s: the tree says that it has %d paths, and has %v", done.Commit, tree.Len(), trees[len(trees)-1])
		}
	}
	if diff := cmp.Diff([]history.Hash{"a", "b", "c"}, commits); diff != "" {
		t.Error(diff)
	}
	want := []map[history.Path]history.Content{{"p": one}, {"q": two}, {"q": two}}
	if diff := cmp.Diff(want, trees); diff != "" {
		t.Error(diff)
	}
	if tree.Content("p") != nothing || tree.Content("q") != two {
		t.Errorf("at the end, p is %v and q is %v", tree.Content("p"), tree.Content("q"))
	}
}

func TestTreeRefusesWhatIsNoHistory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func(log []annals.Event) []annals.Event
		want   string
	}{
		"an event is missing": {
			func(log []annals.Event) []annals.Event { return append(log[:2:2], log[3:]...) },
			"commit b has events of 1 paths, and touched 2",
		},
		"the first event of a path is missing": {
			func(log []annals.Event) []annals.Event { return log[1:] },
			"commit a has events of 0 paths, and touched 1",
		},
		"an event is there twice": {
			func(log []annals.Event) []annals.Event { return append(log[:1:1], log...) },
			`path "p": version 1 follows version 1`,
		},
		"a commit is missing": {
			func(log []annals.Event) []annals.Event { return log[2:] },
			`path "p": version 2 follows version 0`,
		},
		"an author's event is missing": {
			func(log []annals.Event) []annals.Event { return append(log[:1:1], log[2:]...) },
			`path "p": version 2 is of commit b, between events of commit a`,
		},
		"an event of an author is missing": {
			func(log []annals.Event) []annals.Event { return log[6:] },
			`author "ada@example.org": version 3 follows version 0`,
		},
		"the record was extended once more": {
			func(log []annals.Event) []annals.Event { return append(log[:5:5], log[6:]...) },
			"the record: version 2 follows version 0",
		},
		"the record is extended by other commits": {
			func(log []annals.Event) []annals.Event {
				log[5].Data = history.Extended{Commit: "b", Commits: 3}
				return log
			},
			"the record is extended by 3 commits up to b after 2 commits up to b",
		},
		"the record is extended up to another commit": {
			func(log []annals.Event) []annals.Event {
				log[5].Data = history.Extended{Commit: "a", Commits: 2}
				return log
			},
			"the record is extended by 2 commits up to a after 2 commits up to b",
		},
		"the record is extended within a commit": {
			func(log []annals.Event) []annals.Event {
				log[4], log[5] = log[5], log[4]
				return log
			},
			"the record is extended by 2 commits up to b after 1 commits up to b",
		},
		"the record is extended elsewhere": {
			func(log []annals.Event) []annals.Event {
				log[5].StreamID = "elsewhere"
				return log
			},
			"the record is extended in the stream elsewhere",
		},
		"a path has another content": {
			func(log []annals.Event) []annals.Event {
				log[0].Data = history.Added{Touch: touch("a", two)}
				return log
			},
			`path "p": version 2 is Path.Renamed with 100644 1111, and 100644 2222 was there`,
		},
		"a path that is there is added": {
			func(log []annals.Event) []annals.Event {
				log[2].Data = history.Added{Touch: touch("b", two)}
				return log
			},
			`path "p": version 2 is`,
		},
		"a path that is not there is modified": {
			func(log []annals.Event) []annals.Event {
				log[0].Data = history.Modified{Touch: touch("a", one)}
				return log
			},
			`path "p": version 1 is`,
		},
		"nothing is added": {
			func(log []annals.Event) []annals.Event {
				log[0].Data = history.Added{Touch: touch("a", nothing)}
				return log
			},
			`path "p": version 1 is`,
		},
		"a path is in the stream of another": {
			func(log []annals.Event) []annals.Event {
				log[0].StreamID = history.PathID("q")
				return log
			},
			`Path.Added of path "p" is in the stream`,
		},
		"an author is in the stream of another": {
			func(log []annals.Event) []annals.Event {
				log[1].StreamID = history.AuthorID("")
				return log
			},
			`a commit of author "ada@example.org" is in the stream`,
		},
		"a commit ends another": {
			func(log []annals.Event) []annals.Event {
				log[1].Data = history.Committed{Commit: "c", Email: "ada@example.org", Paths: 1}
				return log
			},
			"commit c ends between events of commit a",
		},
		"something else": {
			func(log []annals.Event) []annals.Event {
				log[0].Topic, log[0].Data = "Dog.Registered", struct{}{}
				return log
			},
			"an event of the type Dog.Registered is no part of a history",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tree history.Tree
			for _, e := range c.damage(aLog(t)) {
				if _, err := tree.Apply(&e); err != nil {
					if !strings.Contains(err.Error(), c.want) {
						t.Errorf("got %q; want %q", err, c.want)
					}
					return
				}
			}
			t.Error("it was taken for a history")
		})
	}
}
