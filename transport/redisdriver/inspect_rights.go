package redisdriver

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/anywire/anywire/internal/redisconn"
	"github.com/anywire/anywire/transport/driver"
)

// right is a command that the driver calls, as ACL DRYRUN takes it.
type right struct {
	topic string // in whose name it is needed
	args  []any
}

// rights tries, without running them, the commands that the driver will call.
func (x *inspection) rights(ctx context.Context) error {
	user, err := x.client.Do(ctx, "acl", "whoami").Text()
	if err == nil && user != "" {
		_, err = x.dryRun(ctx, user, []any{"ping"})
	}
	switch {
	case redisconn.IsAnswer(err, "NOPERM"), redisconn.IsAnswer(err, "ERR unknown"), redisconn.IsAnswer(err, "ERR Unknown"):
		x.note(driver.Unknown, "rights", subjectServer, "not readable",
			"ACL WHOAMI and ACL DRYRUN (from Redis 7 on) tell what the user may do, and this one may not call them",
			"publish and read once by hand, or look with another user: ACL GETUSER")
		return nil
	case err != nil:
		return fmt.Errorf("inspect rights: %w", wrap(err))
	}
	missing := map[string][]string{}
	for _, r := range x.needed(ctx) {
		refused, err := x.dryRun(ctx, user, r.args)
		if err != nil {
			return fmt.Errorf("inspect rights: %w", wrap(err))
		}
		if refused != "" && !slices.Contains(missing[r.topic], refused) {
			missing[r.topic] = append(missing[r.topic], refused)
		}
	}
	if len(missing) == 0 {
		x.good("rights", subjectServer, "user "+user+" may do what is needed")
		return nil
	}
	for _, name := range x.topicNames() {
		if len(missing[name]) > 0 {
			x.note(driver.Danger, "rights", "topic "+name, strings.Join(missing[name], "; "), "the agents of this topic will not work",
				fmt.Sprintf("ACL SETUSER %s ~%[2]s ~%[2]s:* ~{%[2]s}:* ~{%[2]s:*}:* ~{%[2]s/*}:leases, and + each command that is named", user, name))
		}
	}
	return nil
}

// dryRun is why the user may not run a command; empty if it may.
func (x *inspection) dryRun(ctx context.Context, user string, args []any) (refused string, err error) {
	answer, err := x.client.Do(ctx, append([]any{"acl", "dryrun", user}, args...)...).Text()
	if err != nil || answer == "OK" {
		return "", err
	}
	return answer, nil
}

// needed lists commands with the keys of their topics: one for each that scripts
// or the driver call.
func (x *inspection) needed(ctx context.Context) []right {
	var all []right
	for _, name := range x.topicNames() {
		need, record := needOf(&all, name), recordOf(name)
		need("hmget", record, recordShards)
		need("type", name)
		need("exists", record)
		need("hset", record, recordShards, "1")
		need("evalsha", "0000", "1", record)
		need("eval", "return 1", "1", record)
		need("time")
		stream := x.firstStream(ctx, name)
		need("set", companion(stream, "trim"), "m", "nx")
		need("xtrim", stream, "minid", "~", "0")
		need("xinfo", "groups", stream)
	}
	for _, name := range x.use.Writes {
		need := needOf(&all, name)
		need("xadd", x.firstStream(ctx, name), "*", bodyField, "")
		need("multi")
		need("exec")
	}
	for _, r := range x.use.Reads {
		neededToRead(needOf(&all, r.Topic), x.firstStream(ctx, r.Topic), r)
	}
	return all
}

func needOf(all *[]right, topic string) func(args ...any) {
	return func(args ...any) { *all = append(*all, right{topic, args}) }
}

// firstStream stands for all of a topic; of one that is missing it is guessed.
func (x *inspection) firstStream(ctx context.Context, name string) string {
	meta, err := x.describe(ctx, name)
	if err != nil {
		return name
	}
	return streamOf(name, 0, meta.shards)
}

func neededToRead(need func(args ...any), stream string, r driver.Reading) {
	st := newStream(stream, r.Group, 0, 1)
	need("xreadgroup", "group", r.Group, "c", "block", "1", "streams", stream, ">")
	need("xgroup", "create", stream, r.Group, "0", "mkstream")
	need("xgroup", "delconsumer", stream, r.Group, "c")
	need("xack", stream, r.Group, "0-1")
	need("xclaim", stream, r.Group, "c", "0", "0-1")
	need("xpending", stream, r.Group)
	need("xrange", stream, "-", "+")
	need("xinfo", "stream", stream)
	need("xinfo", "consumers", stream, r.Group)
	need("zadd", st.due, "1", "m")
	need("zrange", st.due, "0", "0")
	need("zcard", st.due)
	need("zrem", st.due, "m")
	need("zrangebyscore", st.members, "-inf", "1")
	need("hgetall", st.records)
	need("hset", st.records, r.Group, "r")
	need("hdel", st.records, r.Group)
	need("set", st.mark("c"), "t", "get") // of a stable consumer
	if !r.Ordered {
		return
	}
	need("multi")
	need("exec")
	need("watch", st.fence)
	need("get", st.fence)
	need("set", st.fence, "t")
	leases := companion(r.Topic+"/"+r.Group, "leases")
	need("hget", leases, "epoch")
	need("hset", leases, "epoch", "1")
	need("hdel", leases, "f")
	need("hkeys", leases)
	need("pexpire", leases, "1")
}
