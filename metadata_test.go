package annals_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
)

type headers = map[string]string

// B37.
func TestAnEventTakesFromTheContextWhatItLacks(t *testing.T) {
	t.Parallel()
	edge := annals.Metadata{CorrelationID: "story", CausationID: "command", Headers: headers{"user": "ann", "tenant": "t1"}}
	for name, c := range map[string]struct {
		own, context, want annals.Metadata
	}{
		"nothing of both":    {},
		"all of the context": {annals.Metadata{}, edge, edge},
		"all of its own":     {edge, annals.Metadata{}, edge},
		"its own goes first": {annals.Metadata{CorrelationID: "mine"}, edge, annals.Metadata{CorrelationID: "mine", CausationID: "command", Headers: edge.Headers}},
		"a cause of its own": {annals.Metadata{CausationID: "mine"}, edge, annals.Metadata{CorrelationID: "story", CausationID: "mine", Headers: edge.Headers}},
		"headers are taken one by one": {
			annals.Metadata{Headers: headers{"user": "bob", "ip": "::1"}}, edge,
			annals.Metadata{CorrelationID: "story", CausationID: "command", Headers: headers{"user": "bob", "ip": "::1", "tenant": "t1"}},
		},
		"an empty header is a header": {
			annals.Metadata{Headers: headers{"user": ""}}, edge,
			annals.Metadata{CorrelationID: "story", CausationID: "command", Headers: headers{"user": "", "tenant": "t1"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := annals.ContextWithMetadata(t.Context(), c.context)
			e := annals.Event{ID: "e1", Metadata: c.own}
			if diff := cmp.Diff(annals.Event{ID: "e1", Metadata: c.want}, e.WithContext(ctx)); diff != "" {
				t.Errorf("the event differs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.own, e.Metadata); diff != "" {
				t.Errorf("the event that it was called on has changed (-was +is):\n%s", diff)
			}
		})
	}
	e := annals.Event{ID: "e1", Metadata: edge}
	if diff := cmp.Diff(e, e.WithContext(t.Context())); diff != "" {
		t.Errorf("a context without metadata changes the event (-want +got):\n%s", diff)
	}
	if got := (annals.Event{Metadata: annals.Metadata{Headers: headers{}}}).WithContext(t.Context()); got.Metadata.Headers != nil {
		t.Errorf("empty headers are %#v; they come back as nil", got.Metadata.Headers)
	}
}

// B37.
func TestTheInnerContextGoesBeforeTheOuter(t *testing.T) {
	t.Parallel()
	if got := annals.MetadataFrom(t.Context()); !cmp.Equal(got, annals.Metadata{}) {
		t.Errorf("a context without metadata has %+v", got)
	}
	outer := annals.ContextWithMetadata(t.Context(), annals.Metadata{
		CorrelationID: "story", CausationID: "command", Headers: headers{"user": "ann", "ip": "::1"},
	})
	inner := annals.ContextWithMetadata(outer, annals.Metadata{CausationID: "step", Headers: headers{"user": "bob"}})
	want := annals.Metadata{CorrelationID: "story", CausationID: "step", Headers: headers{"user": "bob", "ip": "::1"}}
	if diff := cmp.Diff(want, annals.MetadataFrom(inner)); diff != "" {
		t.Errorf("the inner context differs (-want +got):\n%s", diff)
	}
	if got := annals.MetadataFrom(outer).Headers["user"]; got != "ann" {
		t.Errorf("the outer context was changed: the user is %s", got)
	}
}

// B37.
func TestEventsCarryTheIDOfTheirCause(t *testing.T) {
	t.Parallel()
	outer := annals.ContextWithMetadata(t.Context(), annals.Metadata{
		CorrelationID: "of the worker", CausationID: "start", Headers: headers{"worker": "w1"},
	})
	for name, c := range map[string]struct{ cause, want annals.Metadata }{
		"of a story": {
			annals.Metadata{CorrelationID: "story", CausationID: "command", Headers: headers{"user": "ann"}},
			annals.Metadata{CorrelationID: "story", CausationID: "e1", Headers: headers{"user": "ann"}},
		},
		"of no story": {annals.Metadata{}, annals.Metadata{CorrelationID: "e1", CausationID: "e1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := annals.CausedBy(outer, annals.Event{ID: "e1", Metadata: c.cause})
			next := annals.Event{ID: "e2"}.WithContext(ctx)
			if diff := cmp.Diff(c.want, next.Metadata); diff != "" {
				t.Errorf("the next event's metadata differ (-want +got):\n%s", diff)
			}
			third := annals.Event{ID: "e3"}.WithContext(annals.CausedBy(ctx, next))
			if third.Metadata.CausationID != "e2" || third.Metadata.CorrelationID != c.want.CorrelationID {
				t.Errorf("the third event's metadata are %+v", third.Metadata)
			}
		})
	}
}

// What a caller does to headers that it gave or got reaches nobody else.
func TestHeadersAreNotShared(t *testing.T) {
	t.Parallel()
	for name, with := range map[string]func(ctx context.Context, own headers) context.Context{
		"those given to a context": func(ctx context.Context, own headers) context.Context {
			return annals.ContextWithMetadata(ctx, annals.Metadata{Headers: own})
		},
		"those of a cause": func(ctx context.Context, own headers) context.Context {
			return annals.CausedBy(ctx, annals.Event{ID: "e1", Metadata: annals.Metadata{Headers: own}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := headers{"user": "ann"}
			ctx := with(t.Context(), own)
			own["user"] = "changed"
			one, two := annals.Event{}.WithContext(ctx), annals.Event{}.WithContext(ctx)
			one.Metadata.Headers["user"] = "changed, too"
			if got := two.Metadata.Headers["user"]; got != "ann" {
				t.Errorf("another event has the user %q", got)
			}
			if got := annals.MetadataFrom(ctx).Headers["user"]; got != "ann" {
				t.Errorf("the context has the user %q", got)
			}
		})
	}
}
