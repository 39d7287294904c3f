package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/anywire/anywire/config/value"
)

// decoder fills Go values from the tree, strictly, and reports everything that
// does not fit.
type decoder struct {
	*report

	secrets map[string]bool // paths that held secrets; may be nil
}

// value fills v from n.
func (d *decoder) value(n *node, v reflect.Value, path string) {
	switch {
	case n.broken:
		return
	case v.Kind() == reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		d.value(n, target.Elem(), path)
		v.Set(target)
	case isText(v.Type()):
		d.text(n, v, path)
	case v.Type() == reflect.TypeFor[time.Duration]():
		d.duration(n, v, path)
	default:
		d.plain(n, v, path)
	}
}

// plain fills what has no text of its own.
func (d *decoder) plain(n *node, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Struct:
		d.block(n, v, path)
	case reflect.Map:
		d.table(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Interface:
		if free := d.free(n); free != nil {
			v.Set(reflect.ValueOf(free))
		}
	case reflect.String:
		d.string(n, v, path)
	case reflect.Bool:
		d.scalar(n, v, path, "true or false", "!!bool")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		d.scalar(n, v, path, "a whole number", "!!int")
	case reflect.Float32, reflect.Float64:
		d.scalar(n, v, path, "a number", "!!float", "!!int")
	default:
		d.at(n.where(), path, "this field cannot be set in a file", "set it in Go")
	}
}

// block fills a struct from a map.
func (d *decoder) block(n *node, v reflect.Value, path string) {
	if !d.isA(n, mapNode, path) {
		return
	}
	fields := map[string]field{}
	var names []string
	var rest *field
	for _, f := range fieldsOf(v.Type()) {
		if f.rest {
			rest = &f
			continue
		}
		fields[f.name] = f
		names = append(names, f.name)
	}
	section := &node{kind: mapNode, at: n.at, key: n.key}
	for _, name := range n.names {
		f, known := fields[name]
		switch {
		case known:
			d.value(n.fields[name], f.in(v), join(path, name))
			d.spares(n.spare[name], f.typ, join(path, name))
		case rest != nil:
			section.set(name, n.fields[name])
		default:
			d.veil(n.fields[name], v.Type(), join(path, name))
			d.unknown(n.fields[name], name, path, names, later(v.Type()))
		}
	}
	if rest != nil {
		rest.in(v).Set(reflect.ValueOf(Section{node: section}))
	}
}

// spares reports what is wrong inside the later ones of duplicate keys.
func (d *decoder) spares(spare []*node, t reflect.Type, path string) {
	for _, n := range spare {
		d.value(n, reflect.New(t).Elem(), path)
	}
}

func (d *decoder) unknown(n *node, name, path string, names, later []string) {
	var hint string
	switch near := suggest(name, names); {
	case contains(later, name):
		hint = "this version does not support it yet: remove it"
	case near != "":
		hint = fmt.Sprintf("did you mean %q?", near)
		d.fail(join(path, near))
	default:
		hint = "the keys here are " + strings.Join(names, ", ")
	}
	d.note(n.key, path, fmt.Sprintf("unknown key %q", name), hint)
}

// table fills a Go map from a map.
func (d *decoder) table(n *node, v reflect.Value, path string) {
	if !d.isA(n, mapNode, path) {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	if v.Type().Key().Kind() != reflect.String {
		d.at(n.where(), path, "this field cannot be set in a file", "set it in Go")
		return
	}
	for _, name := range n.names {
		entry := reflect.New(v.Type().Elem()).Elem()
		d.value(n.fields[name], entry, join(path, name))
		d.spares(n.spare[name], v.Type().Elem(), join(path, name))
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), entry)
	}
}

func (d *decoder) list(n *node, v reflect.Value, path string) {
	if !d.isA(n, listNode, path) {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.entries), len(n.entries)))
	for i, entry := range n.entries {
		d.value(entry, v.Index(i), index(path, i))
	}
}

// isA reports whether a value has the structure that its field needs. A key
// without a value is an empty map or list.
func (d *decoder) isA(n *node, kind nodeKind, path string) bool {
	if n.kind == kind {
		return true
	}
	if n.isNull() && len(n.uses) == 0 {
		return false
	}
	hint := ""
	switch {
	case len(n.uses) > 0:
		hint = "a variable gives a single value, never a list or a map"
	case kind == listNode && n.kind == scalarNode:
		hint = fmt.Sprintf("write [%s]", d.show(n, path))
	}
	d.at(n.start(), path, fmt.Sprintf("must be %s, not %s", kind, n.kind), hint)
	return false
}

