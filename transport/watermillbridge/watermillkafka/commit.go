package watermillkafka

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/anywire/anywire/transport/driver"
)

// commit writes a group's position in a partition, as a member of its session.
func (d *Driver) commit(s sarama.ConsumerGroupSession, sub driver.Subscription, partition int32, position int64) error {
	const unknownEpoch = -1 // of the leader: nothing is concluded from it
	request := &sarama.OffsetCommitRequest{
		Version: 7, ConsumerGroup: sub.Group, ConsumerID: s.MemberID(), ConsumerGroupGeneration: s.GenerationID(),
	}
	request.AddBlockWithLeaderEpoch(sub.Topic, partition, position, unknownEpoch, 0, "")
	coordinator, err := d.client.Coordinator(sub.Group)
	if err != nil {
		return fmt.Errorf("commit of group %q: %w", sub.Group, wrap(err))
	}
	response, err := coordinator.CommitOffset(request)
	if err != nil {
		_ = coordinator.Close() // the connection: the next commit opens another
		_ = d.client.RefreshCoordinator(sub.Group)
		return fmt.Errorf("commit of group %q: %w", sub.Group, wrap(err))
	}
	answer, told := response.Errors[sub.Topic][partition]
	switch {
	case !told || answer == sarama.ErrNoError:
		return nil
	case errors.Is(answer, sarama.ErrUnknownMemberId), errors.Is(answer, sarama.ErrIllegalGeneration):
		return fmt.Errorf("partition %d: %w: %w", partition, driver.ErrStale, answer)
	case errors.Is(answer, sarama.ErrNotCoordinatorForConsumer):
		_ = d.client.RefreshCoordinator(sub.Group)
	}
	return fmt.Errorf("commit of group %q: %w", sub.Group, wrap(answer))
}
