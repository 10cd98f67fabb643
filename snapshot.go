package annals

import (
	"fmt"
	"hash/fnv"
	"reflect"
	"time"
)

// Snapshot is the state of an aggregate at a version. It spares a repository the
// replay of the events up to there.
type Snapshot struct {
	// StreamID is the aggregate's id, and Version that of the last event whose
	// effect is in the state.
	StreamID string
	Version  int64
	// CreatedAt and ModifiedAt are the times of the first and the last event.
	CreatedAt  time.Time
	ModifiedAt time.Time
	// State is a value of [SnapshotType.GoType].
	State any
}

// SnapshotType describes the snapshots of a type of aggregate to a mapper. It is
// safe for concurrent use.
type SnapshotType struct {
	shapes

	name     string
	revision int
	marks    []string // by shape, from shape 1 on
	take     func(a any) any
	restore  func(a, state any)
	verify   func(a any) error // of an aggregate whose own fields are kept; nil if there is nothing to check
}

// complete is called once all parts of a definition are there.
func (t *SnapshotType) complete(name string) {
	t.name = name
	t.marks = nil
	for shape := 1; shape <= t.Shape(); shape++ {
		h := fnv.New64a()
		outline{h, make(map[reflect.Type]int)}.write(t.ShapeType(shape))
		t.marks = append(t.marks, fmt.Sprintf("%d-%016x", t.revision, h.Sum64()))
	}
}

// Name returns the stored name of the aggregate type.
func (t *SnapshotType) Name() string { return t.name }

// GoType returns the type of the state of a snapshot.
func (t *SnapshotType) GoType() reflect.Type { return t.present }

// Mark returns what is stored with snapshots of a shape, from 1 to Shape. It is
// another one when the revision or the fields of the shape's type have changed
// without an upcast: a snapshot with another mark is not used. The names of Go types
// do not count, but for those that encode themselves.
func (t *SnapshotType) Mark(shape int) string { return t.marks[shape-1] }

// SnapshotOption sets a property of the snapshots of a type of aggregate.
type SnapshotOption interface{ applySnapshot(t *SnapshotType) }

// SnapshotAs gives the form in which the state of an aggregate is kept in
// snapshots: take returns it, restore puts it back into a new aggregate. It is
// needed where the aggregate has unexported fields, and it stands in [Define]:
//
//	annals.SnapshotAs((*Dog).memento, (*Dog).restore)
//
// The identity, version and times of the aggregate are kept beside it, and are there
// again when restore is called. S is a value type, and must be what the transcoder can
// store and give back. Options are upcasts from older forms of S, see [Upcast].
//
// Without SnapshotAs the exported fields of the aggregate are its state. An aggregate
// that has others needs one, as does one in which two fields share memory: a map and a
// slice of the same pointers, say.
func SnapshotAs[A, S any](take func(*A) S, restore func(*A, S), opts ...SnapshotOption) Part[A] {
	return part[A](func(m *model) error {
		if m.snapshotAs {
			return fmt.Errorf("two forms of snapshots; keep one SnapshotAs")
		}
		m.snapshotAs = true
		if s := reflect.TypeFor[S](); isNilable(s) {
			return fmt.Errorf("SnapshotAs: the state is %v; it must be a value, no pointer or interface", s)
		}
		t := &m.snapshot
		t.shapes = shapes{present: reflect.TypeFor[S](), decode: decoderOf[S]()}
		t.verify = nil
		t.take = func(a any) any { return take(a.(*A)) }              //nolint:forcetypeassert // see TakeSnapshot
		t.restore = func(a, state any) { restore(a.(*A), state.(S)) } //nolint:forcetypeassert // see FromSnapshot
		for _, o := range opts {
			o.applySnapshot(t)
		}
		if err := t.check(); err != nil {
			return fmt.Errorf("SnapshotAs: %w", err)
		}
		return nil
	})
}

// Revision numbers what Apply makes of the events, for the snapshots of a type:
// raise it when Apply gives another state for the same events, and the snapshots
// that were made before are not used any more. It stands in [Define]. Default: 0.
//
//	annals.Revision[Dog](2)
func Revision[A any](n int) Part[A] {
	return part[A](func(m *model) error { m.snapshot.revision = n; return nil })
}

// SnapshotType returns what a mapper needs to know of the type's snapshots.
func (t *Type[A]) SnapshotType() *SnapshotType { return &t.model.snapshot }

