package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/anywire/anywire/transport/driver"
)

// starts are the offsets where a group that is new to the topic begins, as they
// are now. They are committed at once where the group has no members yet, so that
// all who join begin there; else by the member that is assigned a partition.
func (d *Driver) starts(ctx context.Context, sub driver.Subscription) (map[int32]int64, error) {
	committed, err := d.committed(ctx, sub.Group, sub.Topic)
	if err != nil {
		return nil, fmt.Errorf("read its offsets: %w", wrap(err))
	}
	if sub.Start.At == driver.StartOldest || began(committed, sub.Topic) {
		return nil, nil
	}
	first, err := d.firstOffsets(ctx, sub)
	if err != nil {
		return nil, fmt.Errorf("find where it begins: %w", wrap(err))
	}
	starts, missing := map[int32]int64{}, kadm.Offsets{}
	first.Each(func(o kadm.ListedOffset) {
		starts[o.Partition] = o.Offset
		missing.Add(kadm.Offset{Topic: sub.Topic, Partition: o.Partition, At: o.Offset, LeaderEpoch: -1})
	})
	if len(missing) == 0 {
		return starts, nil
	}
	answers, err := d.adm.CommitOffsets(ctx, sub.Group, missing)
	if err == nil {
		err = answers.Error()
	}
	if err = wrap(err); err != nil && !errors.Is(err, driver.ErrStale) && !errors.Is(err, kerr.RebalanceInProgress) {
		return nil, fmt.Errorf("write down where it begins: %w", err)
	}
	return starts, nil // with members, it is refused: they commit it
}

// began reports whether the group is not new to the topic: partitions that it has
// no offset of came later, and all that they hold is new to it.
func began(committed kadm.OffsetResponses, topic string) bool {
	for _, c := range committed[topic] {
		if c.At >= 0 {
			return true
		}
	}
	return false
}

// committed are the offsets of the group. A coordinator that is moving, or that
// makes its topic as the first group of a cluster comes, is waited for.
func (d *Driver) committed(ctx context.Context, group, topic string) (kadm.OffsetResponses, error) {
	const pause, most = 100 * time.Millisecond, 10 * time.Second
	until := time.Now().Add(most)
	for {
		answers, err := d.adm.FetchOffsetsForTopics(ctx, group, topic)
		if err == nil {
			err = answers.Error()
		}
		if errors.Is(err, kerr.GroupIDNotFound) {
			return answers, nil
		}
		if err == nil || !kerr.IsRetriable(err) || time.Now().After(until) {
			return answers, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return answers, err
		}
	}
}

func (d *Driver) firstOffsets(ctx context.Context, sub driver.Subscription) (kadm.ListedOffsets, error) {
	list, err := d.adm.ListEndOffsets(ctx, sub.Topic)
	if sub.Start.At == driver.StartTime {
		list, err = d.adm.ListOffsetsAfterMilli(ctx, sub.Start.Time.UnixMilli(), sub.Topic)
	}
	if err == nil {
		err = list.Error()
	}
	return list, err
}

// forgetGroup removes what an ephemeral group leaves behind.
func (d *Driver) forgetGroup(ctx context.Context, s *source) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	answer, err := d.adm.DeleteGroup(ctx, s.sub.Group)
	if err == nil {
		err = answer.Err
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		d.log.Warn("an ephemeral group could not be removed: it expires by itself", "group", s.sub.Group, "error", err)
	}
	if s.inbox == "" {
		return
	}
	if _, err := d.adm.DeleteTopic(ctx, s.inbox); err != nil {
		d.log.Warn("the inbox of an ephemeral group could not be removed", "topic", s.inbox, "error", err)
	}
}
