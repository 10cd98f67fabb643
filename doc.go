// Package annals is the domain layer of Annals, event sourcing for Go: the
// state of an application is a sequence of events, and nothing else is stored.
//
// A domain model is written with this package alone. It names aggregates and
// their events with [Define] and [On], makes aggregates with [Type.New], and
// changes them with [Trigger]. It knows nothing of databases: package
// application saves what the aggregates collected and loads them again.
//
//	type Dog struct {
//		annals.Aggregate
//		Name   string
//		Tricks []string
//	}
//
//	type Registered struct{ Name string }
//	type TrickAdded struct{ Trick string }
//
//	func (e Registered) Apply(d *Dog) { d.Name = e.Name }
//	func (e TrickAdded) Apply(d *Dog) { d.Tricks = append(d.Tricks, e.Trick) }
//
//	var Dogs = annals.Define("Dog",
//		annals.On[Registered]("Registered"),
//		annals.On[TrickAdded]("TrickAdded"),
//	)
//
// # Words
//
// A stream is the sequence of events of one aggregate; its id is the
// aggregate's id. A version is an event's place in its stream: 1, 2, 3, without
// gaps. A position is an event's place in an application's whole log, in the
// order of commits. A topic is the stored name of a type of event, such as
// "Dog.Registered"; it never depends on the names of Go types.
//
// # Errors
//
// What callers branch on is a sentinel of this package ([ErrNotFound],
// [ErrVersionConflict], …), to be tested with [errors.Is] through every layer.
// The rich cases are types ([*NotFoundError], [*VersionConflictError], …), to be
// had with [errors.As]. No error holds data of an event.
package annals
