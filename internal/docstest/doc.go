// Package docstest keeps the code in the project's documents true: its test
// type-checks every Go block of README.md and docs/*.md against the packages
// beside it, checks every YAML block as a configuration, and holds the commands
// in console blocks against the Makefile and the programs that exist, and links
// against the files they name.
//
// A Go block with a package clause is a file of its own. One without is a
// fragment: declarations, or statements that may use ctx and app; standard
// packages and this module's are imported as they are named.
//
// What a reader need not see stands in an HTML comment before the block:
//
//	<!-- test: join NAME -->     the fragments of NAME in this document are one package
//	<!-- test: run -->           a complete program: it is run, too, and must end well
//	<!-- test: fragment -->      YAML: a part of a file; only its keys and values are checked
//	<!-- test: skip REASON -->   not checked
//	<!-- test: hidden NAME
//	type Task struct{ … }
//	-->                          code that joins NAME and is not shown
package docstest
