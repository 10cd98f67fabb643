package annalstest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// updateKey is the key of the environment that makes [Golden.Check] write files.
const updateKey = "ANNALS_UPDATE"

// Golden holds, in a user's own tests, that every shape in which events were ever
// stored still loads. A folder has a file for each type of event and each of its
// shapes, and for each shape of its snapshots, with what was stored and what that
// becomes today. The files are kept with the code, for as long as there are such
// events.
type Golden struct {
	// Dir is the folder of the files.
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
	Decode(shape int, unmarshal func(target any) error) (any, error)
}

// Check fails the test if a file of an older shape is missing, does not load, loses
// what it holds (a field was renamed or removed without an upcast or a tag), or
// becomes something else than it did; and if a type of event has no file of its
// present shape.
//
// With ANNALS_UPDATE=1 in the environment it writes the missing files of present
// shapes from the examples, one value for each type of event, and brings up to
// date what older ones become: look at the difference before it is committed. What
// was stored is never rewritten.
//
//	annalstest.Golden{Dir: "testdata/events"}.Check(t, Dogs, Registered{Name: "Fido"}, TrickAdded{Trick: "sit"})
//
// Snapshots are checked if there is an example of their state, or a file.
func (g Golden) Check(tb testing.TB, def annals.Definition, examples ...any) {
	tb.Helper()
	if g.Transcoder == nil {
		g.Transcoder = persistence.JSON()
	}
	known := make(map[string]bool)
	for _, t := range def.EventTypes() {
		names := append([]string{t.Topic()}, t.FormerTopics()...)
		g.check(tb, t, names, examples, known, true)
	}
	if s, ok := def.(interface{ SnapshotType() *annals.SnapshotType }); ok {
		g.check(tb, s.SnapshotType(), []string{def.Name() + ".snapshot"}, examples, known, false)
	}
	files, err := filepath.Glob(filepath.Join(g.Dir, "*.json"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); strings.HasPrefix(name, def.Name()+".") && !known[name] {
			tb.Errorf("%s: %s has no such event, or not this shape: give what it is called now a FormerName, and keep its upcasts",
				file, def.Name())
		}
	}
}

// check checks the files of one type. Required says whether it must have them.
func (g Golden) check(tb testing.TB, t shaped, names []string, examples []any, known map[string]bool, required bool) {
	tb.Helper()
	found := false
	for shape := 1; shape <= t.Shape(); shape++ {
		file := g.find(names, shape)
		_, err := os.Stat(file)
		known[filepath.Base(file)] = true
		switch {
		case err == nil:
			found = true
			g.checkFile(tb, file, t, shape)
		case !errors.Is(err, fs.ErrNotExist):
			tb.Error(err)
		case shape < t.Shape() && (required || found):
			tb.Errorf("%s is missing: there are events of shape %d, and nothing shows that they load; "+
				"take the file from the history of the code, or a state from a database", file, shape)
		case shape == t.Shape():
			g.write(tb, file, t, examples, required || found)
		}
	}
}

// find returns the file of a shape: that of a former name, if there is one.
func (g Golden) find(names []string, shape int) string {
	path := func(name string) string { return filepath.Join(g.Dir, fmt.Sprintf("%s.%d.json", name, shape)) }
	i := slices.IndexFunc(names, func(name string) bool {
		_, err := os.Stat(path(name))
		return err == nil
	})
	return path(names[max(i, 0)])
}

// write writes the file of a present shape from the example of the type.
func (g Golden) write(tb testing.TB, file string, t shaped, examples []any, required bool) {
	tb.Helper()
	i := slices.IndexFunc(examples, func(e any) bool { return reflect.TypeOf(e) == t.GoType() })
	switch {
	case i < 0 && required:
		tb.Errorf("%s is missing: pass an example of %v, and run the test once with %s=1", file, t.GoType(), updateKey)
	case i < 0:
	case os.Getenv(updateKey) != "1":
		tb.Errorf("%s is missing: run the test once with %s=1", file, updateKey)
	default:
		stored, err := g.Transcoder.Encode(nil, examples[i])
		if err != nil {
			tb.Errorf("%s: %v", file, err)
			return
		}
		becomes, err := persistence.JSON().Encode(nil, examples[i])
		if err == nil {
			err = writeGolden(file, golden{asJSON(stored), becomes})
		}
		if err != nil {
			tb.Errorf("%s: %v", file, err)
		}
	}
}

