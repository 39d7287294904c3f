package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxVariableFile is the most that ${file:...} reads: secrets are small.
const maxVariableFile = 64 << 10

// use is one variable in a scalar.
type use struct {
	name    string // of the environment variable; empty for a file
	file    string // whose content it is
	unset   bool   // the default was taken
	written string // ${...} as it stands in the file
}

// surroundings is what variables are read from.
type surroundings struct {
	env  func(name string) (string, bool)
	read func(file string) (string, error)
}

func ofProcess() surroundings {
	return surroundings{env: os.LookupEnv, read: readVariable}
}

// readVariable reads a file that a variable names, without its last line break.
func readVariable(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a regular file")
	}
	f, err := os.Open(file) // #nosec G304 -- the configuration names the file
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxVariableFile+1))
	switch {
	case err != nil:
		return "", err
	case len(data) > maxVariableFile:
		return "", fmt.Errorf("it holds more than %d bytes", maxVariableFile)
	case !utf8.Valid(data):
		return "", errors.New("it is not UTF-8 text")
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}

// expander replaces the variables of a tree, in scalars only: what a variable
// holds is never read as YAML.
type expander struct {
	*report
	surroundings
}

func (e *expander) expand(n *node, path string) {
	switch n.kind {
	case scalarNode:
		e.scalar(n, path)
	case listNode:
		for i, entry := range n.entries {
			e.expand(entry, index(path, i))
		}
	case mapNode:
		for _, name := range n.names {
			e.expand(n.fields[name], join(path, name))
			for _, spare := range n.spare[name] {
				e.expand(spare, join(path, name))
			}
		}
	}
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (e *expander) scalar(n *node, path string) {
	var b strings.Builder
	rest := n.raw
	for {
		before, after, found := strings.Cut(rest, "$")
		b.WriteString(before)
		if !found {
			break
		}
		switch {
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			rest = after[1:]
		case strings.HasPrefix(after, "{"):
			inner, behind, closed := strings.Cut(after[1:], "}")
			if !closed {
				e.fault(n, "${", path, "a variable has no end: "+quoteRaw("${"+after[1:]), `close it with }, or write $$ for a dollar sign`)
				return
			}
			text, ok := e.variable(n, inner, path)
			if !ok {
				return
			}
			b.WriteString(text)
			rest = behind
		default:
			b.WriteByte('$')
			rest = after
		}
	}
	n.text = b.String()
	if len(n.uses) == 1 && n.uses[0].written == n.raw && n.tag == "!!str" {
		n.tag = "" // Alone, even in quotes, a variable has the type of its field.
	}
}

// variable answers what stands for ${inner}.
func (e *expander) variable(n *node, inner, path string) (string, bool) {
	written := "${" + inner + "}"
	if file, ok := strings.CutPrefix(inner, "file:"); ok {
		return e.file(n, file, written, path)
	}
	name, fallback, hasFallback := strings.Cut(inner, ":-")
	switch {
	case !variableName.MatchString(name):
		e.fault(n, written, path, quoteRaw(written)+" is not a variable",
			"write ${NAME}, ${NAME:-default} or ${file:/path}; a name has letters, digits and _; $$ is a dollar sign")
		return "", false
	case strings.Contains(fallback, "${"):
		e.fault(n, written, path, "the default of a variable holds another variable", "give the default itself")
		return "", false
	}
	text, set := e.env(name)
	if !set && !hasFallback {
		e.fault(n, written, path, fmt.Sprintf("the variable %s is not set", name),
			fmt.Sprintf("set %s, or give a default: ${%s:-default}", name, name))
		return "", false
	}
	unset := hasFallback && text == ""
	if unset {
		text = fallback
	}
	n.uses = append(n.uses, use{name: name, unset: unset, written: written})
	return text, true
}

// file answers the content of a file; its name is relative to the folder of the
// configuration.
func (e *expander) file(n *node, name, written, path string) (string, bool) {
	if name == "" {
		e.fault(n, written, path, "${file:} names no file", "write ${file:/run/secrets/name}")
		return "", false
	}
	if !filepath.IsAbs(name) && n.at.src != nil {
		name = filepath.Join(filepath.Dir(n.at.src.name), name)
	}
	text, err := e.read(name)
	if err != nil {
		if inner := (*fs.PathError)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		e.fault(n, written, path, fmt.Sprintf("cannot read the file %s of a variable: %v", name, err), "")
		return "", false
	}
	n.uses = append(n.uses, use{file: name, written: written})
	return text, true
}

// fault reports a problem at the variable itself, if it can be found in the
// source line, else at its scalar.
func (e *expander) fault(n *node, written, path, message, hint string) {
	where := n.at
	if line := where.src.line(where.line); len(line) <= longLine {
		if before, _, ok := strings.Cut(tail(line, where.col-1), written); ok {
			where.col += utf8.RuneCountInString(before)
		}
	}
	e.at(where, path, message, hint)
	n.broken = true
}

// shown answers a variable without its default, which may be a secret.
func (u use) shown() string {
	if u.file != "" {
		return u.written
	}
	return "${" + u.name + "}"
}

// fromFile reports whether any part of a scalar is the content of a file, which
// is not shown.
func (n *node) fromFile() bool {
	for _, u := range n.uses {
		if u.file != "" {
			return true
		}
	}
	return false
}

// quoteRaw quotes a text, shortened so that it fits on a line.
func quoteRaw(text string) string {
	const longest = 60
	if chars := []rune(text); len(chars) > longest {
		text = string(chars[:longest]) + "…"
	}
	return fmt.Sprintf("%q", maskURL(text))
}
