package config

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/anywire/anywire/config/value"
)

// Check answers every problem that can be found without a driver and without a
// handler: those of reading the files, and what their values mean. It is what
// [Load] reports; a literal in Go is checked by calling it. Problems of a
// literal have no position and begin with the path.
func (c *Config) Check() Problems {
	defer c.lock()()
	k := &checker{Config: c, report: &report{}}
	if c.doc != nil {
		k.list = slices.Clone(c.doc.problems)
		k.failed = maps.Clone(c.doc.failed)
	}
	k.root()
	for _, name := range slices.Sorted(maps.Keys(c.Transports)) {
		k.transport(name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Stores)) {
		k.store(name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Topics)) {
		k.topic(name)
	}
	k.policy("defaults", c.Defaults, c.Defaults)
	for _, name := range slices.Sorted(maps.Keys(c.Agents)) {
		k.agent(name)
	}
	k.places()
	k.groups()
	k.brokerNames()
	return k.list.quoted().Sorted()
}

// checker collects what is wrong with the meaning of a configuration. Values
// that could not be read are not judged again.
type checker struct {
	*Config
	*report

	told map[string]bool // paths of problems of meaning
}

// fault adds a problem at a path, the first one only, unless the value there or
// around it could not be read. What came out of a file is not repeated.
func (k *checker) fault(path, message, hint string) {
	if k.told[path] || k.unread(path) {
		return
	}
	if k.told == nil {
		k.told = map[string]bool{}
	}
	k.told[path] = true
	where := place{}
	if k.doc != nil {
		where = k.doc.where(path)
		if n, exact := k.doc.root.find(path); exact && n.fromFile() {
			message, hint = misfitOfFile, "the value comes from "+n.uses[0].shown()
		}
	}
	k.note(where, path, message, hint)
}

// misfitOfFile stands for messages that would repeat the content of a file.
const misfitOfFile = "the content of the file does not fit here"

// unread reports whether reading failed at a path or above it.
func (k *checker) unread(path string) bool {
	for ; path != ""; path = path[:max(strings.LastIndexByte(path, '.'), 0)] {
		if k.failed[path] {
			return true
		}
	}
	return false
}

// given reports whether a file gives a value at a path: a zero is then no
// default but a mistake.
func (k *checker) given(path string) bool {
	if k.doc == nil {
		return false
	}
	_, exact := k.doc.root.find(path)
	return exact
}

func (k *checker) root() {
	switch {
	case k.doc != nil && !k.given("version"):
		k.fault("version", "is missing", "add this line at the top: version: 1")
	case k.Version != 1 && (k.Version != 0 || k.doc != nil):
		k.fault("version", fmt.Sprintf("is %d, and this version of anywire reads 1", k.Version), "write version: 1")
	}
	k.name("name", k.Name, maxName)
	if k.Transport != "" || k.given("transport") {
		k.reference("transport", k.Transport)
	} else if len(k.Transports) > 0 && !k.exists(Memory) {
		names := slices.Sorted(maps.Keys(k.Transports))
		k.fault("transport", "is missing: the entries under transports do not say which one agents use",
			"add, for example: transport: "+names[0])
	}
	k.idempotency()
	checkEnums(k.fault, reflect.ValueOf(*k.Config), "")
	k.size("limits.body", k.Limits.Body, 1, value.GiB)
	k.number("limits.attributes", k.Limits.Attributes, minAttributes, 1000)
	k.size("limits.attribute_bytes", k.Limits.AttributeBytes, value.KiB, value.MiB)
}

// minAttributes leaves room for the attributes that every message has.
const minAttributes = 16

func (k *checker) exists(transport string) bool {
	_, ok := k.Transports[transport]
	return ok
}

// reference checks the name of a transport.
func (k *checker) reference(path, name string) {
	if _, ok := k.Kind(name); ok {
		return
	}
	names := slices.Sorted(maps.Keys(k.Transports))
	if !k.exists(Memory) {
		names = append(names, Memory)
	}
	hint := fmt.Sprintf("add it under transports, as in: %s: {}", cmp.Or(name, "NAME"))
	if near := suggest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	k.fault(path, fmt.Sprintf("there is no transport %q: there is %s", name, strings.Join(names, ", ")), hint)
}

func (k *checker) transport(name string) {
	path := "transports." + name
	k.name(path, name, maxName)
	entry := k.Transports[name]
	k.name(path+".kind", entry.Kind, maxName)
	if entry.Prefix != "" && !isPrefix(entry.Prefix) {
		k.fault(path+".prefix", quoteRaw(entry.Prefix)+" is not a prefix", ruleOfNames+"; it may end with a dot")
	}
}

