package exact

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
)

// Checker checks values by the rules of a transcoder. It is safe for concurrent
// use.
type Checker struct {
	rules Rules
	types sync.Map // a cache, reflect.Type → *Verdict
}

// New returns a checker.
func New(rules *Rules) *Checker { return &Checker{rules: *rules} }

// Verdict says whether values of a type come back as they were.
type Verdict struct {
	t     reflect.Type
	rules *Rules
	err   error // why they never do; nil if they may
	plan  *plan // what has to be looked at in each value; nil if nothing has
}

// CheckType returns an error that names the type and field if values of the type
// would not come back as they were.
func (c *Checker) CheckType(t reflect.Type) error {
	if t == nil {
		return fmt.Errorf("there is no data (nil)")
	}
	return c.Of(t).err
}

// Check returns an error that names the type and field if the value would not come
// back as it is. What only the encoder can see, text that is not UTF-8 for one, is
// left to it.
func (c *Checker) Check(value any) error {
	t := reflect.TypeOf(value)
	if t == nil {
		return fmt.Errorf("there is no data (nil)")
	}
	return c.Of(t).Check(value)
}

// Of returns the verdict about a type, always the same.
func (c *Checker) Of(t reflect.Type) *Verdict {
	v, ok := c.types.Load(t)
	if !ok {
		v, _ = c.types.LoadOrStore(t, c.inspect(t))
	}
	known, _ := v.(*Verdict)
	return known
}

// Err is what [Checker.CheckType] returns for the type.
func (v *Verdict) Err() error { return v.err }

// Check is [Checker.Check] for a value of the type.
func (v *Verdict) Check(value any) error {
	if v.err != nil || v.plan == nil {
		return v.err
	}
	if problem := v.rules.checkValue(v.plan, reflect.ValueOf(value), 0); problem != nil {
		return problem.error(v.t)
	}
	return nil
}

func (c *Checker) inspect(t reflect.Type) *Verdict {
	i := inspector{rules: &c.rules, known: make(map[place]*plan), open: make(map[place]bool)}
	v := &Verdict{t: t, rules: &c.rules}
	p, err := i.walk(place{t, true}, t.String())
	if err != nil {
		v.err = err
		return v
	}
	i.prune()
	if p.live {
		v.plan = p
	}
	return v
}

// plan says what has to be looked at in a value of a type, by the rules.
type plan struct {
	as     aspect
	elem   *plan // of what is pointed to, the elements, or what a mapping makes
	fields []planned
	to     func(value any) any
	cyclic bool // a value of the type may contain itself, unnoticed
	live   bool // there is something to look at
}

type aspect int

const (
	nothing aspect = iota
	aTime
	anAny
	aPointer
	aList
	aMap
	aKeyedMap // whose keys encode themselves
	aStruct
	aMapping
)

type planned struct {
	index int
	name  string
	plan  *plan
}

// place is a type, and whether it is that of the whole value.
type place struct {
	t   reflect.Type
	top bool
}

type storedName struct {
	name   string
	number bool
}

type inspector struct {
	rules *Rules
	known map[place]*plan
	open  map[place]bool // those that the walk is in
	plans []*plan        // all of them
}

func (i *inspector) walk(at place, path string) (*plan, error) {
	if p, ok := i.known[at]; ok {
		p.cyclic = p.cyclic || i.open[at] && i.rules.Cycles
		return p, nil
	}
	p := i.newPlan(nothing)
	i.known[at] = p
	i.open[at] = true
	defer delete(i.open, at)
	return p, i.fill(p, at, path)
}

func (i *inspector) newPlan(as aspect) *plan {
	p := &plan{as: as}
	i.plans = append(i.plans, p)
	return p
}

func (i *inspector) fill(p *plan, at place, path string) (err error) {
	t, r := at.t, i.rules
	if m, ok := r.Mapped(t); ok {
		p.as, p.to = aMapping, m.To
		p.elem, err = i.walk(place{t: m.As}, path)
		return err
	}
	if t == timeType {
		p.as = aTime
		return nil
	}
	if t.Kind() == reflect.Interface {
		if t.NumMethod() > 0 {
			return inexact(path, "is an interface, %v: nothing says which type to decode; use a concrete type", t)
		}
		p.as = anAny
		return nil
	}
	if t.Kind() == reflect.Pointer {
		if _, mapped := r.Mapped(t.Elem()); mapped || t.Elem() == timeType {
			return i.fillPointer(p, t, path) // and not by methods that they have as well
		}
	}
	own := r.Own(t)
	switch {
	case own.Encodes && (r.promoted(t, r.Encoders) || own.Problem == "" && r.promoted(t, r.Decoders)):
		return inexact(path, "embeds a type with its own %s, which would stand for all of %v; give that field a name", r.Name, t)
	case own.Problem != "":
		return inexact(path, "%s", own.Problem)
	case own.Encodes:
		return nil
	}
	return i.fillKind(p, at, path)
}

