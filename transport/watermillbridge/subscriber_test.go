package watermillbridge

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// pubSub is both sides over one memory transport, inside a bubble.
type pubSub struct {
	*testing.T

	t *transport.Transport
	p *Publisher
	s *Subscriber
}

func bubble(t *testing.T, o *SubscriberOptions, test func(b *pubSub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tr := transport.New(memory.New(nil), &transport.Options{OwnsDriver: true})
		b := &pubSub{T: t, t: tr, p: NewPublisher(tr, nil), s: NewSubscriber(tr, o)}
		test(b)
		if err := errors.Join(b.s.Close(), tr.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
}

func (b *pubSub) send(uuids ...string) {
	b.Helper()
	for _, uuid := range uuids {
		if err := b.p.Publish("orders", message.NewMessage(uuid, []byte(uuid))); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *pubSub) subscribe(ctx context.Context) <-chan *message.Message {
	b.Helper()
	messages, err := b.s.Subscribe(ctx, "orders")
	if err != nil {
		b.Fatal(err)
	}
	return messages
}

func (b *pubSub) next(messages <-chan *message.Message, want string) *message.Message {
	b.Helper()
	m, ok := <-messages
	if !ok || m.UUID != want {
		b.Fatalf("received %v, %v, want %s", m, ok, want)
	}
	return m
}

func TestOneMessageIsOut(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(b *pubSub) {
		messages := b.subscribe(b.Context())
		b.send("1", "2")
		first := b.next(messages, "1")
		synctest.Wait()
		select {
		case m := <-messages:
			b.Fatalf("received %s before the first was acknowledged", m.UUID)
		default:
		}
		first.Nack()
		again := b.next(messages, "1")
		if again.Context().Err() != nil || first.Context().Err() == nil {
			b.Error("a message's context lives as long as it is out")
		}
		again.Ack()
		b.next(messages, "2").Ack()
	})
}

func TestAWindowOfMessagesIsOut(t *testing.T) {
	t.Parallel()
	bubble(t, &SubscriberOptions{Window: 3}, func(b *pubSub) {
		messages := b.subscribe(b.Context())
		b.send("1", "2", "3", "4")
		held := map[string]*message.Message{}
		for range 3 {
			m := <-messages
			held[m.UUID] = m
		}
		synctest.Wait()
		select {
		case m := <-messages:
			b.Fatalf("received %s over the window", m.UUID)
		default:
		}
		held["2"].Ack()
		b.next(messages, "4").Ack()
		held["1"].Ack()
		held["3"].Ack()
	})
}

func TestNackWaits(t *testing.T) {
	t.Parallel()
	bubble(t, &SubscriberOptions{NackDelay: time.Minute}, func(b *pubSub) {
		messages := b.subscribe(b.Context())
		b.send("1")
		b.next(messages, "1").Nack()
		began := time.Now()
		b.next(messages, "1").Ack()
		if took := time.Since(began); took < time.Minute {
			b.Errorf("it came again after %v", took)
		}
	})
}

func TestTheEndOfTheContextClosesTheChannel(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(b *pubSub) {
		ctx, cancel := context.WithCancel(b.Context())
		messages := b.subscribe(ctx)
		cancel()
		if m, ok := <-messages; ok {
			b.Errorf("received %s", m.UUID)
		}
		again := b.subscribe(b.Context())
		b.send("1")
		b.next(again, "1").Ack()
	})
}

// An adapter would drop the acknowledgement of a handler that is still at work
// when its subscription ends.
func TestAHandlerMayFinishWhileTheSubscriptionEnds(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(b *pubSub) {
		ctx, cancel := context.WithCancel(b.Context())
		messages := b.subscribe(ctx)
		b.send("1")
		held := b.next(messages, "1")
		cancel()
		time.Sleep(DefaultCloseTimeout / 2)
		if held.Context().Err() != nil {
			b.Error("the handler's context has ended before its time")
		}
		held.Ack()
		<-messages
		b.send("2")
		b.next(b.subscribe(b.Context()), "2").Ack()
	})
}

func TestWhatIsOutTooLongComesAgain(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(b *pubSub) {
		ctx, cancel := context.WithCancel(b.Context())
		messages := b.subscribe(ctx)
		b.send("1")
		held := b.next(messages, "1")
		cancel()
		if m, ok := <-messages; ok {
			b.Errorf("received %s", m.UUID)
		}
		if held.Context().Err() == nil {
			b.Error("the context of what went back lives on")
		}
		held.Ack() // nobody listens
		b.next(b.subscribe(b.Context()), "1").Ack()
	})
}

func TestSubscribeAfterClose(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(b *pubSub) {
		if err := errors.Join(b.s.Close(), b.s.Close()); err != nil {
			b.Error(err)
		}
		if _, err := b.s.Subscribe(b.Context(), "orders"); !errors.Is(err, driver.ErrClosed) {
			b.Errorf("Subscribe: %v", err)
		}
	})
}

func TestWhatCannotBeSubscribedSaysSo(t *testing.T) {
	t.Parallel()
	bubble(t, &SubscriberOptions{Order: 99}, func(b *pubSub) {
		if err := b.t.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		if _, err := b.s.Subscribe(b.Context(), "orders"); !errors.Is(err, driver.ErrClosed) {
			b.Errorf("Subscribe on a closed transport: %v", err)
		}
	})
}

// What nobody can read is the handler's to judge.
func TestAMessageThatCannotBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := memory.New(&memory.Options{Paranoid: &memory.Paranoid{Duplicate: 1e-9}})
		tr := transport.New(d, &transport.Options{OwnsDriver: true})
		s := NewSubscriber(tr, nil)
		err := d.Publish(t.Context(), "orders", []*driver.Message{{
			Headers: []driver.Header{{Name: "X-Odd", Value: "\xff"}, {Name: "_watermill_message_uuid", Value: "u"}}, Body: []byte("raw"),
		}})
		if err != nil {
			t.Fatal(err)
		}
		messages, err := s.Subscribe(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		m := <-messages
		if m.UUID != "u" || m.Metadata.Get("X-Odd") != "\xff" || string(m.Payload) != "raw" {
			t.Errorf("received %q %v %q", m.UUID, m.Metadata, m.Payload)
		}
		m.Ack()
		if err := errors.Join(s.Close(), tr.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
}

func TestSubscribeInitializeMakesTheTopic(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(b *pubSub) {
		if err := b.s.SubscribeInitialize("orders"); err != nil {
			b.Fatal(err)
		}
		if _, err := b.t.EnsureTopic(b.Context(), driver.Topic{Name: "orders", Require: true}); err != nil {
			b.Error(err)
		}
	})
}
