//go:build unix

package pgserver

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// places are where packages put the programs, apart from the PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin",         // Debian, Ubuntu
	"/usr/pgsql-*/bin",                  // packages of postgresql.org for Fedora and its kin
	"/usr/libexec/postgresql*",          // Alpine
	"/opt/homebrew/opt/postgresql*/bin", // macOS
	"/usr/local/opt/postgresql*/bin",    // macOS on Intel
	"/usr/local/pgsql/bin",              // built from source
}

// find returns the folder that has both initdb and postgres: one on the PATH, or what
// pg_config names, or the newest version in the places.
func find() (string, error) {
	folders := filepath.SplitList(os.Getenv("PATH"))
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil { //nolint:noctx // it prints a line
		folders = append(folders, strings.TrimSpace(string(out)))
	}
	if folder := withServer(append(folders, installed(places)...)); folder != "" {
		return filepath.Abs(origin(folder))
	}
	return "", &UnavailableError{"initdb and postgres are neither on the PATH nor in " + strings.Join(places, ", ")}
}

// installed returns the folders that match the patterns; of one pattern the newest
// version first.
func installed(patterns []string) []string {
	var found []string
	for _, pattern := range patterns {
		folders, _ := filepath.Glob(pattern) // the patterns are well-formed
		slices.SortFunc(folders, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
		found = append(found, folders...)
	}
	return found
}

var number = regexp.MustCompile(`\d+(\.\d+)?`)

// version is the last number in the name of a folder, or 0.
func version(folder string) float64 {
	numbers := number.FindAllString(folder, -1)
	if len(numbers) == 0 {
		return 0
	}
	v, _ := strconv.ParseFloat(numbers[len(numbers)-1], 64) // it matches
	return v
}

// withServer returns the first of the folders that has both initdb and postgres, or
// "". On Debian, the folder of pg_config may have neither.
func withServer(folders []string) string {
	i := slices.IndexFunc(folders, func(folder string) bool {
		return isProgram(filepath.Join(folder, "initdb")) && isProgram(filepath.Join(folder, "postgres"))
	})
	if i < 0 {
		return ""
	}
	return folders[i]
}

func isProgram(name string) bool {
	info, err := os.Stat(name) //nolint:gosec // it is looked at, and no more
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// origin returns the folder in which postgres is itself, if that has initdb as well: one of
// the PATH may have links to these two alone, and a standby needs pg_basebackup.
func origin(folder string) string {
	program, err := filepath.EvalSymlinks(filepath.Join(folder, "postgres"))
	if err != nil || !isProgram(filepath.Join(filepath.Dir(program), "initdb")) {
		return folder
	}
	return filepath.Dir(program)
}
