package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/transport/driver"
)

// forgetTimeout bounds the clean-up after a browse.
const forgetTimeout = 2 * time.Second

// Browse reads through a consumer of its own that acknowledges nothing and
// vanishes afterwards.
func (d *Driver) Browse(ctx context.Context, name string, start driver.Start, follow bool, fn func(*driver.Message) bool) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	stream, t, err := d.existing(ctx, name)
	if err != nil {
		return err
	}
	last := stream.CachedInfo().State.LastSeq
	if !follow && (stream.CachedInfo().State.Msgs == 0 || start.At == driver.StartNow) {
		return nil
	}
	c, err := stream.OrderedConsumer(ctx, browseConfig(start))
	if err != nil {
		return fmt.Errorf("browse topic %q: %w", name, wrap(err))
	}
	defer forgetBrowser(ctx, stream, c)
	if info := c.CachedInfo(); !follow && info != nil && info.NumPending == 0 {
		return nil
	}
	msgs, err := c.Messages()
	if err != nil {
		return fmt.Errorf("browse topic %q: %w", name, wrap(err))
	}
	defer msgs.Stop()
	return browse(ctx, msgs, t, func(m *driver.Message, pending uint64) bool {
		return fn(m) && (follow || m.Seq < last && pending > 0)
	})
}

// forgetBrowser deletes the consumer of a browse. The server would do that after
// idleEphemeral; until then each counts against its limit.
func forgetBrowser(ctx context.Context, stream jetstream.Stream, c jetstream.Consumer) {
	info := c.CachedInfo()
	if info == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetTimeout)
	defer cancel()
	_ = stream.DeleteConsumer(ctx, info.Name) // best effort: the server forgets it by itself
}

func browseConfig(start driver.Start) jetstream.OrderedConsumerConfig {
	cfg := jetstream.OrderedConsumerConfig{InactiveThreshold: idleEphemeral}
	switch start.At {
	case driver.StartNow:
		cfg.DeliverPolicy = jetstream.DeliverNewPolicy
	case driver.StartTime:
		at := start.Time
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &at
	case driver.StartOldest:
		cfg.DeliverPolicy = jetstream.DeliverAllPolicy
	}
	return cfg
}

func browse(ctx context.Context, msgs jetstream.MessagesContext, t *topic, fn func(m *driver.Message, pending uint64) bool) error {
	for {
		m, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			if ctx.Err() != nil {
				return ended(ctx)
			}
			return fmt.Errorf("browse topic %q: %w", t.name, wrap(err))
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("browse topic %q: %w", t.name, err)
		}
		if !fn(browsed(m, meta, t), meta.NumPending) {
			return nil
		}
	}
}

func browsed(m jetstream.Msg, meta *jetstream.MsgMetadata, t *topic) *driver.Message {
	out := &driver.Message{Body: m.Data(), Seq: meta.Sequence.Stream, Published: meta.Timestamp, Shard: t.shardAt(m.Subject())}
	out.Position = strconv.FormatUint(meta.Sequence.Stream, 10)
	out.Headers, out.Key = headersOf(m.Headers())
	return out
}

// existing finds a topic without making it.
func (d *Driver) existing(ctx context.Context, name string) (jetstream.Stream, *topic, error) {
	id, err := streamName(name)
	if err != nil {
		return nil, nil, err
	}
	stream, err := d.js.Stream(ctx, id)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil, notFound(name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("topic %q: %w", name, wrap(err))
	}
	return stream, newTopic(name, stream.CachedInfo()), nil
}

// Lag adds up the group's consumers: one for all shards, or one per shard.
func (d *Driver) Lag(ctx context.Context, name, group string) (driver.Lag, error) {
	if err := d.ready(ctx); err != nil {
		return driver.Lag{}, err
	}
	stream, t, err := d.existing(ctx, name)
	if err != nil {
		return driver.Lag{}, err
	}
	var lag driver.Lag
	found := false
	for shard := -1; shard < len(t.subjects); shard++ {
		consumer, err := consumerName(group, shard)
		if err != nil {
			return driver.Lag{}, err
		}
		c, err := stream.Consumer(ctx, consumer)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue
		}
		if err != nil {
			return driver.Lag{}, fmt.Errorf("lag of group %q on topic %q: %w", group, name, wrap(err))
		}
		found = true
		if err := addLag(ctx, &lag, stream, c.CachedInfo()); err != nil {
			return driver.Lag{}, err
		}
	}
	if !found {
		return driver.Lag{}, fmt.Errorf("group %q of topic %q: %w", group, name, driver.ErrNotFound)
	}
	return lag, nil
}

func addLag(ctx context.Context, lag *driver.Lag, stream jetstream.Stream, info *jetstream.ConsumerInfo) error {
	lag.Waiting += int64(info.NumPending)
	lag.Pending += int64(info.NumAckPending)
	if info.NumPending == 0 && info.NumAckPending == 0 {
		return nil
	}
	subject := info.Config.FilterSubject
	if subject == "" {
		subject = ">"
	}
	m, err := stream.GetMsg(ctx, info.AckFloor.Stream+1, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("oldest unsettled message of consumer %q: %w", info.Name, wrap(err))
	}
	if lag.Oldest.IsZero() || m.Time.Before(lag.Oldest) {
		lag.Oldest = m.Time
	}
	return nil
}
