package router_test

import (
	"context"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/memory"
)

func TestAnAgentThatStopsByItselfStopsTheOthers(t *testing.T) {
	inWorld(t, func(w *world) {
		broker := memory.New(nil)
		other := transport.New(broker, &transport.Options{Name: "other", OwnsDriver: true})
		ignore := func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) { return nil, nil }
		w.handle(ignore)
		w.options.Agents = []router.Agent{w.agent, {
			Name: "other", Transport: other, Topic: "in", Routes: []router.Route{{Handle: ignore}},
		}}
		ran := make(chan error, 1)
		ctx, cancel := context.WithCancel(w.Context())
		defer cancel()
		go func() { ran <- router.New(&w.options).Run(ctx) }()
		w.pass(time.Second)
		if err := other.Close(w.Context()); err != nil {
			w.Error(err)
		}
		w.pass(time.Second)
		select {
		case err := <-ran:
			if err != nil {
				w.Error(err)
			}
		default:
			w.Error("the router runs on, with one agent less and nobody told")
			cancel()
			<-ran
		}
	})
}
