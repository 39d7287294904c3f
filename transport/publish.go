package transport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport/driver"
)

// batch is the reused memory of one Publish call; drivers keep nothing of it.
type batch struct {
	messages []driver.Message
	pointers []*driver.Message
	headers  []driver.Header
}

// failures collects what failed; nearly always that is nothing.
type failures struct{ byIndex driver.BatchError }

func (f *failures) add(i int, err error) {
	if f.byIndex == nil {
		f.byIndex = driver.BatchError{}
	}
	f.byIndex[i] = err
}

// Publish sends complete envelopes to a topic, in their order, and returns when
// the broker has confirmed all of them. It does not change them, and keeps
// their Data and Extensions, which must not change any more.
//
// For one envelope the error is its own. For several, a [driver.BatchError]
// names those that failed. After the failure of one, later ones of the same
// key fail with [envelope.NotAttempted]. Errors that repeating cannot cure have
// the codes [envelope.Invalid], [envelope.TooLarge] and [envelope.Unsupported].
// A message whose confirmation was lost counts as failed, though the broker may
// have it.
func (t *Transport) Publish(ctx context.Context, topic string, es ...*envelope.Envelope) error {
	if len(es) == 0 {
		return nil
	}
	if t.refused != nil {
		return fmt.Errorf("publish to %q on transport %q: %w", topic, t.Name(), t.refused)
	}
	if t.closing.Load() {
		return fmt.Errorf("publish to %q on transport %q: %w", topic, t.Name(), driver.ErrClosed)
	}
	if t.options.Observe == nil {
		return t.publish(ctx, topic, es)
	}
	began := time.Now()
	err := t.publish(ctx, topic, es)
	t.observe(Published{t.Name(), topic, len(es), time.Since(began), err})
	return err
}

func (t *Transport) publish(ctx context.Context, topic string, es []*envelope.Envelope) error {
	b := t.batches.Get().(*batch) //nolint:forcetypeassert // the pool holds nothing else
	defer t.release(b)
	var failed failures
	indexes := t.encode(b, topic, es, &failed)
	if failed.byIndex == nil && (t.caps.OrderedPublish || !repeatsKey(es)) {
		t.send(ctx, topic, b.pointers, indexes, &failed)
	} else {
		t.sendInOrder(ctx, topic, es, b.pointers, indexes, &failed)
	}
	if failed.byIndex == nil {
		return nil
	}
	return t.publishError(topic, es, failed.byIndex)
}

// release forgets what the batch points to, and keeps its memory.
func (t *Transport) release(b *batch) {
	clear(b.messages)
	clear(b.pointers)
	clear(b.headers)
	b.messages, b.pointers, b.headers = b.messages[:0], b.pointers[:0], b.headers[:0]
	t.batches.Put(b)
}

// encode fills b with the messages of those envelopes that may be sent. It
// returns their indexes, nil where that is all of them, and notes the others.
func (t *Transport) encode(b *batch, topic string, es []*envelope.Envelope, failed *failures) []int {
	var indexes []int
	b.messages = slices.Grow(b.messages, len(es))
	for i, e := range es {
		if err := t.sendable(e); err != nil {
			if indexes == nil {
				indexes = allBefore(i)
			}
			failed.add(i, err)
			continue
		}
		if indexes != nil {
			indexes = append(indexes, i)
		}
		b.messages = append(b.messages, driver.Message{})
		t.fill(&b.messages[len(b.messages)-1], b, topic, e)
	}
	for i := range b.messages {
		b.pointers = append(b.pointers, &b.messages[i])
	}
	return indexes
}

func allBefore(n int) []int {
	indexes := make([]int, n)
	for i := range indexes {
		indexes[i] = i
	}
	return indexes
}

// sendable is what must hold before a message meets the broker.
func (t *Transport) sendable(e *envelope.Envelope) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if !e.DeliverAt.IsZero() && !t.caps.DelayedPublish {
		return t.unsupported("deliver later than at once: publish without a delay, or to a topic of another transport")
	}
	if len(e.Extensions) > 0 && e.Reserved(envelope.AttrDeadLetterReason) != "" {
		return nil // a dead letter may hold what broke a limit
	}
	return t.limits.Check(e)
}

