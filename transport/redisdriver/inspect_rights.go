package redisdriver

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
	case isAnswer(err, "NOPERM"), isAnswer(err, "ERR unknown"), isAnswer(err, "ERR Unknown"):
		x.note(driver.Unknown, "rights", subjectServer, "not readable",
			"ACL WHOAMI and ACL DRYRUN (from Redis 7 on) tell what the user may do, and this one may not call them",
			"publish and read once by hand, or look with another user: ACL GETUSER")
		return nil
	case err != nil:
		return fmt.Errorf("inspect rights: %w", wrap(err))
	}
	missing := map[string][]string{}
	for _, r := range x.needed() {
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
				fmt.Sprintf("ACL SETUSER %s ~%s ~%s:* ~{%s}:* ~{%s:*}:* and the commands that are named", user, name, name, name, name))
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
func (x *inspection) needed() []right {
	var all []right
	need := func(topic string, args ...any) { all = append(all, right{topic, args}) }
	for _, name := range x.topicNames() {
		need(name, "hmget", recordOf(name), "shards")
		need(name, "type", name)
		need(name, "exists", recordOf(name))
		need(name, "hset", recordOf(name), "shards", "1")
		need(name, "evalsha", "0000", "1", recordOf(name))
		need(name, "eval", "return 1", "1", recordOf(name))
		need(name, "xtrim", name, "minid", "~", "0")
		need(name, "time")
	}
	for _, name := range x.use.Writes {
		need(name, "xadd", name, "*", bodyField, "")
		need(name, "multi")
		need(name, "exec")
	}
	for _, r := range x.use.Reads {
		name, group := r.Topic, r.Group
		need(name, "xreadgroup", "group", group, "c", "block", "1", "streams", name, ">")
		need(name, "xgroup", "create", name, group, "0", "mkstream")
		need(name, "xgroup", "delconsumer", name, group, "c")
		need(name, "xack", name, group, "0-1")
		need(name, "xclaim", name, group, "c", "0", "0-1")
		need(name, "xpending", name, group)
		need(name, "xrange", name, "-", "+")
		need(name, "xinfo", "groups", name)
		need(name, "xinfo", "stream", name)
		need(name, "xinfo", "consumers", name, group)
		due, members := companion(name, "due:"+group), companion(name, "members:"+group)
		need(name, "zadd", due, "1", "m")
		need(name, "zrange", due, "0", "0")
		need(name, "zrangebyscore", members, "-inf", "1")
		need(name, "zrem", members, "m")
		need(name, "zcard", due)
		need(name, "hgetall", companion(name, "groups"))
		need(name, "hdel", companion(name, "groups"), group)
		if r.Ordered {
			need(name, "xread", "block", "1", "streams", name, "0")
			need(name, "set", companion(name, "fence:"+group), "t")
			need(name, "get", companion(name, "fence:"+group))
		}
	}
	return all
}
