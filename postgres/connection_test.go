package postgres_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/internal/pgserver"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/postgres"
)

func TestThePasswordIsAskedForEachConnection(t *testing.T) {
	t.Parallel()
	address := create(t)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	right, _ := u.User.Password()
	var asked atomic.Int64
	password := func(context.Context) (string, error) { asked.Add(1); return right, nil }
	without := with(t, address, func(u *url.URL) { u.User = url.User(u.User.Username()) })
	r := open(t, without, postgres.WithPassword(password), postgres.WithPoolSize(2, 4))
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Error(err)
	}
	before := asked.Load()
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error)
	go func() { waiting <- r.Wait(ctx, 1<<40) }() // the connection that listens asks as well
	for asked.Load() <= before {
		if _, err := r.Record(t.Context(), batch(event(annals.NewID(), 1))); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}

	broken := errors.New("the vault is closed")
	_, err = postgres.Open(t.Context(), without, postgres.WithConnectTimeout(time.Second),
		postgres.WithPassword(func(context.Context) (string, error) { return "", broken }))
	wantError(t, err, broken)
	_, err = postgres.Open(t.Context(), without,
		postgres.WithPassword(func(context.Context) (string, error) { return "hunter2", nil }))
	wantError(t, err, annals.ErrConfiguration, "password")
}

func TestConnectionsHaveTheNameThatTheyAreGiven(t *testing.T) {
	t.Parallel()
	address := create(t)
	for want, opts := range map[string][]postgres.Option{
		"annals": nil, "dogschool": {postgres.WithApplicationName("dogschool")},
	} {
		r := open(t, address, opts...)
		var got string
		b := batch(event(want, 1))
		b.Do = func(ctx context.Context, tx any) error {
			return tx.(pgx.Tx).QueryRow(ctx, "SELECT current_setting('application_name')").Scan(&got)
		}
		if _, err := r.Record(t.Context(), b); err != nil || got != want {
			t.Errorf("got the name %q (error %v), want %q", got, err, want)
		}
	}
}

func TestPoolSizeAndAgesAreThoseOfTheOptions(t *testing.T) {
	t.Parallel()
	address := create(t)
	r := open(t, address, postgres.WithPoolSize(1, 3), postgres.WithConnectionAge(time.Minute, time.Second))
	got := postgres.PoolOf(r).Config()
	if got.MinConns != 1 || got.MaxConns != 3 || got.MaxConnLifetime != time.Minute || got.MaxConnIdleTime != time.Second {
		t.Errorf("the pool has %d to %d connections, for %v and %v", got.MinConns, got.MaxConns, got.MaxConnLifetime, got.MaxConnIdleTime)
	}
}

func TestACommitIsDurableWhateverTheUsersDefault(t *testing.T) {
	t.Parallel()
	address := create(t)
	r := open(t, withParameter(t, address, "synchronous_commit", "off"))
	var got string
	b := batch(event("a", 1))
	b.Do = func(ctx context.Context, tx any) error {
		return tx.(pgx.Tx).QueryRow(ctx, "SELECT current_setting('synchronous_commit')").Scan(&got)
	}
	if _, err := r.Record(t.Context(), b); err != nil || got != "on" {
		t.Errorf("synchronous_commit of a save is %q (error %v), want on", got, err)
	}
}

