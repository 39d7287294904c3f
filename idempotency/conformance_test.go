package idempotency_test

import (
	"testing"

	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/storetest"
)

func TestMemoryConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Harness{
		Name: "memory", InProcess: true,
		Open: func(testing.TB) idempotency.Store { return idempotency.NewMemory(nil) },
	})
}
