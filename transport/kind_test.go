package transport_test

import (
	"context"
	"errors"
	"testing"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

type pigeonOptions struct{ Loft string }

func (o pigeonOptions) Validate() error {
	if o.Loft == "" {
		return errNoLoft
	}
	return nil
}

var errNoLoft = errors.New("loft is empty")

func pigeon() transport.Kind {
	return transport.NewKind("pigeon",
		func(pigeonOptions) driver.Capabilities { return driver.Capabilities{Order: true} },
		func(context.Context, pigeonOptions) (driver.Driver, error) { return newFake(), nil })
}

func TestAKindTakesItsOptionsByValueAndByPointer(t *testing.T) {
	t.Parallel()
	for _, options := range []any{pigeonOptions{"roof"}, &pigeonOptions{"roof"}} {
		if caps, err := pigeon().Capabilities(options); err != nil || !caps.Order {
			t.Errorf("%T: %+v, %v", options, caps, err)
		}
	}
	if _, err := pigeon().Open(t.Context(), 7); err == nil {
		t.Error("a number was taken as options")
	}
}

func TestAKindChecksItsOptionsWithoutConnecting(t *testing.T) {
	t.Parallel()
	for _, options := range []any{nil, pigeonOptions{}, pigeon().NewOptions()} {
		if _, err := pigeon().Capabilities(options); !errors.Is(err, errNoLoft) {
			t.Errorf("%T: %v", options, err)
		}
	}
}
