package redisdriver

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// mostFlushers is how many pipelines are under way at once: while the server
// works on one, the next is written.
const mostFlushers = 2

// publisher brings the messages of concurrent calls together: what waits while a
// pipeline is under way becomes the next one. Nothing waits for a timer. It has no
// goroutine while nothing is to be sent, and mostFlushers at most.
type publisher struct {
	client  redis.UniversalClient // waits publish_timeout for a reply
	cluster bool
	timeout time.Duration
	late    error // what a publish fails with after publish_timeout
	most    int   // messages that may wait for their end

	mu       sync.Mutex
	queue    []*call
	pending  int // messages in the queue or under way
	waiting  []*turn
	flushers int
	closed   bool
	stuck    error // why nothing gets through at the moment
	running  sync.WaitGroup
	life     context.Context //nolint:containedctx // it ends with the publisher
	quit     context.CancelFunc

	calls sync.Pool
}

// turn is a caller that waits for room for n messages.
type turn struct {
	n     int
	ready chan struct{}
}

func (p *publisher) init(client redis.UniversalClient, o Options) {
	p.client, p.timeout, p.most = client, o.PublishTimeout.Std(), o.MaxPending
	p.late = fmt.Errorf("no confirmation came in time: publish_timeout is %v", o.PublishTimeout)
	p.life, p.quit = context.WithCancel(context.Background())
	p.calls.New = func() any { return newCall() }
	switch c := client.(type) {
	case *redis.Client:
		if c != nil {
			p.client = c.WithTimeout(p.timeout) // it shares the connections
		}
	case *redis.ClusterClient:
		p.cluster = true
	}
}

func (p *publisher) call() *call {
	return p.calls.Get().(*call) //nolint:forcetypeassert // the pool holds nothing else
}

func (p *publisher) recycle(c *call) {
	c.reset()
	p.calls.Put(c)
}

// do sends c and waits for its end. An error is that of all its messages; then c
// may still be under way and is not the caller's any more.
func (p *publisher) do(ctx context.Context, c *call) error {
	c.timer.Reset(p.timeout)
	defer c.timer.Stop()
	if err := p.enter(ctx, c); err != nil {
		return err
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return p.abandon(c, ended(ctx))
	case <-c.timer.C:
		return p.abandon(c, p.late)
	}
}

// enter puts c into the queue as soon as there is room.
func (p *publisher) enter(ctx context.Context, c *call) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return errClosed()
	}
	if len(p.waiting) == 0 && p.fits(len(c.commands)) {
		p.pending += len(c.commands)
		p.push(c)
		p.mu.Unlock()
		return nil
	}
	t := &turn{len(c.commands), make(chan struct{})}
	p.waiting = append(p.waiting, t)
	p.mu.Unlock()
	if err := p.await(ctx, c, t); err != nil {
		return p.leave(t, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed()
	}
	p.push(c)
	return nil
}

func (p *publisher) await(ctx context.Context, c *call, t *turn) error {
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	case <-c.timer.C:
		return p.late
	case <-p.life.Done():
		return errClosed()
	}
}

// leave gives up a turn, or the room that it got in this moment.
func (p *publisher) leave(t *turn, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := slices.Index(p.waiting, t); at >= 0 {
		p.waiting = slices.Delete(p.waiting, at, at+1)
		p.makeRoom(0)
	} else {
		p.makeRoom(t.n)
	}
	return p.because(err)
}

func (p *publisher) fits(n int) bool { return p.pending == 0 || p.pending+n <= p.most }

// makeRoom lets those in whose messages fit, in turn.
func (p *publisher) makeRoom(n int) {
	p.pending -= n
	for len(p.waiting) > 0 && p.fits(p.waiting[0].n) {
		p.pending += p.waiting[0].n
		close(p.waiting[0].ready)
		p.waiting = slices.Delete(p.waiting, 0, 1)
	}
}

func (p *publisher) push(c *call) {
	c.queued = true
	p.queue = append(p.queue, c)
	if p.flushers < mostFlushers {
		p.flushers++
		p.running.Go(p.flush)
	}
}

// beside runs f in a goroutine that the publisher's end cancels and waits for.
func (p *publisher) beside(f func(ctx context.Context)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.running.Go(func() { f(p.life) })
}

// abandon leaves a call before its end, unless that came in this moment. What
// nobody began to send is not sent.
func (p *publisher) abandon(c *call, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-c.done:
		return nil
	default:
	}
	if !c.queued {
		c.abandoned = true
		return p.because(err)
	}
	if at := slices.Index(p.queue, c); at >= 0 {
		p.queue = slices.Delete(p.queue, at, at+1)
	}
	p.makeRoom(len(c.commands))
	return p.because(err)
}

// because adds why nothing gets through.
func (p *publisher) because(err error) error {
	if p.stuck == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, p.stuck)
}

// close fails what is not under way, and waits for the rest until ctx ends.
func (p *publisher) close(ctx context.Context) {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		p.quit()
		for _, c := range p.queue {
			c.fail(errClosed())
			p.end(c)
		}
		p.queue = nil
	}
	p.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		p.running.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// end tells the caller, under the lock.
func (p *publisher) end(c *call) {
	c.queued = false
	p.pending -= len(c.commands)
	if !c.abandoned {
		c.done <- struct{}{}
	}
}
