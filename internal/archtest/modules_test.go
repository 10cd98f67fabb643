package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// outside are the modules that the workspace leaves out, each with its reason.
var outside = map[string]string{
	"internal/tools": "a workspace has one version of each dependency for all its modules, " +
		"and the linter must not choose versions for the library (docs/decisions/0001-modules-and-tools.md)",
}

// drivers are the beginnings of module paths that the root module must not require.
var drivers = []string{
	"modernc.org/",
	"github.com/jackc/",
	"github.com/nats-io/",
	"github.com/go-sql-driver/",
}

// A module is what the checks need to know of one go.mod file. Folders are slash-separated, from the repository's root.
type module struct {
	folder   string
	path     string
	requires []string          // module paths
	replaces map[string]string // module path → folder, or → path@version of another module
}

// pathOf returns the module path that belongs to a folder.
func pathOf(folder string) string {
	return path.Join(ours, folder)
}

// moduleViolations says what is wrong with the modules of the repository, a line for each thing.
// Uses are the folders that go.work lists.
func moduleViolations(uses []string, modules []module) []string {
	var found []string
	folders := make(map[string]string) // of our modules, by path
	for _, m := range modules {
		folders[m.path] = m.folder
	}
	for _, m := range modules {
		report := func(format string, args ...any) {
			found = append(found, path.Join(m.folder, "go.mod")+": "+fmt.Sprintf(format, args...))
		}
		if m.path != pathOf(m.folder) {
			report("is module %s: the path of this folder is %s", m.path, pathOf(m.folder))
		}
		reason, out := outside[m.folder]
		switch listed := slices.Contains(uses, m.folder); {
		case out && listed:
			report("is listed in go.work, but has to stay outside: %s", reason)
		case !out && !listed:
			report("is not listed in go.work: run go work use ./%s", m.folder)
		}
		for _, required := range m.requires {
			_, isOurs := folderOf(required)
			switch {
			case m.folder == "." && isOurs:
				report("requires %s: the root module requires no other module of ours", required)
			case m.folder == "." && isDriver(required):
				report("requires %s: a driver belongs to the module of its recorder", required)
			case isOurs && m.replaces[required] == "":
				report("requires %s, but does not replace it by its folder in this tree", required)
			}
		}
		for replaced, by := range m.replaces {
			folder, exists := folders[replaced]
			_, isOurs := folderOf(replaced)
			switch {
			case isOurs && !exists:
				report("replaces %s, which no folder of this tree holds", replaced)
			case isOurs && by != folder:
				report("replaces %s by %s: it is in %s", replaced, by, folder)
			}
		}
	}
	slices.Sort(found)

	return found
}

func isDriver(modulePath string) bool {
	return slices.ContainsFunc(drivers, func(prefix string) bool { return strings.HasPrefix(modulePath, prefix) })
}
