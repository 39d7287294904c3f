package integration

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/watermillbridge"
)

// watermillSetting is one way to run Watermill's own suite for a Pub/Sub.
type watermillSetting struct {
	name     string
	window   int
	features tests.Features
	skips    []string // what these features leave out
}

// watermillSettings are the two that there are: one message after the other, and
// many at once.
func watermillSettings() []watermillSetting {
	return []watermillSetting{
		{
			name: "window=1", window: 1,
			features: tests.Features{
				ConsumerGroups: true, GuaranteedOrder: true, GuaranteedOrderWithSingleSubscriber: true, Persistent: true,
			},
			skips: []string{"TestNewSubscriberReceivesOldMessages", "TestReconnect"},
		},
		{
			name: "window=16", window: 16,
			features: tests.Features{ConsumerGroups: true, Persistent: true},
			skips: []string{
				"TestNewSubscriberReceivesOldMessages", "TestReconnect", "TestNoAck", "TestPublishSubscribeInOrder",
			},
		},
	}
}

// watermillTests are those of the suite.
func watermillTests() []string {
	return []string{
		"TestConcurrentClose", "TestConcurrentSubscribe", "TestConcurrentSubscribeMultipleTopics", "TestConsumerGroups",
		"TestContinueAfterErrors", "TestContinueAfterSubscribeClose", "TestMessageCtx",
		"TestNewSubscriberReceivesOldMessages", "TestNoAck", "TestPublishSubscribe", "TestPublishSubscribeInOrder",
		"TestPublisherClose", "TestReconnect", "TestResendOnError", "TestSubscribeCtx", "TestTopic",
	}
}

// TestWatermillPubSub: every transport is a Pub/Sub by the word of Watermill's own
// suite. TestReconnect of it is TestWatermillReconnect; new subscribers never get
// old messages, because a group is one for all subscribers of a test.
func TestWatermillPubSub(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		if b.name == "paranoid" || b.bridged { // it stores messages twice and out of order; Watermill over Watermill
			continue
		}
		for _, setting := range watermillSettings() {
			t.Run(b.name+"/"+setting.name, func(t *testing.T) {
				t.Parallel()
				runWatermill(t, b, setting)
			})
		}
	}
}

func runWatermill(t *testing.T, b backend, setting watermillSetting) {
	t.Helper()
	start := b.start
	if b.loose != nil {
		start = b.loose
	}
	p := pubSubOver(t, start(t), setting.window)
	features := setting.features
	features.ForceShort = !full()
	t.Run("suite", func(t *testing.T) {
		tests.TestPubSub(t, features, p.open, p.openGroup)
	})
	ran := p.ran()
	for _, name := range watermillTests() {
		if skipped := !slices.Contains(ran, name); skipped != slices.Contains(setting.skips, name) {
			t.Errorf("%s: skipped is %v, though the list of those that may be says %v", name, skipped, !skipped)
		}
	}
}

// pubSub makes publishers and subscribers over one transport, and notes for which
// tests it did: one that was skipped asks for none.
type pubSub struct {
	t      *transport.Transport
	window int

	mu    sync.Mutex
	names []string
}

func pubSubOver(t *testing.T, w *world, window int) *pubSub {
	t.Helper()
	tr := transport.New(w.stranger(t), &transport.Options{Name: bus, Prefix: w.entry.Prefix})
	t.Cleanup(func() {
		if err := tr.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("close the transport: %v", err)
		}
	})
	return &pubSub{t: tr, window: window}
}

// open has one group for all subscribers of a test.
func (p *pubSub) open(t *testing.T) (message.Publisher, message.Subscriber) {
	t.Helper()
	return p.openGroup(t, t.Name())
}

func (p *pubSub) openGroup(t *testing.T, group string) (message.Publisher, message.Subscriber) {
	t.Helper()
	p.note(t)
	return watermillbridge.NewPublisher(p.t, nil), watermillbridge.NewSubscriber(p.t, &watermillbridge.SubscriberOptions{
		Group: group, Window: p.window, NackDelay: time.Millisecond, CloseTimeout: -1,
	})
}

// note takes the name of the test from within the suite.
func (p *pubSub) note(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for part := range strings.SplitSeq(t.Name(), "/") {
		if strings.HasPrefix(part, "Test") && part != "TestWatermillPubSub" && !slices.Contains(p.names, part) {
			p.names = append(p.names, part)
		}
	}
}

func (p *pubSub) ran() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.names)
}

// TestWatermillReconnect: Watermill's test of a broker that is restarted, twice,
// under ten thousand messages. ANYWIRE_TEST_FULL=1 runs it on every broker that
// can be restarted. The test itself reads its list of what was published while it
// may still be written.
func TestWatermillReconnect(t *testing.T) {
	t.Parallel()
	if raceDetector {
		t.Skip("Watermill's test has a data race of its own: make test runs it without the detector")
	}
	names := []string{"redis"}
	if full() {
		names = []string{"redis", "nats", "kafka"}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := brokers[name]
			server := b.own(t)
			p := pubSubOver(t, b.world(t, server), 256)
			tests.TestReconnect(t, tests.TestContext{
				TestID:   tests.NewTestID(),
				Features: tests.Features{ConsumerGroups: true, Persistent: true, RestartServiceCommand: restarter(t, server)},
			}, func(t *testing.T) (message.Publisher, message.Subscriber) {
				t.Helper()
				pub, sub := p.open(t)
				published := &countedPublisher{Publisher: pub}
				return published, &patientSubscriber{Subscriber: sub, published: published, done: make(chan struct{})}
			})
		})
	}
}

// restarter is a command that restarts the server and ends when it answers. The
// server is this process's child: the command asks for it by a file, and waits
// until that is gone.
func restarter(t *testing.T, server *brokertest.Server) []string {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	t.Cleanup(func() { cancel(); watching.Wait() })
	watching.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				restartAsAsked(t, server, dir)
			case <-ctx.Done():
				return
			}
		}
	})
	return []string{"sh", "-c", `touch "$0/$$" && while test -e "$0/$$"; do sleep 0.05; done`, dir}
}

func restartAsAsked(t *testing.T, server *brokertest.Server, dir string) {
	t.Helper()
	asked, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(asked) == 0 {
		return
	}
	server.Stop(t)
	server.Start(t)
	for _, file := range asked {
		if err := os.Remove(file); err != nil {
			t.Error(err)
		}
	}
}

// reconnectMessages is how many Watermill's test publishes.
const reconnectMessages = 10_000

// countedPublisher counts what was published.
type countedPublisher struct {
	message.Publisher

	n atomic.Int64
}

func (p *countedPublisher) Publish(topic string, messages ...*message.Message) error {
	err := p.Publisher.Publish(topic, messages...)
	if err == nil {
		p.n.Add(int64(len(messages)))
	}
	return err
}

// patientSubscriber keeps the last message back until the test has written down
// all that it published, as far as that can be seen from here.
type patientSubscriber struct {
	message.Subscriber

	published *countedPublisher
	done      chan struct{}
}

func (s *patientSubscriber) Close() error {
	close(s.done)
	return s.Subscriber.Close()
}

func (s *patientSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, err := s.Subscriber.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		seen := map[string]bool{}
		for m := range in {
			seen[m.UUID] = true
			if len(seen) == reconnectMessages {
				awaits(ctx, patience, func() bool { return s.published.n.Load() >= reconnectMessages })
				_ = pause(ctx, time.Second)
			}
			select {
			case out <- m:
			case <-s.done: // nobody reads any more
			}
		}
	}()
	return out, nil
}
