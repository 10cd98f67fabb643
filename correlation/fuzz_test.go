package correlation_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
	"github.com/annals-es/annals/correlation"
)

const member = `[a-z0-9][a-z0-9_*/@-]*=[^,=\x00-\x1f\x7f-\x{10FFFF}]*[^,=\x00-\x20\x7f-\x{10FFFF}]`

// The forms of what may come out, as the standards write them.
var (
	idForm     = regexp.MustCompile(`^[[:graph:]]{1,255}$`)
	parentForm = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	laterForm  = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]([0-9a-f])(-[\s\S]*)?$`)
	stateForm  = regexp.MustCompile(`^` + member + `(,` + member + `)*$`)
)

// isParent says in other words than the package whether a traceparent is valid.
func isParent(s string) bool {
	m := laterForm.FindStringSubmatch(s)
	return len(m) > 0 && m[1] != "ff" && strings.Trim(m[2], "0") != "" && strings.Trim(m[3], "0") != "" && (m[1] != "00" || len(s) == 55)
}

// Whatever a request brings: its events are saved, with what the headers say if it is
// valid, and with nothing that is not; and what was taken arrives at the next service.
func FuzzMiddleware(f *testing.F) {
	f.Add("story", "e1", parent, "congo=t61,rojo=1", "a=1")
	f.Add("", "\xff", "cc"+parent[2:]+"-more", strings.Repeat("a=1,", 40), "")
	f.Add("märz", strings.Repeat("x", 256), "00-"+strings.Repeat("0", 32)+"-00f067aa0ba902b7-01", "a==\r\n", " ,")
	f.Add("a b", "\r\n", "ff"+parent[2:], "a="+strings.Repeat("b", 255)+",b="+strings.Repeat("c", 255), "a=1\t")
	f.Fuzz(func(t *testing.T, story, cause, traceparent, state, more string) {
		m, response := serve(t.Context(), http.Header{
			"X-Correlation-Id": {story}, "X-Causation-Id": {cause}, "Traceparent": {traceparent}, "Tracestate": {state, more},
		}, correlation.Middleware())

		if !idForm.MatchString(m.CausationID) || idForm.MatchString(cause) && m.CausationID != cause {
			t.Errorf("the cause %q became %q", cause, m.CausationID)
		}
		kept := m.Headers["traceparent"]
		if isParent(traceparent) != parentForm.MatchString(kept) || (kept == "") == isParent(traceparent) {
			t.Errorf("the traceparent %q became %q", traceparent, kept)
		}
		named := m.CausationID
		switch {
		case idForm.MatchString(story):
			named = story
		case kept != "":
			named = traceparent[3:35]
		}
		if m.CorrelationID != named || response.Get("X-Correlation-ID") != named {
			t.Errorf("the story %q became %q", story, m.CorrelationID)
		}
		s, ok := m.Headers["tracestate"]
		if ok && (kept == "" || len(s) > 512 || strings.Count(s, ",") > 31 || !stateForm.MatchString(s)) {
			t.Errorf("the tracestate %q, %q became %q", state, more, s)
		}
		if kept != "" && more == "" && len(state) <= 256 && strings.Count(state, ",") < 32 && stateForm.MatchString(state) && s != state {
			t.Errorf("the tracestate %q became %q", state, s)
		}

		app, err := application.Open(t.Context(), "dogschool", application.WithTypes(Dogs))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := app.Save(annals.ContextWithMetadata(t.Context(), m), Dogs.New("fido", Registered{})); err != nil {
			t.Errorf("the events are not saved: %v", err)
		}
		if err := app.Close(); err != nil {
			t.Error(err)
		}
		sent := send(annals.ContextWithMetadata(t.Context(), m), t, nil)
		next, _ := serve(t.Context(), sent.Header, correlation.Middleware())
		if diff := cmp.Diff(m, next); diff != "" {
			t.Errorf("the next service has other metadata (-want +got):\n%s", diff)
		}
	})
}
