package annals

import (
	"context"
	"maps"
)

type metadataKey struct{}

// ContextWithMetadata returns a context that says what the events belong to which
// are saved with it, and what caused them: an application fills in what their own
// metadata leave empty, headers one by one. It is set at the edge of a system,
// where a request or a message arrives: package correlation does it for HTTP.
//
// What the given metadata leave empty is taken from the context's present one.
func ContextWithMetadata(ctx context.Context, m Metadata) context.Context {
	m.Headers = maps.Clone(m.Headers)
	return context.WithValue(ctx, metadataKey{}, m.or(MetadataFrom(ctx)))
}

// MetadataFrom returns the metadata of the context; zero if it has none. Its
// headers must not be changed.
func MetadataFrom(ctx context.Context) Metadata {
	m, _ := ctx.Value(metadataKey{}).(Metadata)
	return m
}

// CausedBy returns a context for the handling of an event: events that are saved
// with it carry its id as their causation id, its correlation id, and its headers.
// An event without a correlation id begins a story, which is named after the
// event's own id. What the context said before is not there any more.
func CausedBy(ctx context.Context, e Event) context.Context {
	m := Metadata{CorrelationID: e.Metadata.CorrelationID, CausationID: e.ID, Headers: maps.Clone(e.Metadata.Headers)}
	if m.CorrelationID == "" {
		m.CorrelationID = e.ID
	}
	return context.WithValue(ctx, metadataKey{}, m)
}

// WithContext returns the event with what the context says where its own metadata
// are empty. Applications call it on every save.
func (e Event) WithContext(ctx context.Context) Event {
	if m, ok := ctx.Value(metadataKey{}).(Metadata); ok || e.Metadata.Headers != nil {
		e.Metadata = e.Metadata.or(m) // also makes headers that are empty nil, as they come back
	}
	return e
}

// or returns the metadata, with those of other in the place of what is empty.
func (m Metadata) or(other Metadata) Metadata {
	if m.CorrelationID == "" {
		m.CorrelationID = other.CorrelationID
	}
	if m.CausationID == "" {
		m.CausationID = other.CausationID
	}
	switch {
	case len(m.Headers) == 0:
		m.Headers = maps.Clone(other.Headers) // an event's headers are its own
	case len(other.Headers) > 0:
		headers := maps.Clone(other.Headers)
		maps.Copy(headers, m.Headers)
		m.Headers = headers
	}
	return m
}
