package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// visit is what validate --connect found on one transport.
type visit struct {
	name     string
	found    string // in a line: what can be done there
	notes    []string
	problems config.Problems
	away     bool // it could not be reached, so its problems say nothing of the configuration
}

// visitAll reaches every transport that is used, at the same time.
func (s *system) visitAll(ctx context.Context) []*visit {
	names := s.used()
	all := make([]*visit, len(names))
	var running sync.WaitGroup
	for i, name := range names {
		all[i] = &visit{name: name}
		running.Go(func() { s.visit(ctx, all[i]) })
	}
	running.Wait()
	return all
}

func (s *system) visit(ctx context.Context, v *visit) {
	if s.isLocal(v.name) {
		v.found = "lives in the process of the agents, so there is nothing to reach"
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, fmt.Errorf("no answer within %v", reachTimeout))
	defer cancel()
	broker, err := s.open(ctx, v.name, false)
	if errors.Is(err, errNoFolder) {
		v.found = reasonOf(err)
		return
	}
	if p, ok := errors.AsType[config.Problem](err); ok {
		v.away = true
		v.problems = append(v.problems, p)
		return
	}
	if err != nil {
		v.fault(s, "transports."+v.name, err.Error(), "")
		return
	}
	defer leave(ctx, broker)
	s.look(ctx, broker, v)
}

func (v *visit) fault(s *system, path, message, hint string) {
	v.problems = append(v.problems, s.Problem(path, message, hint))
}

// look compares what a broker has with what the configuration wants.
func (s *system) look(ctx context.Context, broker *transport.Transport, v *visit) {
	findings, err := s.inspectOn(ctx, broker, nil)
	if err != nil {
		v.away = true
		v.fault(s, "transports."+v.name, reasonOf(err), "")
	}
	exist, absent := 0, 0
	faulty := map[string]bool{}
	for _, t := range s.topics() {
		if t.transport != v.name {
			continue
		}
		before := len(v.problems)
		if s.lookAtTopic(ctx, broker, v, t) {
			exist++
			s.lookForBacklog(ctx, broker, v, t, findings)
		} else if len(v.problems) == before {
			absent++
		}
		faulty[t.name] = len(v.problems) > before
	}
	v.found = fmt.Sprintf("reached; %s there, %d made on first use; it %s",
		count(exist, "topic"), absent, abilities(broker.Capabilities(), findings))
	s.judge(v, findings, faulty)
}

// concernsDurability reports whether a check is of what becomes of stored messages.
func concernsDurability(check string) bool {
	switch check {
	case "appendonly", "appendfsync", "maxmemory-policy", "sync", "sync_interval", "unclean.leader.election.enable":
		return true
	}
	return false
}

// abilities says what a driver found that it can do. A server is not durable that
// is set up to lose what it has.
func abilities(c driver.Capabilities, findings []driver.Finding) string {
	for _, f := range findings {
		if f.Level == driver.Danger && concernsDurability(f.Check) {
			c.Durable = false
		}
	}
	var list []string
	for _, a := range []struct {
		has  bool
		what string
	}{
		{c.Durable, "is durable"},
		{c.Order, "keeps order"},
		{c.DelayedNack, "delays retries"},
		{c.DelayedPublish, "delays publishes"},
		{c.Dedup, "drops duplicates"},
		{c.StartTime, "starts at a time"},
		{c.MaxBody > 0, "takes messages up to " + value.Size(c.MaxBody).String()},
	} {
		if a.has {
			list = append(list, a.what)
		}
	}
	return strings.Join(list, ", ")
}

// lookAtTopic reports whether a topic is there and as it is asked for.
func (s *system) lookAtTopic(ctx context.Context, broker *transport.Transport, v *visit, t *wiredTopic) bool {
	spec := s.specOf(t)
	asked := spec
	asked.Require = true
	_, err := broker.EnsureTopic(ctx, asked)
	switch {
	case err == nil:
		return true
	case errors.Is(err, driver.ErrNotFound) && spec.Require:
		v.fault(s, s.pathOr("topics."+t.name+".require", s.path(t)), fmt.Sprintf("topic %s does not exist on transport %s", t.name, v.name),
			"make it there, or take require out: then it is made on first use")
		return false
	case errors.Is(err, driver.ErrNotFound):
		return false
	}
	path, hint := s.path(t), ""
	if has, err := lookUp(ctx, broker, t.name); err == nil {
		path, hint = s.differing(t, spec, has)
	}
	v.fault(s, path, err.Error(), hint)
	return false
}

