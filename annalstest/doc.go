// Package annalstest is for tests of domain models and applications:
// [Given], [GivenState] and [New] say what a model decides, [Clock] and [IDs] put
// time and ids under control, [Golden] holds that every event that was ever stored
// still loads, and [NewFaulty] is a recorder that fails on demand.
//
//	annalstest.Given(t, Dogs, Registered{"Fido"}).
//		When(func(d *Dog) error { return d.AddTrick("sit") }).
//		Then(TrickAdded{"sit"})
package annalstest
