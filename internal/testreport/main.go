// Command testreport reads what `go test -json` writes, of any number of packages and
// runs, and prints what `go test` prints: the results of packages, and of those that
// failed the tests that did, with the seed of -shuffle. Lines that are no JSON are
// printed as they are. At the end stands a table: for each recorder that ran the
// conformance suite how many of its tests ran, were skipped and failed, and the same
// for all other tests; then why tests were skipped, and which packages failed.
//
// Its status is 1 if anything failed, also if all tests of a recorder were skipped
// that ANNALS_REQUIRE names.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
)

func main() {
	signal.Ignore(os.Interrupt) // go test ends with it, and the report then tells of what ran
	r := newReport(os.Stdout, strings.Split(os.Getenv("ANNALS_REQUIRE"), ","))
	err := r.read(os.Stdin)
	ok, printed := r.finish()
	for _, err := range []error{err, printed} {
		if err != nil {
			fmt.Fprintf(os.Stderr, "testreport: %v\n", err)
			ok = false
		}
	}
	if !ok {
		os.Exit(1)
	}
}
