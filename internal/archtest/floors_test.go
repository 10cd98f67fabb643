package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// ours is the path of the root module. Every package below it belongs to a floor.
const ours = "github.com/annals-es/annals"

// anything, as a floor's may, allows imports of all floors.
const anything = "*"

// A floor is a row of the table of floors, which CONTRIBUTING.md has in short.
type floor struct {
	name string // 1 is split, because its recorders rest on its contracts, 3, because systems stand on projections, and 4, because correlation needs no application
	// folders belong to the floor. "x/..." is x and everything below it.
	folders []string
	may     []string // names of the floors that it may import
	rule    string   // may in words, for the reader of a violation
}

// floors is the table. A folder belongs to the first row that names it.
var floors = []floor{
	{"0", []string{"."}, nil, "imports no other package of ours"},
	{
		"for tests of users", []string{"annalstest"},
		[]string{"0", "1a", "1b", "2", "3", "3a"}, "may import floors 0-3, but no recorder with a driver",
	},
	{
		"for tests", []string{"recordertest", "persistence/internal/transcodertest"},
		[]string{"0", "1a", "1b", "2", "of measurements"}, "may import floors 0-2, but no recorder with a driver",
	},
	{"1 below the contracts", []string{"persistence/internal/..."}, []string{"0"}, "may import floor 0 only"},
	{"1a", []string{"persistence"}, []string{"0", "1 below the contracts"}, "may import floor 0 only"},
	{"1 of recorders", []string{"internal/chunk", "internal/group", "internal/ledger"}, []string{"0", "1a"}, "may import floor 0 and persistence only"},
	{
		"1b", []string{"memory", "persistence/..."},
		[]string{"0", "1 below the contracts", "1a"}, "may import floor 0 and persistence only",
	},
	{
		"1b with a driver", []string{"sqlite", "postgres", "mysql", "jetstream"},
		[]string{"0", "1a", "1 of recorders"}, "may import floor 0, persistence, what recorders share, and its driver only",
	},
	{
		"2", []string{"application"},
		[]string{"0", "1a", "1b"}, "may import floors 0-1, but no recorder with a driver",
	},
	{
		"3", []string{"projection"},
		[]string{"0", "1a", "1b", "2"}, "may import floors 0-2, but no recorder with a driver",
	},
	{
		"3a", []string{"system"},
		[]string{"0", "1a", "1b", "2", "3"}, "may import floors 0-2 and projection, but no recorder with a driver",
	},
	{"4 at the edge", []string{"correlation"}, []string{"0"}, "may import floor 0 only"},
	{
		"4", []string{"cluster", "remote", "inspect"},
		[]string{"0", "1a", "1b", "2", "3", "3a"}, "may import floors 0-3, but no recorder with a driver",
	},
	{"5", []string{"cmd/...", "examples/...", "benchmarks/..."}, []string{anything}, "may import anything"},
	{
		"of checks", []string{"internal/archtest", "internal/doctest", "internal/pgserver", "internal/testreport"},
		nil, "imports no package of ours",
	},
	{
		"for tests of projections and systems", []string{"internal/projectiontest", "internal/systemtest"},
		[]string{"0", "1a", "1b", "2", "3", "3a", "of measurements"}, "may import floors 0-3, but no recorder with a driver",
	},
	{"of measurements", []string{"internal/child", "internal/compare"}, nil, "imports no package of ours"},
}

// A source is what the checks need to know of one Go file.
type source struct {
	file    string   // slash-separated, from the repository's root
	clause  string   // the name in its package clause
	imports []string // import paths
}

func (s source) folder() string { return path.Dir(s.file) }

func (s source) isTest() bool { return strings.HasSuffix(s.file, "_test.go") }

// floorOf returns the floor that a folder belongs to.
func floorOf(folder string) (floor, bool) {
	for _, f := range floors {
		for _, pattern := range f.folders {
			below, tree := strings.CutSuffix(pattern, "/...")
			if folder == below || tree && strings.HasPrefix(folder, below+"/") {
				return f, true
			}
		}
	}

	return floor{}, false
}

// folderOf returns the folder of a package of ours.
func folderOf(importPath string) (string, bool) {
	if importPath == ours {
		return ".", true
	}

	return strings.CutPrefix(importPath, ours+"/")
}

// called is the name of a folder's package in a violation: the root is called by its package's name.
func called(folder string) string {
	if folder == "." {
		return "annals"
	}

	return folder
}

// importViolations says what is wrong with the imports of the files, a line for each thing.
func importViolations(files []source) []string {
	var found []string
	for _, file := range files {
		report := func(format string, args ...any) {
			found = append(found, file.file+": "+fmt.Sprintf(format, args...))
		}
		from, known := floorOf(file.folder())
		if !known {
			report("package %s belongs to no floor: add it to the table in internal/archtest/floors_test.go "+
				"and to the floors in CONTRIBUTING.md", file.folder())
		}
		for _, imported := range file.imports {
			to, isOurs := folderOf(imported)
			switch {
			case imported == "C":
				report("imports \"C\": the library is pure Go")
			case !isOurs && from.name == "0" && !file.isTest() && !isStandard(imported) && !isUUID(imported):
				report("annals imports %s: the domain imports the standard library and github.com/google/uuid only", imported)
			case isOurs && known:
				if wrong := between(file, from, to); wrong != "" {
					report("%s", wrong)
				}
			}
		}
	}

	return found
}

// between says what is wrong with an import of the folder to, or returns "".
func between(file source, from floor, to string) string {
	imports := called(file.folder()) + " imports " + called(to)
	target, known := floorOf(to)
	switch {
	case !known:
		return imports + ", which belongs to no floor: add it to the table in internal/archtest/floors_test.go"
	case file.isTest() && file.clause != "annals":
		return "" // a test may import what it needs; the compiler refuses a cycle
	case file.isTest():
		return fmt.Sprintf("a test in package annals imports %s: move it to package annals_test", called(to))
	case slices.Contains(from.may, anything), slices.Contains(from.may, target.name):
		return ""
	case target.name == "for tests":
		return fmt.Sprintf("%s: only tests and floor 5 may import a floor %s", imports, target.name)
	default:
		return fmt.Sprintf("%s of floor %s: floor %s %s", imports, target.name, from.name, from.rule)
	}
}

// isStandard tells the standard library by its paths: their first element has no dot.
func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")

	return !strings.Contains(first, ".")
}

func isUUID(importPath string) bool { return importPath == "github.com/google/uuid" }
