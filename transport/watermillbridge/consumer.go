package watermillbridge

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
)

// consumer is one subscription of a source, with the goroutine that reads it.
type consumer struct {
	subscriber message.Subscriber
	ack        Acknowledger  // the same, where it is one
	fetch      Fetcher       // the same, where it is one
	slots      chan struct{} // one for each delivery that is not settled
	messages   <-chan *message.Message
	cancel     context.CancelFunc
	done       chan struct{} // closed when the Pub/Sub has closed messages
}

// open starts the subscriptions of a source. What is open after an error is closed
// with the source.
func (s *source) open(ctx context.Context, n, inFlight int) error {
	subscribers, err := s.d.subscribe(ctx, s.sub, n)
	if err != nil {
		return err
	}
	for i, subscriber := range subscribers {
		if err := s.start(ctx, subscriber, inFlight); err != nil {
			for _, unused := range subscribers[i:] {
				_ = unused.Close()
			}
			return err
		}
	}
	for _, subscriber := range subscribers {
		if st, ok := subscriber.(Starter); ok {
			if err := st.Started(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// start opens one subscription. Its context lives as long as the source.
func (s *source) start(ctx context.Context, subscriber message.Subscriber, inFlight int) error {
	if r, ok := subscriber.(Reporter); ok {
		r.Report(s.trouble)
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	messages, err := subscriber.Subscribe(life, s.sub.Topic)
	if err != nil {
		cancel()
		return err
	}
	c := &consumer{
		subscriber: subscriber, messages: messages, cancel: cancel,
		slots: make(chan struct{}, inFlight), done: make(chan struct{}),
	}
	c.ack, _ = subscriber.(Acknowledger)
	c.fetch, _ = subscriber.(Fetcher)
	s.mu.Lock()
	s.consumers = append(s.consumers, c)
	s.mu.Unlock()
	go s.pump(c)
	return nil
}

// pump takes messages and admits them while there are slots. One that comes when
// there is none waits here, as it would in the subscriber, whose end is thus seen
// in any case.
func (s *source) pump(c *consumer) {
	defer close(c.done)
	for w := range c.messages {
		select {
		case c.slots <- struct{}{}:
		case <-s.over:
			drain(c.messages)
			return
		}
		if !s.admit(c, w) {
			<-c.slots
		}
	}
	s.fail(c)
}

// drain lets a subscriber that is being closed get rid of what it holds.
func drain(messages <-chan *message.Message) {
	for range messages {
		continue
	}
}

// leave ends the subscription: first by its context, which is all that some
// subscribers listen to, then by Close.
func (c *consumer) leave() error {
	if c.ack == nil {
		c.cancel()
	}
	err := c.subscriber.Close()
	c.cancel()
	<-c.done
	return err
}