// differing is the value that the broker has otherwise, and the way out.
func (s *system) differing(t *wiredTopic, want, has driver.Topic) (path, hint string) {
	entry := "topics." + t.name
	switch {
	case want.Shards > 0 && want.Shards != has.Shards:
		return entry + ".shards", fmt.Sprintf("write shards: %d, or use a new topic", has.Shards)
	case want.RetentionAge > 0 && want.RetentionAge != has.RetentionAge && has.RetentionAge > 0:
		return entry + ".retention.age", fmt.Sprintf("write age: %v, or change the topic on the broker", value.Duration(has.RetentionAge))
	case want.RetentionBytes > 0 && want.RetentionBytes != has.RetentionBytes && has.RetentionBytes > 0:
		return entry + ".retention.bytes", fmt.Sprintf("write bytes: %v, or change the topic on the broker", value.Size(has.RetentionBytes))
	case want.Replicas > 0 && want.Replicas != has.Replicas:
		return entry + ".replicas", fmt.Sprintf("write replicas: %d, or change the topic on the broker", has.Replicas)
	}
	return s.path(t), "change it here, or on the broker"
}

// pathOr is a path if the topic's entry gives the value, else another.
func (s *system) pathOr(path, otherwise string) string {
	if origins, err := s.Explain(path); err == nil && len(origins) > 0 {
		return path
	}
	return otherwise
}

// lookForBacklog notes groups that are new to a topic which holds messages.
func (s *system) lookForBacklog(ctx context.Context, broker *transport.Transport, v *visit, t *wiredTopic, findings []driver.Finding) {
	for _, agent := range t.consumedBy {
		a, _ := s.Agent(agent)
		if !s.isNew(ctx, broker, t.name, a.Group, findings) {
			continue
		}
		var oldest time.Time
		there := false
		err := broker.Browse(ctx, t.name, driver.Start{}, false, func(d *transport.Delivery) bool {
			oldest, there = d.Raw.Published, true
			return false
		})
		if err != nil || !there {
			continue
		}
		v.notes = append(v.notes, fmt.Sprintf("agent %s: group %s is new to topic %s, which holds messages%s: with from: %s %s",
			agent, a.Group, t.name, since(oldest), a.From, consequence(a.From)))
	}
}

// isNew reports whether a group has never read a topic. A broker that counts a lag
// for every name tells it in an inspection.
func (s *system) isNew(ctx context.Context, broker *transport.Transport, topic, group string, findings []driver.Finding) bool {
	subject := "group " + s.Transports[broker.Name()].Prefix + group
	for _, f := range findings {
		if f.Check == "group" && f.Subject == subject && f.Found == "new" {
			return true
		}
	}
	_, err := broker.Lag(ctx, topic, group)
	return errors.Is(err, driver.ErrNotFound)
}

func since(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return " of the last " + ageText(time.Since(at))
}

func consequence(from string) string {
	switch from {
	case "oldest":
		return "it handles all of them; from: now would skip them"
	case "now":
		return "it skips them"
	}
	return "it begins there"
}

// judge sorts what an inspection found: what keeps agents from working is a
// problem of the configuration; what is wrong with the broker is for doctor.
func (s *system) judge(v *visit, findings []driver.Finding, faulty map[string]bool) {
	dangers := 0
	for _, f := range findings {
		if f.Level != driver.Danger {
			continue
		}
		path, topic := s.concerned(v.name, f.Subject)
		switch {
		case topic != "" && faulty[topic]:
		case !stopsAgents(f):
			dangers++
		default:
			v.fault(s, path, fmt.Sprintf("%s, %s: %s: %s", f.Subject, f.Check, f.Found, f.Why), f.Fix)
		}
	}
	if dangers > 0 {
		v.notes = append(v.notes, fmt.Sprintf("%s: the broker has %s, which stop no agent: anywire doctor --transport %s",
			v.name, count(dangers, "dangerous setting"), v.name))
	}
}

// stopsAgents reports whether a danger is about what the configuration asks for:
// a right, a topic, a group.
func stopsAgents(f driver.Finding) bool {
	switch f.Check {
	case "rights":
		return true
	case "lag":
		return false
	}
	return strings.HasPrefix(f.Subject, "topic ") || strings.HasPrefix(f.Subject, "group ")
}

// concerned finds the value that an inspection speaks of: "topic NAME", "group
// NAME" and "group NAME of topic NAME" are subjects.
func (s *system) concerned(on, subject string) (path, topic string) {
	prefix := s.Transports[on].Prefix
	words := strings.Fields(subject)
	named := map[string]string{}
	for i := 0; i+1 < len(words); i++ {
		if words[i] == "topic" || words[i] == "group" {
			named[words[i]] = strings.TrimPrefix(words[i+1], prefix)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Agents)) {
		a, _ := s.Agent(name)
		if named["group"] != "" && a.Group == named["group"] && cmp.Or(named["topic"], a.Consumes) == a.Consumes {
			return s.pathOr("agents."+name+".group", "agents."+name), a.Consumes
		}
	}
	for _, t := range s.topics() {
		if t.name == named["topic"] && t.transport == on {
			return s.path(t), t.name
		}
	}
	return "transports." + on, ""
}
