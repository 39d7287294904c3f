package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/anywire/anywire/config/value"
)

// MaxFile is the largest file that is read.
const MaxFile = 1 * value.MiB

// document is what the files said together.
type document struct {
	mu       sync.Mutex // guards secrets and the masks of sources: reading options finds more of them
	root     *node
	sources  []*source
	problems Problems        // of reading
	failed   map[string]bool // paths whose values are not to be trusted
	secrets  map[string]bool // paths that hold secrets
}

// Load reads files and lays each over the ones before it: maps merge, lists and
// single values replace. The error is a [Problems] with everything that is wrong
// with what was read and with what it means. The configuration is nil only if a
// file could not be read at all; with problems of other kinds it holds what
// could be read, so that more can be checked and all be reported together.
func Load(files ...string) (*Config, error) {
	if len(files) == 0 {
		return nil, Problems{{Message: "no configuration file is named", Hint: "name at least one, such as " + DefaultName}}
	}
	inputs := make([]input, len(files))
	for i, file := range files {
		inputs[i] = readInput(file)
	}
	return load(ofProcess(), inputs)
}

// Parse reads the text of one file, as Load does. The name stands in problems.
func Parse(name string, data []byte) (*Config, error) {
	return load(ofProcess(), []input{{name: name, data: data}})
}

// input is one file before it is parsed.
type input struct {
	name    string
	data    []byte
	size    int64 // where it is larger than data
	problem *Problem
}

func readInput(file string) input {
	f, err := os.Open(file) // #nosec G304 -- reading the named file is the purpose
	if err != nil {
		return input{name: file, problem: unreadable(file, err)}
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, int64(MaxFile)+1))
	if err != nil {
		return input{name: file, problem: unreadable(file, err)}
	}
	in := input{name: file, data: data}
	if info, err := f.Stat(); err == nil {
		in.size = info.Size()
	}
	return in
}

// lock guards what is known of secrets; unlock with what it answers.
func (c *Config) lock() (unlock func()) {
	if c.doc == nil {
		return func() {}
	}
	c.doc.mu.Lock()
	return c.doc.mu.Unlock
}

func unreadable(file string, err error) *Problem {
	p := &Problem{File: file, Message: fmt.Sprintf("cannot read the file: %v", err)}
	inner := (*fs.PathError)(nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Message = "the file does not exist"
		p.Hint = "name another with -c FILE, or begin with: anywire init"
	case errors.As(err, &inner):
		p.Message = fmt.Sprintf("cannot read the file: %v", inner.Err)
		p.Hint = "name a readable file with -c FILE"
	}
	return p
}

// load turns inputs into one configuration.
func load(around surroundings, inputs []input) (*Config, error) {
	doc := &document{secrets: map[string]bool{}}
	found := &report{}
	complete := true
	for i, in := range inputs {
		tree := doc.parse(found, in, i)
		switch {
		case tree == nil:
			complete = false
		case doc.root == nil:
			doc.root = tree
		default:
			doc.root = overlay(doc.root, tree)
		}
	}
	if !complete {
		return nil, found.list.quoted().Sorted()
	}
	(&expander{report: found, surroundings: around}).expand(doc.root, "")
	c := &Config{doc: doc}
	(&decoder{report: found, secrets: doc.secrets}).value(doc.root, reflect.ValueOf(c).Elem(), "")
	doc.problems, doc.failed = found.list, found.failed
	return c, c.Check().Err()
}

// parse makes the tree of one input, or reports why there is none.
func (doc *document) parse(found *report, in input, order int) *node {
	if in.problem != nil {
		found.list = append(found.list, *in.problem)
		return nil
	}
	if size := max(in.size, int64(len(in.data))); size > int64(MaxFile) {
		found.list = append(found.list, Problem{
			File: in.name, Message: fmt.Sprintf("the file has %d bytes, more than the %s that are read", size, MaxFile),
			Hint: "is it the right file? A large configuration can be split over several -c FILE",
		})
		return nil
	}
	src := newSource(in.name, order, string(in.data))
	doc.sources = append(doc.sources, src)
	if !isText8(found, src, in.data) {
		return nil
	}
	root := parseYAML(found, src, in.data)
	if root == nil {
		return nil
	}
	p := &planter{report: found, src: src, active: map[*yaml.Node]bool{}}
	tree := p.plant(root, "", 0)
	if p.refused {
		return nil
	}
	return tree
}

// isText8 reports the first byte that is no UTF-8 text.
func isText8(found *report, src *source, data []byte) bool {
	for i, line := range src.lines {
		for col, rest := 1, line; rest != ""; col++ {
			r, size := utf8.DecodeRuneInString(rest)
			if (r == utf8.RuneError && size == 1) || (r < ' ' && r != '\t') || r == 0x7f {
				found.note(place{src, i + 1, col}, "", fmt.Sprintf("the file is not plain text: byte 0x%02x", rest[0]), "save it as UTF-8")
				return false
			}
			rest = rest[size:]
		}
	}
	return utf8.Valid(data)
}

// parseYAML answers the only document of a file, or reports why it cannot.
func parseYAML(found *report, src *source, data []byte) *yaml.Node {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		found.note(src.at(1, 1), "", err.Error(), "")
		return nil
	}
	var first, second yaml.Node
	if err := loader.Load(&first); err != nil && !errors.Is(err, io.EOF) {
		syntax(found, src, err)
		return nil
	}
	switch err := loader.Load(&second); {
	case err == nil:
		begin := second
		if len(second.Content) > 0 && second.Line < 1 {
			begin = *second.Content[0]
		}
		found.note(src.at(begin.Line, begin.Column), "", "a second document begins here",
			"one file holds one document: put the other in a file of its own and name both with -c")
	case !errors.Is(err, io.EOF):
		syntax(found, src, err)
	}
	return rootOf(found, src, &first)
}

// rootOf answers the map at the root of a document.
func rootOf(found *report, src *source, doc *yaml.Node) *yaml.Node {
	if len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
		found.note(place{src, 1, 1}, "", "the file is empty", "a file begins with: version: 1")
		return nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		found.note(src.at(root.Line, root.Column), "", "the file must be a map of keys", "a file begins with: version: 1")
		return nil
	}
	return root
}

// syntax reports what the YAML parser could not read. It stops at the first.
func syntax(found *report, src *source, err error) {
	line, col, message := 0, 0, err.Error()
	if one := (*yaml.LoadError)(nil); errors.As(err, &one) {
		line, col, message = one.Mark.Line, one.Mark.Column, one.Message
	}
	where := src.at(line, col)
	found.note(where, "", "not valid YAML: "+message, syntaxHint(src.line(where.line), message))
}

func syntaxHint(line, message string) string {
	text := strings.TrimLeft(line, " \t")
	switch {
	case strings.Contains(line, "${") && strings.ContainsAny(line, "{[") && strings.Contains(message, "did not find expected"):
		return `inside { } and [ ] a variable must be quoted: "${NAME}"`
	case strings.Contains(line[:len(line)-len(text)], "\t"):
		return "indent with spaces, not with tabs"
	case strings.Contains(message, "mapping values are not allowed"):
		return "put a value that holds a colon and a space in quotes, and check the indentation"
	case strings.Contains(message, "unexpected end of stream"):
		return "a quote is not closed"
	case strings.Contains(message, "unknown anchor"):
		return "define it with & before it is used, or put a value that begins with * in quotes"
	}
	return ""
}