// What a save sets for its own statements is not there for those of others.
func TestASaveLeavesHowStatementsArePlanned(t *testing.T) {
	t.Parallel()
	const setting = "SELECT current_setting('plan_cache_mode')"
	r := open(t, create(t), postgres.WithPoolSize(1, 1))
	for range 3 {
		id := annals.NewID()
		b := batch(event(id, 1), event(id, 2))
		if _, err := r.Record(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		var behind, within string
		if err := postgres.PoolOf(r).QueryRow(t.Context(), setting).Scan(&behind); err != nil {
			t.Fatal(err)
		}
		b = batch(event(id, 3), event(id, 4))
		b.Do = func(ctx context.Context, tx any) error { return tx.(pgx.Tx).QueryRow(ctx, setting).Scan(&within) }
		if _, err := r.Record(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if behind != "auto" || within != "auto" {
			t.Errorf("plan_cache_mode is %q behind a save, and %q in its Do", behind, within)
		}
	}
}

func TestASaveByTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority, cert, key := certificate(t)
	server := pgserver.TestPrivate(t, pgserver.Config{
		Files:    map[string][]byte{"server.crt": cert, "server.key": key},
		Settings: map[string]string{"ssl": "on", "ssl_cert_file": "../server.crt", "ssl_key_file": "../server.key"},
	})
	address := server.URL("postgres")
	migrate(t, address)
	root := filepath.Join(dir, "root.crt")
	if err := os.WriteFile(root, authority, 0o600); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	verified := withParameter(t, withParameter(t, address, "sslmode", "verify-full"), "sslrootcert", root)
	for name, r := range map[string]*postgres.Recorder{
		"by the URL":    open(t, verified),
		"by the option": open(t, address, postgres.WithTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})),
	} {
		var encrypted bool
		b := batch(event(name, 1))
		b.Do = func(ctx context.Context, tx any) error {
			return tx.(pgx.Tx).QueryRow(ctx, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&encrypted)
		}
		if _, err := r.Record(t.Context(), b); err != nil || !encrypted {
			t.Errorf("%s: encrypted: %t (error %v)", name, encrypted, err)
		}
	}
	_, err := postgres.Open(t.Context(), address, postgres.WithConnectTimeout(time.Second),
		postgres.WithTLS(&tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}))
	wantError(t, err, persistence.ErrUnavailable, "certificate")
}

