package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/anywire/anywire/config/value"
)

// StoreOf answers where the records of an agent are: [None], the name of an entry
// under stores, or that of a transport, on whose client they live. ofStore says
// which of the two it is.
func (c *Config) StoreOf(agent string) (name string, ofStore bool) {
	name = c.Idempotency.Store
	switch name {
	case None:
		return None, false
	case "", Auto:
		a, _ := c.Agent(agent)
		return a.Transport, false
	}
	_, ofStore = c.Stores[name]
	return name, ofStore
}

// StoreKind answers the kind of an entry under stores.
func (c *Config) StoreKind(name string) (kind string, ok bool) {
	entry, ok := c.Stores[name]
	if ok && entry.Kind != "" {
		return entry.Kind, true
	}
	return name, ok
}

// Remembered answers the idempotency settings with their defaults. A TTL that is
// not given is raised to twice the longest that a message of any agent may be
// tried.
func (c *Config) Remembered() Idempotency {
	i := c.Idempotency
	fillDefaults(reflect.ValueOf(&i).Elem())
	if c.Idempotency.TTL != 0 {
		return i
	}
	for name := range c.Agents {
		i.TTL = max(i.TTL, value.Duration(2*c.Policy(name).Horizon()))
	}
	return i
}

// Horizon is how long a message that always fails may take from its first attempt
// to its dead letter: every attempt's timeout and every wait with its jitter.
func (p Policy) Horizon() time.Duration {
	waits := p.Waits()
	total := time.Duration(len(waits)+1) * p.filled().Timeout.Std()
	for _, wait := range waits {
		total += wait + time.Duration(float64(wait)*Jitter)
	}
	return total
}

// idempotency checks where records are, and how long they are kept.
func (k *checker) idempotency() {
	i := k.Idempotency
	k.duration("idempotency.ttl", i.TTL, value.Duration(time.Second), maxTime)
	k.number("idempotency.max_records", int(i.MaxRecords), 1000, 1_000_000_000)
	if r := i.ExpectedRate; (r != 0 || k.given("idempotency.expected_rate")) && r <= 0 {
		k.fault("idempotency.expected_rate", fmt.Sprintf("is %s, and must be greater than 0", r), "")
	}
	if i.Store == "" || i.Store == None || i.Store == Auto {
		return
	}
	if _, ok := k.Stores[i.Store]; ok {
		return
	}
	if _, ok := k.Kind(i.Store); ok {
		return
	}
	names := append([]string{Auto, None}, slices.Sorted(maps.Keys(k.Stores))...)
	names = append(names, slices.Sorted(maps.Keys(k.Transports))...)
	hint := fmt.Sprintf("add it under stores, as in: %s: { kind: sqlite, path: ./data/records.db }", i.Store)
	if near := suggest(i.Store, names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	k.fault("idempotency.store", fmt.Sprintf("there is no store %q: there is %s", i.Store, strings.Join(names, ", ")), hint)
}

// store checks an entry under stores.
func (k *checker) store(name string) {
	path := "stores." + name
	k.name(path, name, maxName)
	entry := k.Stores[name]
	k.name(path+".kind", entry.Kind, maxName)
	if entry.Prefix != "" && !isPrefix(entry.Prefix) {
		k.fault(path+".prefix", quoteRaw(entry.Prefix)+" is not a prefix", ruleOfNames+"; it may end with a dot")
	}
	switch _, taken := k.Kind(name); {
	case name == None || name == Auto:
		k.fault(path, fmt.Sprintf("%q cannot be the name of a store: idempotency.store has a meaning for it", name), "give it another name")
	case taken:
		k.fault(path, fmt.Sprintf("%q is also the name of a transport, which is a store's name too", name), "give it another name")
	}
}

// remembers checks that a message is not forgotten while it is tried.
func (k *checker) remembers(name, path string, p Policy) {
	ttl := k.Idempotency.TTL.Std()
	if k.Idempotency.Store == None || ttl == 0 {
		return
	}
	if horizon := p.Horizon(); ttl <= horizon {
		k.fault("idempotency.ttl", fmt.Sprintf("is %s, and a message of agent %s may be tried for %s: it would be forgotten meanwhile",
			value.Duration(ttl), name, value.Duration(horizon.Round(time.Second))), "raise ttl, or allow fewer or shorter retries under "+path)
	}
}

// KeyPath is where an agent finds a message's idempotency key. The zero KeyPath is
// the message's own key, else its source and id.
type KeyPath struct {
	Attribute string   // name of an attribute
	Fields    []string // of a JSON payload, from the outside in
}

// ParseKeyPath reads an agent's idempotency_key: nothing, attribute.NAME, or
// data.FIELD with more fields behind further dots.
func ParseKeyPath(text string) (KeyPath, error) {
	if text == "" {
		return KeyPath{}, nil
	}
	where, rest, _ := strings.Cut(text, ".")
	switch {
	case rest == "" || strings.HasPrefix(rest, ".") || strings.HasSuffix(rest, ".") || strings.Contains(rest, ".."):
	case where == "attribute" && !strings.Contains(rest, "."):
		return KeyPath{Attribute: rest}, nil
	case where == "data":
		return KeyPath{Fields: strings.Split(rest, ".")}, nil
	}
	return KeyPath{}, fmt.Errorf("%s does not say where the key is: it is data.FIELD or attribute.NAME", quoteRaw(text))
}
