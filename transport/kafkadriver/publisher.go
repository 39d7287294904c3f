package kafkadriver

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/anywire/anywire/transport/driver"
)

var (
	errUnconfirmed = errors.New("no confirmation came in time")
	errNoRoom      = errors.New("more than max_pending is unconfirmed")
)

// publisher is what the calls of Publish share.
type publisher struct {
	room room
	gate sync.RWMutex // see call.hand
}

var _ kgo.HookBrokerE2E = (*publisher)(nil)

func (p *publisher) init(o Options) { p.room.free, p.room.all = int(o.MaxPending), int(o.MaxPending) }

// OnBrokerE2E runs before the client looks at an answer; it waits until the
// callers that are handing messages over have done so.
func (p *publisher) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, _ kgo.BrokerE2E) {
	if key == int16(kmsg.Produce) {
		p.gate.Lock()
		defer p.gate.Unlock()
	}
}

// producerOptions are those of the client that publishes.
func (d *Driver) producerOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(d.o.Linger.Std()),
		kgo.RecordPartitioner(partitioner{}),
		kgo.ProducerBatchCompression(codec(d.o.Compression)),
		kgo.ProducerBatchMaxBytesFn(func(name string) int32 { return int32(d.batchBytes(d.topics.get(name))) }),
		// The client gives up before the caller does, so that a message which never
		// left is not sent after its caller was told that it failed.
		kgo.RecordDeliveryTimeout(max(leastTimeout, d.o.PublishTimeout.Std()*9/10)),
		kgo.MaxBufferedRecords(math.MaxInt32), // room bounds them, by bytes
		kgo.ProducerOnDataLossDetected(d.lossSeen),
		kgo.WithHooks(&d.pub),
	}
}

// lossSeen is called when a broker has forgotten what it had confirmed.
func (d *Driver) lossSeen(topic string, partition int32) {
	d.log.Error("Kafka lost messages that it had confirmed: look at unclean.leader.election.enable and min.insync.replicas",
		"topic", topic, "partition", partition)
}

func codecs() []string { return []string{"none", "snappy", "lz4", "zstd", "gzip"} }

func codec(name string) kgo.CompressionCodec {
	switch name {
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	case "gzip":
		return kgo.GzipCompression()
	}
	return kgo.NoCompression()
}

// partitioner places keys as Kafka's Java client does, and what has no key by
// turns: a partition has one reader, and work for several should reach them all.
type partitioner struct{}

type turns struct{ next int }

var (
	_ kgo.Partitioner      = partitioner{}
	_ kgo.TopicPartitioner = (*turns)(nil)
)

// ForTopic begins somewhere, so that processes that publish one message each do
// not all choose the first partition.
func (partitioner) ForTopic(string) kgo.TopicPartitioner {
	return &turns{next: int(time.Now().UnixNano() & math.MaxInt32)}
}

// RequiresConsistency is true for keys: a partition that is away is waited for.
func (*turns) RequiresConsistency(r *kgo.Record) bool { return r.Key != nil }

// Partition is called by one goroutine at a time.
func (t *turns) Partition(r *kgo.Record, n int) int {
	if r.Key != nil {
		return driver.ShardOf(string(r.Key), n)
	}
	t.next++
	return t.next % n
}

// room bounds the bytes that are on their way. Those who wait get it in turn.
type room struct {
	mu      sync.Mutex
	all     int
	free    int
	waiting []*claim
}

type claim struct {
	n   int
	got chan struct{} // closed when it was granted
}

// take waits for n bytes, or for all there are where n is more.
func (r *room) take(ctx context.Context, n int, timeout <-chan time.Time) error {
	r.mu.Lock()
	n = min(n, r.all)
	if r.free >= n && len(r.waiting) == 0 {
		r.free -= n
		r.mu.Unlock()
		return nil
	}
	c := &claim{n, make(chan struct{})}
	r.waiting = append(r.waiting, c)
	r.mu.Unlock()
	var err error
	select {
	case <-c.got:
		return nil
	case <-ctx.Done():
		err = ended(ctx)
	case <-timeout:
		err = errNoRoom
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.waiting, c); i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
	} else {
		r.free += n // it came in the same moment
	}
	r.grant()
	return err
}

func (r *room) give(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free += min(n, r.all)
	r.grant()
}

// grant serves who waits, first come first served.
func (r *room) grant() {
	for len(r.waiting) > 0 && r.free >= r.waiting[0].n {
		c := r.waiting[0]
		r.waiting = r.waiting[1:]
		r.free -= c.n
		close(c.got)
	}
}
