package natsstore

import (
	"context"
	"os"
	"testing"

	"github.com/nats-io/nuid"
	"go.uber.org/goleak"

	"github.com/anywire/anywire/internal/brokertest"
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
