package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// The bounds of a file's structure. They are far beyond any configuration and
// far below what hurts.
const (
	maxDepth   = 100
	maxAliased = 10_000
)

type nodeKind uint8

const (
	scalarNode nodeKind = iota
	listNode
	mapNode
)

func (k nodeKind) String() string {
	return [...]string{"a single value", "a list", "a map of keys"}[k]
}

// node is one value of the configuration: what a file says, with aliases and
// merge keys resolved, later files laid over earlier ones and variables
// replaced, and still knowing where each part came from.
type node struct {
	kind nodeKind
	at   place // where the value begins
	key  place // where its key begins; none for entries of lists

	raw    string // a scalar as it was written, without quotes
	text   string // a scalar after variables were replaced
	tag    string // its YAML type, if it was given or quoted; empty: by its text
	uses   []use  // the variables it is made of
	broken bool   // a problem of it has been reported
	note   string // for a value that no file gives: how it came about

	names   []string // the keys of a map in their order
	fields  map[string]*node
	spare   map[string][]*node // the later ones of duplicate keys, to be checked only
	entries []*node            // of a list
}

func plainScalar(text string) *node { return &node{kind: scalarNode, raw: text, text: text} }

func (n *node) set(name string, child *node) {
	if n.fields == nil {
		n.fields = map[string]*node{}
	}
	if n.fields[name] == nil {
		n.names = append(n.names, name)
	}
	n.fields[name] = child
}

// isNull reports whether a value was left out, or is null.
func (n *node) isNull() bool {
	return n.kind == scalarNode && n.yamlTag() == "!!null"
}

// yamlTag answers the type that YAML gives a scalar: by its quotes or tag, else
// by the parser's own reading of its text.
func (n *node) yamlTag() string {
	if n.tag != "" {
		return n.tag
	}
	var plain any
	leaf := yaml.Node{Kind: yaml.ScalarNode, Value: n.text}
	if err := leaf.Load(&plain); err != nil {
		return "!!str"
	}
	switch plain.(type) {
	case nil:
		return "!!null"
	case bool:
		return "!!bool"
	case int, int64, uint64:
		return "!!int"
	case float64:
		return "!!float"
	}
	return "!!str"
}

// where answers the place that stands for the whole value: the key of a map or
// list, the beginning of anything else.
func (n *node) where() place {
	if n.key.src != nil && (n.kind != scalarNode || n.raw == "") {
		return n.key
	}
	return n.at
}

// start answers where the value begins: at its key, if it stands on other lines.
func (n *node) start() place {
	if n.key.src != nil && n.key.line != n.at.line {
		return n.where()
	}
	return n.at
}

// planter turns the nodes of the YAML parser into a tree of ours.
type planter struct {
	*report

	src     *source
	active  map[*yaml.Node]bool // anchors that are being planted
	aliases []spot              // that are being expanded, the outermost first
	aliased int                 // nodes that aliases made
	refused bool                // an alias bomb or depth was reported
}

// spot is a value before there is a node of it.
type spot struct {
	place

	path string
}

// plant answers nil where nothing can be made of a node.
func (p *planter) plant(y *yaml.Node, path string, depth int) *node {
	if p.refused {
		return nil
	}
	where := p.src.at(y.Line, y.Column)
	if depth > maxDepth {
		p.refuse(spot{where, path}, fmt.Sprintf("nested deeper than %d levels", maxDepth), "")
		return nil
	}
	if len(p.aliases) > 0 {
		if p.aliased++; p.aliased > maxAliased {
			p.refuse(p.aliases[0], fmt.Sprintf("aliases expand to more than %d values", maxAliased),
				"write the values out, or use fewer aliases of aliases")
			return nil
		}
	}
	if y.Anchor != "" {
		p.active[y] = true
		defer delete(p.active, y)
	}
	if !p.knownTag(y, where, path) {
		return &node{kind: scalarNode, at: where, broken: true}
	}
	switch y.Kind {
	case yaml.AliasNode:
		return p.plantAlias(y, where, path, depth)
	case yaml.MappingNode:
		return p.plantMap(y, where, path, depth)
	case yaml.SequenceNode:
		n := &node{kind: listNode, at: where}
		for i, item := range y.Content {
			if entry := p.plant(item, index(path, i), depth+1); entry != nil {
				n.entries = append(n.entries, entry)
			}
		}
		return n
	default:
		return &node{kind: scalarNode, at: where, raw: y.Value, text: y.Value, tag: givenTag(y)}
	}
}

// refuse reports what makes the rest of a file pointless to read.
func (p *planter) refuse(at spot, message, hint string) {
	p.at(at.place, at.path, message, hint)
	p.refused = true
}

// knownTag refuses tags that name types of other programs.
func (p *planter) knownTag(y *yaml.Node, where place, path string) bool {
	if y.Style&yaml.TaggedStyle == 0 && y.Tag != "!" {
		return true
	}
	known := []string{"!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq"}
	if slices.Contains(known, y.ShortTag()) && y.Tag != "!" {
		return true
	}
	p.at(where, path, fmt.Sprintf("the tag %s is not supported", y.Tag), "remove the tag: a field has one type")
	return false
}

