package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/transport/driver"
)

var _ driver.Remover = (*Driver)(nil)

// mostDeletes is how many messages are deleted at the same time.
const mostDeletes = 64

// Remove deletes messages by their sequence. The oldest of the stream, as far as
// there is none between them that stays, go with one purge; each other one is a
// request of its own.
func (d *Driver) Remove(ctx context.Context, name string, msgs []*driver.Message) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	stream, _, err := d.existing(ctx, name)
	if err != nil {
		return err
	}
	order := make([]int, len(msgs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if msgs[a].Seq < msgs[b].Seq {
			return -1
		}
		return 1
	})
	n := oldestOf(stream.CachedInfo().State.FirstSeq, msgs, order)
	if n > 1 {
		if err := stream.Purge(ctx, jetstream.WithPurgeSequence(msgs[order[n-1]].Seq+1)); err != nil {
			return fmt.Errorf("remove from topic %q: %w", name, wrap(err))
		}
		order = order[n:]
	}
	return d.deleteEach(ctx, stream, name, msgs, order)
}

// oldestOf counts the messages at the beginning of order that are one after the
// other, from the stream's first on; those before that are gone already.
func oldestOf(first uint64, msgs []*driver.Message, order []int) int {
	next := first
	for n, i := range order {
		switch seq := msgs[i].Seq; {
		case seq < next:
		case seq == next:
			next++
		default:
			return n
		}
	}
	return len(order)
}

func (d *Driver) deleteEach(ctx context.Context, stream jetstream.Stream, name string, msgs []*driver.Message, order []int) error {
	var (
		mu     sync.Mutex
		failed = driver.BatchError{}
		all    sync.WaitGroup
		slots  = make(chan struct{}, mostDeletes)
	)
	for _, i := range order {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			err := stream.DeleteMsg(ctx, msgs[i].Seq)
			if err == nil || isGone(ctx, stream, msgs[i].Seq) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			failed[i] = fmt.Errorf("remove message %d from topic %q: %w", msgs[i].Seq, name, wrap(err))
		})
	}
	all.Wait()
	return failed.Err()
}

// isGone reports whether there is no such message any more. The client's error does
// not say so, except as text.
func isGone(ctx context.Context, stream jetstream.Stream, seq uint64) bool {
	_, err := stream.GetMsg(ctx, seq)
	return errors.Is(err, jetstream.ErrMsgNotFound)
}
