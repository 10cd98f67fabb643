// Package doctest compiles the Go code of README.md and of every page below docs, and runs what a
// page shows the output of. It has tests only.
//
// A code block of the language go is a whole file: it begins with its package clause. What a page may
// say about its blocks stands in an HTML comment on the line above the block, where no reader sees it:
//
//   - <!-- doctest: group=school --> builds this block together with the page's other blocks of the
//     group, as one package with the import path example.com/school. A block of a group may leave out
//     the package clause: it then goes on with the file that the group's block before it began.
//   - <!-- doctest: output --> above a block of the language text compares it with what the program
//     before it prints on standard output.
//
// A block with a test, an example or a benchmark is a test file, and its tests are run. A block that
// cannot be compiled, such as code that is meant to be wrong, has the info string "go ignore" and a
// reason on the same line.
package doctest
