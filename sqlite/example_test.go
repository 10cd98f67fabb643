package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/sqlite"
)

type counter struct {
	annals.Aggregate

	n int
}

type counted struct{ By int }

func (e counted) Apply(c *counter) { c.n += e.By }

var counters = annals.Define("Counter", annals.On[counted]("Counted"))

// What was saved is there when the file is opened again.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	for range 2 {
		if err := count3(context.Background(), filepath.Join(dir, "counters.db")); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// 3
	// 6
}

func count3(ctx context.Context, path string) error {
	recorder, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	defer recorder.Close() //nolint:contextcheck,errcheck // all saves were acknowledged
	if err := recorder.Migrate(ctx); err != nil {
		return err
	}
	app, err := application.Open(ctx, "counters", application.WithRecorder(recorder))
	if err != nil {
		return err
	}
	defer app.Close() //nolint:errcheck // as above
	repository := application.NewRepository(app, counters)

	id := annals.NamedID("/counters", "visits")
	_, err = app.Save(ctx, counters.New(id, counted{By: 0}))
	if err != nil && !errors.Is(err, annals.ErrVersionConflict) {
		return err
	}
	if err := repository.Update(ctx, id, func(c *counter) error { annals.Trigger(c, counted{By: 3}); return nil }); err != nil {
		return err
	}
	c, err := repository.Get(ctx, id)
	if err != nil {
		return err
	}
	fmt.Println(c.n)
	return nil
}
