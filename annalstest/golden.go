package annalstest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// updateKey is the key of the environment that makes [Golden.Check] write files.
const updateKey = "ANNALS_UPDATE"

// Golden holds, in a user's own tests, that every shape in which events were ever
// stored still loads. A folder has files for each type of event and each of its
// shapes, and for each shape of its snapshots, with what was stored and what that
// becomes today. The files are kept with the code, for as long as there are such
// events.
type Golden struct {
	// Dir is the folder of the files. It belongs to one type of aggregate: a file that
	// this does not know is an error.
	Dir string
	// Transcoder is that of the application. Defaults to persistence.JSON.
	Transcoder persistence.Transcoder
}

// golden is the content of a file.
type golden struct {
	// Stored is what the transcoder made: JSON, or base64 in a string.
	Stored json.RawMessage `json:"stored"`
	// Becomes is the same in today's shape, as JSON.
	Becomes json.RawMessage `json:"becomes"`
}

// shaped is a type of event, or of snapshot.
type shaped interface {
	Shape() int
	ShapeType(shape int) reflect.Type
	GoType() reflect.Type
	Decode(shape int, data []byte, unmarshal func(data []byte, target any) error) (any, error)
}

// Check fails the test if a shape has no file, or a file does not load, loses what it
// holds (a field was renamed or removed without an upcast or a tag), or becomes
// something else than it did; if a type of event has no example, or one that is in
// none of its files: after a field was added, say; and if a file belongs to no event.
//
// With ANNALS_UPDATE=1 in the environment it writes the files of examples that have
// none, and brings up to date what the others become: look at the difference before it
// is committed. What was stored is never rewritten.
//
// The examples are values of today's types, one or more for each type of event, with
// no field left out, and the same in every run.
//
//	annalstest.Golden{Dir: "testdata/dog"}.Check(t, Dogs, Registered{Name: "Fido"}, TrickAdded{Trick: "sit"})
//
// Snapshots are checked if there is an example of their state, or a file.
func (g Golden) Check(tb testing.TB, def annals.Definition, examples ...any) {
	tb.Helper()
	if g.Dir == "" {
		tb.Fatalf("Golden: Dir is empty")
	}
	types := make(map[reflect.Type]bool)
	known := make(map[string]bool)
	check := func(t shaped, required bool, names ...string) {
		types[t.GoType()] = true
		c := goldenCheck{g.Dir, g.Transcoder, tb, t, names, known}
		if c.transcoder == nil {
			c.transcoder = persistence.JSON()
		}
		c.run(examples, required)
	}
	for _, t := range def.EventTypes() {
		check(t, true, append([]string{t.Topic()}, t.FormerTopics()...)...)
	}
	if s, ok := def.(interface{ SnapshotType() *annals.SnapshotType }); ok {
		check(s.SnapshotType(), false, def.Name()+"-snapshot")
	}
	for i, e := range examples {
		if !types[reflect.TypeOf(e)] {
			tb.Errorf("example %d is a %T, which is no event of %s, and no state of its snapshots", i+1, e, def.Name())
		}
	}
	files, err := filepath.Glob(filepath.Join(g.Dir, "*.json"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, file := range files {
		if !known[filepath.Base(file)] {
			tb.Errorf("%s: %s has no such event, or not this shape: give what it is called now a FormerName, and keep its upcasts; "+
				"delete the file only if nothing is stored so, or is skipped", file, def.Name())
		}
	}
}

// goldenCheck checks the files of one type.
type goldenCheck struct {
	dir        string
	transcoder persistence.Transcoder

	tb    testing.TB
	t     shaped
	names []string        // the present one first
	known map[string]bool // the files that belong to some type
}

// run checks all shapes. Required says whether the type must have files.
func (c *goldenCheck) run(examples []any, required bool) {
	c.tb.Helper()
	for shape := 1; shape <= c.t.Shape(); shape++ {
		files := c.files(shape)
		var stored [][]byte
		for _, file := range files {
			if s, ok := c.checkFile(file, shape); ok {
				stored = append(stored, s)
			}
		}
		required = required || len(files) > 0
		switch {
		case shape == c.t.Shape():
			c.checkExamples(examples, stored, required)
		case len(files) == 0 && required:
			c.tb.Errorf("%s is missing: there are events of shape %d, and nothing shows that they load; "+
				"take the file from the history of the code, or a state from a database", c.path(shape, 1), shape)
		}
	}
}

// path returns the name of the n-th file of a shape.
func (c *goldenCheck) path(shape, n int) string {
	name := fmt.Sprintf("%s.%d", c.names[0], shape)
	if n > 1 {
		name += fmt.Sprintf(".%d", n)
	}
	return filepath.Join(c.dir, name+".json")
}

// files returns the files of a shape, those of former names included.
func (c *goldenCheck) files(shape int) []string {
	c.tb.Helper()
	quoted := make([]string, len(c.names))
	for i, name := range c.names {
		quoted[i] = regexp.QuoteMeta(name)
	}
	of := regexp.MustCompile(fmt.Sprintf(`^(%s)\.%d(\.[0-9]+)?\.json$`, strings.Join(quoted, "|"), shape))
	entries, err := os.ReadDir(c.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.tb.Fatal(err)
	}
	var files []string
	for _, e := range entries {
		if of.MatchString(e.Name()) {
			files = append(files, filepath.Join(c.dir, e.Name()))
			c.known[e.Name()] = true
		}
	}
	return files
}

// checkExamples fails unless each example of the type is among what the files of the
// present shape have, or writes it to a file.
func (c *goldenCheck) checkExamples(examples []any, there [][]byte, required bool) {
	c.tb.Helper()
	given := false
	for _, e := range examples {
		if reflect.TypeOf(e) != c.t.GoType() {
			continue
		}
		given = true
		stored, err := c.transcoder.Encode(nil, e)
		if err != nil {
			c.tb.Errorf("the example for %s: %v", c.names[0], err)
			continue
		}
		if slices.ContainsFunc(there, func(s []byte) bool { return bytes.Equal(s, stored) }) {
			continue
		}
		there = append(there, stored)
		file, n := c.path(c.t.Shape(), 1), 1
		for ; exists(file); file = c.path(c.t.Shape(), n) {
			n++
		}
		if os.Getenv(updateKey) != "1" {
			c.tb.Errorf("%s is missing: no file has this example of %v; run the test once with %s=1", file, c.t.GoType(), updateKey)
			continue
		}
		c.known[filepath.Base(file)] = true
		if err := write(file, golden{c.shown(stored), c.becomes(e)}); err != nil {
			c.tb.Errorf("%s: %v", file, err)
		}
	}
	if !given && required {
		c.tb.Errorf("%s has no example: pass a %v", c.names[0], c.t.GoType())
	}
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

// checkFile checks a file of a shape, and returns what it has stored.
func (c *goldenCheck) checkFile(file string, shape int) (stored []byte, ok bool) {
	c.tb.Helper()
	content, err := os.ReadFile(file)
	var want golden
	if err == nil {
		err = json.Unmarshal(content, &want)
	}
	if err == nil {
		stored, err = c.stored(want.Stored)
	}
	if err != nil {
		c.tb.Errorf("%s: %v", file, err)
		return nil, false
	}
	target := reflect.New(c.t.ShapeType(shape))
	if err := c.transcoder.Decode(stored, target.Interface()); err != nil {
		c.tb.Errorf("%s does not load as %v: %v", file, c.t.ShapeType(shape), err)
		return stored, true
	}
	if again, err := c.transcoder.Encode(nil, target.Elem().Interface()); err != nil {
		c.tb.Errorf("%s: %v", file, err)
	} else if lost := lost(stored, again); lost != "" {
		c.tb.Errorf("%s: %v does not hold %s any more: a field was renamed or removed; give it a tag with its old name, "+
			"or keep the type and add an annals.Upcast", file, c.t.ShapeType(shape), lost)
	}
	value, err := c.t.Decode(shape, stored, c.transcoder.Decode)
	if err != nil {
		c.tb.Errorf("%s: %v", file, err)
		return stored, true
	}
	becomes := c.becomes(value)
	d := cmp.Diff(shownAs(want.Becomes), shownAs(becomes))
	switch {
	case d == "":
	case os.Getenv(updateKey) == "1":
		want.Becomes = becomes
		if err := write(file, want); err != nil {
			c.tb.Error(err)
		}
	default:
		c.tb.Errorf("%s becomes something else than before; if that is meant, run the test with %s=1 (-before +now):\n%s",
			file, updateKey, d)
	}
	return stored, true
}

// becomes returns a value of the present shape as JSON; as the transcoder has it, if
// JSON cannot show it.
func (c *goldenCheck) becomes(value any) json.RawMessage {
	c.tb.Helper()
	text, err := persistence.JSON().Encode(nil, value)
	if err != nil {
		text, err = c.transcoder.Encode(nil, value)
		text = c.shown(text)
	}
	if err != nil {
		c.tb.Errorf("%s becomes what cannot be stored: %v", c.names[0], err)
		return json.RawMessage("null")
	}
	return text
}

// shown returns what the transcoder made as a file has it: JSON as it is, and other
// bytes as base64.
func (c *goldenCheck) shown(stored []byte) json.RawMessage {
	if c.transcoder.Name() == persistence.JSON().Name() {
		return stored
	}
	return json.RawMessage(strconv.Quote(base64.StdEncoding.EncodeToString(stored)))
}

// stored undoes shown.
func (c *goldenCheck) stored(shown json.RawMessage) ([]byte, error) {
	if c.transcoder.Name() == persistence.JSON().Name() {
		var compact bytes.Buffer
		err := json.Compact(&compact, shown)
		return compact.Bytes(), err
	}
	var encoded string
	if err := json.Unmarshal(shown, &encoded); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(encoded)
}

func write(file string, content golden) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // what was stored is shown as it was
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(content); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	return os.WriteFile(file, text.Bytes(), 0o600)
}

// shownAs returns JSON in a form whose differences can be read.
func shownAs(text []byte) any {
	v, err := decoded(text)
	if err != nil {
		return string(text)
	}
	return v
}

// lost names what the stored JSON has, and what it is encoded to again has not; ""
// if nothing is. Of other forms than JSON it cannot tell: there what the file becomes
// is another.
func lost(stored, again []byte) string {
	was, err := decoded(stored)
	if err != nil {
		return ""
	}
	is, err := decoded(again)
	if err != nil {
		return ""
	}
	return missing("", was, is)
}

func decoded(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func missing(path string, was, is any) string {
	switch was := was.(type) {
	case map[string]any:
		is, ok := is.(map[string]any)
		if !ok {
			return named(path)
		}
		for _, name := range slices.Sorted(maps.Keys(was)) {
			if _, there := is[name]; !there {
				return named(path + "." + name)
			}
			if lost := missing(path+"."+name, was[name], is[name]); lost != "" {
				return lost
			}
		}
		return ""
	case []any:
		is, ok := is.([]any)
		if !ok || len(is) != len(was) {
			return named(path)
		}
		for i := range was {
			if lost := missing(fmt.Sprintf("%s[%d]", path, i), was[i], is[i]); lost != "" {
				return lost
			}
		}
		return ""
	case json.Number:
		if is, ok := is.(json.Number); ok && sameNumber(was, is) {
			return ""
		}
		return named(path)
	default:
		if was != is {
			return named(path)
		}
		return ""
	}
}

// sameNumber reports whether two texts are one number: a float64 that holds a greater
// integer has lost some of its digits.
func sameNumber(a, b json.Number) bool {
	x, errX := a.Float64()
	y, errY := b.Float64()
	return a == b || errX == nil && errY == nil && x == y && math.Abs(x) < 1<<53
}

func named(path string) string {
	if path == "" {
		return "the value"
	}
	return strings.TrimPrefix(path, ".")
}
