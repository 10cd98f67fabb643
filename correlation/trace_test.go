package correlation_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals/correlation"
)

// The cases are those of the test suite of W3C Trace Context, as far as they concern
// a service that passes a trace on.
func TestATraceparentIsCheckedAsTheStandardSays(t *testing.T) {
	t.Parallel()
	const ids = "-12345678901234567890123456789012-1234567890123456-"
	for name, c := range map[string]struct {
		values []string
		want   string // "": no trace
	}{
		"sampled":                               {[]string{"00" + ids + "01"}, "00" + ids + "01"},
		"not sampled":                           {[]string{"00" + ids + "00"}, "00" + ids + "00"},
		"flags that are not defined":            {[]string{"00" + ids + "ff"}, "00" + ids + "ff"},
		"absent":                                {nil, ""},
		"empty":                                 {[]string{""}, ""},
		"there twice":                           {[]string{"00" + ids + "01", "00" + ids + "01"}, ""},
		"version 00 with a character more":      {[]string{"00" + ids + "01."}, ""},
		"version 00 with a field more":          {[]string{"00" + ids + "01-what"}, ""},
		"a later version":                       {[]string{"cc" + ids + "01"}, "00" + ids + "01"},
		"a later version, with other flags":     {[]string{"01" + ids + "fe"}, "00" + ids + "00"},
		"a later version, sampled with more":    {[]string{"fe" + ids + "0b"}, "00" + ids + "01"},
		"a later version with a field more":     {[]string{"cc" + ids + "01-what"}, "00" + ids + "01"},
		"a later version with an empty field":   {[]string{"cc" + ids + "01-"}, "00" + ids + "01"},
		"a later version with a long flag":      {[]string{"cc" + ids + "01.what"}, ""},
		"version ff":                            {[]string{"ff" + ids + "01"}, ""},
		"a version in capitals":                 {[]string{"CC" + ids + "01"}, ""},
		"a version that is no number":           {[]string{"0." + ids + "01"}, ""},
		"a version that is too long":            {[]string{"000" + ids + "01"}, ""},
		"a version that is too short":           {[]string{"0" + ids + "01"}, ""},
		"a trace id of zeros":                   {[]string{"00-00000000000000000000000000000000-1234567890123456-01"}, ""},
		"a trace id that is no number":          {[]string{"00-.2345678901234567890123456789012-1234567890123456-01"}, ""},
		"a trace id in capitals":                {[]string{"00-ABCDEFABCDEFABCDEFABCDEFABCDEFAB-1234567890123456-01"}, ""},
		"a trace id that is too long":           {[]string{"00-123456789012345678901234567890123-1234567890123456-01"}, ""},
		"a trace id that is too short":          {[]string{"00-1234567890123456789012345678901-1234567890123456-01"}, ""},
		"a parent id of zeros":                  {[]string{"00-12345678901234567890123456789012-0000000000000000-01"}, ""},
		"a parent id that is no number":         {[]string{"00-12345678901234567890123456789012-123456789012345.-01"}, ""},
		"a parent id in capitals":               {[]string{"00-12345678901234567890123456789012-ABCDEFABCDEFABCD-01"}, ""},
		"a parent id that is too long":          {[]string{"00-12345678901234567890123456789012-12345678901234567-01"}, ""},
		"a parent id that is too short":         {[]string{"00-12345678901234567890123456789012-123456789012345-01"}, ""},
		"flags that are no number":              {[]string{"00" + ids + ".0"}, ""},
		"flags in capitals":                     {[]string{"00" + ids + "0B"}, ""},
		"flags that are too long":               {[]string{"00" + ids + "001"}, ""},
		"flags that are too short":              {[]string{"00" + ids + "1"}, ""},
		"another separator after the version":   {[]string{"00_12345678901234567890123456789012-1234567890123456-01"}, ""},
		"another separator after the trace id":  {[]string{"00-12345678901234567890123456789012_1234567890123456-01"}, ""},
		"another separator after the parent id": {[]string{"00-12345678901234567890123456789012-1234567890123456_01"}, ""},
		"other separators":                      {[]string{strings.ReplaceAll("00"+ids+"01", "-", "_")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _ := serve(t.Context(), http.Header{"Traceparent": c.values, "Tracestate": {"congo=t61"}},
				correlation.Middleware(correlation.WithIDs(made)))
			want, id := headers{"traceparent": c.want, "tracestate": "congo=t61"}, "12345678901234567890123456789012"
			if c.want == "" {
				want, id = nil, "made"
			}
			if diff := cmp.Diff(want, got.Headers); diff != "" {
				t.Errorf("the headers differ (-want +got):\n%s", diff)
			}
			if got.CorrelationID != id {
				t.Errorf("the correlation id is %q, want %q", got.CorrelationID, id)
			}
		})
	}
}

