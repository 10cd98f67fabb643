package sqlite_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
	"github.com/annals-es/annals/persistence/hashchain"
	"github.com/annals-es/annals/sqlite"
)

// hashed fills a store with the streams a, b and c, each of six events with hashes
// and every field, in turn.
func hashed(t *testing.T, path string) {
	t.Helper()
	l := hashchain.NewLinker(open(t, path))
	for v := range int64(6) {
		var b persistence.Batch
		for _, id := range []string{"a", "b", "c"} {
			e := event(id, v+1)
			e.CorrelationID, e.CausationID, e.Headers = "story", "cause", []byte(`{"user":"ada"}`)
			b.Events = append(b.Events, e)
		}
		if _, err := l.Record(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// B38: what somebody does with SQL, and no more.
func TestWhatIsDoneBySQLIsFound(t *testing.T) {
	t.Parallel()
	const event3 = " WHERE stream_id = 'b' AND version = 3"
	const insert = "INSERT INTO annals_events SELECT %s, topic, time, shape, encoding, state, correlation_id, " +
		"causation_id, headers, tags, NULL FROM annals_events" + event3
	for statements, alone := range map[string]bool{
		"UPDATE annals_events SET event_id = 'x'" + event3:                                    true,
		"UPDATE annals_events SET topic = 'Account.Opened'" + event3:                          true,
		"UPDATE annals_events SET time = time + 1" + event3:                                   true,
		"UPDATE annals_events SET shape = shape + 1" + event3:                                 true,
		"UPDATE annals_events SET encoding = '1:other'" + event3:                              true,
		"UPDATE annals_events SET state = x'7b7d'" + event3:                                   true,
		"UPDATE annals_events SET correlation_id = NULL" + event3:                             true,
		"UPDATE annals_events SET causation_id = 'other'" + event3:                            true,
		"UPDATE annals_events SET headers = x'7b7d'" + event3:                                 true,
		"UPDATE annals_events SET hash = NULL" + event3:                                       true,
		"UPDATE annals_events SET hash = x'00'" + event3:                                      true,
		"UPDATE annals_events SET stream_id = 'd'" + event3:                                   true,
		"UPDATE annals_events SET stream_id = 'd' WHERE stream_id = 'b'":                      true,
		"UPDATE annals_events SET version = 7" + event3:                                       true,
		"DELETE FROM annals_events" + event3:                                                  true,
		"UPDATE annals_events SET position = -position" + event3:                              true,
		"UPDATE annals_events SET position = -position WHERE stream_id = 'b'":                 true,
		fmt.Sprintf(insert, "NULL, 'b', 7, 'x'"):                                              true,
		fmt.Sprintf(insert, "-1, 'b', 7, 'x'"):                                                true,
		fmt.Sprintf(insert, "-1, 'd', 1, 'x'"):                                                true,
		"UPDATE annals_events SET position = 100 WHERE stream_id = 'b' AND version = 6":       false,
		"UPDATE annals_events SET position = position + 100":                                  false,
		"DELETE FROM annals_events WHERE stream_id = 'b'":                                     false,
		"DELETE FROM annals_events WHERE stream_id = 'b' AND version = 6":                     false,
		"DELETE FROM annals_events WHERE position > 9":                                        false,
		"DELETE FROM annals_events":                                                           false,
		"UPDATE annals_events SET hash = NULL; UPDATE annals_events SET topic = 'x'" + event3: false,
		"UPDATE annals_events SET position = -position WHERE position IN (4, 5); " +
			"UPDATE annals_events SET position = 9 + position WHERE position < 0": false, // a and b exchanged in the log
	} {
		t.Run(statements, func(t *testing.T) {
			t.Parallel()
			path := create(t)
			hashed(t, path)
			r := open(t, path)
			report, err := hashchain.Verify(t.Context(), r, hashchain.Config{HashedFrom: 1})
			if err != nil || report.Events != 18 {
				t.Fatalf("%+v, %v", report, err)
			}
			noted := report.Head
			db := openDB(t, path)
			for statement := range strings.SplitSeq(statements, ";") {
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			_, err = hashchain.Verify(t.Context(), r, hashchain.Config{})
			if errors.Is(err, hashchain.ErrBroken) != alone {
				t.Errorf("found by the chain alone, want %t: %v", alone, err)
			}
			_, err = hashchain.Verify(t.Context(), r, hashchain.Config{Log: &noted})
			if !errors.Is(err, hashchain.ErrBroken) {
				t.Errorf("with the noted head: %v", err)
			}
		})
	}
}

// B26, B38: a caller's transaction has the only connection, and several saves in it
// have a hash chain.
func TestJoinedSavesWithAHashChainUseNoOtherConnection(t *testing.T) {
	t.Parallel()
	path := create(t)
	db := openDB(t, path)
	db.SetMaxOpenConns(1)
	r, err := sqlite.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, r)
	app, err := application.Open(t.Context(), "counters",
		application.WithRecorder(r), application.WithHashChain(), application.WithTypes(counters))
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, app)
	c := counters.New("c", counted{By: 1})
	if _, err := app.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	again, err := application.Open(t.Context(), "counters", // which remembers nothing
		application.WithRecorder(r), application.WithHashChain(), application.WithTypes(counters))
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, again)
	tx := begin(t, db)
	for range 3 {
		annals.Trigger(c, counted{By: 1})
		if _, err := again.Save(t.Context(), c, application.Join(tx)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	report, err := again.Verify(t.Context(), hashchain.Config{HashedFrom: 1})
	if err != nil || report.Events != 4 {
		t.Errorf("%+v, %v", report, err)
	}
}
