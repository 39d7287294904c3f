package watermillbridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/transport/driver"
)

// fake is a Pub/Sub whose every step a test decides. Its subscriber is closed as
// adapters are: what is not acknowledged by then is forgotten.
type fake struct {
	out     chan *message.Message
	closing chan struct{}
	hang    chan struct{} // where set, Close blocks on it

	mu        sync.Mutex
	published []string
	publish   func(*message.Message) error
	closed    int
}

func newFake() *fake {
	return &fake{out: make(chan *message.Message), closing: make(chan struct{})}
}

func (f *fake) Publish(_ string, messages ...*message.Message) error {
	for _, m := range messages {
		if f.publish != nil {
			if err := f.publish(m); err != nil {
				return err
			}
		}
		f.mu.Lock()
		f.published = append(f.published, m.UUID)
		f.mu.Unlock()
	}
	return nil
}

func (f *fake) Subscribe(context.Context, string) (<-chan *message.Message, error) { return f.out, nil }

func (f *fake) Close() error {
	if f.hang != nil {
		<-f.hang
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed++; f.closed == 1 {
		close(f.closing)
		close(f.out)
	}
	return nil
}

// deliver is a message with a context, as adapters give it.
func (f *fake) deliver(uuid string) (m *message.Message, acted context.CancelFunc) {
	m = message.NewMessage(uuid, []byte(uuid))
	ctx, acted := context.WithCancel(context.Background())
	m.SetContext(ctx)
	f.out <- m
	return m, acted
}

func (f *fake) source(t *testing.T, o *Options) driver.Source {
	t.Helper()
	d := NewDriver(f, func(context.Context, driver.Subscription, int) ([]message.Subscriber, error) {
		return []message.Subscriber{f}, nil
	}, o)
	src, err := d.Subscribe(t.Context(), driver.Subscription{Topic: "orders", Group: "g", Window: 8})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func receive(t *testing.T, src driver.Source, want string) *driver.Message {
	t.Helper()
	msgs, err := src.Receive(t.Context(), 1)
	if err != nil || len(msgs) != 1 || string(msgs[0].Body) != want {
		t.Fatalf("received %v, %v, want %s", msgs, err, want)
	}
	return msgs[0]
}

func settle(src driver.Source, outcome driver.Outcome, m *driver.Message) error {
	return src.Settle(context.Background(), []driver.Settlement{{Token: m.Token, Outcome: outcome}})
}

func TestSettleWaitsUntilThePubSubHasActed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		src := f.source(t, nil)
		_, acted := f.deliver("1")
		m := receive(t, src, "1")
		done := make(chan error, 1)
		go func() { done <- settle(src, driver.Ack, m) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("Settle returned %v before the Pub/Sub acted", err)
		default:
		}
		acted()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := src.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// A Pub/Sub drops acknowledgements that it has not acted upon when it is closed.
func TestCloseWaitsForAcknowledgements(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		src := f.source(t, nil)
		_, acted := f.deliver("1")
		m := receive(t, src, "1")
		ctx, cancel := context.WithCancel(context.Background())
		settled := make(chan error, 1)
		go func() {
			settled <- src.Settle(ctx, []driver.Settlement{{Token: m.Token}})
		}()
		synctest.Wait()
		cancel()
		if err := <-settled; !errors.Is(err, context.Canceled) {
			t.Errorf("Settle: %v", err)
		}
		closed := make(chan error, 1)
		go func() { closed <- src.Close(context.Background()) }()
		synctest.Wait()
		select {
		case <-f.closing:
			t.Fatal("the subscription was closed before the acknowledgement was through")
		default:
		}
		acted()
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.hang = make(chan struct{})
		src := f.source(t, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := src.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if _, err := src.Receive(t.Context(), 1); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("Receive: %v", err)
		}
		close(f.hang)
		if err := src.Close(context.Background()); err != nil {
			t.Errorf("Close, again: %v", err)
		}
	})
}

func TestADeliveryEndsWithItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		src := f.source(t, &Options{MaxLease: time.Minute})
		w, _ := f.deliver("1")
		m := receive(t, src, "1")
		time.Sleep(59 * time.Second)
		if lost, err := src.Extend(t.Context(), []driver.Token{m.Token}); len(lost) > 0 || err != nil {
			t.Errorf("lost %v, %v", lost, err)
		}
		<-w.Nacked() // so that a subscriber that lives delivers it again
		if lost, _ := src.Extend(t.Context(), []driver.Token{m.Token}); len(lost) != 1 {
			t.Errorf("lost %v", lost)
		}
		if err := settle(src, driver.Ack, m); !errors.Is(err, driver.ErrStale) {
			t.Errorf("Settle: %v", err)
		}
		f.deliver("1")
		if err := settle(src, driver.HandBack, receive(t, src, "1")); err != nil {
			t.Error(err)
		}
		if err := src.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// A subscription that the Pub/Sub ends is opened anew, by the engine.
