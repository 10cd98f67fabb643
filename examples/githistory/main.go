// Githistory records the history of a git repository as events: an event-sourced
// application from end to end. See its README.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/examples/githistory/archive"
	"github.com/annals-es/annals/examples/githistory/git"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
	"github.com/annals-es/annals/sqlite"
)

// What the program ends with.
const (
	exitOK      = 0
	exitFailure = 1 // it failed, or record and repository differ
	exitUsage   = 2
)

// errInterrupted: the user had enough.
var errInterrupted = errors.New("interrupted")

// commands are the program's commands and their flags.
type commands struct {
	Import importCommand `cmd:"" help:"Record the commits that the database does not have yet. Interrupted, it goes on where it stopped."`
	Verify verifyCommand `cmd:"" help:"Rebuild the tree from the events, and compare it with git's."`
	Show   showCommand   `cmd:"" help:"Print the life of a path."`
}

// where says what a command works on.
type where struct {
	Repo raw `default:"." help:"The git repository. Default: the current folder." placeholder:"DIR"`

	DB raw `help:"The events: an SQLite file, or a URL of PostgreSQL (postgres://…)." name:"db" placeholder:"FILE|URL" required:"true"`
}

// raw is an argument as it is. Kong takes strings for UTF-8 and changes those that
// are not.
type raw string

// Decode takes the argument.
func (r *raw) Decode(ctx *kong.DecodeContext) error {
	token, err := ctx.Scan.PopValue("value")
	if err != nil {
		return err
	}
	*r = raw(fmt.Sprint(token.Value))
	return nil
}

// console is what a command has of the world around it.
type console struct {
	stdout, stderr io.Writer
	environ        []string
}

// memoryLimit is what the garbage collector tries to stay below. What lives is far
// less, unless a commit touches very many paths.
const memoryLimit = 100 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], console{os.Stdout, os.Stderr, os.Environ()}))
}

// run runs a command and returns the program's exit code.
func run(ctx context.Context, args []string, c console) int {
	var cli commands
	exited := false
	parser, err := kong.New(&cli,
		kong.Name("githistory"),
		kong.Description("Records the history of a git repository as events. "+
			"Exits with 0 if all is well, 1 on a failure or a difference, 2 if it was called wrongly."),
		kong.Writers(c.stdout, c.stderr),
		kong.Exit(func(int) { exited = true }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(c),
	)
	if err != nil {
		panic(err) // the tags above are wrong
	}
	command, err := parser.Parse(args)
	switch {
	case exited: // help was printed
		return exitOK
	case err != nil:
		fmt.Fprintf(c.stderr, "githistory: %v\nTry githistory --help.\n", err)
		return exitUsage
	}
	err = command.Run()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = errInterrupted
	}
	if err != nil {
		fmt.Fprintf(c.stderr, "githistory: %v\n", err)
		return exitFailure
	}
	return exitOK
}

// open opens repository and archive, and gives them to work. A database that does
// not exist is made only if that is wanted.
func (w *where) open(
	ctx context.Context, c console, create bool, how codecs, work func(repo *git.Repository, a *archive.Archive) error,
) (err error) {
	repo, err := git.Open(ctx, string(w.Repo), c.environ)
	if err != nil {
		return err
	}
	recorder, err := openRecorder(ctx, string(w.DB), create)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, recorder.Close()) }()
	if create {
		if err := recorder.Migrate(ctx); err != nil {
			return err
		}
	}
	a, err := archive.Open(ctx, append(how.options(), application.WithRecorder(recorder))...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return work(repo, a)
}

// migrator is a recorder that makes its own tables.
type migrator interface {
	persistence.Recorder
	persistence.Migrator
	io.Closer
}

// openRecorder opens the database. A file that does not exist is made only if that is
// wanted.
func openRecorder(ctx context.Context, db string, create bool) (migrator, error) {
	if strings.HasPrefix(db, "postgres://") || strings.HasPrefix(db, "postgresql://") {
		r, err := postgres.Open(ctx, db, postgres.WithApplicationName("githistory"))
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	if _, err := os.Stat(db); !create && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no database %s: run import first", db)
	}
	// A mapped file counts as resident memory, and would make that grow with the history.
	r, err := sqlite.Open(ctx, db, sqlite.WithMmapSize(0), sqlite.WithReaders(2))
	if err != nil {
		return nil, err
	}
	return r, nil
}
