package kafkadriver

import (
	"context"
	"errors"

	"github.com/anywire/anywire/transport/driver"
)

// Subscribe joins a group.
func (d *Driver) Subscribe(context.Context, driver.Subscription) (driver.Source, error) {
	return nil, errors.New("not yet")
}
