package watermillbridge

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

func inMemory(t *testing.T) *transport.Transport {
	t.Helper()
	tr := transport.New(memory.New(nil), &transport.Options{OwnsDriver: true})
	t.Cleanup(func() {
		if err := tr.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return tr
}

func TestPublishNamesWhatFailed(t *testing.T) {
	t.Parallel()
	p := NewPublisher(inMemory(t), nil)
	ended, end := context.WithCancel(t.Context())
	end()
	large := message.NewMessage("large", make([]byte, 1<<20))
	late := message.NewMessageWithContext(ended, "late", nil)
	for name, c := range map[string]struct {
		messages []*message.Message
		index    int
		want     error
	}{
		"one of a call":   {[]*message.Message{withMetadata("1", ""), large}, 1, nil},
		"a later context": {[]*message.Message{withMetadata("1", ""), withMetadata("2", ""), late}, 2, context.Canceled},
	} {
		err := p.Publish("orders", c.messages...)
		failed, ok := errors.AsType[driver.BatchError](err)
		if !ok || len(failed) != 1 || failed[c.index] == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := p.Publish("orders", late); !errors.Is(err, context.Canceled) {
		t.Errorf("alone: %v", err)
	}
}

func TestPublishRefusesWhatIsNoMessage(t *testing.T) {
	t.Parallel()
	p := NewPublisher(inMemory(t), nil)
	if err := p.Publish("orders", message.NewMessage("line\nbreak", nil)); err == nil || !strings.Contains(err.Error(), "line") {
		t.Errorf("a UUID with a line break: %v", err)
	}
	if err := p.Publish("orders"); err != nil {
		t.Errorf("no message: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish("orders", withMetadata("1", "")); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestAPublisherGivesKeys(t *testing.T) {
	t.Parallel()
	tr := inMemory(t)
	p := NewPublisher(tr, &PublisherOptions{Key: func(topic string, m *message.Message) string {
		return topic + "/" + m.Metadata.Get("customer")
	}})
	if err := p.Publish("orders", withMetadata("1", "", "customer", "42")); err != nil {
		t.Fatal(err)
	}
	err := tr.Browse(t.Context(), "orders", driver.Start{}, false, func(d *transport.Delivery) bool {
		if d.Envelope == nil || d.Envelope.Key != "orders/42" {
			t.Errorf("delivery %+v", d.Envelope)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}