func TestAPubSubThatEndsASubscription(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		src := f.source(t, nil)
		f.deliver("1")
		m := receive(t, src, "1")
		_ = f.Close()
		if _, err := src.Receive(t.Context(), 1); !errors.Is(err, driver.ErrStale) {
			t.Errorf("Receive: %v", err)
		}
		if err := settle(src, driver.Ack, m); !errors.Is(err, driver.ErrStale) {
			t.Errorf("Settle: %v", err)
		}
		if err := src.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestNoMoreIsDeliveredThanTheSlotsAllow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		src := f.source(t, &Options{InFlight: 2})
		f.deliver("1")
		f.deliver("2")
		f.deliver("3")
		first := receive(t, src, "1")
		receive(t, src, "2")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if msgs, err := src.Receive(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("received %v, %v over the limit", msgs, err)
		}
		if err := settle(src, driver.Nack, first); err != nil {
			t.Fatal(err)
		}
		receive(t, src, "3")
		if err := src.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func message1(key, id string) *driver.Message {
	return &driver.Message{Key: key, Headers: []driver.Header{{Name: "ce_id", Value: id}}, Body: []byte(id)}
}

func TestPublishStopsAtAFailure(t *testing.T) {
	t.Parallel()
	f := newFake()
	down := errors.New("down")
	f.publish = func(m *message.Message) error {
		if m.UUID == "2" {
			return down
		}
		return nil
	}
	d := NewDriver(f, nil, nil)
	err := d.Publish(t.Context(), "orders", []*driver.Message{message1("", "1"), message1("", "2"), message1("", "3")})
	failed, ok := errors.AsType[driver.BatchError](err)
	if !ok || len(failed) != 2 || !errors.Is(failed[1], down) || failed[2] == nil {
		t.Errorf("Publish: %v", err)
	}
	if !slices.Equal(f.published, []string{"1"}) {
		t.Errorf("published %v", f.published)
	}
}

func TestALargeMessageStopsItsKeyOnly(t *testing.T) {
	t.Parallel()
	f := newFake()
	d := NewDriver(f, nil, &Options{MaxBody: 100})
	large := message1("a", "2")
	large.Body = make([]byte, 100)
	err := d.Publish(t.Context(), "orders", []*driver.Message{
		message1("a", "1"), large, message1("a", "3"), message1("b", "4"), message1("", "5"),
	})
	failed, ok := errors.AsType[driver.BatchError](err)
	if !ok || len(failed) != 2 || !errors.Is(failed[1], driver.ErrTooLarge) || failed[2] == nil {
		t.Errorf("Publish: %v", err)
	}
	if !slices.Equal(f.published, []string{"1", "4", "5"}) {
		t.Errorf("published %v", f.published)
	}
}

func TestPublishStopsWaitingWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		release := make(chan struct{})
		f.publish = func(*message.Message) error { <-release; return nil }
		d := NewDriver(f, nil, &Options{OwnsPublisher: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := d.Publish(ctx, "orders", []*driver.Message{message1("", "1"), message1("", "2")})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Publish: %v", err)
		}
		if err := d.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close while the publisher works: %v", err)
		}
		close(release)
		if err := d.Close(context.Background()); err != nil || f.closed != 1 {
			t.Errorf("Close: %v; the publisher was closed %d times", err, f.closed)
		}
		if !slices.Equal(f.published, []string{"1"}) {
			t.Errorf("published %v: nothing may be sent after Publish returned", f.published)
		}
	})
}

func TestSubscribersThatCannotBeMade(t *testing.T) {
	t.Parallel()
	no := errors.New("no such group")
	d := NewDriver(newFake(), func(context.Context, driver.Subscription, int) ([]message.Subscriber, error) {
		return nil, no
	}, nil)
	if _, err := d.Subscribe(t.Context(), driver.Subscription{Topic: "orders", Group: "g"}); !errors.Is(err, no) {
		t.Errorf("Subscribe: %v", err)
	}
}

func TestADriverSaysWhatItWasTold(t *testing.T) {
	t.Parallel()
	caps := (&Options{Consumers: 3, InFlight: 2, MaxLease: time.Minute, Durable: true}).Capabilities()
	if caps.MaxInFlight != 6 || caps.MaxLease != time.Minute || !caps.Durable || caps.Order || caps.DelayedNack || caps.Counts {
		t.Errorf("capabilities %+v", caps)
	}
	if got := fmt.Sprint((*Options)(nil).Capabilities().Headers); got != fmt.Sprint(driver.HeaderStyle{Prefix: "ce_", ContentType: "content-type"}) {
		t.Errorf("headers %s", got)
	}
}
