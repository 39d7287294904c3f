package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/anywire/anywire/config/value"
)

// aVariable matches a text in which a variable stands: what a field takes
// instead of its own form.
const aVariable = `\$\{`

// schema is one JSON Schema; encoding/json sorts its keys.
type schema map[string]any

// Schema answers the JSON Schema (draft 2020-12) of the file, for editors and
// for other languages. Kinds and stores are the Options structs of the kinds of
// transports and of stores by the kind's name; their yaml, doc, default, example, computed and enum tags
// describe the keys of an entry. The kind memory, which has no options, is known
// without being named.
//
// The schema accepts what [Load] accepts, as far as a file can be judged without
// its variables and without what its values mean together.
func Schema(kinds, stores map[string]reflect.Type) ([]byte, error) {
	kinds = maps.Clone(kinds)
	if kinds == nil {
		kinds = map[string]reflect.Type{}
	}
	if kinds[Memory] == nil {
		kinds[Memory] = reflect.TypeFor[struct{}]()
	}
	s := schemaOf(reflect.TypeFor[Config]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "anywire configuration"
	s["description"] = "who consumes and produces what, on which transports, under which policies"
	s["type"] = "object"
	s["required"] = []string{"version"}
	transports, records := entries[Transport]("transport", kinds), entries[Store]("store", stores)
	defs := transports.schemas()
	maps.Copy(defs, records.schemas())
	s["$defs"] = defs
	if properties, ok := s["properties"].(schema); ok {
		if block, ok := properties["transports"].(schema); ok {
			maps.Copy(block, transports.block())
		}
		if block, ok := properties["stores"].(schema); ok {
			maps.Copy(block, records.block())
		}
		if version, ok := properties["version"].(schema); ok {
			version["anyOf"] = []schema{{"const": 1}, {"type": "string", "pattern": aVariable}}
		}
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the JSON Schema: %w", err)
	}
	return append(text, '\n'), nil
}

// entryKinds are the kinds that entries of one block may be of.
type entryKinds struct {
	what  string       // an entry is
	entry reflect.Type // what it has whatever its kind
	kinds map[string]reflect.Type
}

func entries[T any](what string, kinds map[string]reflect.Type) entryKinds {
	return entryKinds{what, reflect.TypeFor[T](), kinds}
}

// block says that an entry is of the kind that it names, or else of the kind that
// its own name names.
func (e entryKinds) block() schema {
	byName := schema{}
	for kind := range e.kinds {
		byName[kind] = schema{
			"if":   schema{"type": "object", "required": []string{"kind"}},
			"then": schema{"$ref": "#/$defs/" + e.what},
			"else": schema{"$ref": "#/$defs/" + e.what + "-" + kind},
		}
	}
	return schema{"properties": byName, "additionalProperties": schema{"$ref": "#/$defs/" + e.what}}
}

// schemas describes an entry that names its kind, and one of each kind.
func (e entryKinds) schemas() schema {
	names := slices.Sorted(maps.Keys(e.kinds))
	defs := schema{}
	var choices []schema
	for _, kind := range names {
		entry := schemaOf(e.entry)
		options := schemaOf(e.kinds[kind])
		into, _ := entry["properties"].(schema)
		from, _ := options["properties"].(schema)
		own := into["kind"]
		maps.Copy(into, from)
		into["kind"] = own
		entry["description"] = "a " + e.what + " of kind " + kind
		defs[e.what+"-"+kind] = entry
		choices = append(choices, schema{
			"if":   schema{"properties": schema{"kind": schema{"const": kind}}},
			"then": schema{"$ref": "#/$defs/" + e.what + "-" + kind},
		})
	}
	def := schema{
		"description": "a " + e.what + " that names its kind",
		"type":        "object",
		"required":    []string{"kind"},
		"properties":  schema{"kind": schema{"description": "kind of the " + e.what, "anyOf": kindChoices(names)}},
	}
	if len(choices) > 0 {
		def["allOf"] = choices
	}
	defs[e.what] = def
	return defs
}

func kindChoices(names []string) []schema {
	variable := schema{"type": "string", "pattern": aVariable}
	if len(names) == 0 {
		return []schema{variable}
	}
	return []schema{{"enum": names}, variable}
}

// schemaOf describes what a Go type takes.
func schemaOf(t reflect.Type) schema {
	switch {
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem())
	case t == reflect.TypeFor[value.Size]():
		return schema{"type": []string{"string", "integer"}, "minimum": 0, "pattern": `^\s*\d+(\.\d+)?\s*([kKmMgGtT]i?)?[bB]?\s*$|` + aVariable}
	case t == reflect.TypeFor[value.Duration](), t == reflect.TypeFor[time.Duration]():
		return schema{"type": "string", "pattern": `^\s*` + durationPattern + `\s*$|` + aVariable}
	case t == reflect.TypeFor[value.Rate]():
		return schema{"type": []string{"string", "number"}, "minimum": 0, "pattern": `^\s*(\d+\.?\d*|\.\d+)\s*(/\s*[smh]\s*)?$|` + aVariable}
	case t == reflect.TypeFor[value.Count]():
		return schema{"type": []string{"string", "integer"}, "minimum": 0, "pattern": `^\s*\d+[kKMG]?\s*$|` + aVariable}
	case t == reflect.TypeFor[value.Range]():
		return schema{"type": "string", "pattern": `^\s*` + durationPattern + `\s*(\.\.\s*` + durationPattern + `\s*)?$|` + aVariable}
	case isText(t):
		return schema{"type": []string{"string", "number", "boolean"}}
	}
	return plainSchema(t)
}

