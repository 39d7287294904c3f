package transport_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a driver whose every answer a test decides.
type fake struct {
	caps driver.Capabilities

	mu        sync.Mutex
	published [][]*driver.Message
	publish   func(msgs []*driver.Message) error
	subscribe func(driver.Subscription) error
	sources   []*fakeSource
}

func newFake() *fake {
	return &fake{caps: driver.Capabilities{
		InProcess: true, Order: true, OwnsShards: true, OrderedPublish: true, DelayedNack: true, Counts: true,
	}}
}

func (f *fake) Capabilities() driver.Capabilities { return f.caps }
func (f *fake) Close(context.Context) error       { return nil }
func (f *fake) Publish(_ context.Context, _ string, msgs []*driver.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	copies := make([]*driver.Message, len(msgs))
	for i, m := range msgs {
		copied := *m
		copies[i] = &copied
	}
	f.published = append(f.published, copies)
	if f.publish != nil {
		return f.publish(copies)
	}
	return nil
}

func (f *fake) Subscribe(_ context.Context, sub driver.Subscription) (driver.Source, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.subscribe != nil {
		if err := f.subscribe(sub); err != nil {
			return nil, err
		}
	}
	s := &fakeSource{sub: sub, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	f.sources = append(f.sources, s)
	return s, nil
}

// source waits until the n-th subscription of the test was made.
func (f *fake) source(n int) *fakeSource {
	for {
		if s := f.sourceNow(n); s != nil {
			return s
		}
		time.Sleep(time.Millisecond) // virtual: every caller runs in a bubble
	}
}

func (f *fake) sourceNow(n int) *fakeSource {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.sources) <= n {
		return nil
	}
	return f.sources[n]
}

// fakeSource gives what was pushed and records what was settled.
type fakeSource struct {
	sub    driver.Subscription
	wake   chan struct{}
	closed chan struct{}

	mu      sync.Mutex
	queue   []*driver.Message
	errs    []error
	settled []driver.Settlement
	maxima  []int
	out     int // received and not settled
	most    int
	settle  func([]driver.Settlement) error
	extend  func([]driver.Token) ([]driver.Token, error)
	beats   []int
	trouble error
	dropped uint64
}

// Trouble implements [driver.Teller].
func (s *fakeSource) Trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble
}

// Vanished implements [driver.LossTeller].
func (s *fakeSource) Vanished() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

func (s *fakeSource) push(msgs ...*driver.Message) {
	s.mu.Lock()
	s.queue = append(s.queue, msgs...)
	s.mu.Unlock()
	s.signal()
}

func (s *fakeSource) fail(err error) {
	s.mu.Lock()
	s.errs = append(s.errs, err)
	s.mu.Unlock()
	s.signal()
}

func (s *fakeSource) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *fakeSource) Receive(ctx context.Context, most int) ([]*driver.Message, error) {
	for {
		s.mu.Lock()
		if len(s.errs) > 0 {
			err := s.errs[0]
			s.errs = s.errs[1:]
			s.mu.Unlock()
			return nil, err
		}
		if n := min(most, len(s.queue)); n > 0 {
			msgs := s.queue[:n:n]
			s.queue = s.queue[n:]
			s.maxima = append(s.maxima, most)
			s.out += n
			s.most = max(s.most, s.out)
			s.mu.Unlock()
			return msgs, nil
		}
		s.mu.Unlock()
		select {
		case <-s.wake:
		case <-s.closed:
			return nil, driver.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *fakeSource) Settle(_ context.Context, batch []driver.Settlement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settle != nil {
		if err := s.settle(batch); err != nil {
			return err
		}
	}
	s.settled = append(s.settled, batch...)
	s.out -= len(batch)
	return nil
}

func (s *fakeSource) Extend(_ context.Context, tokens []driver.Token) ([]driver.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beats = append(s.beats, len(tokens))
	if s.extend != nil {
		return s.extend(tokens)
	}
	return nil, nil
}

func (s *fakeSource) Close(context.Context) error {
	close(s.closed)
	return nil
}

// outcomes lists what was settled as "token:outcome", with a delay if any.
func (s *fakeSource) outcomes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []string{}
	for _, one := range s.settled {
		text := fmt.Sprintf("%v:%s", one.Token, [...]string{"ack", "nack", "back"}[one.Outcome])
		if one.Delay > 0 {
			text += ":" + one.Delay.String()
		}
		out = append(out, text)
	}
	return out
}

// message is the n-th of a test; its token is its id.
func message(id, key string) *driver.Message {
	return &driver.Message{
		Key: key, Token: id, Deliveries: 1,
		Local: &envelope.Envelope{ID: id, Source: "/t", Type: "t.m", SchemaVersion: 1, Key: key},
	}
}

// rig is one subscription under test.
type rig struct {
	t      *testing.T
	fake   *fake
	wire   *transport.Transport
	stop   context.CancelFunc
	result chan error
	ended  bool
}

func subscribe(
	t *testing.T, f *fake, o *transport.SubscribeOptions, handle transport.Handler,
) *rig {
	t.Helper()
	r := &rig{t: t, fake: f, wire: transport.New(f, nil), result: make(chan error, 1)}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() { r.result <- r.wire.Subscribe(ctx, "topic", handle, o) }()
	t.Cleanup(func() {
		if !r.ended {
			r.end()
		}
	})
	return r
}

// end stops the subscription and returns what it answered.
func (r *rig) end() error {
	r.ended = true
	r.stop()
	return <-r.result
}
