// Command brokers starts and ends the brokers that tests use, for those who
// want to keep them between test runs:
//
//	eval "$(go run ./internal/brokertest/cmd/brokers up)"
//	go test ./...
//	go run ./internal/brokertest/cmd/brokers down
//
// Names of brokers limit it: "up nats".
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/anywire/anywire/internal/brokertest"
)

const usage = "usage: brokers up|down [nats] [redis] [kafka] [postgres]"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "brokers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	switch names := args[1:]; args[0] {
	case "up":
		return brokertest.Up(ctx, os.Stdout, os.Stderr, names...)
	case "down":
		return brokertest.Down(os.Stderr, names...)
	default:
		return fmt.Errorf("unknown command %q; %s", args[0], usage)
	}
}
