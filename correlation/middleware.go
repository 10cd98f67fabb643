package correlation

import (
	"context"
	"net/http"

	"github.com/annals-es/annals"
)

// Middleware returns a middleware that gives the context of each request its
// metadata, for the events that are saved with it:
//
//   - The causation id is that of the header X-Causation-ID. Without one the request
//     itself is the cause, and has a new id.
//   - The correlation id is that of the header X-Correlation-ID. Without one it is the
//     id of the trace in traceparent, and without a trace the causation id: a story
//     begins, and is named after its cause.
//   - A traceparent of W3C Trace Context, and the tracestate that came with it, are
//     kept as headers of these names: they are stored, in clear, with the events.
//
// What a request brings is checked, and counts as absent if it is not as it should
// be; a request is never refused for it. An id has 1 to [annals.MaxIDLength] visible
// ASCII characters, and its header is there once. A traceparent is kept in the form
// of version 00, whose 55 characters are what is known of later versions; of a
// tracestate whole entries are kept, up to 512 characters.
//
// The response has the correlation id in the header that the request has it in. A
// request whose context has a correlation id already, from a middleware further out,
// keeps its metadata.
func Middleware(opts ...MiddlewareOption) func(http.Handler) http.Handler {
	m := &middleware{
		names:   defaultNames(),
		trusted: func(*http.Request) bool { return true },
		newID:   annals.NewID,
	}
	for _, o := range opts {
		o.applyMiddleware(m)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := m.context(r.Context(), r)
			if id := annals.MetadataFrom(ctx).CorrelationID; validID(id) {
				w.Header().Set(m.correlation, id)
			}
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

type middleware struct {
	names

	trusted func(*http.Request) bool
	newID   func() string
}

// context returns the context with the metadata of the request.
func (m *middleware) context(ctx context.Context, r *http.Request) context.Context {
	if annals.MetadataFrom(ctx).CorrelationID != "" {
		return ctx
	}
	var metadata annals.Metadata
	if m.trusted(r) {
		metadata = m.metadata(r.Header)
	}
	if metadata.CausationID == "" {
		metadata.CausationID = m.newID()
	}
	if metadata.CorrelationID == "" {
		metadata.CorrelationID = metadata.CausationID
	}
	return annals.ContextWithMetadata(ctx, metadata)
}

// metadata returns what the headers of a request say.
func (m *middleware) metadata(h http.Header) annals.Metadata {
	metadata := annals.Metadata{CorrelationID: id(h, m.correlation), CausationID: id(h, m.causation)}
	t, ok := traceOf(h)
	if !ok {
		return metadata
	}
	if metadata.CorrelationID == "" {
		metadata.CorrelationID = t.id
	}
	metadata.Headers = map[string]string{keyParent: t.parent}
	if t.state != "" {
		metadata.Headers[keyState] = t.state
	}
	return metadata
}

// id returns the id in a header, or "" if it is not valid, or not there once.
func id(h http.Header, name string) string {
	if values := h.Values(name); len(values) == 1 && validID(values[0]) {
		return values[0]
	}
	return ""
}
