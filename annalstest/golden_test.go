package annalstest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/annalstest"
	"github.com/annals-es/annals/persistence"
)

// What a grade was, from release to release.
type (
	GradedV1 struct{ Note string }
	GradedV2 struct {
		Note string
		By   string
	}
	Graded struct{ Points int }
)

func (GradedV1) Apply(*Dog) {}
func (GradedV2) Apply(*Dog) {}
func (Graded) Apply(*Dog)   {}

func graded(v2 GradedV2) Graded { return Graded{len(v2.Note)} }

// goldens is a folder of golden files, and what a test says about it.
type goldens struct {
	annalstest.Golden

	t *testing.T
}

// check fails unless Check says each of the parts; with none, unless it says nothing.
func (g goldens) check(def annals.Definition, examples []any, says ...string) {
	g.t.Helper()
	wantReported(g.t, func(tb *report) { g.Check(tb, def, examples...) }, says...)
}

// update is a check that writes files.
func (g goldens) update(def annals.Definition, examples []any) {
	g.t.Helper()
	g.t.Setenv("ANNALS_UPDATE", "1")
	g.check(def, examples)
	g.t.Setenv("ANNALS_UPDATE", "")
}

func (g goldens) want(files ...string) {
	g.t.Helper()
	entries, err := os.ReadDir(g.Dir)
	if err != nil {
		g.t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, files) {
		g.t.Errorf("the files are %q, want %q", got, files)
	}
}

func newGoldens(t *testing.T) goldens {
	t.Helper()
	return goldens{annalstest.Golden{Dir: filepath.Join(t.TempDir(), "dog")}, t}
}

func one(v any) []any { return []any{v} }

