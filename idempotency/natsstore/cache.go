package natsstore

import (
	"sync"
	"time"

	"github.com/anywire/anywire/idempotency"
)

// known is what the store knows of a record.
type known struct {
	record   idempotency.Record // its zero value: there is none
	revision uint64             // of what is under the key; 0: nothing
	seen     time.Time          // when that revision was seen first
	owner    string             // of the folder, when it was written; see [owner]
	parts    parts              // where the rest of it is
	broken   error              // it cannot be read
}

// left is how long the lease may last: it ends when the revision stood still for
// so long, by our own clock. Who wrote it as an earlier owner of our folder is
// dead.
func (k *known) left(now time.Time, owner string) time.Duration {
	if k.owner != "" && owner != "" && k.owner != owner {
		return 0
	}
	return k.record.Lease - now.Sub(k.seen)
}

// cache remembers records that are in progress or wait to be settled: what was
// written last, so that the next change needs no reading, and when a revision was
// seen first. It is bounded: what was not touched for half of its size is
// forgotten, which costs a reading, and a lease begins anew.
type cache struct {
	mu         sync.Mutex
	half       int
	young, old map[idempotency.Key]*known
}

func newCache(size int) *cache {
	return &cache{half: max(1, size/2), young: map[idempotency.Key]*known{}}
}

// get returns what must not be changed.
func (c *cache) get(key idempotency.Key) *known {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.young[key]
	if k == nil {
		if k = c.old[key]; k != nil {
			delete(c.old, key)
			c.add(key, k)
		}
	}
	return k
}

func (c *cache) add(key idempotency.Key, k *known) {
	if len(c.young) >= c.half {
		c.young, c.old = make(map[idempotency.Key]*known, len(c.young)), c.young
	}
	c.young[key] = k
}

// note keeps a copy of k if there is more to come, and forgets the record
// otherwise. Of outputs it keeps nothing: Settle needs none.
func (c *cache) note(key idempotency.Key, k *known) {
	keep := k.broken == nil && (k.record.Phase == idempotency.InProgress || k.record.Phase == idempotency.Completed)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.old, key)
	if !keep {
		delete(c.young, key)
		return
	}
	kept := *k
	kept.record.Outputs = nil
	c.add(key, &kept)
}

// since is when a revision was seen first, which is now unless it was before.
func (c *cache) since(key idempotency.Key, revision uint64, now time.Time) time.Time {
	if k := c.get(key); k != nil && k.revision == revision {
		return k.seen
	}
	return now
}

// drop forgets a record whose revision is not what we thought.
func (c *cache) drop(key idempotency.Key, revision uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range []map[idempotency.Key]*known{c.young, c.old} {
		if k := m[key]; k != nil && k.revision == revision {
			delete(m, key)
		}
	}
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.young)
	clear(c.old)
}
