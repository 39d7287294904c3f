package kafkadriver

import (
	"context"
	"errors"

	"github.com/anywire/anywire/transport/driver"
)

// Publish stores msgs.
func (d *Driver) Publish(context.Context, string, []*driver.Message) error {
	return errors.New("not yet")
}
