package natsdriver

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// reader uses a source as the engine does: it receives up to its window, handles
// for a while, settles, and extends what is out.
type reader struct {
	src    driver.Source
	window int

	mu    sync.Mutex
	out   map[driver.Token]struct{}
	first []string // bodies, by their first coming
	seen  map[string]bool
	stale error
}

func (r *reader) run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { r.beat(ctx) })
	for ctx.Err() == nil {
		msgs, err := r.src.Receive(ctx, r.window)
		if errors.Is(err, driver.ErrStale) {
			r.lost(err)
			return
		}
		if err != nil {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		r.note(msgs)
		for {
			err := r.src.Settle(ctx, settlements(driver.Ack, msgs...))
			if err == nil || errors.Is(err, driver.ErrStale) || ctx.Err() != nil {
				break
			}
			pause(ctx, 20*time.Millisecond)
		}
		r.forget(msgs)
	}
}

func (r *reader) lost(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stale = err
}

func (r *reader) note(msgs []*driver.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range msgs {
		r.out[m.Token] = struct{}{}
		if body := string(m.Body); !r.seen[body] {
			r.seen[body] = true
			r.first = append(r.first, body)
		}
	}
}

func (r *reader) forget(msgs []*driver.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range msgs {
		delete(r.out, m.Token)
	}
}

func (r *reader) beat(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, 300*time.Millisecond)
		r.mu.Lock()
		var tokens []driver.Token
		for t := range r.out {
			tokens = append(tokens, t)
		}
		r.mu.Unlock()
		if len(tokens) > 0 {
			_, _ = r.src.Extend(ctx, tokens)
		}
	}
}

func (r *reader) has(body string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[body]
}

// TestKillsUnderLoad: the server is killed under a publisher that never stops;
// each time everything goes on, in order, without a lease of seconds ending.
func TestKillsUnderLoad(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t)
	d, _ := open(t, server.URL, nil)
	topic := unique(t)
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	var readers []*reader
	for _, s := range []driver.Subscription{sub(topic), ordered(topic)} {
		s.Lease = 2 * time.Second
		r := &reader{src: subscribe(t, d, s), window: s.Window, out: map[driver.Token]struct{}{}, seen: map[string]bool{}}
		readers = append(readers, r)
		group.Go(func() { r.run(ctx) })
	}
	var mu sync.Mutex
	var confirmed []string
	group.Go(func() {
		for n := 1; ctx.Err() == nil; n++ {
			if d.Publish(ctx, topic, texts(strconv.Itoa(n))) == nil {
				mu.Lock()
				confirmed = append(confirmed, strconv.Itoa(n))
				mu.Unlock()
			}
			pause(ctx, 2*time.Millisecond)
		}
	})
	last := func() string {
		mu.Lock()
		defer mu.Unlock()
		if len(confirmed) == 0 {
			return ""
		}
		return confirmed[len(confirmed)-1]
	}
	for round := range 4 {
		before := last()
		eventually(t, "something is published", func() bool { return last() != before })
		mark := last()
		for i, r := range readers {
			eventually(t, "round "+strconv.Itoa(round)+": reader "+strconv.Itoa(i)+" has "+mark, func() bool { return r.has(mark) })
		}
		server.Kill(t)
		server.Start(t)
	}
	stop()
	group.Wait()
	inOrder := readers[1]
	if inOrder.stale != nil {
		t.Errorf("the ordered reader lost its shard: %v", inOrder.stale)
	}
	for i := 1; i < len(inOrder.first); i++ {
		a, _ := strconv.Atoi(inOrder.first[i-1])
		b, _ := strconv.Atoi(inOrder.first[i])
		if a > b {
			t.Errorf("%d came after %d", b, a)
		}
	}
	t.Logf("%d confirmed", len(confirmed))
}