// durationPattern is the text of a duration: days, hours and less, or 0.
const (
	clockPattern    = `(\d+\.?\d*|\.\d+)(h|m|s|ms|us|µs|μs|ns)`
	durationPattern = `(0|\d+(\.\d+)?d(` + clockPattern + `)*|(` + clockPattern + `)+)`
)

func plainSchema(t reflect.Type) schema {
	switch t.Kind() {
	case reflect.Struct:
		return blockSchema(t)
	case reflect.Map:
		return schema{"type": []string{"object", "null"}, "additionalProperties": schemaOf(t.Elem())}
	case reflect.Slice:
		return schema{"type": []string{"array", "null"}, "items": schemaOf(t.Elem())}
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Bool:
		return orVariable("boolean")
	case reflect.Float32, reflect.Float64:
		return orVariable("number")
	case reflect.Interface:
		return schema{}
	default:
		return orVariable("integer")
	}
}

func orVariable(typ string) schema {
	return schema{"type": []string{typ, "string"}, "pattern": aVariable}
}

func blockSchema(t reflect.Type) schema {
	properties := schema{}
	for _, f := range fieldsOf(t) {
		if !f.rest {
			properties[f.name] = f.schema()
		}
	}
	return schema{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}

// schema describes one key from its type and its tags.
func (f field) schema() schema {
	s := schemaOf(f.typ)
	text := f.tag.Get("doc")
	if computed := f.tag.Get("computed"); computed != "" {
		text += "; default: " + computed
	}
	if text != "" {
		s["description"] = text
	}
	if allowed := f.enum(); allowed != nil {
		delete(s, "type")
		s["anyOf"] = []schema{{"enum": allowed}, {"type": "string", "pattern": aVariable}}
	}
	if preset, ok := f.tag.Lookup("default"); ok {
		s["default"] = f.sample(preset)
	}
	if example, ok := f.tag.Lookup("example"); ok {
		s["examples"] = []any{f.sample(example)}
	}
	return s
}

// sample reads the text of a default or an example as the file would.
func (f field) sample(text string) any {
	t := f.typ
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var plain any
	if t.Kind() == reflect.String || isText(t) || strings.Contains(text, "${") || yaml.Load([]byte(text), &plain) != nil {
		return text
	}
	return plain
}
