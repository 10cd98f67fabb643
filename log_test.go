package annals_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
)

type (
	PageCreatedV1 struct{ ID string }
	PageCreated   struct{ ID, Title string }
)

var Pages = annals.DefineLog[PageCreated]("Pages", "Created",
	annals.FormerName("Made"),
	annals.Upcast(func(v1 PageCreatedV1) PageCreated { return PageCreated{v1.ID, "untitled"} }))

// B10, B11.
func TestALogMakesEventsWithoutAnAggregate(t *testing.T) {
	t.Parallel()
	now := time.Date(2001, 2, 3, 4, 5, 6, 7_999, time.FixedZone("", 3600))
	pages := Pages.WithClock(func() time.Time { return now }).WithIDs(func() string { return "id" })
	got := pages.Event("all", 7, PageCreated{ID: "p1"})
	want := annals.Event{
		ID: "id", StreamID: "all", Version: 7, Topic: "Pages.Created",
		Time: time.Date(2001, 2, 3, 3, 5, 6, 7_000, time.UTC), Data: PageCreated{ID: "p1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the event differs (-want +got):\n%s", diff)
	}
	m := annals.Metadata{CorrelationID: "story"}
	got = pages.Event("all", 8, PageCreated{}, annals.WithEventID("mine"), annals.At(time.Unix(1, 0)), annals.WithMetadata(m))
	if got.ID != "mine" || got.Time != time.Unix(1, 0).UTC() || !reflect.DeepEqual(got.Metadata, m) || got.Version != 8 {
		t.Errorf("options were not taken: %+v", got)
	}
	if a, b := Pages.Event("all", 1, PageCreated{}), Pages.Event("all", 2, PageCreated{}); a.ID == "id" || a.ID == b.ID || a.Time.Equal(want.Time) {
		t.Errorf("the original type got the clock or the ids, too: %+v", a)
	}
}

// B7, B8, B10.
func TestALogDescribesItsEventToAMapper(t *testing.T) {
	t.Parallel()
	types := Pages.EventTypes()
	if Pages.Name() != "Pages" || Pages.GoType() != reflect.TypeFor[PageCreated]() || len(types) != 1 {
		t.Fatalf("%s of %v has %d types", Pages.Name(), Pages.GoType(), len(types))
	}
	if got := fmt.Sprint(types[0].Topic(), types[0].FormerTopics(), types[0].Shape(), types[0].GoType()); got !=
		"Pages.Created[Pages.Made] 2 annals_test.PageCreated" {
		t.Errorf("the type is %s", got)
	}
	data, err := types[0].Decode(1, []byte(`{"ID":"p1"}`), json.Unmarshal)
	if err != nil || data != (PageCreated{"p1", "untitled"}) {
		t.Errorf("shape 1 became %+v (%v)", data, err)
	}
}

// B7, B10.
func TestDefineLogPanicsWhereTheProgramIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		define func()
		says   []string
	}{
		"no name":               {func() { annals.DefineLog[PageCreated]("", "Created") }, []string{"DefineLog", "bad name"}},
		"no name of the event":  {func() { annals.DefineLog[PageCreated]("Pages", "") }, []string{`DefineLog("Pages", "")`, "bad name"}},
		"an event by pointer":   {func() { annals.DefineLog[*PageCreated]("Pages", "Created") }, []string{"*annals_test.PageCreated"}},
		"an event of any type":  {func() { annals.DefineLog[any]("Pages", "Created") }, []string{"interface"}},
		"an end":                {func() { annals.DefineLog[PageCreated]("Pages", "Created", annals.Discards()) }, []string{`"Created"`, "no end"}},
		"a former name of ours": {func() { annals.DefineLog[PageCreated]("Pages", "Created", annals.FormerName("Created")) }, []string{"Pages.Created"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantPanic(t, c.define, c.says...)
		})
	}
}
