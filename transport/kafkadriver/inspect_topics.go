package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport/driver"
)

// topics looks at each of names.
func (in *inspection) topics(ctx context.Context, names []string, use driver.Use, brokers int) {
	if len(names) == 0 {
		return
	}
	all, err := in.d.adm.ListTopicsWithInternal(kadm.WithAuthorizedOps(ctx), names...)
	if err != nil {
		in.unknown("topic", "topic "+strings.Join(names, ", "), err)
		return
	}
	for _, name := range names {
		subject := "topic " + name
		switch detail := all[name]; {
		case errors.Is(detail.Err, kerr.UnknownTopicOrPartition) && in.d.o.Require:
			in.bad(driver.Danger, "topic", subject, "missing", "what needs it does not start, since topics are required", "create it")
		case errors.Is(detail.Err, kerr.UnknownTopicOrPartition):
			in.good("topic", subject, "missing: created when it is used first")
		case detail.Err != nil:
			in.unknown("topic", subject, detail.Err)
		default:
			in.topic(ctx, detail, use, brokers)
		}
	}
}

func (in *inspection) topic(ctx context.Context, detail kadm.TopicDetail, use driver.Use, brokers int) {
	subject := "topic " + detail.Topic
	in.rights(detail, use)
	s, err := in.d.settings(ctx, detail.Topic)
	if err != nil {
		in.unknown("settings", subject, err)
	} else {
		in.replication(detail, s, brokers)
		in.flag(s, "unclean.leader.election.enable", subject, "false", driver.Danger,
			"after a failure a broker that lacks confirmed messages may become the leader: they are lost",
			"set unclean.leader.election.enable=false on it")
		in.flag(s, "cleanup.policy", subject, "delete", driver.Danger,
			"of the messages of one key the older ones vanish, handled or not; messages without a key are refused",
			"set cleanup.policy=delete on it")
		if limit, need := s.number("max.message.bytes"), int(in.d.o.MaxBody)+batchOverhead; limit > 0 && limit < need {
			in.bad(driver.Warning, "max.message.bytes", subject, strconv.Itoa(limit),
				fmt.Sprintf("max_body is %v: messages between the two are refused", in.d.o.MaxBody),
				fmt.Sprintf("set max.message.bytes=%d on it, or a smaller max_body", need+headroom))
		} else if limit > 0 {
			in.good("max.message.bytes", subject, strconv.Itoa(limit))
		}
	}
	in.replicas(detail, s)
}

// rights compares what we do with a topic with what the broker lets us do.
func (in *inspection) rights(detail kadm.TopicDetail, use driver.Use) {
	if len(detail.AuthorizedOperations) == 0 {
		return // the broker does not tell
	}
	subject, missing := "topic "+detail.Topic, []string{}
	need := func(is bool, op kadm.ACLOperation) {
		if is && !slices.Contains(detail.AuthorizedOperations, op) {
			missing = append(missing, op.String())
		}
	}
	need(slices.Contains(use.Writes, detail.Topic), kadm.OpWrite)
	need(slices.ContainsFunc(use.Reads, func(r driver.Reading) bool { return r.Topic == detail.Topic }), kadm.OpRead)
	if len(missing) > 0 {
		in.bad(driver.Danger, "rights", subject, "without "+strings.Join(missing, ", "), "what needs it is denied",
			"give our user "+strings.Join(missing, ", ")+" on "+subject+" (kafka-acls.sh --add)")
		return
	}
	in.good("rights", subject, "enough")
}

// replication looks at how many brokers keep a confirmed message.
func (in *inspection) replication(detail kadm.TopicDetail, s settings, brokers int) {
	const check = minInSync
	subject, copies, least := "topic "+detail.Topic, detail.Partitions.NumReplicas(), s.number(minInSync)
	found := fmt.Sprintf("%d, with %d replicas", least, copies)
	switch {
	case least > copies:
		in.bad(driver.Danger, check, subject, found,
			"nothing can be published: there are never that many replicas",
			fmt.Sprintf("set min.insync.replicas=%d on it", max(1, copies-1)))
	case copies == 1 && brokers == 1:
		in.bad(driver.Warning, check, subject, found,
			"messages are on the disk of one broker, and lost with it",
			"run three brokers, with replicas: 3")
	case copies == 1:
		in.bad(driver.Danger, check, subject, found,
			"messages are on the disk of one broker, though there are more",
			"move it to 3 replicas (kafka-reassign-partitions.sh), with min.insync.replicas=2")
	case least < 2:
		in.bad(driver.Danger, check, subject, found,
			"a message may be confirmed while one broker alone has it, and is lost with that one",
			"set min.insync.replicas=2 on it")
	case least == copies:
		in.bad(driver.Warning, check, subject, found,
			"publishing stops when one broker is away",
			"use a replica more than min.insync.replicas")
	default:
		in.good(check, subject, found)
	}
}

