package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"

	"github.com/annals-es/annals/internal/pgserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

// options are what the command is told.
type options struct {
	turns  int
	stores []kind
	events int // that each of 64 goroutines saves while a reader follows
}

func parse(args []string, usage io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.IntVar(&o.turns, "turns", 51, "how many rounds each library does of each workload")
	flags.IntVar(&o.events, "events", 100, "how many events each of the 64 writers saves that a reader follows")
	stores := flags.String("stores", "memory,SQLite,PostgreSQL", "which stores")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	for name := range strings.SplitSeq(*stores, ",") {
		k := kind(name)
		if !slices.Contains([]kind{inMemory, onSQLite, onPostgres}, k) {
			return options{}, fmt.Errorf("-stores: there is no store %q", name)
		}
		o.stores = append(o.stores, k)
	}
	if o.turns < 1 || o.events < 1 || flags.NArg() > 0 {
		return options{}, errors.New("-turns and -events want a number of 1 or more, and nothing else is wanted")
	}
	return o, nil
}

func run(ctx context.Context, args []string, out, notes io.Writer) (err error) {
	o, err := parse(args, notes)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "annals-peers-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	p := places{folder: folder}
	if slices.Contains(o.stores, onPostgres) {
		server, err := pgserver.Start(ctx, pgserver.Config{})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		p.server = server.URL("postgres")
	}
	fmt.Fprintf(out, "%s, %s/%s, %d CPUs; medians of %d turns\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), o.turns)
	if err := printTable(ctx, p, o, out, notes); err != nil {
		return err
	}
	if slices.Contains(o.stores, onPostgres) {
		return printLost(ctx, p, o, out)
	}
	return nil
}
