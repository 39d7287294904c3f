package config

import (
	"encoding"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/anywire/anywire/config/value"
)

// Print writes the effective configuration as YAML: every default filled in,
// every secret as ***. Secret are the values of Secret fields that
// [Config.Decode] has seen, passwords in URLs, the content of files, and what a
// key with a name such as password or token holds.
func (c *Config) Print(w io.Writer) error {
	defer c.lock()()
	e := c.effective()
	tree := c.dump(reflect.ValueOf(*e), "", "")
	text, err := yaml.Dump(tree.yaml(), yaml.WithFlowSimpleCollections(false), yaml.WithLineWidth(-1))
	if err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	if _, err := w.Write(text); err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	return nil
}

// effective answers a copy with every default filled in.
func (c *Config) effective() *Config {
	e := *c
	fillDefaults(reflect.ValueOf(&e).Elem())
	e.Defaults = c.Defaults.filled()
	e.Transports = maps.Clone(c.Transports)
	if e.Transports == nil {
		e.Transports = map[string]Transport{}
	}
	if _, ok := e.Transports[e.Transport]; !ok && e.Transport == Memory {
		e.Transports[Memory] = Transport{}
	}
	for name, entry := range e.Transports {
		entry.Kind, _ = e.Kind(name)
		e.Transports[name] = entry
	}
	e.Stores = maps.Clone(c.Stores)
	for name, entry := range e.Stores {
		entry.Kind, _ = c.StoreKind(name)
		e.Stores[name] = entry
	}
	w := c.wires()
	e.Topics = maps.Clone(c.Topics)
	for name, topic := range e.Topics {
		if on, err := w.where(name); err == nil {
			topic.Transport = on
		}
		e.Topics[name] = topic
	}
	e.Agents = maps.Clone(c.Agents)
	for name := range e.Agents {
		e.Agents[name] = w.agent(name)
	}
	return &e
}

// dump makes a tree of a Go value, with secrets masked, or nil of one that says
// nothing. The note is kept at what no file gives.
func (c *Config) dump(v reflect.Value, path, note string) *node {
	switch {
	case v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return c.dump(v.Elem(), path, note)
	case v.Type() == reflect.TypeFor[Section]():
		section, _ := reflect.TypeAssert[Section](v)
		return c.masked(section.node, path)
	case isText(v.Type()) || v.Type() == reflect.TypeFor[time.Duration]():
		return c.dumpText(v, note)
	}
	return c.dumpPlain(v, path, note)
}

func (c *Config) dumpPlain(v reflect.Value, path, note string) *node {
	switch v.Kind() {
	case reflect.Struct:
		return c.dumpBlock(v, path)
	case reflect.Map:
		n := &node{kind: mapNode}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		for _, key := range keys {
			name := fmt.Sprint(key)
			if child := c.dump(v.MapIndex(key), join(path, name), note); child != nil {
				n.set(name, child)
			}
		}
		return n
	case reflect.Slice:
		n := &node{kind: listNode}
		for i := range v.Len() {
			if child := c.dump(v.Index(i), index(path, i), note); child != nil {
				n.entries = append(n.entries, child)
			}
		}
		return n
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return nil
	case reflect.String:
		return &node{text: c.redact(v.String(), path), tag: "!!str", note: note}
	default:
		return &node{text: fmt.Sprint(v), note: note}
	}
}

// dumpBlock makes a map of a struct. Fields that are not given are left out;
// those that [Retry] gives as 0 are pointers, and given.
func (c *Config) dumpBlock(v reflect.Value, path string) *node {
	n := &node{kind: mapNode}
	for _, f := range fieldsOf(v.Type()) {
		inner := f.in(v)
		if f.rest {
			c.dumpRest(n, inner, path)
			continue
		}
		note := "default"
		if computed := f.tag.Get("computed"); computed != "" {
			note = computed
		}
		if _, ok := f.tag.Lookup("default"); inner.IsZero() && (!ok || f.typ.Kind() != reflect.Bool) {
			continue
		}
		if child := c.dump(inner, join(path, f.name), note); child != nil && !child.isEmpty() {
			n.set(f.name, child)
		}
	}
	return n
}

// dumpRest adds the options of a transport to its entry.
func (c *Config) dumpRest(n *node, v reflect.Value, path string) {
	options := c.dump(v, path, "default")
	if options == nil || options.kind != mapNode {
		return
	}
	for _, name := range options.names {
		n.set(name, options.fields[name])
	}
}

func (n *node) isEmpty() bool {
	return n.kind != scalarNode && len(n.names) == 0 && len(n.entries) == 0
}

func (c *Config) dumpText(v reflect.Value, note string) *node {
	if d, ok := reflect.TypeAssert[time.Duration](v); ok {
		return &node{text: value.Duration(d).String(), tag: "!!str", note: note}
	}
	writer, ok := reflect.TypeAssert[encoding.TextMarshaler](v)
	if !ok {
		return nil
	}
	text, err := writer.MarshalText()
	if err != nil {
		return nil
	}
	return &node{text: string(text), tag: "!!str", note: note}
}

// masked copies what a file says, without its secrets.
func (c *Config) masked(n *node, path string) *node {
	if n == nil {
		return nil
	}
	shown := *n
	shown.fields, shown.entries = nil, nil
	switch n.kind {
	case scalarNode:
		if hidden := c.redact(n.text, path); hidden != n.text {
			shown.text, shown.tag = hidden, "!!str"
		}
	case listNode:
		for i, entry := range n.entries {
			shown.entries = append(shown.entries, c.masked(entry, index(path, i)))
		}
	case mapNode:
		shown.names = nil
		for _, name := range n.names {
			shown.set(name, c.masked(n.fields[name], join(path, name)))
		}
	}
	return &shown
}

// redact answers a text as it may be shown at a path.
func (c *Config) redact(text, path string) string {
	key := path[strings.LastIndexByte(path, '.')+1:]
	if text != "" && (isSensitive(key) || c.isSecret(path)) {
		return "***"
	}
	return maskURL(text)
}

// isSecret reports whether a path was decoded into a secret, or holds what came
// out of a file.
func (c *Config) isSecret(path string) bool {
	if c.doc == nil {
		return false
	}
	n, exact := c.doc.root.find(path)
	return c.doc.secrets[path] || exact && n.fromFile()
}

// yaml makes nodes for the YAML writer. A dollar sign is doubled, so that what
// is printed reads as the same again.
func (n *node) yaml() *yaml.Node {
	switch n.kind {
	case listNode:
		y := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, entry := range n.entries {
			y.Content = append(y.Content, entry.yaml())
		}
		return y
	case mapNode:
		y := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, name := range n.names {
			key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}
			y.Content = append(y.Content, key, n.fields[name].yaml())
		}
		return y
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: n.yamlTag(), Value: strings.ReplaceAll(n.text, "$", "$$")}
	}
}
