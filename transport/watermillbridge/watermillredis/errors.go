package watermillredis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
)

// wrap adds the sentinel of package driver that fits.
func wrap(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, redis.ErrClosed) {
		return fmt.Errorf("%w: %w", driver.ErrClosed, err)
	}
	text := answerOf(err)
	for _, a := range [...]struct {
		begins   string
		sentinel error
	}{
		{"NOPERM", driver.ErrDenied},
		{"NOAUTH", driver.ErrDenied},
		{"WRONGPASS", driver.ErrDenied},
		{"ERR AUTH", driver.ErrDenied},
		{"ERR invalid password", driver.ErrDenied},
	} {
		if strings.HasPrefix(text, a.begins) {
			return fmt.Errorf("%w: %w", a.sentinel, err)
		}
	}
	if strings.HasPrefix(text, "WRONGTYPE") {
		return fmt.Errorf("%w: a key of another type stands where the topic's stream should: delete or rename one of them", err)
	}
	return err
}

// answerOf is what the server answered; empty for errors of other origin.
func answerOf(err error) string {
	var answer redis.Error
	if !errors.As(err, &answer) || errors.Is(err, redis.Nil) {
		return ""
	}
	return answer.Error()
}