// givenTag answers the type that a scalar has by its quotes or its tag.
func givenTag(y *yaml.Node) string {
	const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if y.Style&yaml.TaggedStyle != 0 {
		return y.ShortTag()
	}
	if y.Style&quoted != 0 {
		return "!!str"
	}
	return ""
}

func (p *planter) plantAlias(y *yaml.Node, where place, path string, depth int) *node {
	if p.active[y.Alias] {
		p.at(where, path, fmt.Sprintf("the alias *%s stands inside what it refers to", y.Value), "")
		return &node{kind: scalarNode, at: where, broken: true}
	}
	p.aliases = append(p.aliases, spot{where, path})
	defer func() { p.aliases = p.aliases[:len(p.aliases)-1] }()
	return p.plant(y.Alias, path, depth+1)
}

func (p *planter) plantMap(y *yaml.Node, where place, path string, depth int) *node {
	n := &node{kind: mapNode, at: where}
	var merges []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, val := y.Content[i], y.Content[i+1]
		keyAt := p.src.at(key.Line, key.Column)
		if key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
			merges = append(merges, val)
			continue
		}
		name, ok := p.keyName(key, keyAt, path)
		if !ok {
			continue
		}
		if child := p.plant(val, join(path, name), depth+1); child != nil {
			child.key = keyAt
			p.adopt(n, name, child, path)
		}
	}
	for _, m := range merges {
		p.merge(n, m, path, depth)
	}
	return n
}

// keyName answers the text of a key; lists and maps cannot be keys.
func (p *planter) keyName(key *yaml.Node, where place, path string) (string, bool) {
	if key.Kind == yaml.AliasNode && key.Alias.Kind == yaml.ScalarNode {
		return key.Alias.Value, true
	}
	switch {
	case key.Kind != yaml.ScalarNode:
		p.at(where, path, "a key must be a single word, not a list or a map", "")
		return "", false
	case key.Value == "":
		p.at(where, path, "a key is empty", "")
		return "", false
	}
	return key.Value, true
}

// adopt adds a child, or keeps it aside where its name is taken.
func (p *planter) adopt(n *node, name string, child *node, path string) {
	first := n.fields[name]
	if first == nil {
		n.set(name, child)
		return
	}
	message := fmt.Sprintf("duplicate key %q: the first is at line %d, column %d", name, first.key.line, first.key.col)
	p.note(child.key, path, message, "keep one of them")
	if n.spare == nil {
		n.spare = map[string][]*node{}
	}
	n.spare[name] = append(n.spare[name], child)
}

// merge fills n from what a merge key << names; what n says itself stays.
func (p *planter) merge(n *node, y *yaml.Node, path string, depth int) {
	from := p.plant(y, path, depth+1)
	if from == nil || from.broken {
		return
	}
	sources := []*node{from}
	if from.kind == listNode {
		sources = from.entries
	}
	for _, s := range sources {
		if s.kind != mapNode {
			p.at(p.src.at(y.Line, y.Column), path, "a merge key << needs an alias of a map, or a list of such", "")
			return
		}
		for _, name := range s.names {
			if n.fields[name] == nil {
				n.set(name, s.fields[name])
			}
		}
	}
}

// overlay lays over on top of base: maps merge, everything else replaces. A key
// without a value takes nothing away from a map.
func overlay(base, over *node) *node {
	if base.kind == mapNode && over.isNull() && !over.broken {
		return base
	}
	if base.kind != mapNode || over.kind != mapNode {
		return over
	}
	for _, name := range over.names {
		if below := base.fields[name]; below != nil {
			base.fields[name] = overlay(below, over.fields[name])
		} else {
			base.set(name, over.fields[name])
		}
	}
	for name, spare := range over.spare {
		if base.spare == nil {
			base.spare = map[string][]*node{}
		}
		base.spare[name] = append(base.spare[name], spare...)
	}
	return base
}

// find answers the value at a path, or the deepest one on the way to it.
// Names may hold dots, so every key that fits is tried.
func (n *node) find(path string) (found *node, exact bool) {
	if path == "" {
		return n, true
	}
	path = strings.TrimPrefix(path, ".")
	best := n
	for i, child := range n.children(path) {
		deepest, exact := child.node.find(path[len(child.name):])
		if exact {
			return deepest, true
		}
		if i == 0 {
			best = deepest
		}
	}
	return best, false
}

type named struct {
	name string
	node *node
}

// children lists the values whose names a path may begin with, the longest
// first.
func (n *node) children(path string) []named {
	var list []named
	for end := len(path); end > 0; end = strings.LastIndexAny(path[:end], ".[") {
		name := path[:end]
		if child := n.fields[name]; child != nil {
			list = append(list, named{name, child})
		} else if child := n.entry(name); child != nil {
			list = append(list, named{name, child})
		}
	}
	return list
}

// entry answers the entry of a list that is written [i].
func (n *node) entry(name string) *node {
	i, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"))
	if err != nil || i < 0 || i >= len(n.entries) || name != index("", i) {
		return nil
	}
	return n.entries[i]
}

// join and index make the path of a child.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
