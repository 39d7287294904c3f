package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
)

const (
	window   = 1024
	messages = 200_000
	bodySize = 256
)

func memoryRows() []row {
	return []row{
		{
			name: "memory, raw envelopes", shape: "one publisher", unit: "msg/s", goal: "≥ 8, stretch 10",
			peer: "gochannel + router", pair: both(oursRaw(1), peerRaw(1)),
		},
		{
			name: "memory, raw envelopes", shape: "batches of 64", unit: "msg/s", goal: "",
			peer: "gochannel + router", pair: both(oursRaw(64), peerRaw(64)),
		},
		{
			name: "memory, typed JSON", shape: "one publisher", unit: "msg/s", goal: "≥ 3",
			peer: "gochannel + router", pair: both(oursTyped, peerTyped),
		},
		{
			name: "memory, order by key", shape: "one publisher, 1,000 keys", unit: "msg/s", goal: "≥ 0.8",
			peer: "without order", pair: both(oursKeyed("key"), oursKeyed("none")),
		},
	}
}

type measurement func(ctx context.Context) (float64, error)

// both measures one after the other; the rounds interleave them.
func both(ours, peer measurement) func(context.Context) (float64, float64, error) {
	return func(ctx context.Context) (float64, float64, error) {
		a, err := ours(ctx)
		if err != nil {
			return 0, 0, err
		}
		b, err := peer(ctx)
		return a, b, err
	}
}

// app is a running App with one agent, "sink", that consumes "bench".
type app struct {
	*anywire.App

	done chan error
	stop context.CancelFunc
}

func startApp(ctx context.Context, o anywire.Options, agent config.Agent, register func(*anywire.App)) (*app, error) {
	agent.Consumes = "bench"
	if agent.Window == 0 {
		agent.Window = window
	}
	if o.Config == nil {
		o.Config = &config.Config{}
	}
	if o.Config.Idempotency.Store == "" {
		o.Config.Idempotency.Store = config.None // rows that remember say so
	}
	o.Config.Agents = map[string]config.Agent{"sink": agent}
	a := &app{App: anywire.New(&o), done: make(chan error, 1)}
	register(a.App)
	ctx, a.stop = context.WithCancel(ctx)
	go func() { a.done <- a.Run(ctx) }()
	for !a.Health().Ready {
		select {
		case err := <-a.done:
			return nil, fmt.Errorf("the app ended: %w", err)
		case <-time.After(time.Millisecond):
		}
	}
	return a, nil
}

func (a *app) close() error {
	a.stop()
	return <-a.done
}

func raw(key string) *envelope.Envelope {
	id := envelope.NewID()
	return &envelope.Envelope{
		ID: id, Source: "/bench", Type: "bench.message", SchemaVersion: 1, Time: time.Now(),
		ContentType: "application/json", CorrelationID: id, CausationID: id, Hops: 1, Subject: "bench",
		Key: key, Data: body,
	}
}

var body = bytes.Repeat([]byte("x"), bodySize) //nolint:gochecknoglobals // read-only

// publishAll sends n envelopes to the topic of the measurement, in calls of batch
// from one goroutine.
func publishAll(ctx context.Context, t *transport.Transport, n, batch int, key func(int) string) error {
	es := make([]*envelope.Envelope, 0, batch)
	for i := range n {
		es = append(es, raw(key(i)))
		if len(es) < batch && i < n-1 {
			continue
		}
		if err := t.Publish(ctx, "bench", es...); err != nil {
			return err
		}
		es = es[:0]
	}
	return nil
}

func noKey(int) string { return "" }

func oursRaw(batch int) measurement {
	return oursMemory(batch, noKey, config.Agent{})
}

func oursKeyed(order string) measurement {
	return oursMemory(1, func(i int) string { return "key-" + text(i%1000) }, config.Agent{Order: order})
}

func oursMemory(batch int, key func(int) string, agent config.Agent) measurement {
	return func(ctx context.Context) (float64, error) {
		handled := newCounter(messages)
		a, err := startApp(ctx, anywire.Options{}, agent, func(a *anywire.App) {
			a.HandleEnvelope("sink", func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
				handled.add()
				return nil, nil
			})
		})
		if err != nil {
			return 0, err
		}
		t, err := a.Transport("memory")
		if err != nil {
			return 0, err
		}
		began := time.Now()
		if err := publishAll(ctx, t, messages, batch, key); err != nil {
			return 0, err
		}
		if err := handled.wait(ctx); err != nil {
			return 0, err
		}
		took := time.Since(began)
		return messages / took.Seconds(), a.close()
	}
}

func peerRaw(batch int) measurement {
	return func(ctx context.Context) (float64, error) {
		const n = messages / 4
		handled := newCounter(n)
		g, err := newGoChannel(ctx, func(*message.Message) error {
			handled.add()
			return nil
		})
		if err != nil {
			return 0, err
		}
		began := time.Now()
		msgs := make([]*message.Message, 0, batch)
		for i := range n {
			m := message.NewMessage(watermill.NewUUID(), body)
			metadata(m)
			if msgs = append(msgs, m); len(msgs) < batch && i < n-1 {
				continue
			}
			if err := g.pubsub.Publish("bench", msgs...); err != nil {
				return 0, err
			}
			msgs = msgs[:0]
		}
		if err := handled.wait(ctx); err != nil {
			return 0, err
		}
		took := time.Since(began)
		return n / took.Seconds(), g.close()
	}
}

// note is a payload of about 256 bytes of JSON.
type note struct {
	Title string   `json:"title"`
	Facts []string `json:"facts"`
	Page  int      `json:"page"`
}

func (note) WireType() string { return "bench.note@1" }

func newNote(i int) note {
	return note{
		Title: "PostgreSQL 17", Page: i,
		Facts: []string{
			"vacuum takes up to twenty times less memory than before",
			"incremental backups copy only what has changed since the last",
			"a JSON document can be read as a table with JSON_TABLE",
		},
	}
}

func oursTyped(ctx context.Context) (float64, error) {
	handled := newCounter(messages / 2)
	a, err := startApp(ctx, anywire.Options{}, config.Agent{}, func(a *anywire.App) {
		anywire.Consume(a, "sink", func(context.Context, note) error {
			handled.add()
			return nil
		})
	})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for i := range messages / 2 {
		if err := a.Publish(ctx, "bench", newNote(i)); err != nil {
			return 0, err
		}
	}
	if err := handled.wait(ctx); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return messages / 2 / took.Seconds(), a.close()
}

func peerTyped(ctx context.Context) (float64, error) {
	const n = messages / 4
	handled := newCounter(n)
	g, err := newGoChannel(ctx, func(m *message.Message) error {
		var into note
		if err := json.Unmarshal(m.Payload, &into); err != nil {
			return err
		}
		handled.add()
		return nil
	})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for i := range n {
		data, err := json.Marshal(newNote(i))
		if err != nil {
			return 0, err
		}
		m := message.NewMessage(watermill.NewUUID(), data)
		metadata(m)
		if err := g.pubsub.Publish("bench", m); err != nil {
			return 0, err
		}
	}
	if err := handled.wait(ctx); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return n / took.Seconds(), g.close()
}
