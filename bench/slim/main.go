// Command slim is the smallest useful anywire program: two agents in memory. The
// benchmark measures the size of its binary.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
)

type task struct{ Topic string }

func (task) WireType() string { return "slim.task@1" }

type facts struct{ Lines []string }

func (facts) WireType() string { return "slim.facts@1" }

func main() {
	app := anywire.New(&anywire.Options{Config: &config.Config{Agents: map[string]config.Agent{
		"researcher": {Consumes: "tasks", Produces: "facts"},
		"printer":    {Consumes: "facts"},
	}}})
	anywire.Handle(app, "researcher", func(_ context.Context, t task) (facts, error) {
		return facts{Lines: []string{"about " + t.Topic}}, nil
	})
	anywire.Consume(app, "printer", func(_ context.Context, f facts) error {
		_, err := fmt.Println(f.Lines)
		return err
	})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := app.Publish(ctx, "tasks", task{Topic: "postgres 17"})
	if err == nil {
		err = app.Run(ctx)
	}
	stop()
	if err != nil {
		log.Fatal(err)
	}
}
