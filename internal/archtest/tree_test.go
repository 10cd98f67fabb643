package archtest

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestEveryPackageImportsOnlyWhatItsFloorMay(t *testing.T) {
	t.Parallel()

	files := sources(t, repository(t))
	for _, wrong := range importViolations(files) {
		t.Error(wrong)
	}
	if !slices.ContainsFunc(files, func(s source) bool { return s.file == "internal/archtest/tree_test.go" }) {
		t.Error("the walk over the tree missed this file: what else did it miss?")
	}
}

func TestEveryModuleIsInTheWorkspaceAndReplacesOurModules(t *testing.T) {
	t.Parallel()

	root := repository(t)
	uses := workspace(t, root)
	modules := modules(t, root)
	for _, wrong := range moduleViolations(uses, modules) {
		t.Error(wrong)
	}
	for _, folder := range uses {
		if !slices.ContainsFunc(modules, func(m module) bool { return m.folder == folder }) {
			t.Errorf("go.work: %s has no go.mod that the walk over the tree has seen", folder)
		}
	}
}

// repository returns the repository's root: the folder of go.work.
func repository(t *testing.T) string {
	t.Helper()

	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.work")); err != nil {
		t.Fatalf("this test needs the whole repository: %v", err)
	}

	return root
}

// walk calls visit with the path of every file of the repository, slash-separated, from its root.
// It passes over what is not ours: git's folder and the tools that the Makefile builds.
func walk(t *testing.T, root string, visit func(name string)) {
	t.Helper()

	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (name == ".git" || name == ".bin"):
			return fs.SkipDir
		case !entry.IsDir():
			visit(name)
		}

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sources reads the imports of every Go file, also of those that this platform does not build.
func sources(t *testing.T, root string) []source {
	t.Helper()

	var files []source
	walk(t, root, func(name string) {
		if path.Ext(name) != ".go" || ignored(name) {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)

			return
		}
		file := source{file: name, clause: parsed.Name.Name}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Errorf("%s: import of %s: %v", name, spec.Path.Value, err)
			}
			file.imports = append(file.imports, imported)
		}
		files = append(files, file)
	})

	return files
}

// ignored tells the folders that the go command passes over.
func ignored(name string) bool {
	return slices.ContainsFunc(strings.Split(name, "/"), func(element string) bool {
		return element == "testdata" || strings.HasPrefix(element, ".") || strings.HasPrefix(element, "_")
	})
}

// workspace returns the folders that go.work lists.
func workspace(t *testing.T, root string) []string {
	t.Helper()

	var work struct{ Use []struct{ DiskPath string } }
	goJSON(t, &work, "work", "edit", "-json", filepath.Join(root, "go.work"))
	uses := make([]string, 0, len(work.Use))
	for _, use := range work.Use {
		uses = append(uses, path.Clean(use.DiskPath))
	}

	return uses
}

// modules reads every go.mod of the repository.
func modules(t *testing.T, root string) []module {
	t.Helper()

	var found []module
	walk(t, root, func(name string) {
		if path.Base(name) != "go.mod" {
			return
		}
		var mod struct {
			Module  struct{ Path string }
			Require []struct{ Path string }
			Replace []struct {
				Old, New struct{ Path, Version string }
			}
		}
		goJSON(t, &mod, "mod", "edit", "-json", filepath.Join(root, name))
		m := module{folder: path.Dir(name), path: mod.Module.Path, replaces: make(map[string]string)}
		for _, required := range mod.Require {
			m.requires = append(m.requires, required.Path)
		}
		for _, replace := range mod.Replace {
			by := path.Join(m.folder, replace.New.Path)
			if replace.New.Version != "" {
				by = replace.New.Path + "@" + replace.New.Version
			}
			m.replaces[replace.Old.Path] = by
		}
		found = append(found, m)
	})

	return found
}

// goJSON runs the go command and decodes what it prints.
func goJSON(t *testing.T, into any, args ...string) {
	t.Helper()

	out, err := exec.CommandContext(t.Context(), "go", args...).Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
}
