package redisdriver

import (
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// stream is one shard as a source reads it: the key, its companions, and what is
// delivered and not settled. The map is guarded by the source.
type stream struct {
	name  string
	shard int

	records string // of the stream's groups
	members string // of the group, with the time until which they count as alive
	due     string // what was given back, with the time when it comes again
	fence   string // the token of an ordered shard's only reader

	out    map[string]*delivery
	later  map[string]time.Time // of an ordered shard: given back until then
	record string               // of the group, as it was last written; the janitor's
	marked bool                 // the name of a stable consumer is; the janitor's
}

func newStream(topic, group string, shard, shards int) *stream {
	name := streamOf(topic, shard, shards)
	return &stream{
		name: name, shard: shard,
		records: companion(name, "groups"), members: companion(name, "members:"+group),
		due: companion(name, "due:"+group), fence: companion(name, "fence:"+group),
		out: map[string]*delivery{}, later: map[string]time.Time{},
	}
}

// keys are those of every script on deliveries.
func (st *stream) keys() []string { return []string{st.name, st.fence, st.due, st.members} }

// delivery is an entry that this source has, and its own token.
type delivery struct {
	src    *source
	stream *stream
	id     string
	count  int
	msg    *driver.Message

	// Under the source's lock.
	deadline time.Time // until then nobody else can have taken it
	settling bool      // its end is being told
	trimmed  bool      // the stream does not have it any more
}
