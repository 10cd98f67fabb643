// Command benchmarks runs the same work through Annals and through other event
// sourcing libraries for Go, and prints a table of how fast each did it, with the ratio
// of ours to the best of the others:
//
//	go run ./benchmarks -turns 51
//
// All sides run in one program, in turns, so that whatever else the machine does hits
// all alike: the ratios can be trusted where the rates cannot. Everything goes through
// the whole library, as a program would use it: aggregates trigger events and are
// saved and loaded; events carry the same data and aggregates the same ids. The
// databases have the same settings, and every save is synced to the disk.
//
// The peers are
//
//   - github.com/hallgren/eventsourcing: in memory, on SQLite in its mode with a single
//     writer, and on PostgreSQL.
//   - github.com/looplab/eventhorizon: in memory. It has no order of events beyond that
//     of an aggregate.
//
// Below the table stands how many events a reader lost that followed the log while 64
// writers saved.
package main
