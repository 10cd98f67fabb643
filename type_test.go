package annals_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/annals-es/annals"
)

// B3.
func TestNamedIDIsTheSameForTheSameName(t *testing.T) {
	t.Parallel()
	a, b := annals.NamedID("/pages", "Home"), annals.NamedID("/pages", "Home")
	if a != b {
		t.Errorf("two ids for one name: %s, %s", a, b)
	}
	if want := "2aa3855a-dbf8-5001-bb54-851a20c47dee"; a != want {
		t.Errorf("the id of the name is %s; it was %s before: what is stored is found by it", a, want)
	}
	for _, other := range []string{annals.NamedID("/pages", "home"), annals.NamedID("/page", "Home"), annals.NewID()} {
		if other == a {
			t.Errorf("another name has the same id %s", a)
		}
	}
}

func TestNewIDsAreUniqueAndOrdered(t *testing.T) {
	t.Parallel()
	last := ""
	for range 10_000 {
		id := annals.NewID()
		if id <= last || annals.CheckID("stream id", id) != nil {
			t.Fatalf("id %s after %s", id, last)
		}
		last = id
	}
}

func TestNewIDsOfSeveralGoroutinesAreUniqueAndOrdered(t *testing.T) {
	t.Parallel()
	const goroutines, each = 8, 5_000
	ids := make([][]string, goroutines)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			for range each {
				ids[i] = append(ids[i], annals.NewID())
			}
		})
	}
	wg.Wait()
	times := make(map[string]bool)
	for i := range ids {
		if !slices.IsSorted(ids[i]) {
			t.Errorf("the ids of goroutine %d are not in order", i)
		}
		for _, id := range ids[i] {
			times[id[:18]] = true
		}
	}
	if len(times) != goroutines*each {
		t.Errorf("%d goroutines have made %d ids, with %d times; each has one of its own", goroutines, goroutines*each, len(times))
	}
}

func TestANewIDIsAUUIDOfVersion7(t *testing.T) {
	t.Parallel()
	before := time.Now()
	id := annals.NewID()
	after := time.Now()
	// It may be ahead of the clock: other tests make ids, too, faster than their times differ.
	if at, _ := checkVersion7(t, id); at.Before(before.Add(-time.Second)) || at.After(after.Add(time.Minute)) {
		t.Errorf("id %s has the time %v; it was made between %v and %v", id, at, before, after)
	}
}

func TestTheIDOfAnEventHasTheTimeOfTheClock(t *testing.T) {
	t.Parallel()
	for _, now := range []time.Time{
		time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC),
		time.Unix(0, 0),
		time.Unix(0, 999_999),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.FixedZone("", 3600)),
	} {
		ids := make(map[string]bool)
		var ones, zeros uint64 // the bits that were 1 in one of the ids, or 0
		for range 1_000 {
			dog := Dogs.WithClock(func() time.Time { return now }).New("fido", Registered{Name: "Fido"})
			id := dog.PendingEvents()[0].ID
			at, random := checkVersion7(t, id)
			if at.After(now) || now.Sub(at) >= tick {
				t.Fatalf("the event's id %s has the time %v; the clock said %v", id, at, now)
			}
			ids[id] = true
			ones, zeros = ones|random, zeros|^random
		}
		if len(ids) != 1_000 {
			t.Errorf("1,000 events of the same time have %d ids", len(ids))
		}
		if ones&lower != lower || zeros&lower != lower {
			t.Errorf("not each of the lower 62 bits is random: in 1,000 ids, these were 1: %x, and these were 0: %x", ones, zeros)
		}
	}
}

func TestTheIDOfAnEventBefore1970IsOfThatYear(t *testing.T) {
	t.Parallel()
	dog := Dogs.WithClock(func() time.Time { return time.Time{} }).New("fido", Registered{Name: "Fido"})
	if at, _ := checkVersion7(t, dog.PendingEvents()[0].ID); !at.Equal(time.Unix(0, 0)) {
		t.Errorf("its time is %v", at)
	}
}

const lower = 1<<62 - 1 // the bits of an id that are random

const tick = 256 * time.Nanosecond // between the times of two ids

// checkVersion7 returns the time of a UUID of version 7, and the bits behind it.
func checkVersion7(t *testing.T, id string) (at time.Time, random uint64) {
	t.Helper()
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 || u.Variant() != uuid.RFC4122 || u.String() != id {
		t.Fatalf("id %s: %v, version %d, variant %v; want version 7 of RFC 9562", id, err, u.Version(), u.Variant())
	}
	at = time.UnixMilli(int64(binary.BigEndian.Uint64(u[:8]) >> 16)).Add(tick * time.Duration(binary.BigEndian.Uint16(u[6:8])&0xfff))
	return at, binary.BigEndian.Uint64(u[8:])
}

