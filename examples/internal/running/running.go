// Package running has the flags by which a program says how it runs a system: in one
// goroutine or in many, and on which recorders. The system knows nothing of it.
package running

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/postgres"
	"github.com/annals-es/annals/sqlite"
	"github.com/annals-es/annals/system"
)

// Flags are the flags.
type Flags struct {
	// Mode is sync or async.
	Mode string
	// Recorder is memory, sqlite or postgres.
	Recorder string
	// Dir is a folder with an SQLite file for each application, Path one file for all.
	Dir, Path string
	// URL is that of a PostgreSQL database for all applications.
	URL string
}

// Register adds the flags to those of a program.
func (f *Flags) Register(set *flag.FlagSet) {
	set.StringVar(&f.Mode, "mode", "sync", "sync: in one goroutine; async: in the background")
	set.StringVar(&f.Recorder, "recorder", "memory", "memory, sqlite or postgres")
	set.StringVar(&f.Dir, "dir", "", "with sqlite: the folder of files, one for each application")
	set.StringVar(&f.Path, "path", "", "with sqlite, instead of -dir: one file for all applications")
	set.StringVar(&f.URL, "url", "", "with postgres: the database, for all applications, postgres://user:password@host:5432/database")
}

// Run runs the system. Applications that share a file or a database have tables of their
// own there, which begin with the name of the application; they are created.
func (f *Flags) Run(ctx context.Context, s *system.System) (*system.Runner, error) {
	environ, err := f.environ(s.Applications())
	if err != nil {
		return nil, err
	}
	where := system.WithApplications(application.FromEnviron(environ, sqlite.Driver, postgres.Driver))
	switch f.Mode {
	case "sync":
		return system.RunSync(ctx, s, where)
	case "async":
		return system.RunAsync(ctx, s, where)
	default:
		return nil, fmt.Errorf("-mode %s: it is sync or async", f.Mode)
	}
}

// environ returns what the environment would say: settings for all applications, and, with
// a name before them, for one.
func (f *Flags) environ(apps []string) ([]string, error) {
	environ := []string{"RECORDER=" + f.Recorder}
	each := func(setting string, value func(app string) string) {
		for _, app := range apps {
			environ = append(environ, strings.ToUpper(app)+"_"+setting+"="+value(app))
		}
	}
	prefix := func(app string) string { return app }
	switch {
	case f.Recorder == "memory" && f.Dir+f.Path+f.URL == "":
		return environ, nil
	case f.Recorder == "sqlite" && f.Dir != "" && f.Path+f.URL == "":
		if err := os.MkdirAll(f.Dir, 0o700); err != nil {
			return nil, err
		}
		each("SQLITE_PATH", func(app string) string { return filepath.Join(f.Dir, app+".db") })
	case f.Recorder == "sqlite" && f.Path != "" && f.Dir+f.URL == "":
		environ = append(environ, "SQLITE_PATH="+f.Path)
		each("SQLITE_TABLE_PREFIX", prefix)
	case f.Recorder == "postgres" && f.URL != "" && f.Dir+f.Path == "":
		environ = append(environ, "POSTGRES_URL="+f.URL)
		each("POSTGRES_TABLE_PREFIX", prefix)
	default:
		return nil, fmt.Errorf("-recorder %s: it is memory; sqlite with -dir or -path; or postgres with -url", f.Recorder)
	}
	return append(environ, "MIGRATE=true"), nil
}