// B7, B8.
func TestGoldenFilesFollowAModelFromReleaseToRelease(t *testing.T) { //nolint:paralleltest // it sets the environment
	g := newGoldens(t)
	v1 := annals.Define("Dog", annals.On[GradedV1]("Graded"))
	g.check(v1, nil, "Dog.Graded has no example", "GradedV1")
	g.check(v1, one(GradedV1{"B"}), "Dog.Graded.1.json is missing", "ANNALS_UPDATE=1")
	g.update(v1, one(GradedV1{"B"}))
	g.check(v1, one(GradedV1{"B"}))
	g.check(v1, nil, "Dog.Graded has no example")
	g.want("Dog.Graded.1.json")

	// A field is added, and the example shows it.
	added := annals.Define("Dog", annals.On[GradedV2]("Graded"))
	g.check(added, one(GradedV2{"B", "Ada"}), "becomes something else", `"By"`, "Dog.Graded.1.2.json is missing")
	g.update(added, one(GradedV2{"B", "Ada"}))
	g.check(added, one(GradedV2{"B", "Ada"}))
	g.want("Dog.Graded.1.2.json", "Dog.Graded.1.json")
	// It is renamed without a tag: only the second file can tell.
	type renamed struct {
		GradedV1

		Teacher string
	}
	g.check(annals.DefineLog[renamed]("Dog", "Graded"), one(renamed{GradedV1{"B"}, "Ada"}), "1.2.json: annalstest_test.renamed does not hold By", "a tag")
	type tagged struct {
		Note    string
		Teacher string `json:"By"`
	}
	g.check(annals.DefineLog[tagged]("Dog", "Graded"), one(tagged{"B", "Ada"}))

	// An upcast to a new shape.
	v2 := annals.Define("Dog", annals.On[Graded]("Graded", annals.Upcast(graded)))
	g.check(v2, one(Graded{2}), "1.json becomes something else", `"Points"`, "Dog.Graded.2.json is missing")
	g.update(v2, one(Graded{2}))
	g.check(v2, one(Graded{2}))
	g.want("Dog.Graded.1.2.json", "Dog.Graded.1.json", "Dog.Graded.2.json")
	// Another upcast, and one that panics.
	g.check(annals.Define("Dog", annals.On[Graded]("Graded", annals.Upcast(func(GradedV2) Graded { return Graded{100} }))), one(Graded{2}), `"100"`)
	g.check(annals.Define("Dog", annals.On[Graded]("Graded", annals.Upcast(func(GradedV2) Graded { panic("no") }))), one(Graded{2}),
		"Dog.Graded.1.json", "upcast from shape 1 panicked", "golden_test.go:")
	// The upcast is forgotten.
	g.check(annals.Define("Dog", annals.On[Graded]("Graded")), one(Graded{2}), "does not hold Note", "Dog.Graded.2.json: Dog has no such event, or not this shape")

	// Everything gets another name.
	hound := annals.Define("Hound", annals.On[Graded]("Marked", annals.FormerName("Dog.Graded"), annals.Upcast(graded)))
	g.check(hound, one(Graded{2}))
	g.check(annals.Define("Hound", annals.On[Graded]("Marked", annals.Upcast(graded))), one(Graded{2}),
		"Dog.Graded.1.json: Hound has no such event", "FormerName", "Hound.Marked.1.json is missing")
	g.update(hound, one(Graded{3}))
	g.want("Dog.Graded.1.2.json", "Dog.Graded.1.json", "Dog.Graded.2.json", "Hound.Marked.2.json")
	g.check(hound, one(Graded{3}))

	// A file gets lost.
	for _, file := range []string{"Dog.Graded.1.json", "Dog.Graded.1.2.json"} {
		if err := os.Remove(filepath.Join(g.Dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	g.check(hound, one(Graded{3}), "Hound.Marked.1.json is missing", "history of the code")
}

// B8, B33.
func TestGoldenFilesOfSnapshots(t *testing.T) { //nolint:paralleltest // it sets the environment
	g := newGoldens(t)
	type stateV1 struct{ Nick string }
	type state struct{ Name string }
	v1 := annals.Define("Dog", annals.On[Graded]("Graded"), annals.SnapshotAs(func(*Dog) stateV1 { return stateV1{} }, func(*Dog, stateV1) {}))
	g.update(v1, []any{Graded{1}})
	g.check(v1, []any{Graded{1}}) // nobody asks for a file of a snapshot
	g.update(v1, []any{Graded{1}, stateV1{"Fido"}})
	g.check(v1, []any{Graded{1}, stateV1{"Fido"}})
	g.want("Dog-snapshot.1.json", "Dog.Graded.1.json")
	g.check(v1, []any{Graded{1}}, "Dog-snapshot has no example")
	lost := annals.Define("Dog", annals.On[Graded]("Graded"), annals.SnapshotAs(func(*Dog) state { return state{} }, func(*Dog, state) {}))
	g.check(lost, []any{Graded{1}, state{"Fido"}}, "does not hold Nick")
	v2 := annals.Define("Dog", annals.On[Graded]("Graded"), annals.SnapshotAs(func(*Dog) state { return state{} }, func(*Dog, state) {},
		annals.Upcast(func(v1 stateV1) state { return state{v1.Nick} })))
	g.update(v2, []any{Graded{1}, state{"Fido"}})
	g.check(v2, []any{Graded{1}, state{"Fido"}})
	g.want("Dog-snapshot.1.json", "Dog-snapshot.2.json", "Dog.Graded.1.json")
}

// hex is a transcoder whose form is not JSON, as CBOR is.
type hex struct{ persistence.Transcoder }

func (hex) Name() string { return "hex" }

func (h hex) Encode(dst []byte, v any) ([]byte, error) {
	text, err := h.Transcoder.Encode(nil, v)
	return append(append(dst, 0xff), text...), err
}

func (h hex) Decode(data []byte, target any) error { return h.Transcoder.Decode(data[1:], target) }

// B8, B12.
func TestGoldenFilesOfOtherTranscoders(t *testing.T) { //nolint:paralleltest // it sets the environment
	type point struct{ x, y int }
	type placed struct{ At point }
	asText := persistence.StoreAs(func(p point) [2]int { return [2]int{p.x, p.y} }, func(s [2]int) (point, error) { return point{s[0], s[1]}, nil })
	plain, mapped := persistence.JSON(), persistence.JSON(asText)
	g := newGoldens(t)
	def := annals.DefineLog[placed]("Places", "Placed")
	g.check(def, one(placed{point{1, 2}}), "example for Places.Placed", "x")
	g.Transcoder = mapped
	g.update(def, one(placed{point{1, 2}}))
	g.check(def, one(placed{point{1, 2}}))
	g.check(def, one(placed{point{1, 3}}), "Places.Placed.1.2.json is missing")

	g = newGoldens(t)
	g.Transcoder = hex{mapped}
	g.update(def, one(placed{point{1, 2}}))
	g.check(def, one(placed{point{1, 2}}))
	text, err := os.ReadFile(filepath.Join(g.Dir, "Places.Placed.1.json"))
	if err != nil || strings.Contains(string(text), "At") {
		t.Errorf("what JSON cannot show is shown: %s, %v", text, err)
	}

	g = newGoldens(t)
	g.Transcoder = hex{plain}
	g.update(annals.DefineLog[GradedV2]("Dog", "Graded"), one(GradedV2{"B", "Ada"}))
	type renamed struct{ Note, Teacher string }
	g.check(annals.DefineLog[renamed]("Dog", "Graded"), one(renamed{"B", "Ada"}), "becomes something else", `"Teacher"`)
}

func TestGoldenFilesAreReadAsTheyAre(t *testing.T) { //nolint:paralleltest // it sets the environment
	type texts struct {
		Text  string
		Big   int64
		Float float64
		Keys  map[string]int
	}
	example := texts{"<b>&\u2028\"é", 1<<62 + 1, 0.1, map[string]int{"a": 1, "b": 2}}
	def := annals.DefineLog[texts]("Texts", "Noted")
	g := newGoldens(t)
	g.update(def, one(example))
	g.check(def, one(example))
	file := filepath.Join(g.Dir, "Texts.Noted.1.json")
	content, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(content), "<b>&") || !json.Valid(content) {
		t.Errorf("%s, %v", content, err)
	}
	type floats struct {
		Text       string
		Big, Float float64
		Keys       map[string]int
	}
	g.check(annals.DefineLog[floats]("Texts", "Noted"), one(floats{"<b>&\u2028\"é", 1<<62 + 1, 0.1, example.Keys}), "does not hold Big")
	for what, change := range map[string]func(string) string{
		"does not load":       func(s string) string { return strings.Replace(s, "0.1", `"text"`, 1) },
		"no JSON":             func(s string) string { return s[:len(s)/2] },
		"something else":      func(s string) string { return strings.Replace(s, `"a": 1`, `"a": 7`, 1) },
		"1.2.json is missing": func(s string) string { return strings.ReplaceAll(s, `"a": 1`, `"a": 7`) },
	} {
		if err := os.WriteFile(file, []byte(change(string(content))), 0o600); err != nil {
			t.Fatal(err)
		}
		if what == "no JSON" {
			what = "Texts.Noted.1.json: "
		}
		g.check(def, one(example), what)
	}
}

func TestAWrongUseOfGoldenIsReported(t *testing.T) {
	t.Parallel()
	dogs := annals.Define("Dog", annals.On[Graded]("Graded"))
	wantReported(t, func(tb *report) { annalstest.Golden{}.Check(tb, dogs, Graded{1}) }, "Dir is empty")
	wantReported(t, func(tb *report) {
		annalstest.Golden{Dir: t.TempDir()}.Check(tb, dogs, GradedV1{"B"}, nil, &Graded{1})
	},
		"example 1 is a annalstest_test.GradedV1", "example 2 is a <nil>", "example 3 is a *annalstest_test.Graded", "Dog")
}
