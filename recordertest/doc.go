// Package recordertest is the conformance suite that every recorder of Annals
// passes, and the benchmarks that it is measured by.
//
// A recorder runs them from its own tests, in three steps:
//
//	var backend = recordertest.Backend{Name: "mydb", Create: create, Open: open, …}
//
//	func TestMain(m *testing.M)              { recordertest.Main(m, backend) }
//	func TestConformance(t *testing.T)       { recordertest.Run(t, backend) }
//	func BenchmarkSave64(b *testing.B)       { recordertest.BenchmarkSave64(b, backend) }
//
// The suite shows the guarantees of a recorder, in groups that have their
// numbers: contention, followers, second processes and killed processes
// included. A part that needs a feature which the recorder does not have is
// reported as off, and not run.
//
// With ANNALS_SOAK=1 in the environment the rounds that look for rare schedules
// are ten times as many.
package recordertest
