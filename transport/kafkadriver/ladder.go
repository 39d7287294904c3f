package kafkadriver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/anywire/anywire/transport/driver"
)

const (
	// lookAgain is how often a process looks whether others of its system have
	// begun to use a rung, so that it can forward for them once they are gone.
	lookAgain = 15 * time.Second
	// leaveTimeout bounds leaving the ladder's group.
	leaveTimeout = 5 * time.Second

	forwardWindow = 256
	forwardLease  = time.Second
)

// ladder delays messages: a copy waits in the topics of its rungs, one after the
// other, and goes to its own topic when it is due. Every process of a system that
// subscribes, or delays something, is a member of the one group that forwards.
type ladder struct {
	d    *Driver
	look chan struct{} // at once whether there are new rungs

	mu      sync.Mutex
	started bool
	closed  bool
	stop    context.CancelFunc
	ended   sync.WaitGroup
}

func (l *ladder) init(d *Driver) { l.d, l.look = d, make(chan struct{}, 1) }

// group is the one that forwards.
func (l *ladder) group() string { return l.d.o.System + ".delay" }

// start has this process forward, as long as the driver is open.
func (l *ladder) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started || l.closed {
		return
	}
	l.started = true
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.ended.Go(func() { l.run(ctx) })
}

// close ends forwarding and waits for it.
func (l *ladder) close() {
	l.mu.Lock()
	l.closed = true
	stop := l.stop
	l.mu.Unlock()
	if stop != nil {
		stop()
	}
	l.ended.Wait()
}

// run forwards every rung that exists.
func (l *ladder) run(ctx context.Context) {
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	running := map[string]bool{}
	for {
		for _, r := range rungs() {
			name := l.topicOf(r)
			if running[name] || !l.exists(ctx, name) {
				continue
			}
			running[name] = true
			f := &forwarder{l: l, d: l.d, rung: r, topic: name, sick: map[string]time.Time{}}
			l.ended.Go(func() { f.run(ctx) })
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		case <-l.look:
		}
	}
}

// exists is false for what cannot be known, too: it is asked again.
func (l *ladder) exists(ctx context.Context, name string) bool {
	if l.d.topics.get(name) != nil {
		return true
	}
	_, err := l.d.metadata(ctx, name)
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) && ctx.Err() == nil {
		l.d.log.Debug("cannot see whether messages are delayed", "topic", name, "error", err)
	}
	return err == nil
}

// subscription is a member's of one rung. Its lease is short because nothing
// depends on it: a copy that two members forward comes twice.
func (l *ladder) subscription(topic string) driver.Subscription {
	return driver.Subscription{
		Topic: topic, Group: l.group(), Ordered: true,
		Window: forwardWindow, Lease: forwardLease, Drain: leaveTimeout,
	}
}
