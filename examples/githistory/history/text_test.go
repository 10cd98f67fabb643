package history_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/annals-es/annals/examples/githistory/history"
	"github.com/annals-es/annals/persistence"
)

func TestPathAsText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, text string }{
		{"", ""},
		{"src/main.go", "src/main.go"},
		{"a b\tc\nd\"e'", "a b\tc\nd\"e'"},
		{`back\slash`, `back\\slash`},
		{`\xff`, `\\xff`},
		{"\xff", `\xff`},
		{"\\\xff\\", `\\\xff\\`},
		{"caf\u00e9 cafe\u0301", "caf\u00e9 cafe\u0301"},
		{"\ufffd", "\ufffd"},
		{"\xef\xbf", `\xef\xbf`},
		{"\xed\xa0\x80", `\xed\xa0\x80`},
		{"日\xe6\x97本", `日\xe6\x97本`},
	} {
		text, err := history.Path(c.path).MarshalText()
		if err != nil || string(text) != c.text {
			t.Errorf("the text of %q is %q, %v; want %q", c.path, text, err, c.text)
		}
		var back history.Path
		if err := back.UnmarshalText([]byte(c.text)); err != nil || string(back) != c.path {
			t.Errorf("%q is the text of %q, %v; want %q", c.text, back, err, c.path)
		}
	}
}

func TestTextThatIsNoPath(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`\`, `a\`, `\a`, `\x`, `\xf`, `\xfg`, `\xFF`, `\x41`, `\xc3\xa9`, `\x5c`, "\xff", `\\\`} {
		if err := new(history.Path).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for a path", text)
		}
		if err := new(history.Text).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for a text", text)
		}
	}
}

// FuzzPath shows that each path has one text, which is UTF-8, and that an event
// with the path comes back from JSON as it was.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"", "a", `\`, `\\xff`, "\xff", "\xed\xa0\x80", "\u00e9\x00\n", strings.Repeat(`\`, 5) + "\x80"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		text, err := history.Path(raw).MarshalText()
		if err != nil || !utf8.Valid(text) {
			t.Fatalf("the text of %q is %q, %v", raw, text, err)
		}
		var path history.Path
		if err := path.UnmarshalText(text); err != nil || string(path) != raw {
			t.Fatalf("%q became %q, %v, by %q", raw, path, err, text)
		}
		// Taken as a text, what is accepted is the text of exactly one path.
		if err := path.UnmarshalText([]byte(raw)); err == nil {
			if text, _ := path.MarshalText(); string(text) != raw {
				t.Fatalf("%q and %q are texts of one path", raw, text)
			}
		}
		event := history.Added{
			Touch: history.Touch{Path: history.Path(raw), Author: history.Text(raw)},
			From:  history.Path(raw),
		}
		data, err := persistence.JSON().Encode(nil, event)
		if err != nil {
			t.Fatal(err)
		}
		var back history.Added
		if err := persistence.JSON().Decode(data, &back); err != nil || back != event {
			t.Fatalf("%+v became %+v, %v, by %s", event, back, err, data)
		}
	})
}
