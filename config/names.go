package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxBrokerName is the longest name with its prefix: Kafka's topics and the
// streams and consumers of NATS may have 249 characters.
const maxBrokerName = 240

// brokerName is a topic or a group as it will stand on a broker.
type brokerName struct {
	path      string // what gives it
	what      string
	name      string
	transport string
}

// brokerNames checks what a prefix or an agent's name makes of names: each broker
// must be able to take them, so that the transport can be changed.
func (k *checker) brokerNames() {
	type spelling struct{ transport, topic string }
	first := map[spelling]brokerName{}
	for _, n := range k.listNames() {
		prefix := k.Transports[n.transport].Prefix
		if full := len(prefix) + len(n.name); full > maxBrokerName && nameRule.MatchString(n.name) && isPrefix(cmp.Or(prefix, "x")) {
			k.fault(n.path, fmt.Sprintf("%s %s has %d characters together with the prefix %q, and brokers take %d",
				n.what, quoteRaw(n.name), full, prefix, maxBrokerName),
				"shorten it, or the prefix of transports."+n.transport)
		}
		if n.what == "group" {
			continue
		}
		at := spelling{n.transport, strings.ReplaceAll(n.name, ".", "_")}
		if other, taken := first[at]; !taken {
			first[at] = n
		} else if other.name != n.name {
			k.fault(n.path, fmt.Sprintf("%s %s differs from %s %s in . and _ only, and Kafka keeps no two topics like that",
				n.what, quoteRaw(n.name), other.what, quoteRaw(other.name)), "rename one of them")
		}
	}
}

// listNames are those of all topics and groups, also those that nobody wrote.
func (k *checker) listNames() []brokerName {
	var list []brokerName
	w := k.wires()
	topic := func(path, what, name string) {
		if on, err := w.where(name); err == nil && name != "" {
			list = append(list, brokerName{path, what, name, on})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(k.Topics)) {
		topic("topics."+name, "topic", name)
	}
	for _, name := range w.names {
		path, a := "agents."+name, k.Agents[name]
		on := cmp.Or(a.Transport, k.DefaultTransport())
		topic(path+".consumes", "topic", a.Consumes)
		if a.Produces != None {
			topic(path+".produces", "topic", a.Produces)
		}
		if a.DeadLetter == "" {
			topic(path, "the dead-letter topic", deadLetterOf(name))
		} else {
			topic(path+".dead_letter", "topic", a.DeadLetter)
		}
		list = append(list, brokerName{path, "the inbox", name + ".inbox", on})
		if a.Group != "" {
			list = append(list, brokerName{path + ".group", "group", a.Group, on})
		}
	}
	return list
}
