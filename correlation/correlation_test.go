package correlation_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/correlation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent  = "00-" + traceID + "-00f067aa0ba902b7-01"
)

type headers = map[string]string

// serve sends a request with the headers through a middleware, and returns the
// metadata of its context and the headers of the response.
func serve(ctx context.Context, h http.Header, middleware ...func(http.Handler) http.Handler) (annals.Metadata, http.Header) {
	var m annals.Metadata
	var handler http.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		m = annals.MetadataFrom(r.Context())
	})
	for _, wrap := range middleware {
		handler = wrap(handler)
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", http.NoBody)
	r.Header = h
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return m, w.Result().Header
}

// made is a function for [correlation.WithIDs].
func made() string { return "made" }

// B37.
func TestARequestGivesItsContextWhatItBrings(t *testing.T) {
	t.Parallel()
	trace := headers{"traceparent": parent}
	long := strings.Repeat("x", annals.MaxIDLength)
	for name, c := range map[string]struct {
		h    http.Header
		want annals.Metadata
	}{
		"nothing: a story begins, named after the request": {
			nil, annals.Metadata{CorrelationID: "made", CausationID: "made"},
		},
		"a story": {
			http.Header{"X-Correlation-Id": {"story"}}, annals.Metadata{CorrelationID: "story", CausationID: "made"},
		},
		"a story and a cause": {
			http.Header{"X-Correlation-Id": {"story"}, "X-Causation-Id": {"e1"}},
			annals.Metadata{CorrelationID: "story", CausationID: "e1"},
		},
		"a cause: a story begins, named after it": {
			http.Header{"X-Causation-Id": {"e1"}}, annals.Metadata{CorrelationID: "e1", CausationID: "e1"},
		},
		"a trace, which is the story": {
			http.Header{"Traceparent": {parent}}, annals.Metadata{CorrelationID: traceID, CausationID: "made", Headers: trace},
		},
		"a trace and a cause": {
			http.Header{"Traceparent": {parent}, "X-Causation-Id": {"e1"}},
			annals.Metadata{CorrelationID: traceID, CausationID: "e1", Headers: trace},
		},
		"a trace and a story": {
			http.Header{"Traceparent": {parent}, "X-Correlation-Id": {"story"}},
			annals.Metadata{CorrelationID: "story", CausationID: "made", Headers: trace},
		},
		"all of it": {
			http.Header{"Traceparent": {parent}, "Tracestate": {"congo=t61"}, "X-Correlation-Id": {"story"}, "X-Causation-Id": {"e1"}},
			annals.Metadata{CorrelationID: "story", CausationID: "e1", Headers: headers{"traceparent": parent, "tracestate": "congo=t61"}},
		},
		"ids of the greatest length": {
			http.Header{"X-Correlation-Id": {long}, "X-Causation-Id": {long}}, annals.Metadata{CorrelationID: long, CausationID: long},
		},
		"all characters that an id may have": {
			http.Header{"X-Correlation-Id": {"!\"#/09:AZ[`az{~,;="}}, annals.Metadata{CorrelationID: "!\"#/09:AZ[`az{~,;=", CausationID: "made"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, response := serve(t.Context(), c.h, correlation.Middleware(correlation.WithIDs(made)))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("the metadata differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{c.want.CorrelationID}, response.Values("X-Correlation-ID")); diff != "" {
				t.Errorf("the response's header differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnIDThatIsNotValidCountsAsAbsent(t *testing.T) {
	t.Parallel()
	for name, values := range map[string][]string{
		"empty":                 {""},
		"longer than is stored": {strings.Repeat("x", annals.MaxIDLength+1)},
		"not UTF-8":             {"a\xff"},
		"not ASCII":             {"märz"},
		"a space":               {"a b"},
		"a tab":                 {"a\tb"},
		"a line break":          {"a\r\nSet-Cookie: b"},
		"a NUL byte":            {"a\x00"},
		"a DEL":                 {"a\x7f"},
		"there twice":           {"a", "b"},
		"twice the same":        {"a", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{"X-Correlation-Id": values, "X-Causation-Id": values}
			got, response := serve(t.Context(), h, correlation.Middleware(correlation.WithIDs(made)))
			if diff := cmp.Diff(annals.Metadata{CorrelationID: "made", CausationID: "made"}, got); diff != "" {
				t.Errorf("the metadata differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(http.Header{"X-Correlation-Id": {"made"}}, response); diff != "" {
				t.Errorf("the response's headers differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEachRequestHasAnIDOfItsOwn(t *testing.T) {
	t.Parallel()
	one, _ := serve(t.Context(), nil, correlation.Middleware())
	two, _ := serve(t.Context(), nil, correlation.Middleware())
	if one.CorrelationID == two.CorrelationID || one.CausationID == two.CausationID {
		t.Errorf("two requests are %+v and %+v", one, two)
	}
	if err := annals.CheckID("correlation id", one.CorrelationID); err != nil {
		t.Error(err)
	}
}

func TestARequestThatIsNotTrustedBeginsAStoryOfItsOwn(t *testing.T) {
	t.Parallel()
	middleware := correlation.Middleware(correlation.WithIDs(made),
		correlation.WithTrust(func(r *http.Request) bool { return r.Header.Get("Authorization") == "of a service" }))
	for name, c := range map[string]struct {
		authorization string
		want          annals.Metadata
	}{
		"of a stranger": {"", annals.Metadata{CorrelationID: "made", CausationID: "made"}},
		"of a service": {
			"of a service", annals.Metadata{CorrelationID: "story", CausationID: "e1", Headers: headers{"traceparent": parent}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, response := serve(t.Context(), http.Header{
				"Authorization": {c.authorization}, "X-Correlation-Id": {"story"}, "X-Causation-Id": {"e1"}, "Traceparent": {parent},
			}, middleware)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("the metadata differ (-want +got):\n%s", diff)
			}
			if id := response.Get("X-Correlation-ID"); id != c.want.CorrelationID {
				t.Errorf("the response has the id %q", id)
			}
		})
	}
}

func TestTheHeadersCanHaveOtherNames(t *testing.T) {
	t.Parallel()
	middleware := correlation.Middleware(
		correlation.WithIDs(made), correlation.WithHeader("x-story"), correlation.WithCausationHeader("X-Request-ID"))
	got, response := serve(t.Context(), http.Header{
		"X-Story": {"story"}, "X-Request-Id": {"r1"}, "X-Correlation-Id": {"other"}, "X-Causation-Id": {"other"},
	}, middleware)
	if diff := cmp.Diff(annals.Metadata{CorrelationID: "story", CausationID: "r1"}, got); diff != "" {
		t.Errorf("the metadata differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(http.Header{"X-Story": {"story"}}, response); diff != "" {
		t.Errorf("the response's headers differ (-want +got):\n%s", diff)
	}
}

func TestTheOuterMiddlewareGoesFirst(t *testing.T) {
	t.Parallel()
	h := http.Header{"X-Correlation-Id": {"story"}, "Traceparent": {parent}}
	believe := correlation.Middleware(correlation.WithIDs(func() string { return "inner" }))
	doNot := correlation.Middleware(correlation.WithIDs(made), correlation.WithTrust(func(*http.Request) bool { return false }))
	got, response := serve(t.Context(), h, believe, doNot)
	if diff := cmp.Diff(annals.Metadata{CorrelationID: "made", CausationID: "made"}, got); diff != "" {
		t.Errorf("the metadata differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"made"}, response.Values("X-Correlation-ID")); diff != "" {
		t.Errorf("the response's header differs (-want +got):\n%s", diff)
	}
}

func TestWhatTheContextSaysAlreadyStays(t *testing.T) {
	t.Parallel()
	h := http.Header{"X-Correlation-Id": {"story"}, "Traceparent": {parent}}
	middleware := correlation.Middleware(correlation.WithIDs(made))
	of := func(m annals.Metadata) context.Context { return annals.ContextWithMetadata(t.Context(), m) }

	got, _ := serve(of(annals.Metadata{Headers: headers{"service": "school"}}), h, middleware)
	want := annals.Metadata{
		CorrelationID: "story", CausationID: "made", Headers: headers{"service": "school", "traceparent": parent},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with headers, the metadata differ (-want +got):\n%s", diff)
	}
	for id, answered := range map[string]string{"mine": "mine", "no header": ""} {
		want = annals.Metadata{CorrelationID: id}
		got, response := serve(of(want), h, middleware)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("with a story, the metadata differ (-want +got):\n%s", diff)
		}
		if got := response.Get("X-Correlation-ID"); got != answered {
			t.Errorf("the response to %q has the id %q", id, got)
		}
	}
}

func TestAMistakeInAnOptionPanics(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(){
		`WithHeader("")`:                 func() { correlation.WithHeader("") },
		`WithHeader("X Story")`:          func() { correlation.WithHeader("X Story") },
		`WithHeader("X-Störy")`:          func() { correlation.WithHeader("X-Störy") },
		`WithCausationHeader("X-A\r\n")`: func() { correlation.WithCausationHeader("X-A\r\n") },
		"WithTrust: the function is nil": func() { correlation.WithTrust(nil) },
		"WithIDs: the function is nil":   func() { correlation.WithIDs(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if got, ok := recover().(string); !ok || !strings.HasPrefix(got, "correlation: "+name) {
					t.Errorf("panic %q", got)
				}
			}()
			f()
		})
	}
}
