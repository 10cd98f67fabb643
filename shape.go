package annals

import (
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
)

// shapes is the chain of the shapes that a type of event or snapshot was stored
// in, from the oldest to the present one.
type shapes struct {
	present reflect.Type
	decode  decoder // of the present shape
	upcasts []upcast
}

// unmarshaler makes a value of what is stored, as json.Unmarshal does.
type unmarshaler = func(data []byte, target any) error

type decoder func(data []byte, unmarshal unmarshaler) (any, error)

func decoderOf[T any]() decoder {
	var targets sync.Pool // of *T, zero: an event costs the copy that is returned, and no target
	return func(data []byte, unmarshal unmarshaler) (any, error) {
		target, ok := targets.Get().(*T)
		if !ok {
			target = new(T)
		}
		err := unmarshal(data, target)
		v := *target
		*target = *new(T)
		targets.Put(target)
		return v, err
	}
}

// upcast makes of a value of one shape one of the next.
type upcast struct {
	from, to reflect.Type
	decode   decoder
	apply    func(any) any
}

// Shape returns the version of the shape that the code knows as the present one,
// from 1 on: one more than there are upcasts. What is stored in a newer shape is
// refused.
func (s *shapes) Shape() int { return len(s.upcasts) + 1 }

// ShapeType returns the Go type of a shape, from 1 to Shape.
func (s *shapes) ShapeType(shape int) reflect.Type {
	if shape == s.Shape() {
		return s.present
	}
	return s.upcasts[shape-1].from
}

// Decode returns a value of the present shape that was stored in a shape from 1
// to Shape. It calls unmarshal once, such as json.Unmarshal, with the data and a pointer
// to a zero value of the type of that shape, and then the upcasts from there on. An upcast
// that panics gives an error that says where.
func (s *shapes) Decode(shape int, data []byte, unmarshal func(data []byte, target any) error) (any, error) {
	if shape == s.Shape() {
		return s.decode(data, unmarshal)
	}
	if shape < 1 || shape > s.Shape() {
		return nil, fmt.Errorf("shape %d is not between 1 and %d: %w", shape, s.Shape(), ErrUnsupported)
	}
	v, err := s.upcasts[shape-1].decode(data, unmarshal)
	if err != nil {
		return nil, err
	}
	for i, u := range s.upcasts[shape-1:] {
		if v, err = u.call(v); err != nil {
			return nil, fmt.Errorf("the upcast from shape %d %w", shape+i, err)
		}
	}
	return v, nil
}

// call applies the upcast. What panics is an error: one event that the function was
// not made for must not end a program that reads the log. The error does not quote
// the value of the panic, which may hold data.
func (u *upcast) call(v any) (next any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panicked with a %T in %s", p, panicking())
		}
	}()
	return u.apply(v), nil
}

// panicking returns the function and line that panicked. It is called by the
// deferred function that recovered.
func panicking() string {
	var callers [64]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers[:])])
	for thrown := false; ; {
		f, more := frames.Next()
		thrown = thrown || f.Function == "runtime.gopanic"
		if thrown && !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("%s, %s:%d", f.Function, filepath.Base(f.File), f.Line)
		}
		if !more {
			return "an unknown place"
		}
	}
}

// check returns an error unless each upcast goes on where the one before ends, from
// a value to a value: what is stored as null must not become a nil.
func (s *shapes) check() error {
	seen := map[reflect.Type]bool{s.present: true}
	for i, u := range s.upcasts {
		if isNilable(u.from) {
			return fmt.Errorf("shape %d is %v; it must be a value, no pointer or interface", i+1, u.from)
		}
		next := s.present
		if i+1 < len(s.upcasts) {
			next = s.upcasts[i+1].from
		}
		if u.to != next {
			return fmt.Errorf("the upcast from shape %d gives %v, and shape %d is %v", i+1, u.to, i+2, next)
		}
		if seen[u.from] {
			return fmt.Errorf("shape %d is %v, and so is a later one; keep a type for each shape", i+1, u.from)
		}
		seen[u.from] = true
	}
	return nil
}

// isNilable reports whether a value of the type may be a nil pointer, or be of no
// type.
func isNilable(t reflect.Type) bool {
	return t != nil && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface)
}

// UpcastOption is an upcast, for [On], [Evolve], [DefineLog], [SnapshotAs] and
// [SnapshotStateAs].
type UpcastOption struct{ upcast upcast }

// Upcast says how what was stored in an older shape becomes the next one, when it
// is read; what is stored does not change. A chain begins with the oldest shape
// and ends with today's type:
//
//	annals.On[TrickAdded]("TrickAdded",
//		annals.Upcast(func(v1 TrickAddedV1) TrickAddedV2 { … }),
//		annals.Upcast(func(v2 TrickAddedV2) TrickAdded { … }))
//
// The number of the shape is stored with each event. Adding an upcast makes
// today's type the next shape: never remove one, and never change the type of an
// older shape, while events of it are stored. A change that the transcoder bridges
// by itself, such as a field that is added and may be zero, needs no upcast. Each
// shape is a Go type of its own, and a value: no pointer, no interface. The function
// has no effect, and may run at the same time in several goroutines. If it panics,
// the event cannot be read ([ErrUndecodable]), and a snapshot is not used.
func Upcast[From, To any](f func(From) To) UpcastOption {
	return UpcastOption{upcast{
		from: reflect.TypeFor[From](), to: reflect.TypeFor[To](), decode: decoderOf[From](),
		apply: func(v any) any { return f(v.(From)) }, //nolint:forcetypeassert // the chain was checked
	}}
}

func (o UpcastOption) applyEvent(t *EventType)       { t.upcasts = append(t.upcasts, o.upcast) }
func (o UpcastOption) applySnapshot(t *SnapshotType) { t.upcasts = append(t.upcasts, o.upcast) }
