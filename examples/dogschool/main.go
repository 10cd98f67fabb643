// Dogschool is the smallest system: a school, whose dogs learn tricks, and counters, which
// follow the school and count the dogs that know a trick. See its README.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/annals-es/annals/examples/internal/running"
)

func main() {
	var how running.Flags
	how.Register(flag.CommandLine)
	flag.Parse()
	if err := run(context.Background(), how, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dogschool:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, how running.Flags, out io.Writer) (err error) {
	runner, err := how.Run(ctx, DogSchools)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, runner.Stop()) }()

	school, counters := SchoolApp.In(runner), CountersApp.In(runner)
	for _, name := range []string{"Fido", "Rex"} {
		id, err := school.RegisterDog(ctx, name)
		if err != nil {
			return err
		}
		for _, trick := range []string{"sit", name + "'s own"} {
			if err := school.AddTrick(ctx, id, trick); err != nil {
				return err
			}
			fmt.Fprintf(out, "%s learns: %s\n", name, trick)
		}
	}
	if err := runner.Wait(ctx); err != nil { // in one goroutine the effects are there already
		return err
	}
	for _, trick := range []string{"sit", "Fido's own", "fly"} {
		n, err := counters.Count(ctx, trick)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "dogs that know %q: %d\n", trick, n)
	}
	return nil
}