// isScalar reports whether a value is a single one, and given.
func (d *decoder) isScalar(n *node, path, want string) bool {
	switch {
	case n.kind != scalarNode:
		d.at(n.start(), path, fmt.Sprintf("must be %s, not %s", want, n.kind), "")
	case n.isNull() && len(n.uses) == 0:
		d.at(n.where(), path, "has no value", "give "+want+", or remove the key")
	default:
		return true
	}
	return false
}

// text fills what reads its own text.
func (d *decoder) text(n *node, v reflect.Value, path string) {
	if v.Type() == reflect.TypeFor[value.Secret]() {
		d.secret(n, path)
	}
	if !d.isScalar(n, path, "a single value") {
		return
	}
	reader, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	if !ok {
		return
	}
	if err := reader.UnmarshalText([]byte(n.text)); err != nil {
		d.misfit(n, path, err.Error())
	}
}

// secret remembers a path as secret and hides what the file says there.
func (d *decoder) secret(n *node, path string) {
	if d.secrets != nil {
		d.secrets[path] = true
	}
	if n.at.src != nil && n.kind == scalarNode {
		n.at.src.hide(n)
	}
}

// veil hides what stands at an unknown key of a struct that has secrets: the key
// may be that of one of them, misspelled.
func (d *decoder) veil(n *node, of reflect.Type, path string) {
	if !slices.ContainsFunc(fieldsOf(of), func(f field) bool { return f.typ == reflect.TypeFor[value.Secret]() }) {
		return
	}
	d.secret(n, path)
	for _, name := range n.names {
		d.veil(n.fields[name], of, join(path, name))
	}
	for i, entry := range n.entries {
		d.veil(entry, of, index(path, i))
	}
}

func (d *decoder) duration(n *node, v reflect.Value, path string) {
	if !d.isScalar(n, path, "a duration such as 30s") {
		return
	}
	parsed, err := value.ParseDuration(n.text)
	if err != nil {
		d.misfit(n, path, err.Error())
		return
	}
	v.SetInt(int64(time.Duration(parsed)))
}

func (d *decoder) string(n *node, v reflect.Value, path string) {
	if !d.isScalar(n, path, "a text") {
		return
	}
	if tag := n.yamlTag(); len(n.uses) == 0 && tag != "!!str" {
		d.at(n.at, path, "must be a text, not "+kindOfTag(tag), fmt.Sprintf("put it in quotes: %q", n.text))
		return
	}
	v.SetString(n.text)
}

// scalar fills numbers and booleans; YAML's own rules read them.
func (d *decoder) scalar(n *node, v reflect.Value, path, want string, tags ...string) {
	if !d.isScalar(n, path, want) {
		return
	}
	tag := n.yamlTag()
	if !contains(tags, tag) {
		d.misfit(n, path, fmt.Sprintf("must be %s, not %s", want, d.show(n, path)))
		return
	}
	leaf := yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: n.text}
	if err := leaf.Load(v.Addr().Interface()); err != nil {
		d.misfit(n, path, fmt.Sprintf("%s does not fit: it must be %s of %d bits", d.show(n, path), want, v.Type().Bits()))
	}
}

// misfit reports a value that its field cannot take. What came out of a file is
// not repeated.
func (d *decoder) misfit(n *node, path, message string) {
	hint := ""
	if n.fromFile() {
		message = misfitOfFile
	}
	if len(n.uses) > 0 {
		hint = "the value comes from " + n.uses[0].shown()
	}
	d.at(n.at, path, message, hint)
}

// show quotes a value for a message, unless it is secret.
func (d *decoder) show(n *node, path string) string {
	if n.kind != scalarNode || n.fromFile() || d.secrets[path] || isSensitive(path) {
		return n.kind.String()
	}
	if n.yamlTag() == "!!str" || len(n.uses) > 0 {
		return quoteRaw(n.text)
	}
	return maskURL(n.text)
}

// free makes plain Go values, for fields of any type.
func (d *decoder) free(n *node) any {
	switch n.kind {
	case listNode:
		list := make([]any, len(n.entries))
		for i, entry := range n.entries {
			list[i] = d.free(entry)
		}
		return list
	case mapNode:
		table := make(map[string]any, len(n.names))
		for _, name := range n.names {
			table[name] = d.free(n.fields[name])
		}
		return table
	}
	leaf := yaml.Node{Kind: yaml.ScalarNode, Tag: n.tag, Value: n.text}
	var free any
	if err := leaf.Load(&free); err != nil {
		return n.text
	}
	return free
}

func kindOfTag(tag string) string {
	switch tag {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	}
	return "a value of type " + strings.TrimPrefix(tag, "!!")
}
