package annals_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/annals-es/annals"
)

// The rest of this file is how the library must read: that it compiles, without a
// type parameter that could be inferred, is the test.

var errTrickKnown = errors.New("the dog knows this trick")

func registerDog(name string) *Dog { return Dogs.New(annals.NewID(), Registered{Name: name}) }

// AddTrick is a command: it decides, then triggers an event.
func (d *Dog) AddTrick(trick string) error {
	if slices.Contains(d.Tricks, trick) {
		return errTrickKnown
	}
	annals.Trigger(d, TrickAdded{Trick: trick})
	return nil
}

type dogMemento struct{ Name string }

func (d *Dog) memento() dogMemento        { return dogMemento{d.Name} }
func (d *Dog) restore(m dogMemento)       { d.Name = m.Name }
func accountForm(a Account) dogMemento    { return dogMemento{a.Owner} }
func accountOfForm(m dogMemento) Account  { return Account{Owner: m.Name} }
func open(a Account, e Opened) Account    { a.Owner = e.Owner; return a }
func typeOf[A any](*annals.Type[A]) error { return nil }

func TestTypeParametersAreInferred(t *testing.T) {
	t.Parallel()
	dogs := annals.Define("Dog",
		annals.SnapshotAs((*Dog).memento, (*Dog).restore,
			annals.Upcast(func(name struct{ Dog string }) dogMemento { return dogMemento{name.Dog} })),
		annals.Revision[Dog](2),
		annals.On[Registered]("Registered"),
		annals.On[TrickAdded]("TrickAdded",
			annals.Upcast(func(v1 struct{ Name string }) TrickAdded { return TrickAdded{v1.Name} }),
			annals.FormerName("TrickLearned")),
		annals.On[Retired]("Retired", annals.Discards()),
	)
	accounts := annals.DefineState("Account", Account{},
		annals.Evolve("Opened", open),
		annals.Evolve("Deposited", func(a Account, e Deposited) Account { a.Balance += e.Amount; return a }, annals.FormerName("PaidIn")),
		annals.SnapshotStateAs(accountForm, accountOfForm),
		annals.Revision[annals.State[Account]](1),
	)
	pages := annals.DefineLog[PageCreated]("Pages", "Created", annals.FormerName("Made"))
	if err := errors.Join(typeOf[Dog](dogs), typeOf[annals.State[Account]](accounts)); err != nil {
		t.Error(err)
	}
	for _, d := range []annals.Definition{dogs, accounts, pages} {
		if len(d.EventTypes()) == 0 {
			t.Errorf("%s has no events", d.Name())
		}
	}
	dog := registerDog("Fido")
	if err := errors.Join(dog.AddTrick("sit"), dog.AddTrick("roll")); err != nil || !errors.Is(dog.AddTrick("sit"), errTrickKnown) {
		t.Errorf("the dog knows %v (%v)", dog.Tricks, err)
	}
}

// What must not compile: each body stands in a function of a package that has the
// aggregates Dog and Cat, and the events Barked of dogs and Meowed of cats.
func TestMisuseDoesNotCompile(t *testing.T) {
	t.Parallel()
	const header = `package model
		import . "github.com/annals-es/annals"
		type Dog struct { Aggregate }
		type Cat struct { Aggregate }
		type Barked struct { Loud bool }
		type Meowed struct{}
		func (Barked) Apply(*Dog) {}
		func (Meowed) Apply(*Cat) {}
		func dogForm(*Dog) int { return 0 }
		func ofDogForm(*Dog, int) {}
		func evolve(s int, _ Barked) int { return s }
		func f(dog *Dog, cats *Type[Cat]) { %s }`
	set := token.NewFileSet()
	from := importer.ForCompiler(set, "gc", compiled(t))
	check := func(body string) error {
		file, err := parser.ParseFile(set, "model.go", fmt.Sprintf(header, body), parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&types.Config{Importer: from}).Check("model", set, []*ast.File{file}, nil)
		return err
	}
	if err := check(`
		Trigger(dog, Barked{}); _ = Define("Dog", On[Barked]("Barked"), SnapshotAs(dogForm, ofDogForm), Revision[Dog](1))
		_ = cats; _ = DefineState("N", 0, Evolve("Barked", evolve), Revision[State[int]](1))`); err != nil {
		t.Fatalf("what is right does not compile: %v", err)
	}
	for name, c := range map[string]struct{ body, says string }{
		"an event of another aggregate":          {`Trigger(dog, Meowed{})`, "Dog"},
		"an event that is no event":              {`Trigger(dog, "barked")`, "Apply"},
		"a first event of another aggregate":     {`cats.New("tom", Barked{})`, "Barked"},
		"events of two aggregates in a type":     {`Define("Dog", On[Barked]("Barked"), On[Meowed]("Meowed"))`, "Cat"},
		"an aggregate that embeds none":          {`type Cow struct{}; Define[Cow]("Cow")`, "Cow"},
		"a revision of another aggregate":        {`Define("Dog", On[Barked]("Barked"), Revision[Cat](1))`, "Cat"},
		"snapshots of another aggregate":         {`Define("Cat", On[Meowed]("Meowed"), SnapshotAs(dogForm, ofDogForm))`, "Dog"},
		"snapshots that are restored by another": {`SnapshotAs(dogForm, func(*Cat, int) {})`, "Cat"},
		"snapshots that are restored of another": {`SnapshotAs(dogForm, func(*Dog, string) {})`, "string"},
		"an upcast as a part":                    {`Define("Dog", On[Barked]("Barked"), Upcast(func(int) Barked { return Barked{} }))`, "Part"},
		"a discarding snapshot":                  {`SnapshotAs(dogForm, ofDogForm, Discards())`, "SnapshotOption"},
		"an event of a state in an aggregate":    {`Define("Dog", On[Barked]("Barked"), Evolve("Barked", evolve))`, "State"},
		"an evolution of another state":          {`DefineState("S", "", Evolve("Barked", evolve))`, "string"},
		"an event option on a trigger":           {`Trigger(dog, Barked{}, FormerName("Woofed"))`, "TriggerOption"},
	} {
		err := check(c.body)
		if err == nil {
			t.Errorf("%s: it compiles", name)
		} else if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want an error that names %s", name, err, c.says)
		}
	}
}

// compiled returns where the compiled form of this package, and of what it imports, is.
func compiled(t *testing.T) importer.Lookup {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		files[path] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }
}