func (k *checker) topic(name string) {
	path, topic := "topics."+name, k.Topics[name]
	k.topicName(path, name)
	if topic.Transport != "" || k.given(path+".transport") {
		k.reference(path+".transport", topic.Transport)
	}
	if topic.Plain != "" || k.given(path+".plain") {
		k.wireType(path+".plain", topic.Plain)
	}
	k.number(path+".shards", topic.Shards, 1, 4096)
	k.number(path+".replicas", topic.Replicas, 1, 100)
	k.duration(path+".retention.age", topic.Retention.Age, value.Duration(time.Second), maxTime)
	k.size(path+".retention.bytes", topic.Retention.Bytes, value.KiB, 1024*value.TiB)
}

// agent checks what one agent says of itself.
func (k *checker) agent(name string) {
	path, a := "agents."+name, k.Agents[name]
	k.name(path, name, maxName)
	if a.Consumes == "" {
		k.fault(path+".consumes", "is missing: an agent reads a topic", "add, for example: consumes: tasks."+name)
	} else {
		k.topicName(path+".consumes", a.Consumes)
	}
	if a.Produces != "" && a.Produces != None {
		k.topicName(path+".produces", a.Produces)
	}
	k.name(path+".group", a.Group, maxTopic)
	if a.Transport != "" || k.given(path+".transport") {
		k.reference(path+".transport", a.Transport)
	}
	k.from(path+".from", a.From)
	if _, err := ParseKeyPath(a.IdempotencyKey); err != nil {
		k.fault(path+".idempotency_key", err.Error(), "write data.order_id, or attribute.orderid")
	}
	k.remembers(name, path, k.Policy(name))
	k.deadLetter(name, path, a)
	if shards := k.Topics[a.Consumes].Shards; a.Order == "strict" && shards > 1 {
		k.fault(path+".order", fmt.Sprintf("strict order needs one shard, and the topic %s has %d", a.Consumes, shards),
			"use order: key, or shards: 1")
	}
	k.policy(path, a.Policy, k.Policy(name))
}

func (k *checker) deadLetter(name, path string, a Agent) {
	topic, where := a.DeadLetter, path+".dead_letter"
	if topic == "" {
		topic, where = deadLetterOf(name), path+".consumes"
	} else {
		k.topicName(where, topic)
	}
	if topic == a.Consumes {
		k.fault(where, fmt.Sprintf("the dead-letter topic %s is also the topic that the agent consumes", topic),
			"give one of them another name, or each dead letter would be handled again")
	}
}

func (k *checker) from(path, from string) {
	if _, err := ParseFrom(from); err != nil {
		k.fault(path, err.Error(), "")
	}
}

// From says where a new group begins to read a topic.
type From struct {
	Now  bool      // at what is published from now on
	Time time.Time // at what was published then or later; zero: at the oldest
}

// ParseFrom reads the from of an agent: oldest or nothing, now, or a time.
func ParseFrom(text string) (From, error) {
	switch text {
	case "", "oldest":
		return From{}, nil
	case "now":
		return From{Now: true}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return From{}, fmt.Errorf("%q is not oldest, now or a time such as 2026-01-31T00:00:00Z", text)
	}
	return From{Time: at}, nil
}

// places reports topics that agents put on different transports, once each.
func (k *checker) places() {
	told := map[string]bool{}
	w := k.wires()
	for _, name := range w.names {
		a := k.Agents[name]
		if a.Consumes == "" || told[a.Consumes] {
			continue
		}
		told[a.Consumes] = true
		if _, err := w.where(a.Consumes); err != nil {
			k.fault("agents."+name+".transport", err.Error(), placeHint(a.Consumes))
		}
	}
}

func placeHint(topic string) string {
	return fmt.Sprintf("name it once, under topics: %s: { transport: … }", topic)
}

// groups reports agents that would take each other's messages.
func (k *checker) groups() {
	type reader struct{ topic, group string }
	first := map[reader]string{}
	for _, name := range slices.Sorted(maps.Keys(k.Agents)) {
		a := k.Agents[name]
		r := reader{a.Consumes, cmp.Or(a.Group, name)}
		if other, taken := first[r]; taken && a.Consumes != "" {
			k.fault("agents."+name+".group",
				fmt.Sprintf("%q is also the group of agent %s on topic %s: each message would reach only one of the two", r.group, other, r.topic),
				"give each agent a group of its own")
		} else {
			first[r] = name
		}
	}
}
