// Configuration is an application that is configured by the environment: which
// database, which codecs, which keys. Without arguments it opens the application,
// registers a dog, and says what is stored; with "settings" it prints the table of
// all keys, as it stands in docs/configuration.md.
//
//	go run ./examples/configuration
//	RECORDER=sqlite SQLITE_PATH=dogs.db MIGRATE=true COMPRESSOR=zstd go run ./examples/configuration
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/cbor"
	"github.com/annals-es/annals/persistence/zstd"
	"github.com/annals-es/annals/postgres"
	"github.com/annals-es/annals/sqlite"
)

// drivers are what this program is built with, beside memory, json, zlib and
// aesgcm.
func drivers() []persistence.Driver {
	return []persistence.Driver{sqlite.Driver, postgres.Driver, zstd.Driver, cbor.Driver}
}

// Dog is the aggregate.
type Dog struct {
	annals.Aggregate

	Name string
}

// Registered is its event.
type Registered struct{ Name string }

// Apply evolves the dog.
func (e Registered) Apply(d *Dog) { d.Name = e.Name }

// Dogs names what is stored.
var Dogs = annals.Define("Dog", annals.On[Registered]("Registered"))

func main() {
	if err := run(context.Background(), os.Args[1:], os.Environ(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args, environ []string, out io.Writer) (err error) {
	if len(args) > 0 && args[0] == "settings" {
		return printSettings(out)
	}
	app, err := application.Open(ctx, "dogschool", application.FromEnviron(environ, drivers()...))
	if err != nil {
		return err
	}
	defer func() {
		if e := app.Close(); err == nil {
			err = e
		}
	}()
	dogs := application.NewRepository(app, Dogs)
	fido := Dogs.New(annals.NewID(), Registered{Name: "Fido"})
	if _, err := app.Save(ctx, fido); err != nil {
		return err
	}
	dog, err := dogs.Get(ctx, fido.ID())
	if err != nil {
		return err
	}
	count := 0
	for _, err := range app.Notifications(ctx) {
		if err != nil {
			return err
		}
		count++
	}
	_, err = fmt.Fprintf(out, "%s is registered; the log has %d events\n", dog.Name, count)
	return err
}

func printSettings(out io.Writer) error {
	if _, err := fmt.Fprint(out, "| key | default | what it does |\n|---|---|---|\n"); err != nil {
		return err
	}
	for _, s := range application.Settings(drivers()...) {
		otherwise := ""
		if s.Default != "" {
			otherwise = "`" + s.Default + "`"
		}
		if _, err := fmt.Fprintf(out, "| `%s` | %s | %s |\n", s.Key, otherwise, s.Text); err != nil {
			return err
		}
	}
	return nil
}
