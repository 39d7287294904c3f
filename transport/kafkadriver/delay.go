package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// delayCopy is a message that goes to a topic at a time. record is not changed.
type delayCopy struct {
	record   *kgo.Record
	to       string
	at       time.Time
	attempts int             // 0: not said
	headers  []driver.Header // further ones, in place of those of the same names
}

// delayCopies puts copies on the ladder and returns when the brokers have
// confirmed them: one error, or nil, for each.
func (d *Driver) delayCopies(ctx context.Context, copies []delayCopy) []error {
	errs := make([]error, len(copies))
	var records []*kgo.Record
	var index []int
	for i, c := range copies {
		r := new(kgo.Record)
		if errs[i] = d.ladder.place(ctx, r, c); errs[i] == nil {
			records, index = append(records, r), append(index, i)
		}
	}
	for k, err := range d.sendAll(ctx, records) {
		errs[index[k]] = err
	}
	return errs
}

// sendAll publishes records and waits as Publish does: an error, or nil, for each.
func (d *Driver) sendAll(ctx context.Context, records []*kgo.Record) []error {
	errs := make([]error, len(records))
	if len(records) == 0 {
		return errs
	}
	timeout := time.NewTimer(d.o.PublishTimeout.Std())
	defer timeout.Stop()
	weight := 0
	for _, r := range records {
		weight += recordSize(r)
	}
	if err := d.pub.room.take(ctx, weight, timeout.C); err != nil {
		return fill(errs, err)
	}
	s := &sending{errs: errs, left: len(records), done: make(chan struct{})}
	for i := range errs {
		errs[i] = errUnconfirmed
	}
	for i, r := range records {
		//nolint:contextcheck // one that ends would fail other callers' records, see call.hand
		d.client.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
			if s.finished(i, wrap(err)) {
				d.pub.room.give(weight)
			}
		})
	}
	select {
	case <-s.done:
	case <-ctx.Done():
	case <-timeout.C:
	}
	errs = s.result()
	for i, err := range errs {
		d.gone(d.topics.get(records[i].Topic), err)
	}
	return errs
}

// sending is what one sendAll waits for.
type sending struct {
	mu   sync.Mutex
	errs []error
	left int
	done chan struct{}
}

func (s *sending) finished(i int, err error) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs[i] = err
	if s.left--; s.left == 0 {
		close(s.done)
	}
	return s.left == 0
}

func (s *sending) result() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]error(nil), s.errs...)
}

func fill(errs []error, err error) []error {
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// recordSize is the most that r takes as a batch of its own.
func recordSize(r *kgo.Record) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return batchSize(len(r.Headers), n)
}

// rung is one topic of the ladder: what it holds waits at most that long.
type rung struct {
	name string
	wait time.Duration
}

// rungs are the topics of the ladder, from the shortest wait on.
func rungs() []rung {
	return []rung{
		{"1s", time.Second},
		{"4s", 4 * time.Second},
		{"16s", 16 * time.Second},
		{"1m", time.Minute},
		{"4m", 4 * time.Minute},
		{"16m", 16 * time.Minute},
		{"1h", time.Hour},
	}
}

// rungFor is where a message waits next. One that is a fifth too long spares
// hops: the message may come late by that fifth, behind one that came just before
// it, which is a quarter of its wait.
func rungFor(left time.Duration) rung {
	all := rungs()
	for i := len(all) - 1; i > 0; i-- {
		if left >= all[i].wait*4/5 {
			return all[i]
		}
	}
	return all[0]
}

// ladderName follows the system's name.
func ladderName(rung string) string { return ".delay." + rung }

// parked is where copies go that do not say where to.
const parked = "parked"

func (l *ladder) topicOf(r rung) string { return l.d.o.System + ladderName(r.name) }

// place writes a copy into r for the rung that fits, whose topic is made if need
// be, and has this process forward.
func (l *ladder) place(ctx context.Context, r *kgo.Record, c delayCopy) error {
	return l.placeOn(ctx, r, c, rungFor(time.Until(c.at)))
}

func (l *ladder) placeOn(ctx context.Context, r *kgo.Record, c delayCopy, on rung) error {
	name := l.topicOf(on)
	t, err := l.ensure(ctx, name)
	if err != nil {
		return err
	}
	r.Topic, r.Key, r.Value = name, c.record.Key, c.record.Value
	r.Headers = delayHeaders(c)
	if n := recordSize(r); n > l.d.batchBytes(t) {
		return fmt.Errorf("%w: %d bytes as a delayed record: max.message.bytes of topic %q is %d", driver.ErrTooLarge, n, name, t.limit)
	}
	l.start() //nolint:contextcheck // forwarding outlives the call
	return nil
}

// delayHeaders are the record's, and what the ladder has to know.
func delayHeaders(c delayCopy) []kgo.RecordHeader {
	headers := make([]kgo.RecordHeader, 0, len(c.record.Headers)+len(c.headers)+3)
	for _, h := range c.record.Headers {
		if h.Key == deliverAtHeader || h.Key == deliverToHeader || h.Key == attemptHeader && c.attempts > 0 ||
			slices.ContainsFunc(c.headers, func(own driver.Header) bool { return own.Name == h.Key }) {
			continue
		}
		headers = append(headers, h)
	}
	for _, h := range c.headers {
		headers = append(headers, kgo.RecordHeader{Key: h.Name, Value: []byte(h.Value)})
	}
	headers = append(headers,
		kgo.RecordHeader{Key: deliverAtHeader, Value: []byte(c.at.UTC().Format(time.RFC3339Nano))},
		kgo.RecordHeader{Key: deliverToHeader, Value: []byte(c.to)})
	if c.attempts > 0 {
		headers = append(headers, kgo.RecordHeader{Key: attemptHeader, Value: strconv.AppendInt(nil, int64(c.attempts), 10)})
	}
	return headers
}

// ensure makes a topic of the ladder if it is missing. What it holds has no age
// limit: a system that stands still for a month forwards what is due afterwards.
// What was forwarded is deleted.
func (l *ladder) ensure(ctx context.Context, name string) (*topic, error) {
	if t := l.d.topics.get(name); t != nil {
		return t, nil
	}
	_, err := l.d.metadata(ctx, name)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		if l.d.o.Require {
			return nil, fmt.Errorf("topic %q, which delays messages: %w: it is required: create it with retention.ms=-1", name, driver.ErrNotFound)
		}
		more := settings{"max.message.bytes": strconv.Itoa(max(defaultBatch, int(l.d.o.MaxBody)+2*headroom))}
		if err = l.d.create(ctx, driver.Topic{Name: name, RetentionAge: -1}, more); err == nil {
			_, err = l.d.awaitLeaders(ctx, name)
		}
	}
	if err != nil {
		return nil, topicError(name, err)
	}
	if err := l.d.ensure(ctx, name); err != nil {
		return nil, err
	}
	signal(l.look)
	return l.d.topics.get(name), nil
}

// defaultBatch is the brokers' default of message.max.bytes.
const defaultBatch = 1_048_588
