// Package system combines applications into event-driven systems: a graph in which
// process applications follow others and, by a policy, turn their events into events of
// their own. A system is defined without a word about databases or processes. It is
// developed and tested in one goroutine with everything in memory ([RunSync]), then run by
// many on durable recorders ([RunAsync]), with exactly the same effects.
//
//	var (
//		SchoolApp   = system.App("dogschool", OpenSchool)
//		CountersApp = system.App("counters", OpenCounters)
//
//		DogSchools = system.Define("dogschools",
//			system.Pipe(SchoolApp, CountersApp)) // counters follows dogschool
//	)
//
//	runner, err := system.RunSync(ctx, DogSchools)
//	school := SchoolApp.In(runner) // *School
//
// Each event of the one that is followed has its effect exactly once: what a policy
// collects is saved in one transaction with the position of the event (the tracking). A
// process that dies goes on where its recorder is. Of several processes that run one
// system, one follows at a time; a second one would be refused by the same transaction.
package system
