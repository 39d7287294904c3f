package redisdriver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/redisconn"
	"github.com/anywire/anywire/transport/driver"
)

// topic looks at a topic, and at the groups that read it.
func (x *inspection) topic(ctx context.Context, name string) error {
	subject := "topic " + name
	meta, found, err := x.find(ctx, name)
	switch {
	case errors.Is(err, driver.ErrDenied):
		x.note(driver.Unknown, "stream", subject, "not readable", err.Error(), "give the user rights to the topic's keys: see the check rights")
		return nil
	case isAnswerOrNone(err):
		x.note(driver.Danger, "stream", subject, "cannot be used", err.Error(), "rename the topic, or delete what stands in its place")
		return nil
	case err != nil:
		return err
	case !found && x.o.Require:
		x.note(driver.Danger, "stream", subject, "missing",
			"the transport says require: true, so it is not made", "make it, or leave require out")
		return nil
	case !found:
		x.good("stream", subject, "none yet, it is made on first use")
		return nil
	}
	if wrong, err := x.wrongStreams(ctx, name, meta); wrong || err != nil {
		return err
	}
	x.good("stream", subject, fmt.Sprintf("%d shards, retention %s", meta.shards, keptText(meta.retentionAge)))
	for _, r := range x.use.Reads {
		if r.Topic != name {
			continue
		}
		if err := x.group(ctx, r, meta); err != nil {
			return err
		}
	}
	return nil
}

// isAnswerOrNone reports whether an error tells of the topic, not of the
// connection.
func isAnswerOrNone(err error) bool {
	var answer redis.Error
	var parse *topicError
	return errors.As(err, &answer) || errors.As(err, &parse) || errors.Is(err, driver.ErrName)
}

// wrongStreams looks for shards whose key is something else.
func (x *inspection) wrongStreams(ctx context.Context, name string, meta topicMeta) (bool, error) {
	streams := streamsOf(name, meta.shards)
	kinds, err := x.kindsOf(ctx, streams)
	if err != nil {
		return false, fmt.Errorf("inspect topic %q: %w", name, wrap(err))
	}
	wrong := false
	for i, kind := range kinds {
		if kind == typeNone || kind == typeStream {
			continue
		}
		wrong = true
		x.note(driver.Danger, "stream", "topic "+name, fmt.Sprintf("key %q is a %s", streams[i], kind),
			"messages of this shard cannot be stored", "rename the topic, or delete the key")
	}
	return wrong, nil
}

// group looks at a group on all shards of its topic.
func (x *inspection) group(ctx context.Context, r driver.Reading, meta topicMeta) error {
	subject := fmt.Sprintf("group %s of topic %s", r.Group, r.Topic)
	streams := streamsOf(r.Topic, meta.shards)
	groups, err := x.groupOn(ctx, streams, r.Group)
	if redisconn.IsAnswer(err, "NOPERM") {
		x.note(driver.Unknown, "group", subject, "not readable",
			"the user may not call XINFO on the topic", "ACL SETUSER of the user with +xinfo")
		return nil
	}
	if err != nil {
		return fmt.Errorf("inspect %s: %w", subject, wrap(err))
	}
	there := 0
	for _, g := range groups {
		if g != nil {
			there++
		}
	}
	if there == 0 {
		return x.newGroup(ctx, subject, streams)
	}
	if there < len(streams) {
		x.note(driver.Warning, "group", subject, fmt.Sprintf("on %d of %d shards", there, len(streams)),
			"somebody deleted it on the others, or it is being made at the moment; there it begins again where it had settled everything",
			"start its agents, and look whether work is repeated")
	} else {
		x.good("group", subject, fmt.Sprintf("on %d shards", there))
	}
	return x.lag(ctx, subject, r, meta)
}

// newGroup says what a group that is not there yet will find.
func (x *inspection) newGroup(ctx context.Context, subject string, streams []string) error {
	backlog := int64(0)
	for _, stream := range streams {
		n, err := x.client.XLen(ctx, stream).Result()
		if err != nil && !redisconn.IsAnswer(err, "NOPERM") {
			return fmt.Errorf("inspect %s: %w", subject, wrap(err))
		}
		backlog += n
	}
	if backlog == 0 {
		x.good("group", subject, "none yet, it is made on first use")
		return nil
	}
	x.note(driver.Warning, "group", subject, fmt.Sprintf("none yet, and %d messages are there", backlog),
		"a new group begins with the oldest of them, unless its agent says from", "check the group's name, or set from: now")
	return nil
}

// lag compares the age of the oldest unsettled message with the ages at which it
// may be trimmed.
func (x *inspection) lag(ctx context.Context, subject string, r driver.Reading, meta topicMeta) error {
	lag, err := x.Lag(ctx, r.Topic, r.Group)
	if errors.Is(err, driver.ErrDenied) {
		x.note(driver.Unknown, "lag", subject, "not readable", err.Error(), "grant what the error names")
		return nil
	}
	if err != nil {
		return err
	}
	found := fmt.Sprintf("%d waiting, %d held", lag.Waiting, lag.Pending)
	if lag.Oldest.IsZero() {
		x.good("lag", subject, found)
		return nil
	}
	age := time.Since(lag.Oldest)
	found += fmt.Sprintf(", the oldest published %v ago", age.Round(time.Second))
	expiry := x.o.GroupExpiry.Std()
	switch {
	case meta.retentionAge < 0 && meta.retentionBytes == 0:
		x.good("lag", subject, found)
	case age > expiry*8/10:
		x.note(driver.Danger, "lag", subject, found,
			fmt.Sprintf("when nobody reads the group for group_expiry (%v), what it has not settled goes at the age of %s",
				x.o.GroupExpiry, keptText(meta.retentionAge)),
			"start its agents, raise group_expiry on every process that uses the topic, or delete the group: XGROUP DESTROY")
	case age > meta.retentionAge && meta.retentionAge > 0:
		x.note(driver.Warning, "lag", subject, found,
			fmt.Sprintf("it is older than the topic's retention of %s and kept only for this group's sake", keptText(meta.retentionAge)),
			"start more workers, or raise concurrency")
	default:
		x.good("lag", subject, found)
	}
	return nil
}

// keptText says how long a topic keeps messages, as a configuration would.
func keptText(age time.Duration) string {
	if age < 0 {
		return foreverAge
	}
	return value.Duration(age).String()
}
