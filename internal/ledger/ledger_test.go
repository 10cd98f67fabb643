package ledger

import (
	"strings"
	"testing"
)

func TestAfterIsTheFirstTextBehindAPrefix(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{
		"":                      "",
		"a":                     "b",
		"a/":                    "a0",
		"\x7f":                  "\u0080",
		"é":                     "ê",
		"\ud7ff":                "\ue000",
		"a\U0010ffff":           "b",
		"\U0010ffff":            "",
		"a\U0010ffff\U0010ffff": "b",
		"\U0010ffffa\U0010ffff": "\U0010ffffb",
	} {
		got := after(prefix)
		if got != want {
			t.Errorf("after(%q) = %q, want %q", prefix, got, want)
		}
		if got != "" && (got <= prefix+strings.Repeat("\U0010ffff", 3) || strings.HasPrefix(got, prefix)) {
			t.Errorf("%q is not behind all that begin with %q", got, prefix)
		}
	}
}
