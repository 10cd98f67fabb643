// Package history is the domain of githistory: the paths of a git repository,
// their authors, and what the commits do to them. It knows neither git's commands
// nor a database: its only import beside the standard library is annals.
//
// A commit becomes events: one for each path that it touches, in the stream of
// that path ([Added], [Modified], [Renamed], [Deleted]), and then one in the
// stream of its author ([Committed]), also if it touches no path. So the last
// event of a commit is always a Committed. After one or more commits, [Extended]
// says how far the record goes.
package history
