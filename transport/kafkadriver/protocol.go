package kafkadriver

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/anywire/anywire/transport/driver"
)

// What brokers use where they do not say.
const (
	brokerSession    = 45 * time.Second
	brokerHeartbeat  = 5 * time.Second
	brokerMinSession = 6 * time.Second
	brokerMaxSession = 30 * time.Minute

	// defaultDrain bounds the wait for a revoked partition where the subscription
	// does not say.
	defaultDrain = 20 * time.Second
	// commitTime is what the hand-over needs after the wait.
	commitTime = 10 * time.Second
	// mostBeat is the longest pause between heartbeats that we choose.
	mostBeat = 3 * time.Second
)

// terms are what a member's client says when it joins, or learns.
func (d *Driver) terms(ctx context.Context, sub driver.Subscription) (terms, error) {
	t := terms{group: sub.Group, classic: d.o.Protocol == protocolClassic, drain: sub.Drain}
	if t.drain <= 0 {
		t.drain = defaultDrain
	}
	fix := "a session_timeout of at least %[2]v, or a lease of at most %[1]v"
	if t.classic {
		var err error
		if t, err = d.classicTerms(ctx, sub, t); err != nil {
			return t, err
		}
	} else {
		if err := d.hasConsumerProtocol(ctx); err != nil {
			return t, err
		}
		t.session, t.beat = d.consumerSession(ctx, sub.Group)
		fix = "a lease of at most %[1]v, a group.consumer.session.timeout.ms of at least %[2]v on the brokers, or protocol: classic"
	}
	if sub.Lease+t.beat > t.session {
		d.log.Warn("a worker that is cut off loses its partitions before its leases end: others may run what it still runs",
			"group", sub.Group, "topic", sub.Topic, "lease", sub.Lease, "session", t.session,
			"fix", fmt.Sprintf(fix, t.session-t.beat, sub.Lease+t.beat))
	}
	return t, nil
}

// classicTerms let the group keep a silent member's partitions for the lease, and
// for two heartbeats that may be on their way.
func (d *Driver) classicTerms(ctx context.Context, sub driver.Subscription, t terms) (terms, error) {
	t.beat = min(mostBeat, max(sub.Lease/6, 100*time.Millisecond))
	t.session = sub.Lease + 2*t.beat
	if d.o.SessionTimeout > 0 {
		t.session = d.o.SessionTimeout.Std()
		t.beat = min(t.beat, t.session/3)
	}
	settings, err := d.configs(ctx, kmsg.ConfigResourceTypeBroker, "")
	if err != nil {
		d.log.Debug("the broker does not tell its session timeouts", "error", err)
	}
	least := settings.milliseconds("group.min.session.timeout.ms", brokerMinSession)
	most := settings.milliseconds("group.max.session.timeout.ms", brokerMaxSession)
	if t.session > most {
		return t, fmt.Errorf("a session of %v is longer than the brokers take (group.max.session.timeout.ms is %v): use a shorter lease",
			t.session, most)
	}
	t.session = max(t.session, least)
	return t, nil
}

// hasConsumerProtocol refuses brokers without the groups of KIP-848, which the
// client would fall back from in silence.
func (d *Driver) hasConsumerProtocol(ctx context.Context) error {
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, d.client)
	if err != nil {
		return wrap(err)
	}
	for _, key := range resp.ApiKeys {
		if key.ApiKey == int16(kmsg.ConsumerGroupHeartbeat) && key.MaxVersion >= 1 {
			return nil
		}
	}
	return errNoConsumerProtocol
}

var errNoConsumerProtocol = fmt.Errorf(
	"the brokers have no consumer groups of KIP-848 (Kafka 4.0 has): use protocol: classic; %w", driver.ErrDenied)

// consumerSession is what the brokers keep for members of the group: they decide.
func (d *Driver) consumerSession(ctx context.Context, group string) (session, beat time.Duration) {
	ofGroup, err := d.configs(ctx, kmsg.ConfigResourceTypeGroupConfig, group)
	if err != nil {
		d.log.Debug("the broker does not tell the group's settings", "group", group, "error", err)
	}
	session = ofGroup.milliseconds("consumer.session.timeout.ms", 0)
	beat = ofGroup.milliseconds("consumer.heartbeat.interval.ms", 0)
	if session > 0 && beat > 0 {
		return session, beat
	}
	ofBroker, err := d.configs(ctx, kmsg.ConfigResourceTypeBroker, "")
	if err != nil {
		d.log.Debug("the broker does not tell its session timeouts", "error", err)
	}
	return ofBroker.milliseconds("group.consumer.session.timeout.ms", brokerSession),
		ofBroker.milliseconds("group.consumer.heartbeat.interval.ms", brokerHeartbeat)
}

// milliseconds is a setting that is a time.
func (s settings) milliseconds(name string, otherwise time.Duration) time.Duration {
	if ms := s.number(name); ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return otherwise
}

// configs reads what a broker or a group is set to. The name of a broker may be
// empty: any of them.
func (d *Driver) configs(ctx context.Context, kind kmsg.ConfigResourceType, name string) (settings, error) {
	if kind == kmsg.ConfigResourceTypeBroker && name == "" {
		brokers, err := d.adm.ListBrokers(ctx)
		if err != nil {
			return nil, wrap(err)
		}
		if len(brokers) > 0 {
			name = strconv.Itoa(int(brokers[0].NodeID))
		}
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kind, name
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(ctx, d.client)
	if err != nil {
		return nil, wrap(err)
	}
	all := settings{}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return nil, wrap(err)
		}
		for _, c := range r.Configs {
			if c.Value != nil {
				all[c.Name] = *c.Value
			}
		}
	}
	return all, nil
}

// options are those of a member's client.
func (t terms) options() []kgo.Opt {
	opts := []kgo.Opt{kgo.ConsumerGroup(t.group), kgo.RebalanceTimeout(t.drain + commitTime)}
	if !t.classic {
		return append(opts, kgo.ServerSideBalancer())
	}
	return append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(t.session), kgo.HeartbeatInterval(t.beat))
}