// TakeSnapshot returns the state of the aggregate. It shares memory with the
// aggregate: encode it before the aggregate changes.
//
// It returns [ErrUnsupported] if the aggregate has pending events, is discarded,
// or has no events: what such a state says is not, or not only, in stored events. It
// does so, too, if one of the events is [Unknown]: code that knows it would miss its
// effect. If there is no [SnapshotAs], it also does so for an aggregate in which two
// fields share a pointer, a map or a part of a slice: after the snapshot each would
// have its own.
func (t *Type[A]) TakeSnapshot(a *A) (Snapshot, error) {
	agg := t.root(a)
	if len(agg.pending) > 0 || agg.discarded || agg.version == 0 {
		return Snapshot{}, fmt.Errorf("annals: snapshot of %s %q: its events are not all stored, or it is discarded: %w",
			t.model.name, agg.id, ErrUnsupported)
	}
	if agg.unknown > 0 {
		return Snapshot{}, fmt.Errorf("annals: snapshot of %s %q: its version %d is an event that this code does not know, and skips: %w",
			t.model.name, agg.id, agg.unknown, ErrUnsupported)
	}
	if verify := t.model.snapshot.verify; verify != nil {
		if err := verify(a); err != nil {
			return Snapshot{}, fmt.Errorf("annals: snapshot of %s %q: %w: %w", t.model.name, agg.id, err, ErrUnsupported)
		}
	}
	return Snapshot{
		StreamID: agg.id, Version: agg.version, CreatedAt: agg.createdAt, ModifiedAt: agg.modifiedAt,
		State: t.model.snapshot.take(a),
	}, nil
}

// FromSnapshot makes an aggregate of the state that it had at a version. Later
// events follow by [Type.Advance]. What the state points to belongs to the aggregate
// from then on. It returns [ErrUndecodable] if the state is not one of this type, or
// the version is below 1.
func (t *Type[A]) FromSnapshot(s Snapshot) (*A, error) {
	if got := reflect.TypeOf(s.State); got != t.model.snapshot.present {
		return nil, fmt.Errorf("annals: snapshot of %s %q at version %d: its state is a %v, not a %v: %w",
			t.model.name, s.StreamID, s.Version, got, t.model.snapshot.present, ErrUndecodable)
	}
	if s.Version < 1 {
		return nil, fmt.Errorf("annals: snapshot of %s %q at version %d: versions start at 1: %w",
			t.model.name, s.StreamID, s.Version, ErrUndecodable)
	}
	identity := Aggregate{
		id: s.StreamID, version: s.Version, createdAt: s.CreatedAt, modifiedAt: s.ModifiedAt, model: t.model,
	}
	a := t.make()
	root := t.root(a)
	*root = identity
	root.applying = true // restoring decides nothing
	t.model.snapshot.restore(a, s.State)
	*root = identity
	return a, nil
}

// outline writes what a transcoder makes of a type: its structure, without the
// names of Go types. Those that encode themselves count by their names as well.
type outline struct {
	w    interface{ Write(p []byte) (int, error) }
	seen map[reflect.Type]int
}

func (o outline) write(t reflect.Type) {
	if n, ok := o.seen[t]; ok {
		_, _ = fmt.Fprintf(o.w, "#%d;", n)
		return
	}
	o.seen[t] = len(o.seen)
	if hasOwnForm(t) {
		_, _ = fmt.Fprintf(o.w, "%v;", t)
		if opaque[t.PkgPath()] {
			return
		}
	}
	_, _ = fmt.Fprintf(o.w, "%v", t.Kind())
	switch t.Kind() {
	case reflect.Struct:
		for f := range t.Fields() {
			if f.Type == aggregateType || f.Name == "_" {
				continue
			}
			_, _ = fmt.Fprintf(o.w, "{%q%q%t", f.Name, string(f.Tag), f.Anonymous)
			o.write(f.Type)
			_, _ = fmt.Fprint(o.w, "}")
		}
	case reflect.Map:
		o.write(t.Key())
		o.write(t.Elem())
	case reflect.Array:
		_, _ = fmt.Fprintf(o.w, "[%d]", t.Len())
		o.write(t.Elem())
	case reflect.Pointer, reflect.Slice, reflect.Chan:
		o.write(t.Elem())
	default:
	}
	_, _ = fmt.Fprint(o.w, ";")
}

var aggregateType = reflect.TypeFor[Aggregate]()

// opaque are the packages whose types encode themselves in a way that stays, while
// their fields may change with a release of Go.
var opaque = map[string]bool{"time": true, "math/big": true, "net/netip": true, "net/url": true}

// hasOwnForm reports whether the type encodes itself, for whichever transcoder.
func hasOwnForm(t reflect.Type) bool {
	for _, name := range []string{"MarshalText", "MarshalBinary", "MarshalJSON", "MarshalJSONTo", "MarshalCBOR", "AppendText"} {
		if _, ok := reflect.PointerTo(t).MethodByName(name); ok {
			return true
		}
	}
	return false
}
