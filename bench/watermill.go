package main

import (
	"context"
	"strconv"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
)

// goChannel is Watermill's in-memory Pub/Sub under its router.
type goChannel struct {
	pubsub *gochannel.GoChannel
	router *message.Router
	done   chan error
	stop   context.CancelFunc
}

func newGoChannel(ctx context.Context, handle func(*message.Message) error) (*goChannel, error) {
	g := &goChannel{done: make(chan error, 1)}
	g.pubsub = gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: window}, watermill.NopLogger{})
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	router.AddConsumerHandler("bench", "bench", g.pubsub, handle)
	g.router = router
	ctx, g.stop = context.WithCancel(ctx)
	go func() { g.done <- router.Run(ctx) }()
	<-router.Running()
	return g, nil
}

func (g *goChannel) close() error {
	g.stop()
	if err := <-g.done; err != nil {
		return err
	}
	return g.pubsub.Close()
}

// metadata gives a Watermill message what an envelope carries.
func metadata(m *message.Message) {
	set := m.Metadata.Set
	set("specversion", "1.0")
	set("id", m.UUID)
	set("source", "/bench")
	set("type", "bench.message")
	set("schemaversion", "1")
	set("time", "2026-01-01T00:00:00Z")
	set("datacontenttype", "application/json")
	set("correlationid", m.UUID)
	set("causationid", m.UUID)
	set("hops", "1")
	set("subject", "bench")
}

// counter closes done when it has counted to n.
type counter struct {
	n    int64
	seen atomic.Int64
	done chan struct{}
}

func newCounter(n int) *counter { return &counter{n: int64(n), done: make(chan struct{})} }

func (c *counter) add() {
	if c.seen.Add(1) == c.n {
		close(c.done)
	}
}

func (c *counter) wait(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func text(i int) string { return strconv.Itoa(i) }