// replicas looks at the state of the partitions.
func (in *inspection) replicas(detail kadm.TopicDetail, s settings) {
	var leaderless, few, behind []string
	for _, p := range detail.Partitions.Sorted() {
		n := strconv.Itoa(int(p.Partition))
		switch {
		case p.Err != nil || p.Leader < 0:
			leaderless = append(leaderless, n)
		case len(p.ISR) < s.number(minInSync):
			few = append(few, n)
		case len(p.ISR) < len(p.Replicas):
			behind = append(behind, n)
		}
	}
	const check, fix = "replicas", "see which broker is away or slow (kafka-topics.sh --describe)"
	subject := "topic " + detail.Topic
	say := func(level driver.Level, list []string, what, why string) {
		if len(list) > 0 {
			in.bad(level, check, subject, "partitions "+strings.Join(list, ", ")+" "+what, why, fix)
		}
	}
	say(driver.Danger, leaderless, "have no leader", "nothing is published there, or read")
	say(driver.Danger, few, "have fewer in-sync replicas than min.insync.replicas", "nothing is published there")
	say(driver.Warning, behind, "are under-replicated", "one more broker away, and publishing may stop")
	if len(leaderless)+len(few)+len(behind) == 0 {
		in.good(check, subject, "all in sync")
	}
}

// group looks at one subscription: what its leases rest on, and whether the topic
// keeps what it has not settled.
func (in *inspection) group(ctx context.Context, r driver.Reading) {
	subject := "group " + r.Group
	if in.d.o.Protocol == protocolConsumer {
		session, beat := in.d.consumerSession(ctx, r.Group)
		found := fmt.Sprintf("%v, heartbeats every %v", value.Duration(session), value.Duration(beat))
		if r.Lease+beat > session {
			in.bad(driver.Warning, "group.consumer.session.timeout.ms", subject, found,
				fmt.Sprintf("the lease is %v: a worker that is cut off may run messages that another has got", value.Duration(r.Lease)),
				fmt.Sprintf("set group.consumer.session.timeout.ms=%d on the brokers, use a shorter lease, or protocol: classic",
					(r.Lease+beat).Milliseconds()))
		} else {
			in.good("group.consumer.session.timeout.ms", subject, found)
		}
	}
	in.state(ctx, r)
	in.backlog(ctx, r)
}

// state says whether somebody else uses the group's name.
func (in *inspection) state(ctx context.Context, r driver.Reading) {
	subject := "group " + r.Group
	all, err := in.d.adm.ListGroups(ctx)
	if err != nil && len(all) == 0 {
		in.unknown("group", subject, err)
		return
	}
	switch g, is := all[r.Group]; {
	case !is:
		in.good("group", subject, "new")
	case g.ProtocolType != "" && g.ProtocolType != "consumer":
		in.bad(driver.Danger, "group", subject, g.ProtocolType,
			"the name belongs to a group of another sort: subscribing is refused", "give the agent another group")
	default:
		in.good("group", subject, strings.ToLower(g.State))
	}
}

// backlog compares the age of what is unsettled with how long the topic keeps it.
func (in *inspection) backlog(ctx context.Context, r driver.Reading) {
	const check = "retention"
	subject := "group " + r.Group + ", topic " + r.Topic
	detail, err := in.d.metadata(ctx, r.Topic)
	if err != nil {
		return // said with the topic
	}
	in.deleted(ctx, r, subject)
	lag, err := in.d.Lag(ctx, r.Topic, r.Group)
	if errors.Is(err, driver.ErrNotFound) {
		return // it has not begun
	}
	s, settingsErr := in.d.settings(ctx, r.Topic)
	if err = errors.Join(err, settingsErr); err != nil {
		in.unknown(check, subject, err)
		return
	}
	keep := describe(detail, s).RetentionAge
	age := time.Duration(0)
	if !lag.Oldest.IsZero() {
		age = time.Since(lag.Oldest)
	}
	found := fmt.Sprintf("%d unsettled, the oldest %v old; kept %s", lag.Waiting, age.Truncate(time.Second), shown(keep))
	if keep > 0 && age > keep*4/5 {
		in.bad(driver.Danger, check, subject, found, "messages are about to be deleted before they are handled",
			"run more workers, or a longer retention: kafka-configs.sh --alter --add-config retention.ms=…")
		return
	}
	in.good(check, subject, found)
}

// deleted tells of messages that are gone already.
func (in *inspection) deleted(ctx context.Context, r driver.Reading, subject string) {
	committed, err := in.d.adm.FetchOffsetsForTopics(ctx, r.Group, r.Topic)
	if err != nil {
		return
	}
	starts, err := in.d.adm.ListStartOffsets(ctx, r.Topic)
	if err != nil {
		return
	}
	gone := int64(0)
	committed.Each(func(o kadm.OffsetResponse) {
		if first, ok := starts.Lookup(o.Topic, o.Partition); ok && o.Err == nil && o.At >= 0 && o.At < first.Offset {
			gone += first.Offset - o.At
		}
	})
	if gone > 0 {
		in.bad(driver.Danger, "retention", subject, fmt.Sprintf("%d messages deleted unsettled", gone),
			"they were never handled", "a longer retention, and more workers")
	}
}
