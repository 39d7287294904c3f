package natsstore

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"go.uber.org/goleak"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
)

func TestMain(m *testing.M) {
	if os.Getenv(victimDir) != "" {
		victim()
		return
	}
	goleak.VerifyTestMain(brokertest.Runner(m))
}

// open opens a store on a server; it is closed with the test.
func opened(tb testing.TB, url string, change func(*Options)) *Store {
	tb.Helper()
	o := Options{URL: url, Bucket: "test-" + nuid.Next()}
	if change != nil {
		change(&o)
	}
	s, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close(context.WithoutCancel(tb.Context())) })
	return s
}

// onFolder opens a folder as its owner, and returns the transport's connection.
func onFolder(tb testing.TB, o embedded.Options) *nats.Conn {
	tb.Helper()
	d, err := embedded.Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = d.Close(context.WithoutCancel(tb.Context())) })
	nc, _ := d.Native().(*nats.Conn)
	return nc
}

// on makes a store on a connection; it is closed with the test.
func on(tb testing.TB, nc *nats.Conn, change func(*Options)) *Store {
	tb.Helper()
	var o Options
	if change != nil {
		change(&o)
	}
	s, err := New(nc, &o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close(context.WithoutCancel(tb.Context())) })
	return s
}

func wantState(tb testing.TB, s idempotency.Store, c idempotency.Claim, want idempotency.State) idempotency.Verdict {
	tb.Helper()
	verdicts, err := s.Begin(tb.Context(), []idempotency.Claim{c})
	if err != nil {
		tb.Fatalf("Begin: %v", err)
	}
	if verdicts[0].State != want {
		tb.Fatalf("%+v, want %v", verdicts[0], want)
	}
	return verdicts[0]
}

// change makes one change, and returns its own error.
func change(tb testing.TB, s idempotency.Store, c idempotency.Claim, op idempotency.Op, outputs ...*envelope.Envelope) error {
	tb.Helper()
	errs, err := s.Update(tb.Context(), []idempotency.Change{
		{Key: c.Key, Token: c.Token, Op: op, Lease: c.Lease, TTL: c.TTL, Outputs: outputs},
	})
	if err != nil {
		tb.Fatalf("%v: %v", op, err)
	}
	return errors.Join(errs...)
}
