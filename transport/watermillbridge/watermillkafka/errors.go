package watermillkafka

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/anywire/anywire/transport/driver"
)

// wrap adds the sentinel of package driver that fits.
func wrap(err error) error {
	for _, s := range [...]struct {
		is       error
		sentinel error
	}{
		{sarama.ErrMessageSizeTooLarge, driver.ErrTooLarge},
		{sarama.ErrTopicAuthorizationFailed, driver.ErrDenied},
		{sarama.ErrGroupAuthorizationFailed, driver.ErrDenied},
		{sarama.ErrClusterAuthorizationFailed, driver.ErrDenied},
		{sarama.ErrSASLAuthenticationFailed, driver.ErrDenied},
		{sarama.ErrUnknownTopicOrPartition, driver.ErrNotFound},
		{sarama.ErrClosedClient, driver.ErrClosed},
	} {
		if errors.Is(err, s.is) {
			return fmt.Errorf("%w: %w", s.sentinel, err)
		}
	}
	return err
}