func TestCheckID(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ id, says string }{
		"empty":     {"", "is empty"},
		"too long":  {strings.Repeat("x", 256), "256 bytes"},
		"not UTF-8": {"a\xffb", "UTF-8"},
		"a NUL":     {"a\x00b", "NUL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantError(t, annals.CheckID("stream id", c.id), annals.ErrInvalidID, "stream id", c.says)
		})
	}
	for _, id := range []string{"x", strings.Repeat("x", 255), "späti/火 '\"%"} {
		if err := annals.CheckID("stream id", id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// B7.
func TestDefinePanicsWhereTheProgramIsWrong(t *testing.T) {
	t.Parallel()
	on := annals.On[Registered, Dog]
	for name, c := range map[string]struct {
		define func()
		says   []string
	}{
		"two events with one name": {
			func() { annals.Define("Dog", on("A"), annals.On[TrickAdded]("A")) }, []string{"Dog.A", "Registered", "TrickAdded"},
		},
		"a former name that is taken": {
			func() { annals.Define("Dog", on("A"), annals.On[TrickAdded]("B", annals.FormerName("A"))) }, []string{"Dog.A"},
		},
		"one Go type with two names": {func() { annals.Define("Dog", on("A"), on("B")) }, []string{"Registered", `"A"`, `"B"`}},
		"no name":                    {func() { annals.Define("", on("A")) }, []string{`""`}},
		"no name of an event":        {func() { annals.Define("Dog", on("")) }, []string{`""`}},
		"a dot in a name":            {func() { annals.Define("my.Dog", on("A")) }, []string{"my.Dog"}},
		"a space in an event's name": {func() { annals.Define("Dog", on("A B")) }, []string{"A B"}},
		"an event type that points":  {func() { annals.Define("Dog", annals.On[*Registered]("A")) }, []string{"*annals_test.Registered"}},
		"an event type that is an interface": {
			func() { annals.Define("Dog", annals.On[annals.Applier[Dog]]("A")) }, []string{"interface"},
		},
		"a name that is too long": {func() { annals.Define(strings.Repeat("x", 250), on("Added")) }, []string{"255"}},
		"an empty former name":    {func() { annals.Define("Dog", annals.On[Registered, Dog]("A", annals.FormerName(""))) }, []string{`"Dog."`}},
		"an aggregate by pointer": {func() { annals.Define("Kitten", annals.On[Born]("Born")) }, []string{"embed the value"}},
		"no events":               {func() { annals.Define[Dog]("Dog") }, []string{"annals.On"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantPanic(t, c.define, c.says...)
		})
	}
}

// B7.
func TestEventTypesHaveStableNames(t *testing.T) {
	t.Parallel()
	types := Dogs.EventTypes()
	if len(types) != 3 || Dogs.Name() != "Dog" {
		t.Fatalf("%d event types of %q", len(types), Dogs.Name())
	}
	trick := types[1]
	if got := trick.Topic(); got != "Dog.TrickAdded" {
		t.Errorf("topic %q", got)
	}
	if got := strings.Join(trick.FormerTopics(), " "); got != "Dog.TrickLearned Hound.TrickAdded" {
		t.Errorf("former topics %q", got)
	}
	data, err := trick.Decode(1, []byte("sit"), func(data []byte, target any) error {
		target.(*TrickAdded).Trick = string(data)
		return nil
	})
	if err != nil || data != (TrickAdded{Trick: "sit"}) {
		t.Errorf("decoded %#v, %v", data, err)
	}
}

// Kitten embeds its aggregate in a way that does not work.
type Kitten struct{ *annals.Aggregate }

type Born struct{}

func (Born) Apply(*Kitten) {}

func TestOneEventDefInTwoDefines(t *testing.T) {
	t.Parallel()
	def := annals.On[Registered]("Registered", annals.FormerName("Added"))
	puppies, seniors := annals.Define("Puppy", def), annals.Define("Senior", def)
	if p, s := puppies.EventTypes()[0].Topic(), seniors.EventTypes()[0].Topic(); p != "Puppy.Registered" || s != "Senior.Registered" {
		t.Errorf("topics %s and %s", p, s)
	}
}
