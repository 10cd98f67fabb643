package correlation

import (
	"net/http"

	"github.com/annals-es/annals"
)

// Transport returns a transport that sends the ids of a request's context along, see
// [annals.ContextWithMetadata] and [annals.CausedBy], in the headers in which a
// [Middleware] looks for them: the correlation id, the causation id, traceparent and
// tracestate. The transport next, which defaults to [http.DefaultTransport], sends
// the request.
//
// A header that the request has already stays as it is: a tracing library that sends
// a traceparent of its own wraps this transport in its. What no header can hold, an id
// that is not visible ASCII, say, is left out. The request that it is called with is
// not changed.
//
// The ids go to whatever server is called: use it for clients of services of your own.
func Transport(next http.RoundTripper, opts ...TransportOption) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	t := &transport{names: defaultNames(), next: next}
	for _, o := range opts {
		o.applyTransport(t)
	}
	return t
}

type transport struct {
	names

	next http.RoundTripper
}

// RoundTrip sends a copy of the request.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	m := annals.MetadataFrom(r.Context())
	r = r.WithContext(r.Context())
	r.Header = r.Header.Clone()
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	add(r.Header, t.correlation, m.CorrelationID)
	add(r.Header, t.causation, m.CausationID)
	addTrace(r.Header, m.Headers)
	return t.next.RoundTrip(r)
}

// CloseIdleConnections does what [http.Client.CloseIdleConnections] asks for.
func (t *transport) CloseIdleConnections() {
	if closer, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

func add(h http.Header, name, id string) {
	if validID(id) && len(h.Values(name)) == 0 {
		h.Set(name, id)
	}
}

// addTrace adds both headers of a trace, or none: one says nothing without the other.
func addTrace(h http.Header, headers map[string]string) {
	parent, ok := parseParent(headers[keyParent])
	if !ok || len(h.Values(headerParent)) > 0 || len(h.Values(headerState)) > 0 {
		return
	}
	h.Set(headerParent, parent)
	if state := parseState([]string{headers[keyState]}); state != "" {
		h.Set(headerState, state)
	}
}
