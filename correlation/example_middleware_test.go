package correlation_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/correlation"
)

// What is saved with the context of a request belongs to the request's story.
func ExampleMiddleware() {
	ctx := context.Background()
	app, err := application.Open(ctx, "dogschool", application.WithTypes(Dogs))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer app.Close() //nolint:errcheck // in memory
	mux := http.NewServeMux()
	mux.HandleFunc("POST /dogs/{name}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		if _, err := app.Save(r.Context(), Dogs.New(name, Registered{Name: name})); err != nil {
			http.Error(w, "not saved", http.StatusInternalServerError)
		}
	})
	server := correlation.Middleware()(mux)

	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/dogs/Fido", http.NoBody)
	r.Header.Set("X-Correlation-ID", "order-7")
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("X-Correlation-ID"))

	story, err := application.Story(ctx, "order-7", app)
	for _, e := range story {
		fmt.Println(e.Application, e.Event.Topic, e.Event.Data)
	}
	fmt.Println(err)
	// Output:
	// 200 order-7
	// dogschool Dog.Registered {Fido}
	// <nil>
}
