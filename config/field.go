package config

import (
	"encoding"
	"reflect"
	"strings"
)

// field is one key of a struct that a map of the file fills, as its tags
// describe it.
type field struct {
	name string
	typ  reflect.Type
	path []int
	tag  reflect.StructTag
	rest bool // takes every key that no other field has
}

func (f field) in(v reflect.Value) reflect.Value { return v.FieldByIndex(f.path) }

func (f field) enum() []string {
	if list := f.tag.Get("enum"); list != "" {
		return strings.Split(list, "|")
	}
	return nil
}

// fieldsOf lists the keys of a struct in the order of its fields; those of an
// inlined struct stand where it stands.
func fieldsOf(t reflect.Type) []field {
	var list []field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || (!sf.IsExported() && !sf.Anonymous):
			continue
		case strings.Contains(options, "inline"):
			for _, inner := range fieldsOf(sf.Type) {
				inner.path = append([]int{i}, inner.path...)
				list = append(list, inner)
			}
			continue
		case name == "":
			name = strings.ToLower(sf.Name)
		}
		list = append(list, field{name: name, typ: sf.Type, path: []int{i}, tag: sf.Tag, rest: strings.Contains(options, "rest")})
	}
	return list
}

// later lists the keys that the design gives a struct and this version does not
// have yet, so that the error can say so.
func later(t reflect.Type) []string {
	switch t {
	case reflect.TypeFor[Config]():
		return []string{"gateways"}
	case reflect.TypeFor[Agent]():
		return []string{"accepts", "sends"}
	}
	return nil
}

// isText reports whether a type reads its own text.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// isBlock reports whether a type is a struct with keys of its own.
func isBlock(t reflect.Type) bool { return t.Kind() == reflect.Struct && !isText(t) }

// fillDefaults sets the zero fields of a struct, at any depth, to what their
// default tags say.
func fillDefaults(v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		target := f.in(v)
		if isBlock(f.typ) {
			fillDefaults(target)
			continue
		}
		if text, ok := f.tag.Lookup("default"); ok && target.IsZero() {
			var ignored report
			(&decoder{report: &ignored}).value(plainScalar(text), target, "")
		}
	}
}

// overlayZero sets the zero fields of a struct, at any depth, to those of
// another one of the same type.
func overlayZero(v, from reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		target := f.in(v)
		switch {
		case isBlock(f.typ):
			overlayZero(target, f.in(from))
		case target.IsZero():
			target.Set(f.in(from))
		}
	}
}
