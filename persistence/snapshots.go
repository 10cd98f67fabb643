package persistence

import (
	"fmt"
	"reflect"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence/internal/exact"
)

// CheckSnapshots returns an error that names type and field if snapshots of the
// type would not come back as they were. A field that a tag leaves out of what is
// stored is one of them: it would be zero. A transcoder that cannot tell is
// trusted.
func (m *Mapper) CheckSnapshots(t *annals.SnapshotType) error {
	var err error
	if checker, ok := m.transcoder.(TypeChecker); ok {
		err = checker.CheckType(t.GoType())
	}
	if t.GoType().Kind() == reflect.Interface {
		err = fmt.Errorf("%v is an interface: nothing says which type to decode", t.GoType())
	}
	if err == nil {
		err = checkLeftOut(t.GoType(), t.GoType().String(), make(map[reflect.Type]bool))
	}
	if err != nil {
		return fmt.Errorf("persistence: snapshots of %s: %w; give its Define an annals.SnapshotAs with a type that can be stored: %w",
			t.Name(), err, annals.ErrConfiguration)
	}
	return nil
}

// checkLeftOut returns an error for a type with a field that is not stored.
func checkLeftOut(t reflect.Type, path string, seen map[reflect.Type]bool) error {
	if seen[t] {
		return nil
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Struct:
		if encodes, _ := methodsJSON(t); encodes {
			return nil // it says itself what of it is stored
		}
		for f := range t.Fields() {
			field := path + "." + f.Name
			switch {
			case exact.IsAggregate(&f) || f.Name == "_":
				continue
			case f.Tag.Get("json") == "-" || f.Tag.Get("cbor") == "-":
				return fmt.Errorf("%s is left out by its tag, and would be zero after a snapshot", field)
			}
			if err := checkLeftOut(f.Type, field, seen); err != nil {
				return err
			}
		}
	case reflect.Map:
		if err := checkLeftOut(t.Key(), path, seen); err != nil {
			return err
		}
		return checkLeftOut(t.Elem(), path, seen)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return checkLeftOut(t.Elem(), path, seen)
	default:
	}
	return nil
}
