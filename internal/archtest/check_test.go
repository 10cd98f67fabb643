package archtest

import (
	"strings"
	"testing"
)

func TestAnImportIsHeldToTheFloors(t *testing.T) {
	t.Parallel()

	const ok = ""
	tests := []struct {
		name string
		file source
		want string // part of the only violation, or ok
	}{
		{
			"the domain imports the standard library and google/uuid",
			source{"id.go", "annals", []string{"encoding/json/v2", "errors", "github.com/google/uuid"}},
			ok,
		},
		{
			"the domain imports no other foreign module",
			source{"id.go", "annals", []string{"github.com/google/go-cmp/cmp"}},
			"annals imports github.com/google/go-cmp/cmp: the domain imports the standard library and github.com/google/uuid only",
		},
		{
			"a path that only begins like google/uuid is another module",
			source{"id.go", "annals", []string{"github.com/google/uuid5"}},
			"annals imports github.com/google/uuid5",
		},
		{
			"the domain imports no package of ours",
			source{"event.go", "annals", []string{ours + "/persistence"}},
			"annals imports persistence of floor 1a: floor 0 imports no other package of ours",
		},
		{
			"the contracts rest on the domain",
			source{"persistence/recorder.go", "persistence", []string{"context", ours}},
			ok,
		},
		{
			"the contracts know no recorder",
			source{"persistence/recorder.go", "persistence", []string{ours + "/memory"}},
			"persistence imports memory of floor 1b: floor 1a may import floor 0 only",
		},
		{
			"a codec rests on the contracts and its library",
			source{"persistence/zstd/zstd.go", "zstd", []string{ours, ours + "/persistence", "example.com/zstd"}},
			ok,
		},
		{
			"a recorder imports its driver",
			source{"sqlite/recorder.go", "sqlite", []string{ours, ours + "/persistence", "modernc.org/sqlite"}},
			ok,
		},
		{
			"a recorder imports no other recorder",
			source{"memory/memory.go", "memory", []string{ours + "/sqlite"}},
			"memory imports sqlite of floor 1b with a driver: floor 1b may import floor 0 and persistence only",
		},
		{
			"an application records in memory unless told otherwise",
			source{"application/open.go", "application", []string{ours, ours + "/persistence", ours + "/memory"}},
			ok,
		},
		{
			"an application imports no recorder with a driver",
			source{"application/open.go", "application", []string{ours + "/sqlite"}},
			"application imports sqlite of floor 1b with a driver: floor 2 may import floors 0-1, but no recorder with a driver",
		},
		{
			"an application knows nothing of systems",
			source{"application/open.go", "application", []string{ours + "/system"}},
			"application imports system of floor 3a: floor 2 may import floors 0-1",
		},
		{
			"packages of one floor do not import each other",
			source{"projection/runner.go", "projection", []string{ours + "/system"}},
			"projection imports system of floor 3a: floor 3 may import floors 0-2",
		},
		{
			"a cluster imports what is below it",
			source{"cluster/run.go", "cluster", []string{ours + "/system", ours + "/application", ours}},
			ok,
		},
		{
			"the edge rests on the domain",
			source{"correlation/middleware.go", "correlation", []string{"net/http", ours}},
			ok,
		},
		{
			"the edge needs no application",
			source{"correlation/middleware.go", "correlation", []string{ours + "/application"}},
			"correlation imports application of floor 2: floor 4 at the edge may import floor 0 only",
		},
		{
			"a test of the edge imports what it needs",
			source{"correlation/story_test.go", "correlation_test", []string{ours, ours + "/application"}},
			ok,
		},
		{
			"a program imports anything",
			source{"examples/school/main.go", "main", []string{ours + "/sqlite", ours + "/cluster", ours + "/annalstest"}},
			ok,
		},
		{
			"nothing imports a program",
			source{"application/open.go", "application", []string{ours + "/examples/school"}},
			"application imports examples/school of floor 5",
		},
		{
			"the conformance suite compares with the memory recorder",
			source{"recordertest/run.go", "recordertest", []string{ours + "/memory", ours + "/persistence", "pgregory.net/rapid"}},
			ok,
		},
		{
			"the conformance suite knows no recorder with a driver",
			source{"recordertest/run.go", "recordertest", []string{ours + "/sqlite"}},
			"recordertest imports sqlite of floor 1b with a driver",
		},
		{
			"test support stays out of the library",
			source{"memory/memory.go", "memory", []string{ours + "/recordertest"}},
			"memory imports recordertest: only tests and floor 5 may import a floor for tests",
		},
		{
			"a recorder's test imports the conformance suite",
			source{"memory/memory_test.go", "memory", []string{ours + "/recordertest", ours + "/application"}},
			ok,
		},
		{
			"an external test of the domain imports what it needs",
			source{"example_test.go", "annals_test", []string{ours, ours + "/application", "github.com/google/go-cmp/cmp"}},
			ok,
		},
		{
			"a test inside the domain's package imports neither applications nor recorders",
			source{"aggregate_test.go", "annals", []string{ours + "/memory"}},
			"a test in package annals imports memory: move it to package annals_test",
		},
		{
			"a package that the table lacks is reported",
			source{"util/strings.go", "util", nil},
			"package util belongs to no floor: add it to the table",
		},
		{
			"an import of a package that the table lacks is reported",
			source{"application/open.go", "application", []string{ours + "/memory/internal/lists"}},
			"application imports memory/internal/lists, which belongs to no floor",
		},
		{
			"a foreign module with a similar name is foreign",
			source{"application/open.go", "application", []string{ours + "-extras/sqlite"}},
			ok,
		},
		{
			"cgo is refused, also in tests",
			source{"sqlite/sqlite_test.go", "sqlite", []string{"C"}},
			`imports "C": the library is pure Go`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()

			expect(t, importViolations([]source{test.file}), test.file.file, test.want)
		})
	}
}

