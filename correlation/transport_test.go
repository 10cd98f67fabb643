package correlation_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/correlation"
)

// sender is a transport that keeps what it is to send.
type sender struct {
	sent   *http.Request
	closed bool
}

var errSent = errors.New("sent")

func (s *sender) RoundTrip(r *http.Request) (*http.Response, error) {
	s.sent = r
	return nil, errSent
}

func (s *sender) CloseIdleConnections() { s.closed = true }

// send sends a request with the headers, and returns what reaches the next transport.
func send(ctx context.Context, t *testing.T, h http.Header, opts ...correlation.TransportOption) *http.Request {
	t.Helper()
	next := new(sender)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://kennel.example/dogs", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = h
	before := h.Clone()
	if _, err := correlation.Transport(next, opts...).RoundTrip(r); !errors.Is(err, errSent) { //nolint:bodyclose // there is no response
		t.Errorf("the error is %v", err)
	}
	if diff := cmp.Diff(before, r.Header); diff != "" {
		t.Errorf("the caller's request was changed (-was +is):\n%s", diff)
	}
	if next.sent.Context() != ctx || next.sent.Body != r.Body || next.sent.URL.String() != r.URL.String() || next.sent.Method != r.Method {
		t.Errorf("another request is sent: %+v", next.sent)
	}
	return next.sent
}

// B37.
func TestARequestTakesTheIDsOfItsContextAlong(t *testing.T) {
	t.Parallel()
	all := annals.Metadata{
		CorrelationID: "story", CausationID: "e1",
		Headers: headers{"traceparent": parent, "tracestate": "congo=t61", "user": "u1"},
	}
	for name, c := range map[string]struct {
		m       annals.Metadata
		h, want http.Header
	}{
		"nothing": {annals.Metadata{}, nil, http.Header{}},
		"all of it": {all, nil, http.Header{
			"X-Correlation-Id": {"story"}, "X-Causation-Id": {"e1"}, "Traceparent": {parent}, "Tracestate": {"congo=t61"},
		}},
		"beside others": {
			annals.Metadata{CorrelationID: "story"}, http.Header{"Accept": {"text/plain"}},
			http.Header{"Accept": {"text/plain"}, "X-Correlation-Id": {"story"}},
		},
		"ids that are there stay": {
			all, http.Header{"X-Correlation-Id": {"mine"}, "X-Causation-Id": {""}},
			http.Header{"X-Correlation-Id": {"mine"}, "X-Causation-Id": {""}, "Traceparent": {parent}, "Tracestate": {"congo=t61"}},
		},
		"a traceparent that is there stays alone": {
			all, http.Header{"Traceparent": {"of the library"}},
			http.Header{"X-Correlation-Id": {"story"}, "X-Causation-Id": {"e1"}, "Traceparent": {"of the library"}},
		},
		"a tracestate that is there stays alone": {
			all, http.Header{"Tracestate": {"a=1"}},
			http.Header{"X-Correlation-Id": {"story"}, "X-Causation-Id": {"e1"}, "Tracestate": {"a=1"}},
		},
		"what no header can hold is left out": {
			annals.Metadata{CorrelationID: "märz", CausationID: "a\r\nb", Headers: headers{"traceparent": parent, "tracestate": "a\r\nb"}},
			nil, http.Header{"Traceparent": {parent}},
		},
		"a trace that is none is left out": {
			annals.Metadata{CorrelationID: "story", Headers: headers{"traceparent": "00-1-2-03", "tracestate": "a=1"}},
			nil, http.Header{"X-Correlation-Id": {"story"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := send(annals.ContextWithMetadata(t.Context(), c.m), t, c.h)
			if diff := cmp.Diff(c.want, sent.Header); diff != "" {
				t.Errorf("the headers differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBothEndsAgreeOnOtherNames(t *testing.T) {
	t.Parallel()
	opts := []correlation.Option{correlation.WithHeader("x-story"), correlation.WithCausationHeader("X-Request-ID")}
	want := annals.Metadata{CorrelationID: "story", CausationID: "r1", Headers: headers{"traceparent": parent}}
	sent := send(annals.ContextWithMetadata(t.Context(), want), t, nil, opts[0], opts[1])
	if diff := cmp.Diff(http.Header{"X-Story": {"story"}, "X-Request-Id": {"r1"}, "Traceparent": {parent}}, sent.Header); diff != "" {
		t.Errorf("the headers differ (-want +got):\n%s", diff)
	}
	got, _ := serve(t.Context(), sent.Header, correlation.Middleware(opts[0], opts[1]))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what arrives differs (-want +got):\n%s", diff)
	}
}

func TestAClientClosesTheConnectionsOfTheNextTransport(t *testing.T) {
	t.Parallel()
	next := new(sender)
	client := &http.Client{Transport: correlation.Transport(next)}
	client.CloseIdleConnections()
	if !next.closed {
		t.Error("idle connections stay open")
	}
	var plain struct{ http.RoundTripper } // cannot do it
	client = &http.Client{Transport: correlation.Transport(plain)}
	client.CloseIdleConnections()
}