func (g Golden) checkFile(tb testing.TB, file string, t shaped, shape int) {
	tb.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		tb.Error(err)
		return
	}
	var want golden
	if err := json.Unmarshal(content, &want); err != nil {
		tb.Errorf("%s: %v", file, err)
		return
	}
	stored, err := fromJSON(want.Stored, g.Transcoder)
	if err != nil {
		tb.Errorf("%s: %v", file, err)
		return
	}
	target := reflect.New(t.ShapeType(shape))
	if err := g.Transcoder.Decode(stored, target.Interface()); err != nil {
		tb.Errorf("%s does not load as %v: %v", file, t.ShapeType(shape), err)
		return
	}
	if again, err := g.Transcoder.Encode(nil, target.Elem().Interface()); err != nil {
		tb.Errorf("%s: %v", file, err)
	} else if lost := lost(stored, again); lost != "" {
		tb.Errorf("%s: %v does not hold %s any more: a field was renamed or removed; give it a tag with its old name, "+
			"or keep the type and add an annals.Upcast", file, t.ShapeType(shape), lost)
	}
	value, err := t.Decode(shape, func(target any) error { return g.Transcoder.Decode(stored, target) })
	if err != nil {
		tb.Errorf("%s: %v", file, err)
		return
	}
	becomes, err := persistence.JSON().Encode(nil, value)
	if err != nil {
		tb.Errorf("%s becomes what cannot be shown as JSON: %v", file, err)
		return
	}
	if d := cmp.Diff(indented(want.Becomes), indented(becomes)); d != "" {
		if os.Getenv(updateKey) == "1" {
			want.Becomes = becomes
			if err := writeGolden(file, want); err != nil {
				tb.Error(err)
			}
			return
		}
		tb.Errorf("%s becomes something else than before; if that is meant, run the test with %s=1 (-before +now):\n%s", file, updateKey, d)
	}
}

func writeGolden(file string, content golden) error {
	text, err := json.MarshalIndent(content, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

// asJSON returns JSON as it is, and other bytes as base64.
func asJSON(stored []byte) json.RawMessage {
	if json.Valid(stored) {
		return stored
	}
	text, err := json.Marshal(base64.StdEncoding.EncodeToString(stored))
	if err != nil {
		return nil
	}
	return text
}

func fromJSON(text json.RawMessage, t persistence.Transcoder) ([]byte, error) {
	if t.Name() == "json" {
		var compact bytes.Buffer
		err := json.Compact(&compact, text)
		return compact.Bytes(), err
	}
	var encoded string
	if err := json.Unmarshal(text, &encoded); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(encoded)
}

func indented(text []byte) string {
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "\t"); err != nil {
		return string(text)
	}
	return b.String()
}

// lost names what the stored JSON has, and what it is encoded to again has not; ""
// if nothing is. Of other forms than JSON it cannot tell.
func lost(stored, again []byte) string {
	var was, is any
	if json.Unmarshal(stored, &was) != nil || json.Unmarshal(again, &is) != nil {
		return ""
	}
	return missing("", was, is)
}

func missing(path string, was, is any) string {
	switch was := was.(type) {
	case map[string]any:
		is, ok := is.(map[string]any)
		if !ok {
			return named(path)
		}
		for name, value := range was {
			if _, there := is[name]; !there {
				return named(path + "." + name)
			}
			if lost := missing(path+"."+name, value, is[name]); lost != "" {
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
	default:
		if was != is {
			return named(path)
		}
		return ""
	}
}

func named(path string) string {
	if path == "" {
		return "the value"
	}
	return strings.TrimPrefix(path, ".")
}
