package router_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
)

// Memory forgets what every group has settled: a group that joins later, as
// ordered ones do, must be known before the first one consumes.
func TestEveryAgentOfATopicGetsWhatWasPublishedBeforeTheStart(t *testing.T) {
	inWorld(t, func(w *world) {
		const messages = 100
		for i := range messages {
			e := &envelope.Envelope{ID: fmt.Sprint("m", i), Source: "/t", Type: "t.m", SchemaVersion: 1, Key: "k"}
			if err := w.transport.Publish(w.Context(), "in", e); err != nil {
				w.Fatal(err)
			}
		}
		var late atomic.Int64
		w.options.Agents = append(w.options.Agents, router.Agent{
			Name: "late", Transport: w.transport, Topic: "in",
			Subscription: transport.SubscribeOptions{Order: transport.OrderKey},
			Routes: []router.Route{{Handle: func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
				late.Add(1)
				return nil, nil
			}}},
		})
		var early atomic.Int64
		w.handle(func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
			early.Add(1)
			return nil, nil
		})
		w.start()
		synctest.Wait()
		if early.Load() != messages || late.Load() != messages {
			w.Errorf("handled %d and %d, want %d each", early.Load(), late.Load(), messages)
		}
	})
}

// A producer may be done, and drain the app, before the agents have joined.
func TestStoppedBeforeTheAgentsJoinedIsADrain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.handle(func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) { return nil, nil })
		w.options.Agents = append(w.options.Agents, w.agent)
		ctx, cancel := context.WithCancel(w.Context())
		cancel()
		if err := router.New(&w.options).Run(ctx); err != nil {
			w.Errorf("error %v, want none", err)
		}
	})
}
