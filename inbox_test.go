package anywire_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// narrow is a broker whose user may do nothing with inboxes. Some brokers say so,
// some do not answer.
type narrow struct {
	*memory.Broker

	silent bool
}

func (n narrow) EnsureTopic(ctx context.Context, t driver.Topic) (driver.Topic, error) {
	switch {
	case t.Name != "clerk.inbox":
		return n.Broker.EnsureTopic(ctx, t)
	case n.silent:
		<-ctx.Done()
		return t, fmt.Errorf("no answer: %w", context.Cause(ctx))
	}
	return t, driver.ErrDenied
}

func TestAgentWithoutRightsToItsInbox(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprint("silent ", silent), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				broker := memory.New(nil)
				defer func() { _ = broker.Close(context.Background()) }()
				app := anywire.New(&anywire.Options{
					Config:  &config.Config{Agents: map[string]config.Agent{"clerk": {Consumes: "tasks", Produces: config.None}}},
					Drivers: map[string]driver.Driver{"memory": narrow{broker, silent}},
				})
				handled := make(chan string, 1)
				app.HandleEnvelope("clerk", func(_ context.Context, e *envelope.Envelope) ([]*envelope.Envelope, error) {
					handled <- string(e.Data)
					return nil, nil
				})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- app.Run(ctx) }()
				time.Sleep(time.Minute)
				h := app.Health()
				if !h.Ready || h.Agents[0].State != transport.Running || h.Agents[0].Inbox.Reason == "" {
					t.Errorf("health %+v", h)
				}
				if err := app.Publish(ctx, "tasks", envelope.Raw{Type: "task@1", Data: []byte("1")}); err != nil {
					t.Fatal(err)
				}
				if got := <-handled; got != "1" {
					t.Errorf("handled %q", got)
				}
				cancel()
				if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		})
	}
}
