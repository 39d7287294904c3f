package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a configuration, and where.
//
//nolint:errname // a problem is a value first; its name is the word of the documentation
type Problem struct {
	File         string // as it was named; empty for a literal in Go
	Line, Column int    // from 1, columns in characters; 0: unknown
	Path         string // of the value, such as agents.researcher.order
	Message      string // what is wrong, without the path
	Hint         string // what to do about it; may be empty
	Source       string // the line, with secrets masked

	caret int     // column in Source, where masking moved it; 0: Column
	src   *source // of File
}

// Error answers FILE:LINE:COLUMN: PATH: message, then the source line with a
// caret under the column, and the hint; what is unknown is left out.
func (p Problem) Error() string { return p.String() }

// String answers what Error does.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			b.WriteString(":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column))
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Line > 0 && p.Source != "" {
		b.WriteString(p.excerpt())
	}
	if p.Hint != "" {
		b.WriteString("\n    " + p.Hint)
	}
	return b.String()
}

// excerpt draws the source line and the caret below it. Both lines are indented
// alike, so a tab of the source moves both.
func (p Problem) excerpt() string {
	line, at := clip(p.Source, cmp.Or(p.caret, p.Column)-1)
	return "\n    " + line + "\n    " + pad(line, at) + "^"
}

// Problems is every problem of a configuration, in the order of the files. As an
// error it prints all of them.
//
//nolint:errname // as above
type Problems []Problem

// Error prints every problem, one after the other.
func (ps Problems) Error() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.String()
	}
	return strings.Join(texts, "\n")
}

// Err answers the problems as an error, or nil if there are none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// Sorted answers the problems in the order of files, lines and columns, each
// once: what an alias repeats in several paths is one problem.
func (ps Problems) Sorted() Problems {
	sorted := slices.Clone(ps)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.src.rank(), b.src.rank()), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message), cmp.Compare(a.Path, b.Path))
	})
	return slices.CompactFunc(sorted, func(a, b Problem) bool {
		samePlace := a.src == b.src && a.File == b.File && a.Line == b.Line && a.Column == b.Column
		return samePlace && a.Message == b.Message && (a.Line > 0 || a.Path == b.Path)
	})
}

// mostQuoted is how many problems are shown with their source lines.
const mostQuoted = 200

// quoted fills the source lines in, once it is known which parts of them are
// secret.
func (ps Problems) quoted() Problems {
	for i := range ps[:min(len(ps), mostQuoted)] {
		if p := &ps[i]; p.src != nil && p.Source == "" {
			p.Source, p.caret = p.src.quote(p.Line, p.Column)
		}
	}
	return ps
}

// report collects problems while a configuration is read or checked.
type report struct {
	list   Problems
	failed map[string]bool // paths whose values are not to be trusted
}

// note adds a problem at a place of a file.
func (r *report) note(where place, path, message, hint string) {
	r.list = append(r.list, problemAt(where, path, message, hint))
}

// at adds a problem of the value at path, which is then not to be trusted:
// checks of its meaning are skipped.
func (r *report) at(where place, path, message, hint string) {
	r.note(where, path, message, hint)
	r.fail(path)
}

func (r *report) fail(path string) {
	if r.failed == nil {
		r.failed = map[string]bool{}
	}
	r.failed[path] = true
}

func problemAt(where place, path, message, hint string) Problem {
	p := Problem{Path: path, Message: message, Hint: hint}
	if where.src != nil {
		p.src, p.File, p.Line, p.Column = where.src, where.src.name, where.line, where.col
	}
	return p
}
