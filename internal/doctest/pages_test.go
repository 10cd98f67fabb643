package doctest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// module is the path of the module that a page's programs are built in.
const module = "example.com"

// patience bounds a single program of a page.
const patience = 2 * time.Minute

func TestTheCodeOfEveryPageBuildsAndPrintsWhatThePageSays(t *testing.T) {
	t.Parallel()

	root := repository(t)
	for _, page := range pages(t, root) {
		t.Run(page, func(t *testing.T) {
			t.Parallel()

			text, err := os.ReadFile(filepath.Join(root, page))
			if errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("%s is missing: it is the first page that a user reads", page)
			}
			if err != nil {
				t.Fatal(err)
			}
			found, err := programs(string(text))
			if err != nil {
				t.Fatalf("%s: %v", page, err)
			}
			if len(found) == 0 && page == "README.md" {
				t.Fatal("README.md shows no Go program")
			}
			if err := build(t.Context(), workspace(t, root), filepath.Join(root, page), found, t.TempDir()); err != nil {
				t.Fatal(err)
			}
		})
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

// pages returns README.md and every Markdown file below docs.
func pages(t *testing.T, root string) []string {
	t.Helper()

	found := []string{"README.md"}
	err := fs.WalkDir(os.DirFS(root), "docs", func(name string, _ fs.DirEntry, err error) error {
		if filepath.Ext(name) == ".md" {
			found = append(found, name)
		}

		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	return found
}

// workspace returns the files of a workspace with all modules of the repository, and a module for programs of pages.
func workspace(t *testing.T, root string) map[string]string {
	t.Helper()

	out, err := exec.CommandContext(t.Context(), "go", "work", "edit", "-json", filepath.Join(root, "go.work")).Output()
	if err != nil {
		t.Fatalf("go work edit: %v", err)
	}
	var work struct {
		Go  string
		Use []struct{ DiskPath string }
	}
	if err := json.Unmarshal(out, &work); err != nil {
		t.Fatalf("go work edit: %v", err)
	}
	uses := make([]string, 0, len(work.Use))
	for _, use := range work.Use {
		uses = append(uses, filepath.ToSlash(filepath.Join(root, use.DiskPath)))
	}
	files := workspaceOf(work.Go, uses...)
	sum, err := os.ReadFile(filepath.Join(root, "go.work.sum"))
	switch {
	case err == nil:
		files["go.work.sum"] = string(sum)
	case !errors.Is(err, fs.ErrNotExist):
		t.Fatal(err)
	}

	return files
}

// workspaceOf returns the files of a workspace with the modules in the folders used, and a module for programs of pages.
func workspaceOf(goVersion string, used ...string) map[string]string {
	var work strings.Builder
	fmt.Fprintf(&work, "go %s\n\nuse .\n", goVersion)
	for _, folder := range used {
		fmt.Fprintf(&work, "use %q\n", folder)
	}

	return map[string]string{
		"go.work": work.String(),
		"go.mod":  fmt.Sprintf("module %s\n\ngo %s\n", module, goVersion),
	}
}

// build writes the files of a workspace and the programs of a page into the folder dir, which has to be empty. It
// vets and builds the programs, runs their tests, and runs those whose output the page shows.
func build(ctx context.Context, files map[string]string, page string, found []*program, dir string) error {
	if len(found) == 0 {
		return nil
	}
	tested := false
	for _, p := range found {
		for n, f := range p.files {
			name := fmt.Sprintf("file%d.go", n+1)
			if f.test {
				name, tested = fmt.Sprintf("file%d_test.go", n+1), true
			}
			files[filepath.Join(p.name, name)] = f.source(page)
		}
	}
	if err := write(dir, files); err != nil {
		return err
	}
	commands := [][]string{{"vet", "./..."}, {"build", "-o", os.DevNull, "./..."}}
	if tested {
		commands = append(commands, []string{"test", "./..."})
	}
	for _, args := range commands {
		if _, err := run(ctx, dir, "go", args...); err != nil {
			return err
		}
	}
	for _, p := range found {
		if p.files[0].clause != "main" || p.files[0].test {
			continue
		}
		if err := link(ctx, dir, page, p); err != nil {
			return err
		}
	}

	return nil
}

// link builds a program to its end, which go build ./... leaves out, and runs it when its page shows the output.
func link(ctx context.Context, dir, page string, p *program) error {
	binary := filepath.Join(dir, "bin", p.name)
	if _, err := run(ctx, dir, "go", "build", "-o", binary, "./"+p.name); err != nil {
		return err
	}
	if p.output == nil {
		return nil
	}
	here := filepath.Join(dir, "run", p.name) // for the files that the program makes
	if err := os.MkdirAll(here, 0o750); err != nil {
		return err
	}
	got, err := run(ctx, here, binary)
	if err != nil {
		return fmt.Errorf("%s:%d: %w", page, p.output.line, err)
	}
	if strings.TrimSpace(got) != strings.TrimSpace(p.output.text) {
		return fmt.Errorf("%s:%d: the program prints\n%s\nbut the page says\n%s", page, p.output.line, got, p.output.text)
	}

	return nil
}

func write(dir string, files map[string]string) error {
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return err
		}
	}

	return nil
}

// run runs a command in a folder and returns its standard output. An error has all that the command said.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	// GOWORK is found from dir upwards. A page has no golden files: its tests make them, as a first run does.
	command.Env = append(os.Environ(), "GOWORK=", "GOFLAGS=-mod=readonly", "PWD="+dir, "ANNALS_UPDATE=1")
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		called := strings.Join(append([]string{filepath.Base(name)}, args...), " ")

		return "", fmt.Errorf("%s: %w\n%s%s", called, err, stdout.String(), stderr.String())
	}

	return stdout.String(), nil
}
