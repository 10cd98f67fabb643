package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/pgserver"
	"github.com/annals-es/annals/recordertest"
)

// serverURL returns the URL of the server that all tests share.
func serverURL(tb testing.TB) string {
	tb.Helper()
	return pgserver.Test(tb).URL("postgres")
}

// newDatabase makes a database, and returns its URL.
func newDatabase(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("d%d_%s", schemas.Add(1), strings.ReplaceAll(annals.NewID()[24:], "-", ""))
	execute(tb, serverURL(tb), "CREATE DATABASE "+name)
	tb.Cleanup(func() { execute(tb, serverURL(tb), "DROP DATABASE "+name+" WITH (FORCE)") })
	return pgserver.Test(tb).URL(name)
}

// newServer starts a server for one test, with an empty store.
func newServer(tb testing.TB) recordertest.Server {
	tb.Helper()
	server := pgserver.TestPrivate(tb, pgserver.Config{})
	address := server.URL("postgres")
	migrate(tb, address)
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	return recordertest.Server{
		Address: address,
		Target:  u.Host,
		Through: func(target string) string {
			through := *u
			through.Host = target
			return through.String()
		},
		Disconnect: func(ctx context.Context) error {
			conn, err := pgx.Connect(ctx, address)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close(ctx) }()
			_, err = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "+
				"WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
			return err
		},
		Crash: func(ctx context.Context) error {
			if err := server.Kill(ctx); err != nil {
				return err
			}
			return server.Restart(ctx)
		},
	}
}
