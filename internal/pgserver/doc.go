// Package pgserver starts PostgreSQL servers for tests.
//
// A server is private: it has a folder of its own, a free port of the loopback
// interface, and a random password. It ends, and its folder is removed, when the
// process that started it ends, also when that is killed. [Test] is what most tests
// need: the one server that all tests of a program share, each with a database of
// its own. [TestPrivate] is for tests that stop, kill or configure the server.
//
// The package knows no driver. It has the standard library only, and starts the
// programs initdb and postgres, which it looks for on the PATH and where packages
// of operating systems put them. It needs a POSIX shell.
//
// The environment says
//
//   - ANNALS_TEST_POSTGRES_URL: the URL of a server that is there already, with a user
//     who may create databases. [Shared] uses it instead of a server of its own.
//   - ANNALS_REQUIRE: a comma list of what may not be missing, "postgres" for instance.
//     A test that needs it fails then, instead of being skipped.
package pgserver
