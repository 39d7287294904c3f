package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// wiredTopic is a topic that a configuration names, and who has to do with it.
type wiredTopic struct {
	name, transport        string
	consumedBy, producedBy []string
	deadLettersOf          []string
}

// topics are those that the configuration names, by transport and name.
func (s *system) topics() []*wiredTopic {
	byName := map[string]*wiredTopic{}
	at := func(name string) *wiredTopic {
		t := byName[name]
		if t == nil {
			t = &wiredTopic{name: name, transport: s.DefaultTransport()}
			if on, err := s.Where(name); err == nil {
				t.transport = on
			}
			byName[name] = t
		}
		return t
	}
	for name := range s.Topics {
		at(name)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Agents)) {
		a, _ := s.Agent(name)
		in, dead := at(a.Consumes), at(a.DeadLetter)
		in.consumedBy = append(in.consumedBy, name)
		dead.deadLettersOf = append(dead.deadLettersOf, name)
		if a.Produces != "" && a.Produces != config.None {
			out := at(a.Produces)
			out.producedBy = append(out.producedBy, name)
		}
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b *wiredTopic) int {
		return strings.Compare(a.transport+"\x00"+a.name, b.transport+"\x00"+b.name)
	})
}

// topicNames are those that the configuration names.
func (s *system) topicNames() []string {
	var names []string
	for _, t := range s.topics() {
		names = append(names, t.name)
	}
	slices.Sort(names)
	return names
}

// specOf is a topic as the agents would ask for it; dead letters have no age
// limit unless they are given one.
func (s *system) specOf(t *wiredTopic) driver.Topic {
	entry := s.Topics[t.name]
	spec := driver.Topic{
		Name: t.name, Shards: entry.Shards, Replicas: entry.Replicas, Require: entry.Require,
		RetentionAge: entry.Retention.Age.Std(), RetentionBytes: int64(entry.Retention.Bytes),
	}
	if spec.RetentionAge == 0 && len(t.deadLettersOf) > 0 {
		spec.RetentionAge = -1
	}
	return spec
}

// lookUp finds what the broker has under a topic's name, without making it.
// There is none where the error is [driver.ErrNotFound].
func lookUp(ctx context.Context, t *transport.Transport, name string) (driver.Topic, error) {
	return t.EnsureTopic(ctx, driver.Topic{Name: name, Require: true})
}

// path is the value of the configuration that a topic is best known by.
func (s *system) path(t *wiredTopic) string {
	switch {
	case s.hasEntry(t.name):
		return "topics." + t.name
	case len(t.consumedBy) > 0:
		return "agents." + t.consumedBy[0] + ".consumes"
	case len(t.producedBy) > 0:
		return "agents." + t.producedBy[0] + ".produces"
	case len(t.deadLettersOf) > 0:
		return "agents." + t.deadLettersOf[0]
	}
	return "topics"
}

func (s *system) hasEntry(topic string) bool {
	_, ok := s.Topics[topic]
	return ok
}

// use is what the agents do with a transport, in the names of its broker.
func (s *system) use(name string, caps driver.Capabilities) driver.Use {
	prefix := s.Transports[name].Prefix
	var use driver.Use
	for _, t := range s.topics() {
		if t.transport == name && len(t.producedBy)+len(t.deadLettersOf) > 0 {
			use.Writes = append(use.Writes, prefix+t.name)
		}
	}
	for _, agent := range slices.Sorted(maps.Keys(s.Agents)) {
		a, _ := s.Agent(agent)
		if a.Transport != name {
			continue
		}
		r := driver.Reading{Topic: prefix + a.Consumes, Group: prefix + a.Group, Ordered: a.Order != config.None, Lease: leaseOf(a)}
		use.Reads = append(use.Reads, r)
		if caps.DelaysByCopy {
			r.Topic = prefix + inboxOf(agent)
			use.Reads, use.Writes = append(use.Reads, r), append(use.Writes, r.Topic)
		}
	}
	return use
}

func leaseOf(a config.Agent) time.Duration { return a.Lease.Std() }

// inboxOf is the topic that an agent alone reads.
func inboxOf(agent string) string { return agent + ".inbox" }
