package redisdriver

import (
	"sync"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// freshFor is how long a topic counts as known: a publisher looks again after it,
// so that a topic that an operator deleted is recorded anew.
const freshFor = 10 * time.Second

// topicCache holds what was found or made a short time ago, and what was asked
// for.
type topicCache struct {
	mu    sync.RWMutex
	known map[string]*cached
	specs map[string]driver.Topic
}

type cached struct {
	topic *topic
	until time.Time
}

// get is a topic that is fresh, or nil.
func (c *topicCache) get(name string) *topic {
	c.mu.RLock()
	defer c.mu.RUnlock()
	known := c.known[name]
	if known == nil || time.Now().After(known.until) {
		return nil
	}
	return known.topic
}

// use is a topic, or nil. One caller is told to look again when it is not fresh.
func (c *topicCache) use(name string) (t *topic, refresh bool) {
	now := time.Now()
	c.mu.RLock()
	known := c.known[name]
	if known != nil && now.Before(known.until) {
		t = known.topic
	}
	c.mu.RUnlock()
	if t != nil || known == nil {
		return t, t == nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	refresh = now.After(known.until)
	known.until = now.Add(freshFor)
	return known.topic, refresh
}

// put keeps a topic, and returns it, or the one that was known and is the same.
func (c *topicCache) put(t *topic) *topic {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]*cached{}
	}
	until := time.Now().Add(freshFor)
	if before := c.known[t.name]; before != nil && before.topic.meta == t.meta {
		before.until = until // and the turn of its shards goes on
		return before.topic
	}
	c.known[t.name] = &cached{t, until}
	return t
}

// forget makes the next use look again.
func (c *topicCache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, name)
}

func (c *topicCache) specOf(name string) driver.Topic {
	c.mu.RLock()
	defer c.mu.RUnlock()
	spec := c.specs[name]
	spec.Name = name
	return spec
}

func (c *topicCache) remember(spec driver.Topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.specs == nil {
		c.specs = map[string]driver.Topic{}
	}
	c.specs[spec.Name] = spec
}
