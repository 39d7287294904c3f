// Package config reads anywire's configuration: YAML to a validated struct. It
// knows names and fields, never a driver: what a kind of transport takes is
// described by that kind's own Options struct.
//
//	c, err := config.Load("anywire.yaml", "prod.yaml")
//	if err != nil {
//		fmt.Fprintln(os.Stderr, err) // every problem, each with position, source line and caret
//		os.Exit(2)
//	}
//
// A program may write the same [Config] as a literal in Go, with zero values
// wherever the default is wanted, and call [Config.Check].
//
// # Reading
//
// A file is at most [MaxFile] of UTF-8 and holds one YAML document. It is read
// strictly: unknown and duplicate keys, values of another type and unknown tags
// are problems, and all problems of all files are reported together. Anchors,
// aliases and merge keys (<<) work within bounds that refuse alias bombs.
//
// Several files are laid over each other in their order: maps merge, lists and
// single values replace. Every value keeps its origin, which [Config.Explain]
// tells.
//
// # Variables
//
// They are replaced after parsing, in single values only, so what they hold is
// never read as YAML:
//
//	${NAME}             the environment variable; an error if it is not set
//	${NAME:-default}    the default if it is not set, or empty
//	${file:/run/x}      the content of a file without its last line break;
//	                    a relative name begins at the configuration's folder
//	$$                  a dollar sign
//
// A value that is only a variable has the type of its field, in quotes too.
// Inside { } and [ ] YAML wants it in quotes.
//
// # Secrets
//
// A field of type value.Secret prints as *** everywhere. Problems, [Config.Print]
// and [Config.Explain] also mask passwords in URLs, the content of files and
// what keys with names such as password or token hold, because the options of a
// kind are not known here until [Config.Decode] has read them.
//
// # Problems
//
// Errors of [Load], [Parse] and [Config.Decode] are [Problems]. Each [Problem]
// prints as
//
//	anywire.yaml:7:5: agents.writer: unknown key "consume"
//	        consume: tasks.write
//	        ^
//	    did you mean "consumes"?
//
// # Concurrency
//
// A Config is read-only after it was loaded or written; its methods may then be
// called by several goroutines.
package config
