package anywire_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
)

// Two agents over memory, wired in Go instead of YAML.
func Example() {
	app := anywire.New(&anywire.Options{Config: &config.Config{Agents: map[string]config.Agent{
		"researcher": {Consumes: "tasks.research", Produces: "tasks.write"},
		"writer":     {Consumes: "tasks.write", Produces: "briefs"},
		"printer":    {Consumes: "briefs"},
	}}})
	anywire.Handle(app, "researcher", func(_ context.Context, t Task) (Facts, error) {
		return Facts{[]string{"8 facts about " + t.Topic}}, nil
	})
	anywire.Handle(app, "writer", func(_ context.Context, f Facts) (Brief, error) {
		return Brief{"A brief on " + f.Facts[0]}, nil
	})
	ctx, stop := context.WithCancel(context.Background())
	anywire.Consume(app, "printer", func(_ context.Context, b Brief) error {
		fmt.Println(b.Text)
		stop()
		return nil
	})
	if err := app.Publish(ctx, "tasks.research", Task{"postgres 17"}); err != nil {
		fmt.Println(err)
	}
	if err := app.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: A brief on 8 facts about postgres 17
}

// A handler says by its error what happens to a message that fails.
func ExampleReject() {
	app := anywire.New(&anywire.Options{Config: &config.Config{Agents: map[string]config.Agent{
		"reader": {Consumes: "tasks"},
		"morgue": {Consumes: "reader.dead"},
	}}})
	ctx, stop := context.WithCancel(context.Background())
	anywire.Consume(app, "reader", func(context.Context, Task) error {
		return anywire.Reject(errors.New("nothing to read"))
	})
	app.HandleEnvelope("morgue", func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
		fmt.Println(in.WireType(), in.Reserved(envelope.AttrDeadLetterReason), in.Reserved(envelope.AttrDeadLetterAttempts))
		stop()
		return nil, nil
	})
	if err := app.Publish(ctx, "tasks", Task{}); err != nil {
		fmt.Println(err)
	}
	if err := app.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: research.task@1 rejected 1
}

// Emit adds outputs to what a handler answers, each with options of its own.
func ExampleEmit() {
	app := anywire.New(&anywire.Options{Config: &config.Config{Agents: map[string]config.Agent{
		"splitter": {Consumes: "documents", Produces: "chunks"},
		"counter":  {Consumes: "chunks", Order: "strict"},
	}}})
	ctx, stop := context.WithCancel(context.Background())
	anywire.Consume(app, "splitter", func(ctx context.Context, _ Task) error {
		for _, text := range []string{"one", "two"} {
			if err := anywire.Emit(ctx, Brief{text}, anywire.WithKey("book")); err != nil {
				return err
			}
		}
		return nil
	})
	anywire.Consume(app, "counter", func(ctx context.Context, b Brief) error {
		in := anywire.Envelope(ctx)
		fmt.Println(b.Text, in.Key, in.Source)
		if b.Text == "two" {
			stop()
		}
		return nil
	})
	if err := app.Publish(ctx, "documents", Task{}); err != nil {
		fmt.Println(err)
	}
	if err := app.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// one book /agents/splitter
	// two book /agents/splitter
}
