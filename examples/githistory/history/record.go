package history

import "github.com/annals-es/annals"

// Record is the aggregate of what is recorded: it knows how far. Every save
// extends it, so that of two imports at the same moment, which both load it before
// anything else, one has a version conflict, whatever their commits touch.
type Record struct {
	annals.Aggregate

	// Commit is the last commit that is recorded.
	Commit Hash
	// Commits is the number of commits.
	Commits int
}

// Extended is the event of the record: the last one of each save.
type Extended struct {
	// Commit is the last commit of the save, Commits their number.
	Commit  Hash `json:"commit"`
	Commits int  `json:"commits"`
}

// Apply counts the commits.
func (e Extended) Apply(r *Record) { r.Commit, r.Commits = e.Commit, r.Commits+e.Commits }

// Records names the aggregate type of the record and its event, as they are stored.
var Records = annals.Define("Record", annals.On[Extended]("Extended"))

// RecordID is the id of the record: there is one in a database.
var RecordID = annals.NamedID("/records", "first-parent history")

// Begin begins the record with a number of commits.
func Begin(last Hash, commits int) *Record {
	return Records.New(RecordID, Extended{Commit: last, Commits: commits})
}

// Extend adds a number of commits.
func (r *Record) Extend(last Hash, commits int) {
	annals.Trigger(r, Extended{Commit: last, Commits: commits})
}