func TestAModuleIsHeldToTheWorkspaceAndTheTree(t *testing.T) {
	t.Parallel()

	const ok = ""
	good := func() (uses []string, root, sqlite, tools module) {
		return []string{".", "sqlite"},
			module{folder: ".", path: ours, requires: []string{"github.com/google/uuid"}},
			module{
				folder: "sqlite", path: ours + "/sqlite",
				requires: []string{ours, "modernc.org/sqlite"}, replaces: map[string]string{ours: "."},
			},
			module{folder: "internal/tools", path: ours + "/internal/tools", requires: []string{"modernc.org/sqlite"}}
	}
	tests := []struct {
		name string
		file string
		edit func(uses *[]string, root, sqlite, tools *module)
		want string // part of the only violation, or ok
	}{
		{"a tree in order has no violation", "", func(*[]string, *module, *module, *module) {}, ok},
		{
			"a module that go.work lacks", "sqlite/go.mod",
			func(uses *[]string, _, _, _ *module) { *uses = []string{"."} },
			"is not listed in go.work: run go work use ./sqlite",
		},
		{
			"the tools in go.work", "internal/tools/go.mod",
			func(uses *[]string, _, _, _ *module) { *uses = append(*uses, "internal/tools") },
			"is listed in go.work, but has to stay outside: a workspace has one version",
		},
		{
			"a module path that does not fit the folder", "internal/tools/go.mod",
			func(_ *[]string, _, _, tools *module) { tools.path = ours + "/tools" },
			"is module " + ours + "/tools: the path of this folder is " + ours + "/internal/tools",
		},
		{
			"a driver in the root module", "go.mod",
			func(_ *[]string, root, _, _ *module) {
				root.requires = append(root.requires, "github.com/jackc/pgx/v5")
			},
			"requires github.com/jackc/pgx/v5: a driver belongs to the module of its recorder",
		},
		{
			"a recorder's module in the root module", "go.mod",
			func(_ *[]string, root, _, _ *module) { root.requires = append(root.requires, ours+"/sqlite") },
			"requires " + ours + "/sqlite: the root module requires no other module of ours",
		},
		{
			"a module of ours without a replacement", "sqlite/go.mod",
			func(_ *[]string, _, sqlite, _ *module) { sqlite.replaces = nil },
			"requires " + ours + ", but does not replace it",
		},
		{
			"a module of ours replaced by a wrong folder", "sqlite/go.mod",
			func(_ *[]string, _, sqlite, _ *module) { sqlite.replaces[ours] = "sqlite" },
			"replaces " + ours + " by sqlite: it is in .",
		},
		{
			"a module of ours replaced by a released version", "sqlite/go.mod",
			func(_ *[]string, _, sqlite, _ *module) { sqlite.replaces[ours] = ours + "@v0.1.0" },
			"replaces " + ours + " by " + ours + "@v0.1.0: it is in .",
		},
		{
			"a replacement of a module that is no longer there", "sqlite/go.mod",
			func(_ *[]string, _, sqlite, _ *module) { sqlite.replaces[ours+"/mongo"] = "mongo" },
			"replaces " + ours + "/mongo, which no folder of this tree holds",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()

			uses, root, sqlite, tools := good()
			test.edit(&uses, &root, &sqlite, &tools)
			expect(t, moduleViolations(uses, []module{root, sqlite, tools}), test.file, test.want)
		})
	}
}

// expect compares the violations with the only one that is wanted, or with none.
func expect(t *testing.T, got []string, file, want string) {
	t.Helper()

	switch {
	case want == "" && len(got) == 0:
	case want != "" && len(got) == 1 && strings.HasPrefix(got[0], file+": "+want):
	default:
		t.Errorf("violations:\n\t%s\nwant:\n\t%s: %s", strings.Join(got, "\n\t"), file, want)
	}
}