// certificate makes a certificate for 127.0.0.1 that is its own authority.
func certificate(t *testing.T) (authority, cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return cert, cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func TestAWaiterFindsASaveOfAnotherByPolling(t *testing.T) {
	t.Parallel()
	address := create(t)
	reader, writer := open(t, address, postgres.WithPolling(), postgres.WithPollInterval(time.Millisecond)), open(t, address)
	woken := make(chan error)
	for n := int64(1); n <= 5; n++ {
		go func() { woken <- reader.Wait(t.Context(), n-1) }()
		if _, err := writer.Record(t.Context(), batch(event("a", n))); err != nil {
			t.Fatal(err)
		}
		if err := <-woken; err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, reader); n != 5 {
		t.Errorf("there are %d events", n)
	}
}

// A save that is the only one notifies if somebody listens: also the first after he began.
func TestAWaiterIsWokenByASaveOfAnother(t *testing.T) {
	t.Parallel()
	name := "w" + annals.NewID()
	address := create(t)
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	writer := open(t, address)
	// A reader also looks by himself now and then; what is heard here is a notification.
	if _, err := conn.Exec(t.Context(), "LISTEN "+postgres.ChannelOf(writer)); err != nil {
		t.Fatal(err)
	}
	for n := int64(1); n <= 5; n++ {
		reader := open(t, withParameter(t, address, "application_name", name), postgres.WithPollInterval(time.Hour))
		woken := make(chan error)
		go func() { woken <- reader.Wait(t.Context(), n-1) }()
		for listening := false; !listening; {
			const look = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1 AND query LIKE 'LISTEN%' AND state = 'idle')"
			if err := conn.QueryRow(t.Context(), look, name).Scan(&listening); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := writer.Record(t.Context(), batch(event("a", n))); err != nil {
			t.Fatal(err)
		}
		if err := <-woken; err != nil {
			t.Fatal(err)
		}
		if _, err := conn.WaitForNotification(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAJoinedSaveIsHeardOfWhenItsCallerCommits(t *testing.T) {
	t.Parallel()
	address := create(t)
	r := open(t, address, postgres.WithPollInterval(time.Hour))
	heard := make(chan error)
	go func() {
		for _, err := range persistence.Follow(t.Context(), r, persistence.LogQuery{Limit: 1}) {
			heard <- err
		}
	}()
	tx, commit, _, err := beginOwn(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.RecordTx(t.Context(), tx, batch(event("a", 1))); err != nil {
		t.Fatal(err)
	}
	if err := commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-heard; err != nil {
		t.Error(err)
	}
}

func TestAJoinedSaveInARepeatableReadTransaction(t *testing.T) {
	t.Parallel()
	address := create(t)
	r := open(t, address)
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	tx, err := conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM own").Scan(&n); err != nil { // its snapshot is taken
		t.Fatal(err)
	}
	if _, err := r.Record(t.Context(), batch(event("a", 1))); err != nil {
		t.Fatal(err)
	}
	_, err = r.RecordTx(t.Context(), tx, batch(event("a", 1)))
	wantError(t, err, annals.ErrVersionConflict)
	if _, err := r.RecordTx(t.Context(), tx, batch(event("b", 1))); err != nil { // it is usable as before
		t.Error(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, r); n != 2 {
		t.Errorf("there are %d events, want 2", n)
	}
}

func TestDoMayNotEndTheTransaction(t *testing.T) {
	t.Parallel()
	r := open(t, create(t))
	for name, do := range map[string]func(ctx context.Context, tx pgx.Tx) error{
		"by Commit":   func(ctx context.Context, tx pgx.Tx) error { return tx.Commit(ctx) },
		"by Rollback": func(ctx context.Context, tx pgx.Tx) error { return tx.Rollback(ctx) },
		"by ROLLBACK": func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, "ROLLBACK"); return err },
		"an error that is ignored": func(ctx context.Context, tx pgx.Tx) error {
			_, _ = tx.Exec(ctx, "SELECT 1/0")
			return nil
		},
	} {
		b := batch(event("a", 1))
		b.Do = func(ctx context.Context, tx any) error { return do(ctx, tx.(pgx.Tx)) }
		_, err := r.Record(t.Context(), b)
		if !errors.Is(err, annals.ErrConfiguration) {
			t.Errorf("%s: got error %v, want one that is %q", name, err, annals.ErrConfiguration)
		}
		if n := count(t, r); n != 0 {
			t.Errorf("%s: there are %d events", name, n)
		}
	}
}

func TestAPoolOfEveryModeWorks(t *testing.T) {
	t.Parallel()
	for _, m := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec,
		pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			r := openOn(t, openPool(t, create(t), mode(m)))
			one, many := event("a", 1), batch(event("b", 1), event("b", 2), event("c", 1))
			one.Hash, one.Headers, one.CorrelationID = []byte{0, 1, 255}, []byte(`{"a":"ä"}`), "story"
			many.Events[1].Hash, many.Events[2].CausationID = []byte{0}, "cause"
			many.Tracking = &persistence.Tracking{Name: "upstream", Position: 1}
			for _, b := range []persistence.Batch{batch(one), many, batch(one), many} { // and repeated
				if _, err := r.Record(t.Context(), b); err != nil {
					t.Error(err)
				}
			}
			want := append([]persistence.StoredEvent{one}, many.Events...)
			i := 0
			for n, err := range r.ReadLog(t.Context(), persistence.LogQuery{Hash: true}) {
				if err != nil {
					t.Fatal(err)
				}
				if e := n.StoredEvent; e.ID != want[i].ID || !e.Time.Equal(want[i].Time) || !bytes.Equal(e.Hash, want[i].Hash) ||
					!bytes.Equal(e.State, want[i].State) || e.CorrelationID != want[i].CorrelationID || e.CausationID != want[i].CausationID {
					t.Errorf("event %d is %+v, want %+v", i, e, want[i])
				}
				i++
			}
			if i != len(want) {
				t.Errorf("there are %d events, want %d", i, len(want))
			}
		})
	}
}
