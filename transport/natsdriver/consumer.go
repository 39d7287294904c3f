package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/transport/driver"
)

const (
	// pinGroup is the one priority group of an ordered consumer.
	pinGroup = "owner"
	// pinnedTTL is how long a pin lasts without a pull. Takeover does not wait
	// for it: a new owner unpins the old one. A full window of slow handlers
	// pulls nothing for as long as they run.
	pinnedTTL = 4 * time.Hour
	// idleEphemeral is when the server drops the consumer of a process that died.
	idleEphemeral = 5 * time.Minute

	metaGroup = "anywire.group"
)

// Subscribe creates the group's consumer if it is missing. One that exists is
// adjusted in its lease and window if it is ours, and checked otherwise.
func (d *Driver) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	if err := checkSubscription(sub); err != nil {
		return nil, err
	}
	t, err := d.topicFor(ctx, sub.Topic)
	if err != nil {
		return nil, err
	}
	s, err := d.newSource(t, sub)
	if err != nil {
		return nil, err
	}
	if err := s.join(ctx); err != nil {
		return nil, fmt.Errorf("topic %q: group %q: %w", sub.Topic, sub.Group, err)
	}
	s.lookForVanished(ctx)
	s.startAgeing()
	return s, nil
}

func checkSubscription(sub driver.Subscription) error {
	switch {
	case sub.Lease <= 0:
		return fmt.Errorf("group %q: lease %v: it must be positive", sub.Group, sub.Lease)
	case sub.Window < 1:
		return fmt.Errorf("group %q: window %d: use at least 1", sub.Group, sub.Window)
	case sub.Ordered && len(sub.Shards) > 1:
		return fmt.Errorf("group %q: %d shards in one ordered subscription: subscribe to each", sub.Group, len(sub.Shards))
	case !sub.Ordered && len(sub.Shards) > 0:
		return fmt.Errorf("group %q: shards %v of an unordered subscription: it reads all", sub.Group, sub.Shards)
	}
	return nil
}

// shardOf is the one shard that an ordered subscription reads; -1: all.
func shardOf(t *topic, sub driver.Subscription) (int, error) {
	switch {
	case !sub.Ordered:
		return -1, nil
	case len(sub.Shards) == 1 && sub.Shards[0] >= 0 && sub.Shards[0] < len(t.subjects):
		return sub.Shards[0], nil
	case len(sub.Shards) == 0 && len(t.subjects) == 1:
		return 0, nil
	}
	return 0, fmt.Errorf("topic %q has %d shards; an ordered subscription names one of them, not %v", t.name, len(t.subjects), sub.Shards)
}

// config is the consumer that a source needs.
func (s *source) config() jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Name:          s.consumer,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       s.sub.Lease,
		MaxDeliver:    -1,
		MaxAckPending: -1,
		ReplayPolicy:  jetstream.ReplayInstantPolicy,
		Metadata:      map[string]string{metaGroup: s.sub.Group},
	}
	if s.sub.Ephemeral {
		cfg.InactiveThreshold = max(idleEphemeral, 2*s.sub.Lease)
	} else {
		cfg.Durable = s.consumer
	}
	if s.shard >= 0 {
		cfg.FilterSubject = s.topic.subjects[s.shard]
		cfg.MaxAckPending = s.sub.Window
		if s.d.canPin() {
			cfg.PriorityPolicy, cfg.PriorityGroups = jetstream.PriorityPolicyPinned, []string{pinGroup}
			cfg.PinnedTTL = pinnedTTL
		}
	}
	switch s.sub.Start.At {
	case driver.StartNow:
		cfg.DeliverPolicy = jetstream.DeliverNewPolicy
	case driver.StartTime:
		start := s.sub.Start.Time
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &start
	case driver.StartOldest:
		cfg.DeliverPolicy = jetstream.DeliverAllPolicy
	}
	return cfg
}

