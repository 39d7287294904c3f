package natsdriver

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// askTimeout bounds questions that a server may leave unanswered.
const askTimeout = time.Second

// userInfo is what a server says of the user that asks.
type userInfo struct {
	Data *struct {
		User        string `json:"user"`
		Account     string `json:"account"`
		Permissions *struct {
			Publish   *permission `json:"publish"`
			Subscribe *permission `json:"subscribe"`
		} `json:"permissions"`
	} `json:"data"`
}

// permission is a user's right to publish or to subscribe.
type permission struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

// publish is the right to publish; nil: there is no restriction, or it is not
// known.
func (u *userInfo) publish() *permission {
	if u == nil || u.Data == nil || u.Data.Permissions == nil {
		return nil
	}
	return u.Data.Permissions.Publish
}

// allows reports whether a subject, which may have wildcards of its own, may be
// used as a whole.
func (p *permission) allows(subject string) bool {
	if p == nil {
		return true
	}
	for _, pattern := range p.Deny {
		if covers(pattern, subject) {
			return false
		}
	}
	if len(p.Allow) == 0 {
		return true
	}
	for _, pattern := range p.Allow {
		pattern, _, _ = strings.Cut(pattern, " ") // a queue may follow
		if covers(pattern, subject) {
			return true
		}
	}
	return false
}

// covers reports whether every subject that matches b matches a.
func covers(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i, token := range as {
		switch {
		case token == ">":
			return len(bs) > i
		case i >= len(bs) || bs[i] == ">":
			return false
		case token == "*":
		case token != bs[i]:
			return false
		}
	}
	return len(as) == len(bs)
}

// right is one that the driver needs.
type right struct {
	subject  string
	what     string
	topic    string // in whose name it is needed; empty: any
	toListen bool
}

// rights compares what the user may do with what the driver will do.
func (x *inspection) rights() {
	if x.userErr != nil || x.user.Data == nil {
		x.note(driver.Unknown, "rights", subjectServer, "not readable", "the server does not tell what the user may do",
			"allow the user to publish to $SYS.REQ.USER.INFO, or publish and read once by hand")
		return
	}
	user, p := x.user.Data.User, x.user.Data.Permissions
	if p == nil || p.Publish == nil && p.Subscribe == nil {
		x.good("rights", subjectServer, "everything is allowed in account "+x.user.Data.Account)
		return
	}
	missing, told := 0, map[right]bool{}
	for _, r := range x.needed() {
		allowed, verb, subject := p.Publish, "publish to", subjectServer
		if r.toListen {
			allowed, verb = p.Subscribe, "subscribe to"
		}
		if r.topic != "" {
			subject = "topic " + r.topic
		}
		if allowed.allows(r.subject) || told[r] {
			continue
		}
		told[r] = true
		missing++
		x.note(driver.Danger, "rights", subject, fmt.Sprintf("user %s may not %s %s", user, verb, r.subject),
			"without it the transport cannot "+r.what, fmt.Sprintf("allow the user to %s %s", verb, r.subject))
	}
	if missing == 0 {
		x.good("rights", subjectServer, fmt.Sprintf("user %s may do what the agents need", user))
	}
}

func (x *inspection) askUser(ctx context.Context) (*userInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m, err := x.nc.RequestWithContext(ctx, "$SYS.REQ.USER.INFO", nil)
	if err != nil {
		return nil, err
	}
	var info userInfo
	return &info, json.Unmarshal(m.Data, &info)
}

// needed lists the rights that a use takes.
func (x *inspection) needed() []right {
	list := []right{
		{subject: "_INBOX.>", what: "get any answer", toListen: true},
		{subject: x.api() + "INFO", what: "ask for JetStream"},
	}
	for _, name := range x.use.Writes {
		for _, subject := range subjectsOf(name, x.shards(name)) {
			list = append(list, right{subject: subject, what: "publish", topic: name})
		}
	}
	for _, name := range x.topicNames() {
		stream, err := streamName(name)
		if err != nil {
			continue
		}
		list = append(list, right{subject: x.api() + "STREAM.INFO." + stream, what: "look at the topic", topic: name})
		if x.streams[name] == nil && !x.o.Require {
			list = append(list, right{subject: x.api() + "STREAM.CREATE." + stream, what: "make the topic", topic: name})
		}
	}
	ordered := false
	for _, r := range x.use.Reads {
		ordered = ordered || r.Ordered
		list = append(list, x.neededBy(r)...)
	}
	if ordered {
		list = append(list, x.neededByLeases()...)
	}
	return list
}

// neededByLeases lists the rights to the bucket that says who owns which shard.
func (x *inspection) neededByLeases() []right {
	const bucket = "KV_" + leaseBucket
	list := []right{
		{subject: "$KV." + leaseBucket + ".>", what: "take the leases of shards, which order needs"},
		{subject: x.api() + "STREAM.INFO." + bucket, what: "find the leases of shards, which order needs"},
		{subject: x.api() + "DIRECT.GET." + bucket + ".>", what: "read the leases of shards, which order needs"},
		{subject: x.api() + "CONSUMER.CREATE." + bucket + ".>", what: "list the leases of shards, which order needs"},
		{subject: x.api() + "CONSUMER.DELETE." + bucket + ".>", what: "end its lists of leases, which order needs"},
	}
	if !x.bucketThere {
		list = append(list, right{subject: x.api() + "STREAM.CREATE." + bucket, what: "make the bucket of leases, which order needs"})
	}
	return list
}

func (x *inspection) shards(topic string) int {
	if info := x.streams[topic]; info != nil {
		return shardsOf(topic, &info.Config)
	}
	return 1
}

// neededBy lists the rights that a subscription takes.
func (x *inspection) neededBy(r driver.Reading) []right {
	stream, err := streamName(r.Topic)
	if err != nil {
		return nil
	}
	subjects := subjectsOf(r.Topic, x.shards(r.Topic))
	if !r.Ordered {
		subjects = []string{""}
	}
	var list []right
	for shard, subject := range subjects {
		create := ""
		if subject == "" {
			shard = -1
		} else {
			create = "." + subject
		}
		name, err := consumerName(r.Group, shard)
		if err != nil {
			return nil
		}
		list = append(list,
			right{subject: x.api() + "CONSUMER.INFO." + stream + "." + name, what: "look at the group", topic: r.Topic},
			right{subject: x.api() + "CONSUMER.CREATE." + stream + "." + name + create, what: "make the group", topic: r.Topic},
			right{subject: x.api() + "CONSUMER.LIST." + stream, what: "see where the group was in another order", topic: r.Topic},
			right{subject: x.api() + "CONSUMER.MSG.NEXT." + stream + "." + name, what: "receive", topic: r.Topic},
			right{subject: ackPrefix + stream + "." + name + ".>", what: "acknowledge", topic: r.Topic})
		if r.Ordered && x.canPin() {
			list = append(list, right{subject: x.api() + "CONSUMER.UNPIN." + stream + "." + name, what: "take a shard over", topic: r.Topic})
		}
	}
	return list
}
