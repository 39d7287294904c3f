package redisdriver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
)

// wrap adds the sentinel of package driver that fits, and says what to do where
// Redis does not.
func wrap(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, redis.ErrClosed) {
		return fmt.Errorf("%w: %w", driver.ErrClosed, err)
	}
	var answer redis.Error
	if !errors.As(err, &answer) || errors.Is(err, redis.Nil) {
		return err
	}
	for _, a := range answers() {
		if strings.HasPrefix(answer.Error(), a.prefix) {
			return a.explain(err)
		}
	}
	return err
}

// answer is a refusal of the server by its first word.
type answer struct {
	prefix   string
	sentinel error
	hint     string
}

func (a answer) explain(err error) error {
	switch {
	case a.sentinel != nil && a.hint != "":
		return fmt.Errorf("%w: %w: %s", a.sentinel, err, a.hint)
	case a.sentinel != nil:
		return fmt.Errorf("%w: %w", a.sentinel, err)
	}
	return fmt.Errorf("%w: %s", err, a.hint)
}

func answers() []answer {
	return []answer{
		{"NOGROUP", driver.ErrNotFound, ""},
		{"NOPERM", driver.ErrDenied, "grant it with ACL SETUSER"},
		{"ERR The user executing the script", driver.ErrDenied, "grant it with ACL SETUSER; anywire doctor names what is missing"},
		{"NOAUTH", driver.ErrDenied, "set user and password"},
		{"WRONGPASS", driver.ErrDenied, "check user and password"},
		{"ERR AUTH", driver.ErrDenied, "check user and password"},
		{"ERR invalid password", driver.ErrDenied, "check password"},
		{"WRONGTYPE", nil, "a key of another type stands where the topic's stream should: delete or rename one of them"},
		{"OOM", nil, "the server's maxmemory is reached: raise it, or shorten retention"},
		{"READONLY", nil, "this server is a replica: connect to the master, or let sentinels name it"},
		{"MISCONF", nil, "the server cannot write to its disk and therefore takes no messages"},
		{"NOREPLICAS", nil, "fewer replicas are connected than min-replicas-to-write asks for"},
		{"LOADING", nil, "the server reads its data from disk; it is tried again"},
		{"MOVED", nil, "this is a node of a Redis Cluster: set cluster: true"},
		{"CLUSTERDOWN", nil, "a part of the cluster has no master"},
	}
}

// notFound names what is missing.
func notFound(topic string) error {
	return fmt.Errorf("topic %q has no stream on this server: %w", topic, driver.ErrNotFound)
}

// ended is why ctx did; it wraps ctx.Err() in any case.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

func errClosed() error { return fmt.Errorf("driver of Redis: %w", driver.ErrClosed) }

// unconfirmed says why a message is not known to be stored.
func unconfirmed(x *xadd) error {
	err := x.Err()
	var answer redis.Error
	switch {
	case err == nil:
		return errors.New("the server did not say that it is stored")
	case errors.As(err, &answer) || !x.sent:
		return wrap(err)
	}
	return fmt.Errorf("no confirmation, so it may be stored or not: %w", wrap(err))
}
