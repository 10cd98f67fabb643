// Package gittest makes repositories for tests, with the real git and without the
// settings of the user.
package gittest

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Repo is a bare repository in a temporary folder.
type Repo struct {
	Dir string
	tb  testing.TB
}

// New makes an empty repository. The options are those of git init.
func New(tb testing.TB, options ...string) *Repo {
	tb.Helper()
	r := &Repo{Dir: tb.TempDir(), tb: tb}
	r.run(nil, append([]string{"init", "--quiet", "--bare", "--initial-branch=main"}, append(options, ".")...)...)
	return r
}

// At returns the repository in a folder, which exists.
func At(tb testing.TB, dir string) *Repo {
	tb.Helper()
	return &Repo{Dir: dir, tb: tb}
}

// Environ is the environment for git: that of the process without what is the
// user's.
func Environ() []string {
	var env []string
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "GIT_") {
			env = append(env, setting)
		}
	}
	// glibc gives the end of its heap back to the system and takes it again at each
	// blob that fast-import compresses, which makes it many times slower.
	env = append(env, "MALLOC_TOP_PAD_=16777216", "MALLOC_TRIM_THRESHOLD_=268435456")
	return append(env, "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C", "TZ=UTC",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_AUTHOR_DATE=1700000000 +0000",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org", "GIT_COMMITTER_DATE=1700000000 +0000")
}

// Git runs a command in the repository and returns what it prints, without the
// last line feed.
func (r *Repo) Git(args ...string) string {
	r.tb.Helper()
	return r.run(nil, args...)
}

// GitWith is Git with an input.
func (r *Repo) GitWith(input string, args ...string) string {
	r.tb.Helper()
	return r.run([]byte(input), args...)
}

func (r *Repo) run(input []byte, args ...string) string {
	r.tb.Helper()
	cmd := exec.CommandContext(r.tb.Context(), "git", args...)
	cmd.Dir = r.Dir
	cmd.Env = Environ()
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.tb.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Chain returns the commits of HEAD's first-parent history, oldest first.
func (r *Repo) Chain() []string {
	r.tb.Helper()
	return strings.Fields(r.Git("rev-list", "--first-parent", "--reverse", "HEAD"))
}

// Write adds the commits of a script to the repository.
func (r *Repo) Write(s *Script) {
	r.tb.Helper()
	r.run(s.out.Bytes(), "fast-import", "--quiet", "--force", "--date-format=raw-permissive")
	s.out.Reset()
}
