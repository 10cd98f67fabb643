package recordertest

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/persistence"
)

func storyChecks() []check {
	return []check{
		{"events carry what the context says, and a story is read back", "B37", Features{}, checkStory},
		{"a story is followed while it goes on", "B37, B40", Features{}, checkStoryGoesOn},
		{"who reads gets nothing after the context ended, or the application was closed", "B39, B40", Features{}, checkReadEnds},
	}
}

func checkStory(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	b := openBank(ctx, t, r)
	other := openBank(ctx, t, (&store{backend: s.backend}).open(ctx, t)) // another application
	request := annals.Metadata{
		CorrelationID: "story 1", CausationID: "request 7", Headers: map[string]string{"traceparent": "00-1-2-03"},
	}
	edge := annals.ContextWithMetadata(ctx, request)
	b.open(edge, t, "ada", 1)
	b.open(annals.ContextWithMetadata(ctx, annals.Metadata{CorrelationID: "story 2"}), t, "bob", 1)
	b.open(ctx, t, "eve", 1)
	var cause annals.Event
	for e, err := range b.wallets.Events(ctx, "ada") {
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(request, e.Metadata); d != "" {
			t.Errorf("metadata (-want +got):\n%s", d)
		}
		cause = e
	}
	policy := annals.CausedBy(ctx, cause)
	mine := other.types.New("copy", walletOpened{Owner: "Ada"})
	annals.Trigger(mine, walletPaid{Payment: "p", Cents: 1}, annals.WithMetadata(annals.Metadata{CausationID: "my own"}))
	other.save(policy, t, mine)

	story, err := application.Story(ctx, "story 1", other.Application, b.Application)
	if err != nil {
		t.Fatal(err)
	}
	type line struct{ Stream, Topic, Cause string }
	var got []line
	for _, e := range story {
		got = append(got, line{e.Event.StreamID, e.Event.Topic, e.Event.Metadata.CausationID})
	}
	want := []line{
		{"ada", "Wallet.Opened", "request 7"},
		{"ada", "Wallet.Paid", "request 7"},
		{"copy", "Wallet.Opened", cause.ID},
		{"copy", "Wallet.Paid", "my own"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("story (-want +got):\n%s", d)
	}
	count := 0
	for n, err := range b.Notifications(ctx, application.Correlation("story 2"), application.Topics("Wallet.Paid")) {
		if count++; err != nil || n.Event.StreamID != "bob" {
			t.Errorf("%+v, %v", n, err)
		}
	}
	if count != 1 {
		t.Errorf("%d events of a story and a topic, want 1", count)
	}
}

func checkStoryGoesOn(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	b := openBank(ctx, t, r)
	story := annals.ContextWithMetadata(ctx, annals.Metadata{CorrelationID: "story"})
	b.open(story, t, "ada", 1)
	b.open(ctx, t, "bob", 1)
	var got []string
	for n, err := range b.Subscribe(ctx, application.Correlation("story"), application.Limit(4)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, n.Event.StreamID+" "+n.Event.Topic)
		if len(got) == 2 { // all that there was
			b.pay(ctx, t, "bob", 3)
			b.pay(story, t, "ada", 1)
		}
		if len(got) == 3 {
			b.pay(ctx, t, "ada", 1)
			b.open(annals.CausedBy(ctx, n.Event), t, "eve", 0)
		}
	}
	want := []string{"ada Wallet.Opened", "ada Wallet.Paid", "ada Wallet.Paid", "eve Wallet.Opened"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("what follows differs (-want +got):\n%s", d)
	}
}

// checkReadEnds has events that a recorder has read ahead.
func checkReadEnds(t *testing.T, s *store) {
	ctx, r := s.setup(t)
	b := openBank(ctx, t, r)
	b.open(ctx, t, "ada", 9)
	type reader func(context.Context, ...application.ReadOption) iter.Seq2[application.Notification, error]
	ends := func(ctx context.Context, name string, read reader, end func(), want error) {
		t.Helper()
		events := 0
		for _, err := range read(ctx) {
			switch {
			case err == nil && events == 0:
				end()
			case err == nil:
				t.Errorf("%s: an event after the end", name)
			case !errors.Is(err, want):
				t.Errorf("%s: %v, want %v", name, err, want)
			}
			if events++; err != nil {
				return
			}
		}
		t.Errorf("%s: no error after the end", name)
	}
	for name, read := range map[string]reader{"subscribe": b.Subscribe, "notifications": b.Notifications} {
		own, cancel := context.WithCancel(ctx)
		ends(own, name, read, cancel, context.Canceled)
	}
	for i := range 2 {
		other := openBank(ctx, t, r)
		read := reader(other.Subscribe)
		if i == 1 {
			read = other.Notifications
		}
		ends(ctx, "close", read, func() { closeApplication(t, other.Application) }, annals.ErrClosed)
	}
	own, cancel := context.WithCancel(ctx)
	events := 0
	for _, err := range r.ReadLog(own, persistence.LogQuery{}) {
		if events++; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("read: %v", err)
		}
		cancel()
	}
	if cancel(); events != 2 {
		t.Errorf("read: %d events and errors after a cancellation, want one of each", events)
	}
}
