package correlation_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/correlation"
)

// Dog is the aggregate of these tests.
type Dog struct {
	annals.Aggregate

	Name string
}

type Registered struct{ Name string }

func (e Registered) Apply(d *Dog) { d.Name = e.Name }

var Dogs = annals.Define("Dog", annals.On[Registered]("Registered"))

// service is an application behind HTTP: POST /NAME registers a dog.
type service struct {
	*application.Application

	url  string
	then func(ctx context.Context, e annals.Event) error // what an event makes the service do
}

// start starts a service, and ends it with the test.
func start(t *testing.T, name string) *service {
	t.Helper()
	app, err := application.Open(t.Context(), name, application.WithTypes(Dogs))
	if err != nil {
		t.Fatal(err)
	}
	s := &service{Application: app, then: func(context.Context, annals.Event) error { return nil }}
	server := httptest.NewServer(correlation.Middleware()(s))
	s.url = server.URL
	t.Cleanup(func() {
		server.Close()
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ServeHTTP registers a dog.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	recordings, err := s.Save(r.Context(), Dogs.New(annals.NewID(), Registered{Name: r.URL.Path[1:]}))
	if err == nil {
		err = s.then(r.Context(), recordings[0].Event)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

// post sends a request with the ids of the context, and returns the correlation id of
// the response.
func post(ctx context.Context, client *http.Client, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close() //nolint:errcheck // nothing was read
	if response.StatusCode != http.StatusCreated {
		return "", errors.New(response.Status)
	}
	return response.Header.Get("X-Correlation-ID"), nil
}

// B37: a request, the events that are saved with it, the request that one of them
// causes, the events of that one, and the whole story of both.
func TestAStoryGoesOnInTheNextService(t *testing.T) {
	t.Parallel()
	school, kennel := start(t, "dogschool"), start(t, "kennel")
	client := &http.Client{Transport: correlation.Transport(http.DefaultTransport.(*http.Transport).Clone())}
	t.Cleanup(client.CloseIdleConnections)
	school.then = func(ctx context.Context, e annals.Event) error {
		_, err := post(annals.CausedBy(ctx, e), client, kennel.url+"/"+e.Data.(Registered).Name)
		return err
	}

	for name, c := range map[string]struct {
		m             annals.Metadata
		story, causes string // "": a new id
	}{
		"Fido": {annals.Metadata{CorrelationID: "story", CausationID: "command-7", Headers: headers{"traceparent": parent}}, "story", "command-7"},
		"Rex":  {annals.Metadata{CausationID: "command-8", Headers: headers{"traceparent": parent, "tracestate": "a=1"}}, traceID, "command-8"},
		"Bob":  {annals.Metadata{}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, err := post(annals.ContextWithMetadata(t.Context(), c.m), client, school.url+"/"+name)
			if err != nil {
				t.Fatal(err)
			}
			if id == "" || c.story != "" && id != c.story {
				t.Errorf("the response has the id %q", id)
			}
			told, err := application.Story(t.Context(), id, kennel.Application, school.Application)
			if err != nil || len(told) != 2 {
				t.Fatalf("the story has %d events (%v)", len(told), err)
			}
			first, second := told[0], told[1]
			if first.Application != "dogschool" || second.Application != "kennel" || second.Event.Data != (Registered{name}) {
				t.Errorf("the story is %+v", told)
			}
			if c.causes == "" {
				c.causes = id // the story is named after the request
			}
			want := annals.Metadata{CorrelationID: id, CausationID: c.causes, Headers: c.m.Headers}
			if diff := cmp.Diff(want, first.Event.Metadata); diff != "" {
				t.Errorf("the metadata of the first event differ (-want +got):\n%s", diff)
			}
			want.CausationID = first.Event.ID
			if diff := cmp.Diff(want, second.Event.Metadata); diff != "" {
				t.Errorf("the metadata of the second event differ (-want +got):\n%s", diff)
			}
		})
	}
}
