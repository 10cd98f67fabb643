// Package archtest holds the floors of the library against its sources: which package may import which,
// what the root module may require, and that the workspace knows every module. It has tests only.
package archtest
