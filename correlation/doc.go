// Package correlation takes the ids of stories from HTTP requests and passes them
// on, so that what one request caused can be read back, across services, with
// application.Story. [Middleware] is for the server: it puts the ids into the
// context, see [annals.ContextWithMetadata], and applications store them with every
// event that is saved with it. [Transport] is for the client: it sends the ids of
// the context along.
//
//	handler := correlation.Middleware()(mux)
//	client := &http.Client{Transport: correlation.Transport(nil)}
//
// The headers are X-Correlation-ID, which names the story, X-Causation-ID, the id
// of the event or command that caused the request, and traceparent and tracestate of
// W3C Trace Context.
package correlation
