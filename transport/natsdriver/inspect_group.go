package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/transport/driver"
)

// group looks at the consumers of a subscription.
func (x *inspection) group(ctx context.Context, r driver.Reading) error {
	info := x.streams[r.Topic]
	if info == nil {
		return nil // that has been said of the topic
	}
	subject := fmt.Sprintf("group %s of topic %s", r.Group, r.Topic)
	t := newTopic(r.Topic, info)
	found, other := 0, 0
	for shard := -1; shard < len(t.subjects); shard++ {
		c, err := x.consumerOf(ctx, subject, r, t, shard)
		if err != nil {
			return err
		}
		switch {
		case c == nil:
		case (shard >= 0) != r.Ordered:
			other++
		default:
			found++
			if err := x.consumer(ctx, subject, r, t, shard, c); err != nil {
				return err
			}
		}
	}
	switch {
	case found == 0 && other == 0:
		x.good("consumer", subject, "none yet, it is made on first use")
	case found == 0:
		x.good("consumer", subject, "none yet, it goes on where the group was when it read "+wayOf(!r.Ordered))
	case other > 0:
		x.note(driver.Warning, "consumer", subject, "consumers of both ways to read",
			"the group once read "+wayOf(!r.Ordered)+"; what is left of that keeps its place, and counts as lag",
			"when no worker reads that way any more, delete its consumers: nats consumer rm "+t.stream)
	}
	return nil
}

// consumerOf finds a group's consumer; nil: there is none, or why it cannot be
// looked at has been noted.
func (x *inspection) consumerOf(
	ctx context.Context, subject string, r driver.Reading, t *topic, shard int,
) (*jetstream.ConsumerInfo, error) {
	name, err := consumerName(r.Group, shard)
	if err != nil {
		x.note(driver.Danger, "consumer", subject, "no consumer can have this name", err.Error(), "rename the group")
		return nil, nil
	}
	if !x.mayAsk("consumer", subject, "CONSUMER.INFO."+t.stream+"."+name) {
		return nil, nil
	}
	asking, cancel := x.ask(ctx)
	defer cancel()
	before := time.Now()
	c, err := x.js.Consumer(asking, t.stream, name)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil, nil
	case x.unanswered(ctx, "consumer", subject, err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("group %q of topic %q: %w", r.Group, r.Topic, wrap(err))
	}
	x.tell(c.CachedInfo().TimeStamp, before, time.Now())
	return c.CachedInfo(), nil
}

func wayOf(ordered bool) string {
	if ordered {
		return "in order"
	}
	return "without order"
}

// consumer looks at one that exists.
func (x *inspection) consumer(
	ctx context.Context, subject string, r driver.Reading, t *topic, shard int, info *jetstream.ConsumerInfo,
) error {
	s := &source{
		d: x.Driver, topic: t, shard: shard, consumer: info.Name,
		sub: driver.Subscription{Topic: r.Topic, Group: r.Group, Ordered: r.Ordered, Lease: r.Lease, Window: 1},
	}
	want, have := s.config(), info.Config
	name := "consumer " + info.Name
	switch err := checkConsumer(want, have); {
	case err != nil:
		x.note(driver.Danger, "consumer", subject, name, fmt.Sprintf("it %v", err),
			fmt.Sprintf("delete it while no worker runs (nats consumer rm %s %s), or use another group", t.stream, info.Name))
		return nil
	case have.Metadata[metaGroup] == "" && have.AckWait != want.AckWait:
		x.note(driver.Danger, "consumer", subject, fmt.Sprintf("%s, ack_wait %v", name, have.AckWait),
			fmt.Sprintf("somebody else made it, and it is never changed; the agent's lease is %v, so it refuses to start", r.Lease),
			fmt.Sprintf("set lease: %v, or delete it while no worker runs", have.AckWait))
	case info.Paused:
		x.note(driver.Warning, "consumer", subject, name+", paused for "+info.PauseRemaining.Round(time.Second).String(),
			"nothing is delivered meanwhile", "nats consumer resume "+t.stream+" "+info.Name)
	case have.Durable != "" && have.InactiveThreshold > 0:
		x.note(driver.Danger, "consumer", subject, fmt.Sprintf("%s, inactive_threshold %v", name, have.InactiveThreshold),
			"the server deletes it when no worker runs for so long, and the group's place is lost",
			"nats consumer edit without inactive-threshold, or delete it while no worker runs")
	default:
		x.good("consumer", subject, name)
	}
	return x.lag(ctx, subject, r.Topic, info)
}

// lag compares the age of the oldest unsettled message with the age at which the
// stream drops it.
func (x *inspection) lag(ctx context.Context, subject, topic string, info *jetstream.ConsumerInfo) error {
	age := x.streams[topic].Config.MaxAge
	stream, err := x.js.Stream(ctx, info.Stream)
	if err != nil {
		return wrap(err)
	}
	var lag driver.Lag
	if err := addLag(ctx, &lag, stream, info); err != nil {
		return err
	}
	x.age(subject, info.Stream, lag, age)
	return nil
}

// age judges how old the oldest unsettled message is, where the stream drops
// what reached an age.
func (x *inspection) age(subject, stream string, lag driver.Lag, dropped time.Duration) {
	found := fmt.Sprintf("%d waiting, %d pending", lag.Waiting, lag.Pending)
	if lag.Oldest.IsZero() {
		x.good("lag", subject, found)
		return
	}
	old := time.Since(lag.Oldest).Round(time.Second)
	found += fmt.Sprintf(", the oldest from %v ago", old)
	part := share(int64(old), int64(dropped))
	if part < nearlyFull {
		x.good("lag", subject, found)
		return
	}
	level := driver.Warning
	if part >= almostFull {
		level = driver.Danger
	}
	x.note(level, "lag", subject, found,
		fmt.Sprintf("after %v messages are dropped, handled or not, and the oldest has %.0f %% of that behind it", dropped, 100*part),
		"run more workers, or keep messages longer: raise retention.age of the topic, and nats stream edit --max-age "+stream)
}