func (t *Transport) fill(m *driver.Message, b *batch, topic string, e *envelope.Envelope) {
	m.Key, m.DeliverAt = e.Key, e.DeliverAt
	if t.caps.Dedup {
		m.DedupID = dedupID(e, topic)
	}
	if t.caps.InProcess {
		local := *e
		m.Local = &local
		return
	}
	start := len(b.headers)
	if p := t.plain[topic]; p != nil {
		b.headers, m.Body = p.Encode(b.headers, e)
	} else {
		b.headers, m.Body = t.binding.Encode(b.headers, e), e.Data
	}
	m.Headers = b.headers[start:len(b.headers):len(b.headers)]
}

// dedupID is the message's, or that of the dead letter that it is.
func dedupID(e *envelope.Envelope, topic string) string {
	if len(e.Extensions) > 0 {
		if id := e.Reserved(envelope.AttrDeadLetterID); id != "" {
			return id
		}
	}
	return e.DedupID(topic)
}

// repeatsKey reports whether a later envelope has the key of an earlier one.
func repeatsKey(es []*envelope.Envelope) bool {
	if len(es) < 2 {
		return false
	}
	seen := make(map[string]struct{}, len(es))
	for _, e := range es {
		if e.Key == "" {
			continue
		}
		if _, again := seen[e.Key]; again {
			return true
		}
		seen[e.Key] = struct{}{}
	}
	return false
}

// sendInOrder sends waves in which no key comes twice, so that a message is
// stored only after the earlier ones of its key are.
func (t *Transport) sendInOrder(
	ctx context.Context, topic string, es []*envelope.Envelope, msgs []*driver.Message, indexes []int,
	failed *failures,
) {
	broken := map[string]int{} // the first envelope of the key that failed
	note := func(at int) {
		if first, known := broken[es[at].Key]; !known || at < first {
			broken[es[at].Key] = at
		}
	}
	for at := range failed.byIndex {
		note(at)
	}
	if indexes == nil {
		indexes = allBefore(len(es))
	}
	for len(msgs) > 0 {
		var wave, rest []*driver.Message
		var waveAt, restAt []int
		taken := map[string]bool{}
		for i, m := range msgs {
			at := indexes[i]
			first, isBroken := broken[m.Key]
			switch {
			case m.Key != "" && isBroken && first < at:
				failed.add(at, notAttempted(m.Key))
			case m.Key != "" && taken[m.Key]:
				rest, restAt = append(rest, m), append(restAt, at)
			default:
				taken[m.Key] = true
				wave, waveAt = append(wave, m), append(waveAt, at)
			}
		}
		t.send(ctx, topic, wave, waveAt, failed)
		for _, at := range waveAt {
			if failed.byIndex[at] != nil {
				note(at)
			}
		}
		msgs, indexes = rest, restAt
	}
}

func notAttempted(key string) error {
	return &envelope.Error{
		Code:    envelope.NotAttempted,
		Message: fmt.Sprintf("an earlier message of key %q failed, and this one must not overtake it", key),
	}
}

// send publishes one batch and notes failures under the indexes of the call.
func (t *Transport) send(
	ctx context.Context, topic string, msgs []*driver.Message, indexes []int, failed *failures,
) {
	if len(msgs) == 0 {
		return
	}
	err := t.driver.Publish(ctx, t.options.Prefix+topic, msgs)
	if err == nil {
		return
	}
	var some driver.BatchError
	isBatch := errors.As(err, &some)
	for i := range msgs {
		at := i
		if indexes != nil {
			at = indexes[i]
		}
		if !isBatch {
			failed.add(at, err)
		} else if some[i] != nil {
			failed.add(at, some[i])
		}
	}
}

// publishError gives the failures of a call their codes.
func (t *Transport) publishError(topic string, es []*envelope.Envelope, failed driver.BatchError) error {
	for i, err := range failed {
		if coded := (*envelope.Error)(nil); errors.As(err, &coded) {
			failed[i] = fmt.Errorf("publish to %q: %w", topic, err)
			continue
		}
		where := fmt.Sprintf("publish to %q on transport %q", topic, t.Name())
		if errors.Is(err, driver.ErrTooLarge) {
			failed[i] = &envelope.Error{Code: envelope.TooLarge, Message: where, Err: fmt.Errorf(
				"%w: raise what the transport takes (max_body, and the broker's own limit), or send a reference", err)}
			continue
		}
		failed[i] = fmt.Errorf("%s: %w", where, err)
	}
	if len(es) == 1 {
		return failed[0]
	}
	return failed.Err()
}
