package annals

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
)

// checkShared returns an error if two parts of what p points to share memory: a
// pointer, a map or a part of a slice that is there twice, or a pointer into the
// value itself. What is stored of such a value comes back with a copy in each place,
// and a change of the one is then no change of the other. Types that encode
// themselves are not looked into.
func checkShared(p reflect.Value) error {
	return new(sharing).check(p)
}

func errShared(a, b string) error {
	return fmt.Errorf("%s and %s share memory, which a snapshot cannot keep; give its Define an annals.SnapshotAs", min(a, b), max(a, b))
}

// sharing is what a walk through a value has found.
type sharing struct {
	blocks []block
	again  bool                  // a pointer or a map may be there twice
	seen   map[uintptr]string    // the paths of pointers and maps
	refers map[reflect.Type]bool // a cache of refersTo
}

// block is memory that is referred to.
type block struct {
	start, end uintptr
	path       string
}

// CheckCopy returns an error if a deep copy of the aggregate would not be like it,
// because two of its slices share memory, or a pointer points into a slice or into
// the aggregate: in the copy, to change the one would not be to change the other. A
// pointer or a map that is there twice is no error. It is for those who keep copies,
// as a cache does.
func (t *Type[A]) CheckCopy(a *A) error {
	s := sharing{again: true}
	return s.check(reflect.ValueOf(a))
}

func (s *sharing) check(p reflect.Value) error {
	s.seen, s.refers = make(map[uintptr]string), make(map[reflect.Type]bool)
	if err := s.walk(p, p.Type().Elem().String()); err != nil {
		return err
	}
	slices.SortFunc(s.blocks, func(a, b block) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(s.blocks); i++ {
		a, b := &s.blocks[i-1], &s.blocks[i]
		if b.start < a.end {
			return errShared(a.path, b.path)
		}
	}
	return nil
}

func (s *sharing) walk(v reflect.Value, path string) error {
	if !s.refersTo(v.Type()) {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || v.Type().Elem().Size() == 0 {
			return nil
		}
		if known, err := s.visit(v.Pointer(), path); known || err != nil {
			return err
		}
		s.add(v.Pointer(), v.Type().Elem().Size(), path)
		return s.walk(v.Elem(), path)
	case reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return s.walk(v.Elem(), path)
	case reflect.Map:
		return s.walkMap(v, path+"[]")
	case reflect.Slice:
		s.add(v.Pointer(), uintptr(v.Len())*v.Type().Elem().Size(), path)
		return s.walkElements(v, path+"[]")
	case reflect.Array:
		return s.walkElements(v, path+"[]")
	default: // a struct
		for f, field := range v.Fields() {
			if err := s.walk(field, path+"."+f.Name); err != nil {
				return err
			}
		}
		return nil
	}
}

func (s *sharing) walkMap(v reflect.Value, path string) error {
	if v.IsNil() {
		return nil
	}
	if known, err := s.visit(v.Pointer(), path); known || err != nil {
		return err
	}
	if !s.refersTo(v.Type().Elem()) {
		return nil
	}
	for r := v.MapRange(); r.Next(); {
		if err := s.walk(r.Value(), path); err != nil {
			return err
		}
	}
	return nil
}

func (s *sharing) walkElements(v reflect.Value, path string) error {
	if !s.refersTo(v.Type().Elem()) {
		return nil
	}
	for i := range v.Len() {
		if err := s.walk(v.Index(i), path); err != nil {
			return err
		}
	}
	return nil
}

// visit notes a pointer, and reports whether it is known: then that is an error,
// unless it may be.
func (s *sharing) visit(p uintptr, path string) (known bool, err error) {
	other, known := s.seen[p]
	if known && !s.again {
		return true, errShared(other, path)
	}
	s.seen[p] = path
	return known, nil
}

func (s *sharing) add(start, size uintptr, path string) {
	if size > 0 {
		s.blocks = append(s.blocks, block{start, start + size, path})
	}
}

// refersTo reports whether values of a type may refer to memory that is looked at.
func (s *sharing) refersTo(t reflect.Type) bool {
	known, ok := s.refers[t]
	if ok {
		return known
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Slice:
		known = true
	case reflect.Array:
		known = s.refersTo(t.Elem())
	case reflect.Struct:
		if t == aggregateType || hasOwnForm(t) {
			break
		}
		for f := range t.Fields() {
			known = known || s.refersTo(f.Type)
		}
	default:
	}
	s.refers[t] = known
	return known
}
