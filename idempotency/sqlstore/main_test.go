package sqlstore_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/internal/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(brokertest.Runner(m)) }
