// Command charges takes money from customers, with two agents:
//
//	orders → charger → charged → bookkeeper → the ledger, a file
//
// The charger asks a payment API that is slow, has too much to do, fails, and
// loses answers; processes may be killed anywhere. Every customer is charged once.
//
//	go run ./examples/charges
//	go run ./examples/charges -c examples/charges/redis.yaml -in orders.jsonl
//
// The API is a fake that comes with it, and runs in this process unless
// PAYMENTS_URL says where else it is; "charges payments" is a process that does
// nothing else. CHARGES_DATA names the folder of what is kept.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/examples/charges/payments"
)

//go:embed embedded.yaml
var defaultConfig []byte

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	data := cmp.Or(os.Getenv("CHARGES_DATA"), "data/charges")
	if len(os.Args) > 1 && os.Args[1] == "payments" {
		return servePayments(data, os.Args[2:])
	}
	o := all.Options()
	o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	app, _, err := build(o, data, os.Getenv("PAYMENTS_URL"))
	if err != nil {
		return err
	}
	app.Main()
	return nil
}

// build makes the program: the app, and the shop whose agents it runs.
func build(o *anywire.Options, data, url string) (*anywire.App, *shop, error) {
	var err error
	if o.Config, err = config.Parse("embedded.yaml", defaultConfig); err != nil {
		return nil, nil, err
	}
	s, j, err := newShop(data, url)
	if err != nil {
		return nil, nil, err
	}
	declareFlags(flag.CommandLine, j)
	return newCharges(o, s, j), s, nil
}

// newShop makes what the agents work with. Without a URL the payment API runs in
// this process, as long as it lives.
func newShop(data, url string) (*shop, *job, error) {
	j := &job{ledger: filepath.Join(data, "ledger.jsonl"), terminal: os.Stdout, lone: url == ""}
	if url == "" {
		listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		url = "http://" + listener.Addr().String()
		go func() { _ = paymentServer(data, payments.Moody).Serve(listener) }()
	}
	j.payments = &payments.Client{URL: url}
	book := &ledger{path: j.ledger}
	return &shop{score: guessRisk, pay: counted(&j.calls, j.payments), book: book.add}, j, nil
}

func declareFlags(flags *flag.FlagSet, j *job) {
	flags.Func("in", "publish the orders in this `file`, a JSON object a line (default a sample), wait for their ends, and drain",
		func(file string) error {
			if j.in = file; file == "" {
				return errors.New("it names no file")
			}
			return nil
		})
	flags.BoolVar(&j.work, "work", false, "publish nothing: work, with -agents on some of it, until a signal")
}

func paymentServer(data string, mood func() payments.Mood) *http.Server {
	return &http.Server{
		Handler:           payments.NewServer(filepath.Join(data, "payments.jsonl"), 200*time.Millisecond, mood),
		ReadHeaderTimeout: 5 * time.Second,
	}
}

// servePayments is the process that is only the payment API, until a signal.
func servePayments(data string, args []string) error {
	flags := flag.NewFlagSet("charges payments", flag.ExitOnError)
	address := flags.String("listen", "localhost:8089", "`address` of the API")
	calm := flags.Bool("calm", false, "never be busy, broken or cut off")
	_ = flags.Parse(args) // it exits
	mood := payments.Moody
	if *calm {
		mood = func() payments.Mood { return payments.Fine }
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *address)
	if err != nil {
		return err
	}
	fmt.Printf("payment API on http://%s\n", listener.Addr())
	server := paymentServer(data, mood)
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