// canPin asks the server's version: pinned consumers came with 2.11.
func (d *Driver) canPin() bool {
	if d.noPin {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscanf(d.nc.ConnectedServerVersion(), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 2 || major == 2 && minor >= 11
}

// join finds the consumer, or creates it.
func (s *source) join(ctx context.Context) error {
	found, err := s.d.js.Consumer(ctx, s.stream, s.consumer)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		found, err = s.create(ctx)
		if errors.Is(err, jetstream.ErrConsumerExists) { // another member was quicker
			found, err = s.d.js.Consumer(ctx, s.stream, s.consumer)
		}
	case errors.Is(err, jetstream.ErrStreamNotFound):
		s.d.topics.forget(s.sub.Topic)
		return notFound(s.sub.Topic)
	}
	if err != nil {
		return wrap(err)
	}
	if err := s.adopt(ctx, found.CachedInfo()); err != nil {
		return err
	}
	if s.pinned {
		return s.unpin(ctx)
	}
	return nil
}

// create makes the group's consumer. A group that read the topic in the other
// way before, all shards together or each in order, goes on where that was.
func (s *source) create(ctx context.Context) (jetstream.Consumer, error) {
	cfg := s.config()
	floor, known, err := s.formerly(ctx)
	if err != nil {
		return nil, err
	}
	if known {
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = jetstream.DeliverByStartSequencePolicy, floor+1, nil
	}
	return s.d.js.CreateConsumer(ctx, s.stream, cfg)
}

// formerly is the position up to which the group's consumers of the other kind
// have settled everything.
func (s *source) formerly(ctx context.Context) (floor uint64, known bool, err error) {
	stream, err := s.d.js.Stream(ctx, s.stream)
	if err != nil {
		return 0, false, err
	}
	found, needed := 0, 1
	if s.shard < 0 {
		needed = len(s.topic.subjects) // a shard that nobody read yet has settled nothing
	}
	consumers := stream.ListConsumers(ctx)
	for info := range consumers.Info() {
		isOrdered := strings.Contains(info.Name, "@")
		if info.Config.Metadata[metaGroup] != s.sub.Group || isOrdered == (s.shard >= 0) {
			continue
		}
		if at := settledUpTo(info, stream.CachedInfo()); found == 0 || at < floor {
			floor = at
		}
		found++
	}
	return floor, found >= needed, consumers.Err()
}

// adopt makes the consumer fit, or says why it does not.
func (s *source) adopt(ctx context.Context, info *jetstream.ConsumerInfo) error {
	want, have := s.config(), info.Config
	if err := checkConsumer(want, have); err != nil {
		return fmt.Errorf("consumer %q of stream %q %w", s.consumer, s.stream, err)
	}
	adjusted := have
	// A longer lease is taken over at once; a shorter one only when nobody else
	// counts on the longer.
	if have.AckWait < want.AckWait || have.AckWait > want.AckWait && info.NumWaiting == 0 && info.NumAckPending == 0 {
		adjusted.AckWait = want.AckWait
	}
	adjusted.MaxAckPending = want.MaxAckPending
	if s.shard >= 0 {
		adjusted.PriorityPolicy, adjusted.PriorityGroups, adjusted.PinnedTTL = want.PriorityPolicy, want.PriorityGroups, want.PinnedTTL
	}
	if adjusted.AckWait != have.AckWait || adjusted.MaxAckPending != have.MaxAckPending ||
		adjusted.PriorityPolicy != have.PriorityPolicy || adjusted.PinnedTTL != have.PinnedTTL {
		if have.Metadata[metaGroup] == "" {
			return fmt.Errorf("consumer %q of stream %q was made by somebody else, with ack_wait %v, max_ack_pending %d, priority policy %d; "+
				"this subscription needs %v, %d, %d: delete it, or use another group", s.consumer, s.stream,
				have.AckWait, have.MaxAckPending, have.PriorityPolicy, adjusted.AckWait, adjusted.MaxAckPending, adjusted.PriorityPolicy)
		}
		if _, err := s.d.js.UpdateConsumer(ctx, s.stream, adjusted); err != nil {
			return fmt.Errorf("adjust consumer %q of stream %q: %w", s.consumer, s.stream, wrap(err))
		}
	}
	s.lease = adjusted.AckWait
	s.pinned = adjusted.PriorityPolicy == jetstream.PriorityPolicyPinned
	s.floor, s.floorOf = info.AckFloor.Stream, s.topic.created
	return nil
}

// checkConsumer refuses what would lose messages, or deliver others.
func checkConsumer(want, have jetstream.ConsumerConfig) error {
	switch {
	case have.DeliverSubject != "":
		return fmt.Errorf("pushes to %q, and a group pulls: delete it, or use another group", have.DeliverSubject)
	case have.AckPolicy != want.AckPolicy:
		return fmt.Errorf("has ack policy %v, and %v is needed", have.AckPolicy, want.AckPolicy)
	case have.MaxDeliver > 0:
		return fmt.Errorf("has max_deliver %d, and -1 is needed: a message that was delivered so often would be kept from everybody",
			have.MaxDeliver)
	case have.FilterSubject != want.FilterSubject || len(have.FilterSubjects) > 0:
		return fmt.Errorf("filters %q %v, and %q is needed", have.FilterSubject, have.FilterSubjects, want.FilterSubject)
	case len(have.BackOff) > 0:
		return fmt.Errorf("has the backoff %v, and none is needed: it takes the place of the lease", have.BackOff)
	case have.HeadersOnly:
		return errors.New("delivers headers only, and bodies are needed")
	case have.PauseUntil != nil && time.Now().Before(*have.PauseUntil):
		return nil // an operator's pause ends by itself
	}
	return nil
}

// unpin takes the shard from whoever reads it: the caller owns it now.
func (s *source) unpin(ctx context.Context) error {
	stream, err := s.d.js.Stream(ctx, s.stream)
	if err != nil {
		return wrap(err)
	}
	if err := stream.UnpinConsumer(ctx, s.consumer, pinGroup); err != nil {
		return fmt.Errorf("unpin consumer %q of stream %q: %w", s.consumer, s.stream, wrap(err))
	}
	return nil
}

// recreate replaces a consumer that was deleted under us, so that nothing is
// skipped: it begins where all members had settled everything when we last
// looked. What was settled since comes again.
func (s *source) recreate(ctx context.Context) error {
	s.d.topics.forget(s.sub.Topic)
	stream, err := s.d.js.Stream(ctx, s.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return notFound(s.sub.Topic)
	}
	if err != nil {
		return wrap(err)
	}
	from := s.floor + 1
	if created := stream.CachedInfo().Created; !created.Equal(s.floorOf) {
		// Another stream of that name: nothing of it is settled.
		from, s.floor, s.floorOf = 1, 0, created
		s.topic = newTopic(s.sub.Topic, stream.CachedInfo())
		s.forgetAll()
	}
	s.pin = ""
	cfg := s.config()
	cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = jetstream.DeliverByStartSequencePolicy, from, nil
	_, err = s.d.js.CreateConsumer(ctx, s.stream, cfg)
	if errors.Is(err, jetstream.ErrConsumerExists) {
		return errRecreated
	}
	if err != nil {
		return fmt.Errorf("consumer %q of stream %q was deleted, and cannot be created again: %w", s.consumer, s.stream, wrap(err))
	}
	return fmt.Errorf("%w: it is there again, from position %d on; what was settled after that comes again", errRecreated, from)
}

var errRecreated = errors.New("the group's consumer was deleted")
