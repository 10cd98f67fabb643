package correlation_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/correlation"
)

// A request that an event causes, to another service.
func ExampleTransport() {
	kennel := httptest.NewServer(correlation.Middleware()(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		m := annals.MetadataFrom(r.Context())
		fmt.Println("story:", m.CorrelationID, "cause:", m.CausationID)
	})))
	defer kennel.Close()
	client := &http.Client{Transport: correlation.Transport(nil)}
	defer client.CloseIdleConnections()

	e := annals.Event{ID: "event-1", Metadata: annals.Metadata{CorrelationID: "order-7"}}
	ctx := annals.CausedBy(context.Background(), e)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, kennel.URL, http.NoBody)
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := client.Do(r)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.Body.Close())
	// Output:
	// story: order-7 cause: event-1
	// <nil>
}
