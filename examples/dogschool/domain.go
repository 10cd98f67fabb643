package main

import (
	"errors"
	"slices"

	"github.com/annals-es/annals"
)

// Dog is an event-sourced aggregate.
type Dog struct {
	annals.Aggregate
	Name   string
	Tricks []string
}

// Registered begins the life of a dog.
type Registered struct{ Name string }

// TrickAdded says that a dog has learned a trick.
type TrickAdded struct{ Trick string }

// Apply evolves the dog. It decides nothing and cannot fail: it also runs on every replay.
func (e Registered) Apply(d *Dog) { d.Name = e.Name }
func (e TrickAdded) Apply(d *Dog) { d.Tricks = append(d.Tricks, e.Trick) }

// Dogs names the aggregate type and its events. These names, not Go's, are what is stored.
var Dogs = annals.Define("Dog",
	annals.On[Registered]("Registered"),
	annals.On[TrickAdded]("TrickAdded"),
)

// ErrTrickKnown says that a dog has nothing to learn.
var ErrTrickKnown = errors.New("the dog knows the trick")

// RegisterDog begins a dog.
func RegisterDog(name string) *Dog { return Dogs.New(annals.NewID(), Registered{Name: name}) }

// AddTrick is a command: it decides, then triggers an event.
func (d *Dog) AddTrick(trick string) error {
	if slices.Contains(d.Tricks, trick) {
		return ErrTrickKnown
	}
	annals.Trigger(d, TrickAdded{Trick: trick})
	return nil
}

// Counter counts the dogs that know a trick.
type Counter struct {
	annals.Aggregate
	Count int
}

// Started begins the counter of a trick.
type Started struct{ Of string }

// Incremented says that one more dog knows the trick.
type Incremented struct{}

// Apply evolves the counter.
func (Started) Apply(*Counter)       {}
func (Incremented) Apply(c *Counter) { c.Count++ }

// Counters names the aggregate type and its events.
var Counters = annals.Define("Counter",
	annals.On[Started]("Started"),
	annals.On[Incremented]("Incremented"),
)

// CounterID returns the id of the counter of a trick.
func CounterID(trick string) string { return annals.NamedID("/counters", trick) }

// Increment counts one dog.
func (c *Counter) Increment() { annals.Trigger(c, Incremented{}) }
