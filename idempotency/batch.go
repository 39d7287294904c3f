package idempotency

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// maxBatch bounds one call of a store, storeTimeout its time: an answer that
// takes longer is as good as none.
const (
	maxBatch     = 512
	storeTimeout = 10 * time.Second
)

var errPanicked = errors.New("the store panicked")

// batches joins concurrent calls for single items into batches. There is no
// timer: the first who waits makes the call for all who came while the last one
// was under way, so batches grow with the load and a lone item goes at once.
type batches[Q, A any] struct {
	call func(ctx context.Context, items []Q) ([]A, error)

	mu      sync.Mutex
	waiting []*item[Q, A]
	led     bool // somebody makes calls
}

// item is one request in a batch.
type item[Q, A any] struct {
	request Q
	answer  A
	err     error
	turn    chan bool // true: lead; false: answered
}

// do returns the answer for one item. It waits for the store and not for ctx: an
// answer that nobody takes would leave a record that nobody holds.
func (b *batches[Q, A]) do(ctx context.Context, request Q) (A, error) {
	own := &item[Q, A]{request: request}
	b.mu.Lock()
	b.waiting = append(b.waiting, own)
	if b.led {
		own.turn = make(chan bool, 1)
		b.mu.Unlock()
		if lead := <-own.turn; !lead {
			return own.answer, own.err
		}
		b.mu.Lock()
	}
	b.led = true
	batch := b.take()
	b.mu.Unlock()
	b.lead(context.WithoutCancel(ctx), batch)
	return own.answer, own.err
}

// lead makes the call for a batch, whose first item is the leader's own. Nobody is
// left waiting, even if the store panics.
func (b *batches[Q, A]) lead(ctx context.Context, batch []*item[Q, A]) {
	defer func() {
		b.pass()
		for _, other := range batch[1:] {
			other.turn <- false
		}
	}()
	b.send(ctx, batch)
}

// take removes the oldest of those who wait: the leader is the first of them.
func (b *batches[Q, A]) take() []*item[Q, A] {
	n := min(len(b.waiting), maxBatch)
	batch := b.waiting[:n:n]
	b.waiting = b.waiting[n:]
	return batch
}

// pass lets the next who waits lead.
func (b *batches[Q, A]) pass() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.led, b.waiting = false, nil
		return
	}
	b.waiting[0].turn <- true
}

func (b *batches[Q, A]) send(ctx context.Context, batch []*item[Q, A]) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	requests := make([]Q, len(batch))
	for i, it := range batch {
		requests[i], it.err = it.request, errPanicked
	}
	answers, err := b.call(ctx, requests)
	if err == nil && len(answers) != len(batch) {
		err = fmt.Errorf("the store gave %d answers to %d items", len(answers), len(batch))
	}
	for i, it := range batch {
		if it.err = err; err == nil {
			it.answer = answers[i]
		}
	}
}
