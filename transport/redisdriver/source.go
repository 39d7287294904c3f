package redisdriver

import (
	"context"
	"errors"

	"github.com/anywire/anywire/transport/driver"
)

// Subscribe joins a group.
func (d *Driver) Subscribe(_ context.Context, _ driver.Subscription) (driver.Source, error) {
	return nil, errors.New("not yet")
}
