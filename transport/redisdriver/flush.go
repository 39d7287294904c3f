package redisdriver

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// The wait between two tries while nothing gets through.
const (
	leastWait = 20 * time.Millisecond
	mostWait  = time.Second
)

// flush sends what is in the queue until it is empty.
func (p *publisher) flush() {
	var batch []*call
	var wait time.Duration
	for {
		runtime.Gosched() // callers that are about to queue something come along
		if batch = p.take(batch[:0]); len(batch) == 0 {
			return
		}
		err := p.send(batch)
		if p.finish(batch, err) {
			wait = 0
			continue
		}
		wait = min(max(2*wait, leastWait), mostWait)
		pause(p.life, wait)
	}
}

// take begins what fits into one pipeline, in turn. With nothing to do, the
// flusher has left.
func (p *publisher) take(batch []*call) []*call {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, messages, bytes := 0, 0, 0
	for _, c := range p.queue {
		messages, bytes = messages+len(c.commands), bytes+c.bytes
		if n > 0 && (messages > mostTogether || bytes > mostBytesTogether) {
			break
		}
		c.queued = false
		n++
	}
	batch = append(batch, p.queue[:n]...)
	p.queue = slices.Delete(p.queue, 0, n)
	if n == 0 {
		p.flushers--
	}
	return batch
}

// finish tells the callers. What the server surely has not goes back into the
// queue as long as its caller waits; then it is false.
func (p *publisher) finish(batch []*call, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	again := 0
	for _, c := range batch {
		if !p.closed && !c.abandoned && c.untouched() {
			c.queued = true
			batch[again] = c
			again++
			continue
		}
		c.settle()
		p.end(c)
	}
	p.stuck = nil
	if again > 0 {
		p.stuck = wrap(err)
		p.queue = slices.Insert(p.queue, 0, batch[:again]...)
	}
	p.makeRoom(0)
	return again == 0
}

// send writes the calls and reads the replies. No context bounds it: the client's
// timeouts do, as a caller that leaves must fail nobody else's message.
func (p *publisher) send(batch []*call) error {
	ctx := context.Background()
	pipe := p.client.Pipeline()
	var transactions []transaction
	var first error
	for _, c := range batch {
		switch {
		case !c.ordered || len(c.commands) < 2:
			for _, x := range c.commands {
				_ = pipe.Process(ctx, x) // a pipeline only keeps it
			}
		case p.cluster:
			if err := p.sendOrdered(ctx, c); err != nil && first == nil {
				first = err
			}
		default:
			transactions = append(transactions, begin(ctx, pipe, c))
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && first == nil {
		first = err
	}
	for _, t := range transactions {
		t.end()
	}
	return first
}

// transaction is an ordered call within a pipeline.
type transaction struct {
	call *call
	exec *redis.SliceCmd
}

func begin(ctx context.Context, pipe redis.Pipeliner, c *call) transaction {
	_ = pipe.Process(ctx, redis.NewStatusCmd(ctx, "multi"))
	for _, x := range c.commands {
		_ = pipe.Process(ctx, x)
	}
	t := transaction{c, redis.NewSliceCmd(ctx, "exec")}
	_ = pipe.Process(ctx, t.exec)
	return t
}

// end gives each command what EXEC says of it. Before that, its reply was only
// that it is queued.
func (t transaction) end() {
	results, err := t.exec.Result()
	for i, x := range t.call.commands {
		if x.Val() != queuedReply {
			continue
		}
		x.SetVal("")
		switch {
		case err != nil:
			x.SetErr(err)
		case i < len(results):
			id, _ := results[i].(string)
			failure, _ := results[i].(error)
			x.SetVal(id)
			x.SetErr(failure)
		}
	}
}

// sendOrdered makes one transaction for each stream of a call: those of a Cluster
// may be on several nodes.
func (p *publisher) sendOrdered(ctx context.Context, c *call) error {
	var first error
	done := make(map[string]bool, 1)
	for at, x := range c.commands {
		if done[*x.stream] {
			continue
		}
		done[*x.stream] = true
		pipe := p.client.TxPipeline()
		for _, other := range c.commands[at:] {
			if *other.stream == *x.stream {
				_ = pipe.Process(ctx, other)
			}
		}
		if _, err := pipe.Exec(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}
