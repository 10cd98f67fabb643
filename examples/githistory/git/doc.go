// Package git reads repositories with the git command. It uses commands that are
// made for programs, so that no setting of the user changes what it reads, and it
// writes nothing.
package git
