package watermillkafka

import (
	"fmt"

	"github.com/IBM/sarama"

	"github.com/anywire/anywire/transport/driver"
)

// place marks where the group begins in partitions of which it has no position.
// The oldest is where sarama begins by itself. The member itself must commit it:
// the next one would otherwise begin at what is new then, and skip what came
// meanwhile.
func (w *watch) place(s sarama.ConsumerGroupSession) error {
	if w.sub.Start.At == driver.StartOldest {
		return nil
	}
	partitions := s.Claims()[w.sub.Topic]
	if len(partitions) == 0 {
		return nil
	}
	has, err := w.d.admin.ListConsumerGroupOffsets(w.sub.Group, map[string][]int32{w.sub.Topic: partitions})
	if err != nil {
		return fmt.Errorf("positions of group %q: %w", w.sub.Group, err)
	}
	placed := false
	for _, p := range partitions {
		if block := has.GetBlock(w.sub.Topic, p); block != nil && block.Offset >= 0 {
			continue
		}
		offset, err := w.offset(p)
		if err != nil {
			return fmt.Errorf("start of group %q in partition %d: %w", w.sub.Group, p, err)
		}
		s.MarkOffset(w.sub.Topic, p, offset, "")
		placed = true
	}
	if placed {
		s.Commit()
	}
	return nil
}

// offset is where the subscription begins in a partition.
func (w *watch) offset(partition int32) (int64, error) {
	if w.sub.Start.At == driver.StartTime {
		at, err := w.d.client.GetOffset(w.sub.Topic, partition, w.sub.Start.Time.UnixMilli())
		if err != nil || at >= 0 {
			return at, err
		}
	}
	return w.d.client.GetOffset(w.sub.Topic, partition, sarama.OffsetNewest)
}