func (i *inspector) fillKind(p *plan, at place, path string) (err error) {
	t, r := at.t, i.rules
	switch t.Kind() {
	case reflect.Pointer:
		return i.fillPointer(p, t, path)
	case reflect.Slice, reflect.Array:
		p.as = aList
		p.elem, err = i.walk(place{t: t.Elem()}, path)
		return err
	case reflect.Map:
		k := t.Key()
		if _, mapped := r.Mapped(k); mapped {
			return inexact(path, "is a map with keys of type %v, which has a mapping: a mapping is for values", k)
		}
		if !r.Key(k) {
			return inexact(path, "is a map with keys of type %v, which %s does not have", k, r.Name)
		}
		p.as = aMap
		if r.EncodeKey != nil && r.Own(k).Encodes {
			p.as = aKeyedMap
		}
		p.elem, err = i.walk(place{t: t.Elem()}, path)
		return err
	case reflect.Struct:
		p.as = aStruct
		return i.fillStruct(p, at, path, make(map[storedName]string))
	default:
		if slices.Contains(r.Lacks, t.Kind()) {
			return inexact(path, "is a %v, which %s does not have", t.Kind(), r.Name)
		}
		return nil
	}
}

func (i *inspector) fillPointer(p *plan, t reflect.Type, path string) (err error) {
	stored := t.Elem()
	if m, ok := i.rules.Mapped(stored); ok {
		stored = m.As
	}
	switch k := stored.Kind(); k {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return inexact(path, "is a pointer to a %v: %s has one null for both; use one of the two", k, i.rules.Name)
	default:
		p.as = aPointer
		p.elem, err = i.walk(place{t: t.Elem()}, path)
		return err
	}
}

// fillStruct looks at the fields of a struct, and of those that are embedded in
// it, whose names must all differ: of two that are equal neither is stored.
func (i *inspector) fillStruct(p *plan, at place, path string, names map[storedName]string) error {
	r := i.rules
	if r.Struct != nil {
		if problem := r.Struct(at.t); problem != "" {
			return inexact(path, "%s", problem)
		}
	}
	for n := range at.t.NumField() {
		f := at.t.Field(n)
		tag := r.Tag(&f)
		if tag.Skip || f.Name == "_" || at.top && IsAggregate(&f) {
			continue
		}
		in, err := i.fillField(&f, tag, at, path+"."+f.Name, names)
		if err != nil {
			return err
		}
		p.fields = append(p.fields, planned{n, f.Name, in})
	}
	return nil
}

func (i *inspector) fillField(f *reflect.StructField, tag Tag, at place, path string, names map[storedName]string) (*plan, error) {
	r := i.rules
	embedded := f.Anonymous && tag.Name == ""
	switch {
	case tag.Problem != "":
		return nil, inexact(path, "%s", tag.Problem)
	case r.embeds(f, tag.Name):
		in := i.newPlan(aStruct)
		return in, i.fillStruct(in, place{f.Type, at.top}, path, names)
	case embedded && f.Type.Kind() == reflect.Pointer:
		return nil, inexact(path, "is an embedded pointer, which %s cannot keep apart from its fields; give it a name, or embed the value",
			r.Name)
	case !f.IsExported():
		return nil, inexact(path, "is not exported, so %s leaves it out; export it, tag it %s, or give %v %s",
			r.Name, r.Skip, at.t, r.Methods)
	case embedded && (f.Type.Kind() != reflect.Struct || r.Stands(f.Type)):
		return nil, inexact(path, "is embedded, and stored as one thing: give it a name")
	}
	if tag.Name == "" {
		tag.Name = f.Name
	}
	stored := storedName{tag.Name, tag.Number}
	if other, ok := names[stored]; ok {
		return nil, inexact(path, "has the same name in %s, %q, as %s", r.Name, tag.Name, other)
	}
	names[stored] = path
	return i.walk(place{t: f.Type}, path)
}

// prune takes from the plans what needs no look at values: they are left where
// a time, an any, a cycle or a key can be reached.
func (i *inspector) prune() {
	for again := true; again; {
		again = false
		for _, p := range i.plans {
			if !p.live && p.lives() {
				p.live, again = true, true
			}
		}
	}
	for _, p := range i.plans {
		p.fields = slices.DeleteFunc(p.fields, func(f planned) bool { return !f.plan.live })
		if p.elem != nil && !p.elem.live {
			p.elem = nil
		}
	}
}

func (p *plan) lives() bool {
	return p.cyclic || p.as == aTime || p.as == anAny || p.as == aKeyedMap || p.elem != nil && p.elem.live ||
		slices.ContainsFunc(p.fields, func(f planned) bool { return f.plan.live })
}
