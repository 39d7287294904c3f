package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/transport/driver"
)

// Codes of the server's answers that jetstream has no name for.
const (
	codeInsufficientResources = 10023
	codeMaximumMessageSize    = 10054
	codeStreamMismatch        = 10060
	codeSubjectOverlap        = 10065
	codeStorageResources      = 10047
	codeStoreFailed           = 10077
)

var (
	errDisconnected = errors.New("connection to NATS lost: trying again for ever")
	errNoAnswer     = errors.New("no confirmation came in time")
	errNoJetStream  = errors.New("JetStream does not answer: it is off, starting, or has no leader")
)

// wrap adds the sentinel of package driver that fits.
func wrap(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	for _, s := range sentinels() {
		for _, is := range s.of {
			if errors.Is(err, is) {
				return fmt.Errorf("%w: %w", s.sentinel, err)
			}
		}
	}
	if apiCode(err) == codeMaximumMessageSize {
		return fmt.Errorf("%w: %w", driver.ErrTooLarge, err)
	}
	return err
}

type sentinel struct {
	sentinel error
	of       []error
}

func sentinels() []sentinel {
	return []sentinel{
		{driver.ErrClosed, []error{nats.ErrConnectionClosed, nats.ErrConnectionDraining}},
		{driver.ErrNotFound, []error{jetstream.ErrStreamNotFound, jetstream.ErrConsumerNotFound, jetstream.ErrBucketNotFound}},
		{driver.ErrDenied, []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrPermissionViolation}},
		{driver.ErrTooLarge, []error{nats.ErrMaxPayload}},
	}
}

func apiCode(err error) int {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return int(api.ErrorCode)
	}
	return 0
}

// isFull reports whether a topic or the server has no room for a message.
func isFull(err error) bool {
	switch apiCode(err) {
	case codeInsufficientResources, codeStorageResources:
		return true
	case codeStoreFailed:
		return strings.Contains(err.Error(), "maximum bytes exceeded") ||
			strings.Contains(err.Error(), "maximum messages exceeded")
	}
	return false
}

// notFound names what is missing.
func notFound(topic string) error {
	return fmt.Errorf("topic %q has no stream %q on this server: %w", topic, escapeName(topic), driver.ErrNotFound)
}

// ended is why ctx did; it wraps ctx.Err() in any case.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
