package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Section is what a file says at an entry of a transport or store beside kind and prefix: the
// options of a kind that this package does not know. [Config.Decode] reads it.
type Section struct{ node *node }

// Keys lists the keys that the file gives, in their order.
func (s Section) Keys() []string {
	if s.node == nil {
		return nil
	}
	return slices.Clone(s.node.names)
}

// String tells how much there is, and nothing of what: it may be secret.
func (s Section) String() string { return fmt.Sprintf("%d options", len(s.Keys())) }

// Decode fills into, a pointer to the Options struct of a kind, from the
// entry at path, such as transports.redis or stores.ledger: strictly, by the struct's
// yaml tags, and checking enum tags. Fields that the file does not give keep
// their values. The error is a [Problems] with everything that does not fit.
//
// In a literal the Options of the entry are copied to into, which must be of the
// same type. Decode also remembers which values were [value.Secret], so that
// [Config.Print] and problems mask them.
func (c *Config) Decode(path string, into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() || target.Elem().Kind() != reflect.Struct {
		return Problems{c.Problem(path, fmt.Sprintf("cannot fill a %T: it is no pointer to a struct", into), "")}
	}
	options := c.optionsAt(path)
	if options == nil {
		return nil
	}
	section, ok := options.(Section)
	if !ok {
		return c.copyOptions(path, options, target.Elem())
	}
	if section.node == nil {
		return nil
	}
	defer c.lock()()
	found := &report{}
	decoder := &decoder{report: found}
	if c.doc != nil {
		decoder.secrets = c.doc.secrets
	}
	decoder.value(section.node, target.Elem(), path)
	checkEnums((&checker{Config: c, report: found}).fault, target.Elem(), path)
	return found.list.quoted().Sorted().Err()
}

// optionsAt are those of an entry under transports or stores; nil: there are none.
func (c *Config) optionsAt(path string) any {
	if name, ok := strings.CutPrefix(path, "stores."); ok {
		return c.Stores[name].Options
	}
	return c.Transports[strings.TrimPrefix(path, "transports.")].Options
}

// kindAt is the kind of an entry under transports or stores.
func (c *Config) kindAt(path string) string {
	if name, ok := strings.CutPrefix(path, "stores."); ok {
		kind, _ := c.StoreKind(name)
		return kind
	}
	kind, _ := c.Kind(strings.TrimPrefix(path, "transports."))
	return kind
}

// copyOptions sets target to options, a struct or a pointer to one.
func (c *Config) copyOptions(path string, options any, target reflect.Value) error {
	from := reflect.ValueOf(options)
	if from.Kind() == reflect.Pointer && !from.IsNil() {
		from = from.Elem()
	}
	if from.Type() != target.Type() {
		return Problems{c.Problem(path, fmt.Sprintf("its options are a %T, and kind %s takes a %s", options, c.kindAt(path), target.Type()), "")}
	}
	target.Set(from)
	return nil
}

// Problem makes a problem of the value at a path, with its position where a file
// gives one, or else with that of the nearest part of the path that a file
// gives. The root's own checks report with it.
func (c *Config) Problem(path, message, hint string) Problem {
	if c.doc == nil {
		return Problem{Path: path, Message: message, Hint: hint}
	}
	defer c.lock()()
	return Problems{problemAt(c.doc.where(path), path, message, hint)}.quoted()[0]
}

// where answers the place that stands for a path.
func (doc *document) where(path string) place {
	n, exact := doc.root.find(path)
	switch {
	case exact:
		return n.where()
	case n.key.src != nil:
		return n.key
	}
	return n.at
}
