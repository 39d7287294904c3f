package watermillkafka

import (
	"context"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/transport/driver"
)

// watch stands between sarama and the adapter, where the adapter lets a tracer
// stand. It sees partitions come and go, which the adapter does not say; it lets a
// partition that moves away end in good order, where the adapter would drop the
// acknowledgement of what runs; and it commits positions by itself, since the
// adapter does not hear how that went.
type watch struct {
	d      *Driver
	sub    driver.Subscription
	joined chan struct{} // closed when the group has answered for the first time
	once   sync.Once
	gone   chan struct{} // closed when the topic is not there any more
	losing sync.Once
	active sync.WaitGroup // claims

	mu     sync.Mutex
	claims map[int32]*claim
}

var _ kafka.SaramaTracer = (*watch)(nil)

func newWatch(d *Driver, sub driver.Subscription) *watch {
	return &watch{d: d, sub: sub, joined: make(chan struct{}), gone: make(chan struct{}), claims: map[int32]*claim{}}
}

// WrapConsumerGroupHandler implements [kafka.SaramaTracer].
func (w *watch) WrapConsumerGroupHandler(h sarama.ConsumerGroupHandler) sarama.ConsumerGroupHandler {
	return &handler{ConsumerGroupHandler: h, w: w}
}

// WrapConsumer implements [kafka.SaramaTracer]; it changes nothing.
func (*watch) WrapConsumer(c sarama.Consumer) sarama.Consumer { return c }

// WrapPartitionConsumer implements [kafka.SaramaTracer]; it changes nothing.
func (*watch) WrapPartitionConsumer(c sarama.PartitionConsumer) sarama.PartitionConsumer { return c }

// WrapSyncProducer implements [kafka.SaramaTracer]; it changes nothing.
func (*watch) WrapSyncProducer(_ *sarama.Config, p sarama.SyncProducer) sarama.SyncProducer { return p }

// of is the claim that delivered a message, and its offset. While a message is
// out, its partition has no other claim.
func (w *watch) of(m *message.Message) (c *claim, offset int64, ok bool) {
	partition, isRecord := kafka.MessagePartitionFromCtx(m.Context())
	offset, hasOffset := kafka.MessagePartitionOffsetFromCtx(m.Context())
	w.mu.Lock()
	defer w.mu.Unlock()
	c = w.claims[partition]
	return c, offset, isRecord && hasOffset && c != nil
}

// lose notes that the topic is not there any more: what is out of it is over, since
// its positions say nothing in the next topic of that name.
func (w *watch) lose() { w.losing.Do(func() { close(w.gone) }) }

// wait joins the goroutines of all claims.
func (w *watch) wait() { w.active.Wait() }

// handler is the adapter's, watched.
type handler struct {
	sarama.ConsumerGroupHandler

	w *watch
}

// Setup puts a group that is new to a partition where the subscription begins.
func (h *handler) Setup(s sarama.ConsumerGroupSession) error {
	if err := h.w.place(s); err != nil {
		return err
	}
	if err := h.ConsumerGroupHandler.Setup(s); err != nil {
		return err
	}
	h.w.once.Do(func() { close(h.w.joined) })
	return nil
}

// ConsumeClaim lets the adapter consume one partition until it moves away.
func (h *handler) ConsumeClaim(s sarama.ConsumerGroupSession, from sarama.ConsumerGroupClaim) error {
	c := newClaim(h.w, s, from)
	h.w.active.Add(1)
	defer h.w.active.Done()
	h.w.mu.Lock()
	h.w.claims[c.partition] = c
	h.w.mu.Unlock()
	var forwarding sync.WaitGroup
	forwarding.Go(func() { c.forward(s.Context()) })
	err := h.ConsumerGroupHandler.ConsumeClaim(&session{ConsumerGroupSession: s, c: c}, c)
	const patience = 5 * time.Second // less than a rebalance gives
	c.settled(patience)
	close(c.over)
	h.w.mu.Lock()
	if h.w.claims[c.partition] == c {
		delete(h.w.claims, c.partition)
	}
	h.w.mu.Unlock()
	forwarding.Wait()
	return err
}

// session is sarama's as the adapter sees it for one claim.
type session struct {
	sarama.ConsumerGroupSession

	c *claim
}

// Context does not end when the partition moves away: the claim does, once what
// is out is settled.
func (s *session) Context() context.Context {
	return context.WithoutCancel(s.ConsumerGroupSession.Context())
}

// MarkMessage marks what is acknowledged, and not what is left to the next owner.
func (s *session) MarkMessage(m *sarama.ConsumerMessage, metadata string) {
	if s.c.marks(m.Offset) {
		s.ConsumerGroupSession.MarkMessage(m, metadata)
	}
}

// Commit does nothing: see claim.commit.
func (*session) Commit() {}
