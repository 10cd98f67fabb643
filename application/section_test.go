package application_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/application"
)

// B36.
func TestSectionsOfTheLog(t *testing.T) {
	t.Parallel()
	app, err := application.Open(t.Context(), "school")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Close() })
	application.NewRepository(app, Dogs)
	for i := range 25 {
		if _, err := app.Save(t.Context(), Dogs.New(fmt.Sprint("dog ", i), Registered{Name: "Fido"})); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []struct {
		ask, id     string
		first, last int64
		next        string
	}{
		{"1,10", "1,10", 1, 10, "11,20"},
		{"11,20", "11,20", 11, 20, "21,30"},
		{"21,30", "21,30", 21, 25, ""},        // partial
		{"16,25", "16,25", 16, 25, "26,35"},   // ends with the log
		{"26,35", "26,35", 0, 0, ""},          // empty
		{"7,7", "7,7", 7, 7, "8,8"},           // one
		{"1,5000", "1,1000", 1, 25, ""},       // oversized
		{"900,1000000", "900,1899", 0, 0, ""}, // oversized and empty
	} {
		s, err := app.Section(t.Context(), want.ask)
		if err != nil {
			t.Fatal(err)
		}
		var first, last int64
		if len(s.Items) > 0 {
			first, last = s.Items[0].Position, s.Items[len(s.Items)-1].Position
		}
		if s.ID != want.id || s.Next != want.next || first != want.first || last != want.last {
			t.Errorf("%s: %s with %d to %d, next %q; want %+v", want.ask, s.ID, first, last, s.Next, want)
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back application.Section
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, back); diff != "" {
			t.Errorf("%s came back otherwise:\n%s", want.ask, diff)
		}
	}
	read := 0
	for id := application.SectionID(0, 4); id != ""; {
		s, err := app.Section(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		read, id = read+len(s.Items), s.Next
	}
	if read != 25 {
		t.Errorf("read %d events through sections", read)
	}
	for _, id := range []string{"", "1", "1,", ",1", "0,5", "5,4", "-1,4", "a,b", "1,2,3", "1,9223372036854775807"} {
		if _, err := app.Section(t.Context(), id); !errors.Is(err, annals.ErrConfiguration) {
			t.Errorf("section %q: %v", id, err)
		}
	}
}
