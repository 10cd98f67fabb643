package correlation

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/annals-es/annals"
)

// MiddlewareOption sets a property of a [Middleware].
type MiddlewareOption interface{ applyMiddleware(m *middleware) }

// TransportOption sets a property of a [Transport].
type TransportOption interface{ applyTransport(t *transport) }

// Option sets a property that both ends have to agree on.
type Option interface {
	MiddlewareOption
	TransportOption
}

// names are the names of the headers that both ends have to agree on.
type names struct{ correlation, causation string }

func defaultNames() names { return names{correlation: "X-Correlation-ID", causation: "X-Causation-ID"} }

type option func(*names)

func (o option) applyMiddleware(m *middleware) { o(&m.names) }
func (o option) applyTransport(t *transport)   { o(&t.names) }

type middlewareOption func(*middleware)

func (o middlewareOption) applyMiddleware(m *middleware) { o(m) }

// WithHeader gives the name of the header with the correlation id. It panics if no
// header can have the name. Default: X-Correlation-ID.
func WithHeader(name string) Option {
	checkHeaderName("WithHeader", name)
	return option(func(n *names) { n.correlation = name })
}

// WithCausationHeader gives the name of the header with the id of what caused a
// request: X-Request-ID, say, where a proxy numbers the requests. It panics if no
// header can have the name. Default: X-Causation-ID.
func WithCausationHeader(name string) Option {
	checkHeaderName("WithCausationHeader", name)
	return option(func(n *names) { n.causation = name })
}

// WithTrust says which requests are believed. Of the others no header is taken:
// each begins a story of its own. A public edge believes none, or those of clients
// that it knows: whoever is believed can put events into a story of somebody else.
// It panics if the function is nil. Default: all requests are believed.
//
//	correlation.WithTrust(func(*http.Request) bool { return false })
func WithTrust(trusted func(*http.Request) bool) MiddlewareOption {
	if trusted == nil {
		panic("correlation: WithTrust: the function is nil")
	}
	return middlewareOption(func(m *middleware) { m.trusted = trusted })
}

// WithIDs gives the function that makes the ids of requests. It has to be safe for
// concurrent use, and its ids have to be such as [annals.CheckID] accepts. It panics
// if the function is nil. Default: [annals.NewID].
func WithIDs(newID func() string) MiddlewareOption {
	if newID == nil {
		panic("correlation: WithIDs: the function is nil")
	}
	return middlewareOption(func(m *middleware) { m.newID = newID })
}

// nameChars are the characters that RFC 9110 allows in the name of a header.
const nameChars = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func checkHeaderName(what, name string) {
	if name == "" || strings.Trim(name, nameChars) != "" {
		panic(fmt.Sprintf("correlation: %s(%q): no header can have this name", what, name))
	}
}

// validID reports whether an id may come from a request or go into one: visible
// ASCII, and short enough to be stored.
func validID(id string) bool {
	if id == "" || len(id) > annals.MaxIDLength {
		return false
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}
