package embedded

import (
	"context"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(victimDir) != "" {
		victim()
		return
	}
	goleak.VerifyTestMain(m)
}

// open opens a folder; the driver is closed with the test.
func open(tb testing.TB, o Options) *Driver {
	tb.Helper()
	d, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = d.Close(context.WithoutCancel(tb.Context())) })
	return d
}
