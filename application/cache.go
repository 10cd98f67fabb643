package application

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/huandu/go-clone"

	"github.com/annals-es/annals"
	"github.com/annals-es/annals/persistence"
)

// cache keeps the aggregates that were loaded last. What it keeps is its own:
// what Get returns is a copy, so that nothing that a caller does to it comes back.
type cache struct {
	entries *lru.Cache[cacheKey, any] // of *cached[A]
}

// scalars are types with pointers that are their identity: to copy what these point to
// would make another value.
//
//nolint:gochecknoglobals // a table of constants
var scalars = []reflect.Type{reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.AddrPort](), reflect.TypeFor[netip.Prefix]()}

// cacheKey names an aggregate. Types that differ, be it by their clocks only, do not
// share what is loaded by them.
type cacheKey struct {
	typ any // a *annals.Type
	id  string
}

// cached is an aggregate that only moves forward, by stored events.
type cached[A any] struct {
	mu sync.Mutex
	a  *A // nil if it cannot be used any more
}

func newCache(size int) *cache {
	for _, t := range scalars {
		clone.MarkAsScalar(t)
	}
	entries, err := lru.New[cacheKey, any](size)
	if err != nil {
		panic(err) // the size is positive
	}
	return &cache{entries}
}

// getCached returns a copy of the cached aggregate, after it was taken on by the
// events that were stored since.
func (r *Repository[A]) getCached(ctx context.Context, id string) (*A, error) {
	key := cacheKey{r.typ, id}
	entry, ok := r.app.cache.entries.Get(key)
	if c, same := entry.(*cached[A]); ok && same {
		a, err := r.forward(ctx, id, c)
		if c.version(r.typ) == 0 {
			r.app.cache.entries.Remove(key)
		}
		if a != nil || err != nil {
			return a, err
		}
	}
	a, err := r.loadStored(ctx, id, 0)
	if err != nil {
		return nil, err
	}
	if r.mayCopy(a) {
		r.app.cache.entries.Add(key, &cached[A]{a: r.copy(a)})
	}
	return a, nil
}

// forward takes a cached aggregate on, and returns a copy; nil if it cannot be
// used.
func (r *Repository[A]) forward(ctx context.Context, id string, c *cached[A]) (*A, error) {
	version := c.version(r.typ)
	if version == 0 {
		return nil, nil //nolint:nilnil // see above
	}
	var news []annals.Event
	for e, err := range r.events(ctx, id, persistence.StreamQuery{After: version}, nil) {
		if err != nil {
			return nil, err
		}
		news = append(news, e)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.a == nil {
		return nil, nil //nolint:nilnil // see above
	}
	a := c.a
	if agg := r.typ.AggregateOf(a); len(news) > 0 && news[len(news)-1].Version > agg.Version() {
		c.a = nil // an Apply that panics leaves nothing half done behind
		if err := r.typ.Advance(a, sequence(news[agg.Version()-version:])); err != nil {
			return nil, err
		}
		if agg.Discarded() {
			return nil, &annals.NotFoundError{Type: r.typ.Name(), ID: id, Discarded: true}
		}
		if !r.mayCopy(a) {
			return a, nil // nobody else has it
		}
		c.a = a
	}
	return r.copy(a), nil
}

// version is 0 if the aggregate cannot be used any more.
func (c *cached[A]) version(t *annals.Type[A]) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.a == nil {
		return 0
	}
	return t.AggregateOf(c.a).Version()
}

// cloner is implemented by aggregates that copy themselves.
type cloner[A any] interface{ Clone() *A }

// copy returns a copy of an aggregate that nobody else uses meanwhile, and that
// has no pending events.
func (r *Repository[A]) copy(a *A) *A {
	agg := r.typ.AggregateOf(a)
	identity := *agg
	defer func() { *agg = identity }()
	*agg = annals.Aggregate{} // it is not for the library to look into
	var b *A
	if c, ok := any(a).(cloner[A]); ok {
		if b = c.Clone(); b == nil || b == a {
			panic(fmt.Sprintf("application %s: the method Clone of %T returns nil, or the aggregate itself, and no copy", r.app.name, a))
		}
	} else if r.flat {
		b = new(*a)
	} else {
		b, _ = clone.Slowly(a).(*A) // slowly: what two pointers share stays shared
	}
	*r.typ.AggregateOf(b) = identity
	return b
}

// mayCopy reports whether a copy of the aggregate is like it. One whose slices share
// memory is not kept in the cache, but loaded each time.
func (r *Repository[A]) mayCopy(a *A) bool {
	_, ownCopy := any(a).(cloner[A])
	return ownCopy || r.flat || r.typ.CheckCopy(a) == nil
}

// checkCopies returns an error for a type of aggregate that copy might not copy
// well. Flat says that to assign one is to copy it.
func checkCopies[A any]() (flat bool, _ error) {
	var a *A
	if _, ok := any(a).(cloner[A]); ok {
		return false, nil
	}
	c := newCopyCheck()
	t := reflect.TypeFor[A]()
	if err := c.walk(t, t.String(), false); err != nil {
		return false, err
	}
	for target, path := range c.pointers {
		if c.values[target] {
			return false, fmt.Errorf("%s may point into the aggregate itself, which also holds a %v by value", path, target)
		}
	}
	return !c.deep, nil
}

func newCopyCheck() *copyCheck {
	return &copyCheck{values: make(map[reflect.Type]bool), pointers: make(map[reflect.Type]string), seen: make(map[reflect.Type]bool)}
}

type copyCheck struct {
	texts    bool                    // types that are written as texts are refused: they may be more than they hold
	deep     bool                    // there is something that an assignment would not copy
	values   map[reflect.Type]bool   // structs that something could point to the inside of
	pointers map[reflect.Type]string // structs that are pointed to, and where
	seen     map[reflect.Type]bool
}

var (
	aggregateType = reflect.TypeFor[annals.Aggregate]()
	timeType      = reflect.TypeFor[time.Time]()
)

func (c *copyCheck) walk(t reflect.Type, path string, addressable bool) error {
	if t.Kind() == reflect.Struct && addressable {
		c.values[t] = true
	}
	if c.seen[t] || t == aggregateType {
		return nil
	}
	c.seen[t] = true
	switch t.Kind() {
	case reflect.Slice, reflect.Map, reflect.Pointer, reflect.Interface:
		c.deep = true
	default:
	}
	switch t.Kind() {
	case reflect.Struct:
		if _, ok := reflect.PointerTo(t).MethodByName("MarshalText"); ok {
			c.deep = c.deep || t != timeType
			if c.texts && t != timeType {
				return fmt.Errorf("%s is a %v, which may point to what it does not own", path, t)
			}
			return nil // a value such as time.Time
		}
		for f := range t.Fields() {
			if err := c.walk(f.Type, path+"."+f.Name, true); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Array:
		return c.walk(t.Elem(), path, true)
	case reflect.Map:
		if err := c.walk(t.Key(), path, false); err != nil {
			return err
		}
		return c.walk(t.Elem(), path, false)
	case reflect.Pointer:
		if _, ok := c.pointers[t.Elem()]; !ok && t.Elem().Kind() == reflect.Struct {
			c.pointers[t.Elem()] = path
		}
		return c.walk(t.Elem(), path, false)
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return fmt.Errorf("%s is a %v, which cannot be copied", path, t.Kind())
	default:
	}
	return nil
}
