package memory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// EnsureTopic implements [driver.Admin]. Shards and retention of a topic are
// those of its making; there is one copy of each message. A dead-letter topic
// without retention has an age of -1: its messages do not age.
func (b *Broker) EnsureTopic(ctx context.Context, spec driver.Topic) (driver.Topic, error) {
	if err := ctx.Err(); err != nil {
		return driver.Topic{}, fmt.Errorf("topic %q: %w", spec.Name, err)
	}
	if err := possible(spec); err != nil {
		return driver.Topic{}, err
	}
	t, err := b.ensure(spec)
	if err != nil {
		return driver.Topic{}, err
	}
	has := t.describe()
	return has, differs(spec, has)
}

func (b *Broker) ensure(spec driver.Topic) (*topic, error) {
	if spec.Require {
		return b.existing(spec.Name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.make(spec)
}

// possible refuses what no topic in memory has.
func possible(spec driver.Topic) error {
	switch {
	case spec.Shards < 0:
		return fmt.Errorf("topic %q: %d shards: use 1 or more", spec.Name, spec.Shards)
	case spec.RetentionBytes < 0:
		return fmt.Errorf("topic %q: retention of %d bytes: use a positive number, or 0 for no bound", spec.Name, spec.RetentionBytes)
	case spec.Replicas > 1:
		return fmt.Errorf("topic %q: %d replicas: a topic in memory has 1", spec.Name, spec.Replicas)
	}
	return nil
}

// differs names what a topic has otherwise than it is asked for.
func differs(want, has driver.Topic) error {
	var errs []error
	refuse := func(what string, want, has any) {
		errs = append(errs, fmt.Errorf("has %s %v, not %v", what, has, want))
	}
	if want.Shards != 0 && want.Shards != has.Shards {
		refuse("shards", want.Shards, has.Shards)
	}
	if want.RetentionAge != 0 && max(want.RetentionAge, -1) != has.RetentionAge {
		refuse("a retention age of", want.RetentionAge, has.RetentionAge)
	}
	if want.RetentionBytes != 0 && want.RetentionBytes != has.RetentionBytes {
		refuse("retention bytes", want.RetentionBytes, has.RetentionBytes)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("topic %q, as it was made, %w: ask for what it has", has.Name, errors.Join(errs...))
}

// describe says what never changes.
func (t *topic) describe() driver.Topic {
	d := driver.Topic{Name: t.name, Shards: t.count, RetentionAge: t.age, RetentionBytes: t.bytes, Replicas: 1}
	if t.age < 0 || t.dead && t.age == 0 {
		d.RetentionAge = -1
	}
	return d
}

// Topics implements [driver.Admin].
func (b *Broker) Topics(context.Context) ([]driver.Topic, error) {
	topics, err := b.all()
	if err != nil {
		return nil, err
	}
	list := make([]driver.Topic, 0, len(topics))
	for _, t := range topics {
		list = append(list, t.describe())
	}
	return list, nil
}

// Lag implements [driver.Lagger]. What is published and not due yet is waiting.
// Both the topic and the group must exist.
func (b *Broker) Lag(ctx context.Context, topic, group string) (driver.Lag, error) {
	if err := ctx.Err(); err != nil {
		return driver.Lag{}, err
	}
	t, err := b.existing(topic)
	if err != nil {
		return driver.Lag{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return driver.Lag{}, errClosed()
	}
	g := t.group(group)
	if g == nil {
		return driver.Lag{}, fmt.Errorf("topic %q: group %q: %w", topic, group, driver.ErrNotFound)
	}
	return g.lag(), nil
}

func (g *group) lag() driver.Lag {
	var l driver.Lag
	var oldest int64
	see := func(e *entry) {
		if oldest == 0 || e.published < oldest {
			oldest = e.published
		}
	}
	for i := range g.parts {
		p := &g.parts[i]
		l.Waiting += int64(p.waiting)
		if p.waiting > 0 {
			p.mark.live(p.shard)
			see(p.mark.entry())
		}
	}
	g.pending(func(d *delivery) {
		see(&d.chunk.entries[d.index])
		if d.count == 0 {
			l.Waiting++
		} else {
			l.Pending++
		}
	})
	for _, later := range g.topic.later {
		l.Waiting++
		see(&later.entry)
	}
	if oldest != 0 {
		l.Oldest = time.Unix(0, oldest)
	}
	return l
}

// pending calls fn for every delivery that is not settled, and for what the
// paranoia holds back.
func (g *group) pending(fn func(*delivery)) {
	for _, s := range g.sources {
		for d := s.leases.first; d != nil; d = d.next {
			fn(d)
		}
	}
	for i := range g.parts {
		for _, d := range g.parts[i].ready.items {
			fn(d)
		}
	}
	for _, d := range g.delayed.items {
		fn(d)
	}
}

// TopicStats is what the broker holds of a topic, and what it counts.
type TopicStats struct {
	Topic    string
	Groups   int
	Messages int // stored; those that are not due included
	// Dropped is how many messages fell out of the ring before any group came.
	Dropped uint64
	// Overflowed is how many messages were stored beyond the bound.
	Overflowed uint64
}

// Stats describes all topics in the order of their names; none once the broker is
// closed.
func (b *Broker) Stats() []TopicStats {
	topics, err := b.all()
	if err != nil {
		return nil
	}
	list := make([]TopicStats, 0, len(topics))
	for _, t := range topics {
		list = append(list, t.stats())
	}
	return list
}

// stats takes mu.
func (t *topic) stats() TopicStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return TopicStats{
		Topic: t.name, Groups: len(t.groups), Messages: t.live + len(t.later),
		Dropped: t.dropped, Overflowed: t.overflowed,
	}
}
