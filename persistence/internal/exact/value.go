package exact

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// MaxDepth is how deep a value may be nested. What is deeper contains itself.
const MaxDepth = 1000

// MaxPath is how many names of fields an error has at most.
const MaxPath = 10

// problem says what is wrong with a part of a value.
type problem struct {
	path []string // the fields down to it, the last one first
	text string
}

func wrong(format string, args ...any) *problem { return &problem{text: fmt.Sprintf(format, args...)} }

// in returns the problem of a field.
func (p *problem) in(field string) *problem {
	p.path = append(p.path, field)
	return p
}

func (p *problem) error(root reflect.Type) error {
	path := append(slices.Clone(p.path), root.String())
	slices.Reverse(path)
	return inexact(strings.Join(path[:min(len(path), MaxPath)], "."), "%s", p.text)
}

// checkValue looks at what the type of a value leaves open: what its anys hold, and
// the offsets of its times, for example. It returns nil if nothing is wrong.
func (r *Rules) checkValue(p *plan, v reflect.Value, depth int) *problem {
	if p == nil {
		return nil
	}
	if depth++; depth > MaxDepth {
		return tooDeep()
	}
	switch p.as {
	case aTime:
		return r.checkTime(v, false)
	case anAny:
		return r.checkAny(v.Interface(), depth)
	case aPointer:
		switch {
		case v.IsNil() || p.elem == nil:
			return nil
		case p.elem.as == aTime:
			return r.checkTime(v.Elem(), true)
		}
		return r.checkValue(p.elem, v.Elem(), depth)
	case aList:
		for n := range v.Len() {
			if problem := r.checkValue(p.elem, v.Index(n), depth); problem != nil {
				return problem
			}
		}
	case aMap, aKeyedMap:
		return r.checkMap(p, v, depth)
	case aStruct:
		for n := range p.fields {
			f := &p.fields[n]
			if problem := r.checkValue(f.plan, v.Field(f.index), depth); problem != nil {
				return problem.in(f.name)
			}
		}
	case aMapping:
		return r.checkValue(p.elem, reflect.ValueOf(p.to(v.Interface())), depth)
	case nothing:
	}
	return nil
}

func tooDeep() *problem { return wrong("is nested more than %d deep, or contains itself", MaxDepth) }

func (r *Rules) checkMap(p *plan, v reflect.Value, depth int) *problem {
	keys := make(map[string]bool)
	for entries := v.MapRange(); entries.Next(); {
		if p.as == aKeyedMap {
			key, err := r.EncodeKey(entries.Key())
			if err != nil {
				return nil // the encoder will say so
			}
			if keys[string(key)] {
				return wrong("is a map with two keys that are the same once they are stored")
			}
			keys[string(key)] = true
		}
		if problem := r.checkValue(p.elem, entries.Value(), depth); problem != nil {
			return problem
		}
	}
	return nil
}

func (r *Rules) checkTime(v reflect.Value, pointed bool) *problem {
	t, _ := reflect.TypeAssert[time.Time](v)
	if text := r.Time(t, pointed); text != "" {
		return wrong("%s", text)
	}
	return nil
}

// checkAny looks at what an any holds: it comes back if it is nil, if the rules say
// so, or if it is a slice or map of such.
func (r *Rules) checkAny(value any, depth int) *problem {
	if depth++; depth > MaxDepth {
		return tooDeep()
	}
	switch value := value.(type) {
	case nil:
		return nil
	case []any:
		if value == nil {
			break
		}
		for _, e := range value {
			if problem := r.checkAny(e, depth); problem != nil {
				return problem
			}
		}
		return nil
	case map[string]any:
		if value == nil {
			break
		}
		for _, e := range value {
			if problem := r.checkAny(e, depth); problem != nil {
				return problem
			}
		}
		return nil
	default:
		if r.Any(value) {
			return nil
		}
	}
	return wrong("is an any that holds a %s, which %s gives back as another type; use a concrete type",
		strings.ReplaceAll(fmt.Sprintf("%T", value), "interface {}", "any"), r.Name)
}