func TestATracestateIsKeptInWholeEntries(t *testing.T) {
	t.Parallel()
	of := func(n int) string { return strings.Repeat("v", n) }
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat("a=1,", n), ",") }
	for name, c := range map[string]struct {
		values []string
		want   string
	}{
		"one entry":                        {[]string{"congo=t61"}, "congo=t61"},
		"several headers":                  {[]string{"a=1,b=2", "c=3", "d=4"}, "a=1,b=2,c=3,d=4"},
		"white space":                      {[]string{" \ta=1 \t , \tb=2\t"}, "a=1,b=2"},
		"white space of a value":           {[]string{"a= 1 2 "}, "a= 1 2"},
		"empty entries":                    {[]string{"", ",a=1,, ,", ""}, "a=1"},
		"nothing":                          {[]string{" , "}, ""},
		"all characters of a key":          {[]string{"0az_-*/@9=1"}, "0az_-*/@9=1"},
		"all characters of a value":        {[]string{"a=!+-<>~"}, "a=!+-<>~"},
		"32 entries":                       {[]string{many(32)}, many(32)},
		"33 entries":                       {[]string{many(33)}, ""},
		"a key in capitals":                {[]string{"a=1,B=2"}, ""},
		"a key that begins with a sign":    {[]string{"@a=1"}, ""},
		"a key with white space":           {[]string{"a =1"}, ""},
		"a key of 257 characters":          {[]string{of(257) + "=1"}, ""},
		"no key":                           {[]string{"=1"}, ""},
		"no value":                         {[]string{"a="}, ""},
		"no sign":                          {[]string{"a"}, ""},
		"two signs":                        {[]string{"a=b=c"}, ""},
		"a value that is not ASCII":        {[]string{"a=ä"}, ""},
		"a value with a line break":        {[]string{"a=1\r\nb: 2"}, ""},
		"a value with a tab":               {[]string{"a=1\t2"}, ""},
		"a value of 256 characters":        {[]string{"a=" + of(256)}, "a=" + of(256)},
		"a value of 257 characters":        {[]string{"a=" + of(257)}, ""},
		"512 characters":                   {[]string{"a=" + of(253) + ",b=" + of(254)}, "a=" + of(253) + ",b=" + of(254)},
		"513: the last long entry goes":    {[]string{"a=" + of(254) + ",b=" + of(254)}, "a=" + of(254)},
		"512 beside a long entry":          {[]string{"a=" + of(126) + ",b=" + of(126) + ",c=" + of(200) + ",d=" + of(126) + ",e=" + of(123)}, "a=" + of(126) + ",b=" + of(126) + ",d=" + of(126) + ",e=" + of(123)},
		"a long entry before short ones":   {[]string{"a=" + of(254) + ",b=" + of(254) + ",c=1"}, "a=" + of(254) + ",c=1"},
		"two long entries go":              {[]string{"a=" + of(200) + ",b=" + of(200) + ",c=" + of(126) + ",d=" + of(126) + ",e=" + of(126)}, "c=" + of(126) + ",d=" + of(126) + ",e=" + of(126)},
		"without long ones, the last goes": {[]string{"a=" + of(126) + ",b=" + of(126) + ",c=" + of(126) + ",d=" + of(123) + ",e=1"}, "a=" + of(126) + ",b=" + of(126) + ",c=" + of(126) + ",d=" + of(123)},
		"of short ones, several go":        {[]string{"a=" + of(126) + ",b=" + of(126) + ",c=" + of(126) + ",d=" + of(126) + ",e=1"}, "a=" + of(126) + ",b=" + of(126) + ",c=" + of(126)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := headers{"traceparent": parent, "tracestate": c.want}
			if c.want == "" {
				delete(want, "tracestate")
			}
			got, _ := serve(t.Context(), http.Header{"Traceparent": {parent}, "Tracestate": c.values}, correlation.Middleware())
			if diff := cmp.Diff(want, got.Headers); diff != "" {
				t.Errorf("the headers differ (-want +got):\n%s", diff)
			}
		})
	}
}
